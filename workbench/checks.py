"""Checks of settings that many rooms share."""

from typing import Any

import numpy as np

__all__ = ["require_temperature", "require_integer"]


def require_integer(least: int = 1, /, **settings: Any) -> None:
    """Raise `ValueError` for a setting that is no whole number of at least `least`; truth values are none.

    >>> require_integer(2, nodes=1)
    Traceback (most recent call last):
    ValueError: nodes must be an integer >= 2, got 1
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name.replace('_', ' ')} must be an integer >= {least}, got {value!r}")


def require_temperature(temperature: Any) -> float:
    """Return the temperature T as a number, or raise `ValueError`."""
    number = isinstance(temperature, int | float | np.integer | np.floating) and not isinstance(temperature, bool)
    if not (number and np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is T in dx = −∇Ψ dt + √(2T) dW, a finite number > 0; got {temperature!r}")
    return float(temperature)
