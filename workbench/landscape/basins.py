"""Basins of attraction: to which minimum steepest descent ẋ = −∇Ψ(x) leads from every start, and where that changes.

Minima are found by falling into them, so none that a start reaches is missed. In two dimensions the separatrix is
bracketed between neighbouring grid points of different basins and narrowed down.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.checks import require_integer
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.box import FLAT, Box, distinct
from workbench.landscape.eigenvector_following import search
from workbench.landscape.steepest_descent import LOST, SADDLE, minima_reached
from workbench.potentials.ensembles import each_member
from workbench.potentials.potential import Potential, require_potential, rows_of

__all__ = ["basins"]

PARTS, ROUNDS = 10, 3  # a bracket is cut into that many parts, and the right one again, that often
LARGEST = 2_000_000  # starts


def basins(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    *,
    resolution: int = 51,
    starts: ArrayLike | None = None,
    wells: ArrayLike | None = None,
) -> xr.Dataset:
    """Return which minimum each start falls to: the points of a grid over a box, or `starts`, shape (start, dim).

    The grid has `resolution` points a side, and label(x1, …) has one dimension for each state; with `starts` it is
    label(start). A label is a place in well_x(well, state), well_potential(well) and share(well), the share of the
    starts that fall there; −1 where the descent rests at a saddle (the start is on the separatrix), −2 where it is
    lost: it left the box by more than half a side, met a value that is not finite, or found no rest. On a grid of two
    states separatrix(boundary, state) holds points where neighbours fall apart, to a thousandth of the grid's spacing,
    and between(boundary, side) their labels.

    Wells are numbered from the lowest up. With `wells`, near the minima and with shape (well, dim), those come first,
    in their order, so that labels agree between the members of an ensemble, which gain a leading dimension member.
    Wells given that are no minima or the same, and starts none of which finds a minimum, raise `LandscapeError`; minima
    that are flat in a direction are told by a `LandscapeWarning`.

    >>> import systems
    >>> found = basins(systems.get("gene_circuit", b=1.0), [(0, 2), (0, 2)], starts=[[0.2, 0.3], [0.3, 0.2], [1, 1]])
    >>> found.label.values.tolist(), found.well_x.values[0].round(3).tolist()
    ([0, 1, -1], [0.406, 1.544])
    """
    require_potential(potential)
    box, dim = Box.of(potential, within), len(potential.states)
    if starts is None:
        require_integer(2, resolution=resolution)
        if resolution**dim > LARGEST:
            raise ValueError(
                f"a grid of {resolution} points a side has {resolution**dim} points in {dim} dimensions; "
                "choose a lower resolution, or give starts"
            )
        axes = list((box.low + torch.linspace(0, 1, int(resolution)).to(box.low)[:, None] * box.width).T)
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    else:
        axes, grid = [], rows_of(potential, starts, "starts")
    near = None if wells is None else rows_of(potential, wells, "wells")
    if potential.members is None:
        return _basins(potential, box, grid, axes, near)
    parts = [_basins(one, box, grid, axes, near) for one in each_member(potential)]
    return xr.concat(parts, "member", join="outer").assign_coords(member=np.arange(len(parts)))


@torch.no_grad()
def _basins(potential: Potential, box: Box, grid: Tensor, axes: list[Tensor], near: Tensor | None) -> xr.Dataset:
    known = None if near is None else _relaxed(potential, near, box)
    label, minima = minima_reached(potential, grid.reshape(-1, grid.shape[-1]), box, known)
    if not len(minima):
        raise LandscapeError(
            f"none of {len(label)} starts comes to rest in a minimum: the potential has none there, "
            "is unbounded below, or is not finite"
        )
    _tell_flat(potential, minima)
    label, minima = _ordered(potential, label, minima, 0 if known is None else len(known))
    share = np.array([(label == k).double().mean().item() for k in range(len(minima))])
    lead = potential.states if axes else ("start",)
    variables: dict[str, Any] = {
        "label": (lead, label.reshape(grid.shape[:-1]).cpu().numpy(), {"long_name": "basin", "units": "1"}),
        "well_x": (("well", "state"), minima.cpu().numpy(), {"long_name": "minimum", "units": "1"}),
        "well_potential": ("well", potential.value(minima).cpu().numpy(), {"long_name": "potential", "units": "1"}),
        "basin_fraction": ("well", share, {"long_name": "fraction of the starting points", "units": "1"}),
    }
    variables["label"][2]["description"] = f"{SADDLE}: on the separatrix; {LOST}: left the box or found no rest"
    coords: dict[str, Any] = {"well": np.arange(len(minima)), "state": list(potential.states)}
    if axes:
        coords |= {
            name: (name, axis.cpu().numpy(), {"long_name": name, "units": "1"})
            for name, axis in zip(potential.states, axes, strict=True)
        }
    else:
        variables["x"] = (("start", "state"), grid.cpu().numpy(), {"long_name": "start", "units": "1"})
    if len(axes) == 2:
        at, between = _separatrix(potential, box, grid, label.reshape(grid.shape[:-1]), minima)
        variables["separatrix"] = (("boundary", "state"), at, {"long_name": "separatrix", "units": "1"})
        variables["between"] = (
            ("boundary", "side"),
            between,
            {"long_name": "basins on its sides", "units": "1"},
        )
    return xr.Dataset(variables, coords=coords)


def _tell_flat(potential: Potential, minima: Tensor) -> None:
    bend = torch.linalg.eigvalsh(potential.hessian(minima))
    flat = (bend <= FLAT * bend[:, -1:]).any(-1)
    if flat.any():
        first = minima[flat][0].tolist()
        warnings.warn(
            f"{int(flat.sum())} of {len(minima)} minima are flat in a direction, such as {first}: where they are a "
            "continuum their number, and so the labels, follow the starts",
            LandscapeWarning,
            stacklevel=4,
        )


def _relaxed(potential: Potential, near: Tensor, box: Box) -> Tensor:
    x = search(potential, near, box, 0)
    bend = torch.linalg.eigvalsh(potential.hessian(x).nan_to_num() * torch.outer(box.width, box.width))
    slope = (potential.gradient(x) * box.width).norm(dim=-1)
    for well, ok in zip(near.tolist(), (bend[:, 0] >= 0) & (slope <= 1e-6 * bend[:, -1]), strict=True):
        if not ok:
            raise LandscapeError(f"the potential has no minimum near the well given at {well}")
    if len(distinct(x, box)) < len(x):
        raise LandscapeError(f"two of the wells given are the same: they relax to {x.tolist()}")
    return x


def _ordered(potential: Potential, label: Tensor, minima: Tensor, known: int) -> tuple[Tensor, Tensor]:
    """Return labels and minima with those beyond the known ones numbered from the lowest up, equal ones by place."""
    level, x = potential.value(minima).cpu().numpy().round(9), minima.cpu().numpy()
    later = np.lexsort((*x.round(9).T[::-1], level, np.arange(len(x)) >= known))
    order = torch.as_tensor(np.concatenate([np.arange(known), later[known:]]) if known else later)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return torch.where(label >= 0, place.to(label.device)[label.clamp_min(0)], label), minima[order]


def _separatrix(
    potential: Potential, box: Box, grid: Tensor, label: Tensor, minima: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return points between neighbours of different basins, (boundary, 2), and the labels there, (boundary, 2)."""
    pairs = [(grid[:-1], grid[1:], label[:-1], label[1:]), (grid[:, :-1], grid[:, 1:], label[:, :-1], label[:, 1:])]
    found = [[part[a != b] for part in (one, other, a, b)] for one, other, a, b in pairs]
    inner, outer, a, b = (torch.cat(parts) for parts in zip(*found, strict=True))
    cut = torch.linspace(0, 1, PARTS + 1).to(grid)[:, None, None]
    for _ in range(ROUNDS if len(inner) else 0):
        x = inner + cut * (outer - inner)
        same = minima_reached(potential, x[1:-1].flatten(0, 1), box, minima)[0].reshape(PARTS - 1, -1) == a
        last = same.int().cumprod(0).sum(0).expand(1, x.shape[-1], -1).mT
        inner, outer = x.gather(0, last)[0], x.gather(0, last + 1)[0]
    return ((inner + outer) / 2).cpu().numpy(), torch.stack([a, b], -1).cpu().numpy()
