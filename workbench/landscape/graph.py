"""Passes: the saddles of index 1, the two minima that each joins, and so the graph of wells and saddles.

A saddle of index 1 has one unstable direction; the two lines of steepest descent that leave along it end in the wells
it joins. Its height over either well is a barrier.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from workbench.errors import LandscapeWarning
from workbench.landscape.box import Box
from workbench.landscape.stationary_points import stationary_points
from workbench.landscape.steepest_descent import minima_reached
from workbench.potentials.ensembles import each_member, joined_members
from workbench.potentials.potential import Potential, require_potential, tensor_options

__all__ = ["graph", "unstable_directions", "joined_minima"]

NUDGE = 1e-3  # of the box: how far from a saddle a descent starts


def graph(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    *,
    points: xr.Dataset | None = None,
    starts: int = 256,
) -> xr.Dataset:
    """Return the minima and saddles of index 1 in a box, and which minima each saddle joins.

    A dataset over `point` as of `stationary_points`, which it takes from `points` where they are known already. For
    saddles joins(point, side) holds the `point` of the minimum on either side, −1 where the descent ends in no minimum
    of the list (it left the box, or ran down to a place where the potential has no minimum), and barrier(point, side)
    the height over that minimum, else NaN. For minima joins is −1 and barrier NaN. Degenerate points are left out, and
    told by a `LandscapeWarning`.

    >>> import systems
    >>> surface = systems.get("muller_brown")
    >>> found = graph(surface, surface.box)
    >>> found.joins.values[3:].tolist(), found.barrier.values[3:].round(2).tolist()
    ([[2, 1], [2, 0]], [[8.52, 35.92], [40.1, 106.03]])
    """
    require_potential(potential)
    found = stationary_points(potential, within, starts=starts) if points is None else points
    if potential.members is None:
        return _graph(potential, within, found)
    parts: list[xr.Dataset] = []
    for k, member in enumerate(each_member(potential)):
        part = _graph(member, within, found.isel(point=(found["member"] == k).values).drop_vars("member"))
        part["joins"] = part["joins"].where(part["joins"] < 0, part["joins"] + sum(p.sizes["point"] for p in parts))
        parts.append(part)
    return joined_members(parts)


def _graph(potential: Potential, within: Sequence[tuple[float, float]], found: xr.Dataset) -> xr.Dataset:
    flat = int((found["kind"] == "degenerate").sum())
    if flat:
        warnings.warn(
            f"{flat} of {found.sizes['point']} stationary points are flat in a direction (kind 'degenerate'): "
            "the graph leaves them out",
            LandscapeWarning,
            stacklevel=4,
        )
    found = found.isel(point=((found["index"] <= 1) & (found["kind"] != "degenerate")).values)
    found = found.assign_coords(point=np.arange(found.sizes["point"]), side=[0, 1])
    minima, saddles = (np.flatnonzero(found["index"] == index) for index in (0, 1))
    joins = np.full((found.sizes["point"], 2), -1)
    saddle, well = (torch.as_tensor(found["x"].values[at], **tensor_options(potential)) for at in (saddles, minima))
    ends = joined_minima(potential, saddle, well, within)
    joins[saddles] = np.where(ends >= 0, minima[ends] if len(minima) else -1, -1)
    psi = found["potential"].values
    barrier = np.where(joins >= 0, psi[:, None] - psi[joins], np.nan)
    found["joins"] = (("point", "side"), joins, {"long_name": "minimum on that side of the saddle", "units": "1"})
    found["barrier"] = (("point", "side"), barrier, {"long_name": "height over that minimum", "units": "1"})
    return found


def joined_minima(
    potential: Potential, saddles: Tensor, minima: Tensor, within: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Return to which of the minima, shape (well, dim), both sides of each saddle lead, (saddle, 2); −1 for none."""
    box = Box.of(potential, within)
    if not (len(saddles) and len(minima)):
        return np.full((len(saddles), 2), -1)
    label, _ = minima_reached(potential, unstable_directions(potential, saddles, box, NUDGE), box, minima)
    label = torch.where(label < len(minima), label, -1).clamp_min(-1)
    return label.reshape(2, -1).T.cpu().numpy()


@torch.no_grad()
def unstable_directions(potential: Potential, saddles: Tensor, box: Box, far: float) -> Tensor:
    """Return points that far from the saddles along the unstable direction: (2 saddles, dim), one side after the other.

    Sides are told by the sign of the largest component of that direction: the first goes up along it, so that equal
    saddles of the members of an ensemble have equal sides.
    """
    direction = torch.linalg.eigh(potential.hessian(saddles)).eigenvectors[..., 0]
    largest = direction.gather(-1, direction.abs().argmax(-1, keepdim=True))
    direction = direction * torch.sign(largest)
    away = far * direction / box.length(direction).unsqueeze(-1)
    return torch.cat([saddles + away, saddles - away])
