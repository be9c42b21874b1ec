"""How far values vary, without regard to their unit and to where they lie."""

import numpy as np

__all__ = ["CONSTANT", "filled", "spread", "varies"]

CONSTANT = 1e-14  # of the largest value: a smaller range is rounding


def varies(values: np.ndarray) -> np.ndarray:
    """Return which columns of values, shape (sample, …), vary by more than rounding, shape (…).

    >>> varies(np.array([[1e9, 0.1], [1e9 + 1, 0.1], [1e9, 0.1]])).tolist()
    [True, False]
    """
    return np.ptp(values, axis=0) > CONSTANT * np.abs(values).max(0)


def spread(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column of values, shape (sample, …): (…); 0 if it varies by rounding.

    >>> spread(np.array([[1e9, 0.1], [1e9 + 2, 0.1]])).tolist()
    [1.0, 0.0]
    """
    return np.where(varies(values), (values - values[0]).std(0), 0.0)


def filled(scale: np.ndarray) -> np.ndarray:
    """Return scales, shape (entry,), with the largest of them in the place of zeros; 1 if all are 0.

    >>> filled(np.array([0.0, 2.0, 3.0])).tolist(), filled(np.zeros(1)).tolist()
    ([3.0, 2.0, 3.0], [1.0])
    """
    return np.where(scale > 0, scale, scale.max() or 1.0)
