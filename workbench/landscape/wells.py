"""Wells and what counts as one: minima with their prominence, and three counts of the modes of a fit.

The prominence of a minimum is how far one must climb from it to reach a lower one: the level of the lowest pass, less
its own. Passes are the saddles of index 1, from which a path falls to a minimum on either side, and the highest points
of the straight lines between minima, which find the passes that are no stationary points (kinks) and, in one dimension,
all of them. Taken from the lowest up, a pass joins two minima, and the higher of the two is absorbed (the elder rule of
persistent homology). In more dimensions a prominence is at most too large, where no saddle was found on the best way.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from workbench.landscape.graph import joined_minima
from workbench.landscape.stationary_points import stationary_points
from workbench.potentials.ensembles import each_member, joined_members
from workbench.potentials.potential import Potential, require_potential, tensor_options

if TYPE_CHECKING:
    pass

__all__ = ["wells"]


def wells(potential: Potential, within: Sequence[tuple[float, float]], *, starts: int = 256) -> xr.Dataset:
    """Return the minima of Ψ inside a box, lowest first, with `prominence` and `share`.

    Only the box counts: its lowest minimum has infinite prominence, even where a lower one lies outside.

    A dataset over `point` as of `stationary_points`. `prominence` is in units of Ψ (see the module), `share` the weight
    of the mode that speaks loudest at the minimum, for potentials that have modes: near 1 where the well is one mode's.

    >>> import systems
    >>> wells(systems.get("asymmetric_quartic"), within=[(-3, 3)]).prominence.values.round(4)
    array([   inf, 0.2833])
    """
    require_potential(potential)
    if potential.members is not None:
        return joined_members([wells(member, within, starts=starts) for member in each_member(potential)])
    found = stationary_points(potential, within, starts=starts)
    minima = found.isel(point=(found["kind"] == "minimum").values).sortby("potential")
    passes = found.isel(point=((found["index"] == 1) & (found["kind"] != "degenerate")).values).sortby("potential")
    minima = minima.assign_coords(point=np.arange(minima.sizes["point"]))
    prominence = _prominence(
        minima["potential"].values, _sides(potential, minima, passes, within) + _lines(potential, minima)
    )
    minima["prominence"] = ("point", prominence, {"long_name": "climb to a lower minimum", "units": "1"})
    weights = getattr(potential, "mode_weights", None)
    if weights is not None:
        share = np.asarray(weights(minima["x"].values)).max(-1) if len(prominence) else prominence
        minima["mode_weight"] = ("point", share, {"long_name": "largest mode weight", "units": "1"})
    return minima


Pass = tuple[float, int, int]  # level, and the minima on its two sides


def _sides(
    potential: Potential, minima: xr.Dataset, passes: xr.Dataset, within: Sequence[tuple[float, float]]
) -> list[Pass]:
    """Return the saddles with the minima to which their two sides lead down, if both stay in the box."""
    saddle, well = (torch.as_tensor(one["x"].values, **tensor_options(potential)) for one in (passes, minima))
    ends = joined_minima(potential, saddle, well, within).tolist()
    levels = passes["potential"].values
    return [(level, one, other) for level, (one, other) in zip(levels, ends, strict=True) if min(one, other) >= 0]


@torch.no_grad()
def _lines(potential: Potential, minima: xr.Dataset, points: int = 257, zooms: int = 3) -> list[Pass]:
    """Return the highest points of the straight lines between minima, each found by zooming in on it."""
    x = torch.as_tensor(minima["x"].values, **tensor_options(potential))
    pairs = list(itertools.combinations(range(len(x)), 2))
    if not pairs:
        return []
    start, end = (x[[pair[k] for pair in pairs]].unsqueeze(1) for k in (0, 1))
    low, high = (torch.full_like(start[:, :, :1], limit) for limit in (0.0, 1.0))
    steps = torch.linspace(0, 1, points, dtype=x.dtype, device=x.device)[:, None]
    for _ in range(zooms):
        share = low + (high - low) * steps
        values = potential.value(start + share * (end - start))
        top = values.argmax(-1, keepdim=True).unsqueeze(-1).clamp(1, points - 2)
        low, high = share.gather(1, top - 1), share.gather(1, top + 1)
    levels = values.amax(-1).tolist()
    return [(level, *pair) for level, pair in zip(levels, pairs, strict=True)]


def _prominence(minima: np.ndarray, passes: Sequence[Pass]) -> np.ndarray:
    """Return the prominence of minima given lowest first; that of the lowest is infinite."""
    prominence, leader = np.full(len(minima), np.inf), list(range(len(minima)))

    def lowest(k: int) -> int:
        while leader[k] != k:
            k = leader[k]
        return k

    for level, one, other in sorted(passes):
        deeper, higher = sorted((lowest(one), lowest(other)))
        if deeper != higher:
            leader[higher] = deeper
            prominence[higher] = max(0.0, level - minima[higher])
    return prominence
