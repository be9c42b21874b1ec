"""Wells: the minima of a landscape with their prominence.

The prominence of a minimum m is the smallest climb from which a lower minimum can be reached: Ψ at the highest point of
the lowest path to a lower minimum, less Ψ(m). It is the topological persistence of the minimum.

Two kinds of connection between minima are considered: index-1 saddles, from which steepest descent leads to a minimum
on either side, and the highest points of the straight segments between minima. The segments also account for mountain
passes that are not stationary points (kinks) and, in one dimension, find every barrier. The connections are processed
from the lowest up. Each merges two groups of minima, and the group whose lowest minimum is higher is absorbed; the
level fixes the prominence of that minimum (the elder rule of persistent homology). In more than one dimension the
prominence is an upper bound: it is too large if a saddle on the lowest path was not found.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from workbench.dataset.variables import variable
from workbench.landscape.graph import joined_minima, warn_incomplete
from workbench.landscape.stationary_points import stationary_points
from workbench.potentials.box import Box, landscape_in
from workbench.potentials.ensembles import over_members
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Modal, Potential, units_of

__all__ = ["wells"]


def wells(potential: Potential, within: Sequence[tuple[float, float]], *, starts: int = 256) -> xr.Dataset:
    """Find the minima of Ψ inside a box, with their prominence.

    Only minima inside the box are compared: the lowest of them has infinite prominence, even if the potential is lower
    elsewhere.

    Parameters
    ----------
    potential : Potential
        Any potential. The members of an ensemble are analysed one by one.
    within : sequence of (float, float)
        Box to search, one pair (low, high) per state.
    starts : int
        Number of Sobol starting points of `stationary_points`.

    Returns
    -------
    xarray.Dataset
        The variables of `stationary_points` for the nondegenerate minima, lowest first (ensembles: member by member),
        and in addition

        - ``prominence(point)``, the climb to a lower minimum, in the unit of Ψ;
        - ``mode_weight(point)``, for potentials with modes: the largest mode weight at the minimum, near 1 where a
          single mode forms the well.

    Raises
    ------
    ValueError, LandscapeError, TypeError
        As `stationary_points`.

    Warns
    -----
    LandscapeWarning
        As `stationary_points`.

    References
    ----------
    H. Edelsbrunner, D. Letscher, A. Zomorodian, Discrete Comput. Geom. 28, 511-533 (2002),
    doi:10.1007/s00454-002-2885-2.

    Examples
    --------
    >>> import systems
    >>> wells(systems.get("asymmetric_quartic"), within=[(-3, 3)]).prominence.values.round(4)
    array([   inf, 0.2833])
    """
    potential, box = landscape_in(potential, within)
    return over_members(potential, lambda one, _: _wells(one, box, stationary_points(one, within, starts=starts)))


def _wells(potential: Landscape, box: Box, found: xr.Dataset) -> xr.Dataset:
    """Return the wells of one member, from its stationary points."""
    warn_incomplete(found)
    minima = found.isel(point=(found["kind"] == "minimum").values).sortby("potential")
    saddles = found.isel(point=((found["index"] == 1) & (found["kind"] != "degenerate")).values).sortby("potential")
    minima = minima.assign_coords(point=np.arange(minima.sizes["point"]))
    natural = Natural(potential, box)
    saddle, well = (natural.rows(one["x"].values) for one in (saddles, minima))
    connections = _saddle_connections(natural, saddle, well, saddles["potential"].values)
    connections += _segment_connections(natural, well)
    prominence = _prominence(minima["potential"].values, connections)
    unit = units_of(potential).of("potential")
    minima["prominence"] = variable("point", prominence, "climb to a lower minimum", unit)
    if isinstance(potential, Modal):
        x = minima["x"].values
        largest = np.asarray(potential.mode_weights(x)).max(-1) if len(x) else prominence
        minima["mode_weight"] = variable("point", largest, "largest mode weight", "1")
    return minima


Connection = tuple[float, int, int]  # level, and the two minima that are connected at it


def _saddle_connections(natural: Natural, saddles: Tensor, minima: Tensor, levels: np.ndarray) -> list[Connection]:
    """Return the saddles from which both paths of steepest descent end in one of the minima."""
    ends = joined_minima(natural, saddles, minima).tolist()
    return [(level, one, other) for level, (one, other) in zip(levels, ends, strict=True) if min(one, other) >= 0]


@torch.no_grad()
def _segment_connections(natural: Natural, minima: Tensor, points: int = 257, refinements: int = 3) -> list[Connection]:
    """Return the highest points of the segments between all pairs of minima, on successively refined grids."""
    pairs = list(itertools.combinations(range(len(minima)), 2))
    if not pairs:
        return []
    start, end = (minima[[pair[k] for pair in pairs]].unsqueeze(1) for k in (0, 1))
    low, high = (torch.full_like(start[:, :, :1], limit) for limit in (0.0, 1.0))
    steps = torch.linspace(0, 1, points, dtype=minima.dtype, device=minima.device)[:, None]
    for _ in range(refinements):
        fraction = low + (high - low) * steps
        values = natural.value(start + fraction * (end - start)).nan_to_num(nan=torch.inf)
        top = values.argmax(-1, keepdim=True).unsqueeze(-1).clamp(1, points - 2)
        low, high = fraction.gather(1, top - 1), fraction.gather(1, top + 1)
    levels = (natural.level + natural.spread * values.amax(-1)).tolist()
    return [(level, *pair) for level, pair in zip(levels, pairs, strict=True) if np.isfinite(level)]


def _prominence(minima: np.ndarray, connections: Sequence[Connection]) -> np.ndarray:
    """Return the prominence, shape (point,), of minima given by their potential, lowest first."""
    prominence, parent = np.full(len(minima), np.inf), list(range(len(minima)))

    def lowest(k: int) -> int:
        while parent[k] != k:
            k = parent[k]
        return k

    for level, one, other in sorted(connections):
        lower, higher = sorted((lowest(one), lowest(other)))
        if lower != higher:
            parent[higher] = lower
            prominence[higher] = max(0.0, level - minima[higher])
    return prominence
