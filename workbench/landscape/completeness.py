r"""How many points a search has not found, estimated from how often it found the others.

If n searches end in points of which f₁ were found once and f₂ twice, then by Good and Turing the next search ends in a
new point with probability f₁/n, and by Chao at least about f₁(f₁ − 1)/(2(f₂ + 1)) points are missing. The estimates
hold for points like those found: one that hardly any search reaches is not seen by them.

References
----------
I. J. Good, Biometrika 40, 237-264 (1953), doi:10.1093/biomet/40.3-4.237.

A. Chao, Scand. J. Stat. 11, 265-270 (1984); bias-corrected form in A. Chao, Biometrics 61, 671-679 (2005).
"""

import numpy as np

__all__ = ["ENOUGH", "coverage", "missing"]

ENOUGH = 0.5  # points: fewer missing ones count as none


def missing(found: np.ndarray) -> float:
    """Return the estimated number of points that were not found, given how often each of the others was: (point,).

    Examples
    --------
    >>> missing(np.array([9, 12, 7])), missing(np.array([1, 1, 1, 1, 2, 3]))
    (0.0, 3.0)
    """
    once, twice = (found == 1).sum(), (found == 2).sum()
    return float(once * (once - 1) / (2 * (twice + 1)))


def coverage(found: np.ndarray) -> float:
    """Return the estimated probability that a further search ends in a known point, given `found`, shape (point,).

    Examples
    --------
    >>> coverage(np.array([1, 3, 4]))
    0.875
    """
    return float(1 - (found == 1).sum() / max(1, found.sum()))
