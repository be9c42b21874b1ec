"""Argument checks shared by several modules, and the error raised for unknown attributes of a package."""

import difflib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["no_attribute", "require_integer", "require_temperature"]


def require_integer(least: int = 1, /, **settings: Any) -> None:
    """Raise `ValueError` unless every setting is an integer ≥ `least`; booleans are rejected.

    >>> require_integer(2, nodes=1)
    Traceback (most recent call last):
    ValueError: nodes must be an integer >= 2, got 1
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name.replace('_', ' ')} must be an integer >= {least}, got {value!r}")


def require_temperature(temperature: Any) -> float:
    """Return the temperature T as a float; raise `ValueError` unless it is a finite number > 0."""
    number = isinstance(temperature, int | float | np.integer | np.floating) and not isinstance(temperature, bool)
    if not (number and np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is T in dx = −∇Ψ dt + √(2T) dW, a finite number > 0; got {temperature!r}")
    return float(temperature)


PACKAGES = ("workbench", "systems", "studies")


def no_attribute(package: str, name: str, places: Mapping[str, str]) -> AttributeError:
    """Return the error for a name that a package does not offer; it states where the name lives or the closest match.

    `places` maps the offered names to the modules that define them.

    >>> str(no_attribute("workbench", "rate", {"rates": "workbench.landscape.rates"}))
    "workbench has no attribute 'rate', did you mean 'rates' (workbench.landscape.rates)?"
    >>> str(no_attribute("workbench", "systems", {}))
    "workbench has no attribute 'systems': it is a separate package, import systems"
    """
    text = f"{package} has no attribute {name!r}"
    if name in PACKAGES:
        return AttributeError(f"{text}: it is a separate package, import {name}", name=name)
    for other in PACKAGES:
        if other != package and name in getattr(sys.modules.get(other), "__all__", ()):
            return AttributeError(f"{text}: it belongs to {other}, use {other}.{name}", name=name)
    close = difflib.get_close_matches(name, places, n=1, cutoff=0.6)
    hint = f", did you mean {close[0]!r} ({places[close[0]]})?" if close else f"; see dir({package})"
    return AttributeError(text + hint, name=name)
