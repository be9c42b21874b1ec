"""Checks of settings that many rooms share."""

from typing import Any

import numpy as np

__all__ = ["require_temperature", "require_whole"]


def require_whole(least: int = 1, /, **settings: Any) -> None:
    """Raise `ValueError` for a setting that is no whole number of at least `least`; truth values are none.

    >>> require_whole(2, nodes=1)
    Traceback (most recent call last):
    ValueError: nodes must be a whole number >= 2, got 1
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name.replace('_', ' ')} must be a whole number >= {least}, got {value!r}")


def require_temperature(noise: Any) -> float:
    """Return the temperature T as a number, or raise `ValueError`."""
    number = isinstance(noise, int | float | np.integer | np.floating) and not isinstance(noise, bool)
    if not (number and np.isfinite(noise) and noise > 0):
        raise ValueError(f"noise is the temperature T of dx = −∇Ψ dt + √(2T) dW, a finite number > 0; got {noise!r}")
    return float(noise)
