r"""Splitting of a well: the smallest blend parameter at which a landscape has a given number of minima.

For a blend Ψ_b = (1 − b) Ψ₁ + b Ψ₂ the minima are counted at equally spaced values of b, and the first interval in
which the count reaches the given number is bisected. A range of b narrower than that spacing can be missed.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from workbench.landscape.stationary_points import stationary_points
from workbench.potentials.blend import Blend

__all__ = ["splitting"]


def splitting(
    blend: Blend,
    within: Sequence[tuple[float, float]],
    *,
    minima: int = 2,
    tolerance: float = 1e-4,
    scan: int = 11,
    starts: int = 64,
) -> xr.Dataset:
    """Find the smallest b in [0, 1] at which Ψ_b has at least a given number of minima, and the time of that split.

    Parameters
    ----------
    blend : Blend
        A landscape that changes in time, without members.
    within : sequence of (float, float)
        Box in which minima are counted, one pair (low, high) per state.
    minima : int
        Number of minima.
    tolerance : float
        Width of the interval of b at which bisection ends; its upper bound is returned.
    scan : int
        Number of equally spaced values of b at which minima are counted first.
    starts : int
        Number of Sobol starting points of each count.

    Returns
    -------
    xarray.Dataset
        ``b()``, NaN if the number is not reached; ``time()``, at which the schedule first takes that value, NaN if it
        never does; ``minima(b_scanned)``, shape (scan,), the counts of the scan; attribute ``tolerance``.

    Raises
    ------
    ValueError
        If the blend has members, or the box does not fit its states.
    LandscapeError
        As `stationary_points`.

    Warns
    -----
    LandscapeWarning
        As `stationary_points`.

    Examples
    --------
    Ψ_b = x⁴ + (1 − 3b) x² has two minima where b > 1/3:

    >>> import systems, workbench as wb
    >>> class Quartic(systems.PotentialSystem):
    ...     state_space = (systems.State("x", box=(-2, 2)),)
    ...     a: float = systems.parameter(1.0, "coefficient")
    ...
    ...     def potential(self, x):
    ...         return (x**4 + self.a * x**2).sum(-1)
    >>> blend = wb.Blend(Quartic(a=1.0), Quartic(a=-2.0), wb.Ramp(0.0, 9.0))
    >>> found = splitting(blend, [(-2, 2)], scan=5, starts=8)
    >>> round(float(found.b), 3), round(float(found.time), 2), found.minima.values.tolist()
    (0.333, 3.0, [1, 1, 2, 2, 2])
    """
    if blend.members is not None:
        raise ValueError(
            "the members of an ensemble split at different times; analyse them one by one, such as a blend with "
            "fit.ensemble.member(0)"
        )
    scanned = np.linspace(0, 1, scan)

    def count(b: float) -> int:
        return stationary_points(blend.at(b=b), within, starts=starts, index=0).sizes["point"]

    counts = np.array([count(b) for b in scanned])
    split = _bisect(lambda b: count(b) >= minima, scanned, counts >= minima, tolerance)
    return xr.Dataset(
        {
            "b": ((), split, {"long_name": f"smallest b with {minima} minima", "units": "1"}),
            "time": ((), blend.schedule.when(split), {"long_name": "time of the split", "units": "1"}),
            "minima": ("b_scanned", counts, {"long_name": "number of minima", "units": "1"}),
        },
        coords={"b_scanned": scanned},
        attrs={"tolerance": tolerance},
    )


def _bisect(is_split: Callable[[float], bool], scanned: np.ndarray, known: np.ndarray, tolerance: float) -> float:
    """Return the smallest b that is split, given what is known at the scanned values, both shape (b_scanned,)."""
    if not known.any():
        return float("nan")
    first = int(np.argmax(known))
    if first == 0:
        return float(scanned[0])
    below, above = scanned[first - 1], scanned[first]
    while above - below > tolerance:
        middle = (below + above) / 2
        below, above = (below, middle) if is_split(middle) else (middle, above)
    return float(above)
