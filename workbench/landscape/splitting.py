"""When a blend splits: the smallest parameter at which the landscape has so many minima."""

from collections.abc import Sequence
from typing import Any

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
    """Return the smallest b in [0, 1] at which Ψ_b has (at least) that many minima in the box, and when that is.

    The number of minima is counted at `scan` values of b, then bisected to `tolerance` in b. The result holds `b` (NaN
    if it never happens), `time` (NaN if the schedule never takes that b) and the counts, minima(b_scanned).
    """
    if blend.members is not None:
        raise ValueError(
            "the members of an ensemble split at different times; ask each, such as fit.ensemble.member(0)"
        )
    grid = np.linspace(0, 1, scan)

    def count(b: float) -> int:
        return stationary_points(blend.at(b=b), within, starts=starts, index=0).sizes["point"]

    counts = np.array([count(b) for b in grid])
    split = _bisect(lambda b: count(b) >= minima, grid, counts >= minima, tolerance)
    return xr.Dataset(
        {
            "b": ((), split, {"long_name": f"smallest b with {minima} minima", "units": "1"}),
            "time": ((), blend.schedule.when(split), {"long_name": "time of the split", "units": "1"}),
            "minima": ("b_scanned", counts, {"long_name": "number of minima", "units": "1"}),
        },
        coords={"b_scanned": grid},
        attrs={"tolerance": tolerance},
    )


def _bisect(happens: Any, grid: np.ndarray, known: np.ndarray, tolerance: float) -> float:
    if not known.any():
        return float("nan")
    first = int(np.argmax(known))
    if first == 0:
        return float(grid[0])
    before, after = grid[first - 1], grid[first]
    while after - before > tolerance:
        middle = (before + after) / 2
        before, after = (before, middle) if happens(middle) else (middle, after)
    return float(after)
