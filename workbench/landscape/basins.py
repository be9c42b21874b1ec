"""Basins of attraction: the minimum to which steepest descent ẋ = −∇Ψ(x) leads from each starting point.

The minima are those in which the descents end, so every minimum that a starting point reaches is found. In two
dimensions the separatrix is bracketed between neighbouring grid points of different basins and refined by subdivision.
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
from workbench.dataset.variables import state_labels, variable
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.eigenvector_following import search
from workbench.landscape.families import model_at, zero_modes
from workbench.landscape.quadratic import SETTLED_NOISE, QuadraticModel, quadratic_model
from workbench.landscape.steepest_descent import LOST, SADDLE, minima_reached
from workbench.potentials.box import Box, distinct, landscape_in
from workbench.potentials.bridge import evaluated, rows_of
from workbench.potentials.ensembles import over_members
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential, attributes_of, units_of

__all__ = ["basins"]

ABSENT = -3  # label where a member has fewer points of the separatrix than another
BRACKET_PARTS = 10  # parts into which a bracket of the separatrix is cut per refinement
BRACKET_REFINEMENTS = 3
LARGEST_GRID = 2_000_000  # starting points


def basins(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    *,
    resolution: int = 51,
    starts: ArrayLike | None = None,
    wells: ArrayLike | None = None,
) -> xr.Dataset:
    """Assign each starting point to the minimum that steepest descent reaches from it.

    Starting points are the points of a grid over a box, or `starts`. Minima are numbered in order of increasing
    potential; minima given as `wells` come first, in their order, so that labels agree between members.

    Parameters
    ----------
    potential : Potential
        Landscape; each member of an ensemble has its own basins.
    within : sequence of (float, float)
        One (low, high) per state: the box of the grid, which also sets the unit of length.
    resolution : int, default: 51
        Grid points per side, at least 2; not used with `starts`.
    starts : array_like, optional
        Starting points, shape (start, dim); by default the grid.
    wells : array_like, optional
        States near the minima to be numbered first, shape (well, dim).

    Returns
    -------
    xarray.Dataset
        Ensembles add a leading dimension ``member``. Variables, in the units that the potential knows:

        - ``label``, with one dimension per state on a grid, such as ``label(x1, x2)``, or ``label(start)`` for
          `starts`: index of the minimum along ``well``; −1 where the descent ends at another stationary point (the
          starting point is on the separatrix); −2 where it leaves the box by more than half a side, meets a value that
          is not finite, or does not converge;
        - ``well_x(well, state)`` and ``well_potential(well)``, the minima;
        - ``basin_fraction(well)``, the fraction of the starting points in each basin;
        - ``x(start, state)``, only with `starts`;
        - ``separatrix(boundary, state)`` and ``between(boundary, side)``, only on a two-dimensional grid: points of the
          separatrix, accurate to a thousandth of the grid spacing, and the labels on its two sides; NaN and −3 where
          a member has fewer of them than another.

        The attribute ``gauge`` states where the potential is zero.

    Raises
    ------
    TypeError
        If `potential` is not a potential, or changes in time.
    ValueError
        If the shape of `within`, `starts` or `wells` is wrong, a state is not finite, `resolution` is below 2, or the
        grid has more than 2 000 000 points.
    LandscapeError
        If no starting point reaches a minimum, there is no minimum near one of `wells`, or two of them relax to the
        same minimum.

    Warns
    -----
    LandscapeWarning
        If the Hessian at a minimum has a zero eigenvalue.

    Examples
    --------
    >>> import systems
    >>> found = basins(systems.get("gene_circuit", b=1.0), [(0, 2), (0, 2)], starts=[[0.2, 0.3], [0.3, 0.2], [1, 1]])
    >>> found.label.values.tolist(), found.well_x.values[0].round(3).tolist()
    ([0, 1, -1], [0.406, 1.544])
    """
    potential, box = landscape_in(potential, within)
    axes: list[Tensor] = [] if starts is not None else _axes(box, resolution)
    grid = (
        rows_of(potential, starts, "starts")
        if starts is not None
        else torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    )
    near = None if wells is None else rows_of(potential, wells, "wells")
    return over_members(potential, lambda one, _: _basins(one, box, grid, axes, near), {"between": ABSENT})


def _axes(box: Box, resolution: int) -> list[Tensor]:
    """Return the coordinates of a grid over the box along every state, shape (resolution,) each."""
    require_integer(2, resolution=resolution)
    dim = len(box.low)
    if resolution**dim > LARGEST_GRID:
        raise ValueError(
            f"a grid of {resolution} points per side has {resolution**dim} points in {dim} dimensions, more than "
            f"{LARGEST_GRID}; lower resolution or pass starts=…"
        )
    return list((box.low + torch.linspace(0, 1, int(resolution)).to(box.low)[:, None] * box.width).T)


@torch.no_grad()
def _basins(potential: Landscape, box: Box, grid: Tensor, axes: list[Tensor], near: Tensor | None) -> xr.Dataset:
    """Return the dataset of one member, for starting points on a grid with these axes, or a list without axes."""
    natural = Natural(potential, box)
    known = None if near is None else _relaxed(natural, natural.y(near))
    label, minima = minima_reached(natural, natural.y(grid).reshape(-1, grid.shape[-1]), known)
    if not len(minima):
        lost = float((label == LOST).double().mean())
        raise LandscapeError(
            f"none of the {len(label)} starting point(s) reaches a minimum: {lost:.0%} leave the box by more than half "
            "a side, or meet values that are not finite, and the others rest at saddles. Either the valleys go on "
            "outside within=…, which should then be widened, or the potential has no bottom"
        )
    psi = evaluated(natural, minima, 2)
    _warn_degenerate(natural, minima, quadratic_model(psi.gradient, psi.hessian, natural.resolution))
    label, order = _sorted(psi.value, label, minima, 0 if known is None else len(known))
    minima = minima[order]
    x = natural.x(minima)
    level = evaluated(potential, x, 0).value
    found = _dataset(potential, label.reshape(grid.shape[:-1]).cpu().numpy(), x, level, axes)
    length = units_of(potential).of("state")
    if not axes:
        found["x"] = variable(("start", "state"), grid.cpu().numpy(), "starting point", length)
    if len(axes) == 2:
        boundary, between = _separatrix(natural, natural.y(grid), label.reshape(grid.shape[:-1]), minima)
        found["separatrix"] = variable(("boundary", "state"), natural.x(boundary), "separatrix", length)
        sides = "basins on either side of the separatrix"
        found["between"] = variable(("boundary", "side"), between, sides, "1", description=f"{ABSENT}: no such point")
        found = found.assign_coords(boundary=np.arange(len(boundary)))
    return found


def _dataset(potential: Landscape, label: np.ndarray, minima: Tensor, level: Tensor, axes: list[Tensor]) -> xr.Dataset:
    """Return the dataset of labels, on a grid or of shape (start,), and minima, (well, dim), with Ψ there, (well,)."""
    units, dims = units_of(potential), potential.states if axes else ("start",)
    fraction = np.array([(label == k).mean() for k in range(len(minima))])
    note = f"{SADDLE}: on the separatrix; {LOST}: left the box or did not converge"
    variables = {
        "label": variable(dims, label, "basin", "1", description=note),
        "well_x": variable(("well", "state"), minima.cpu().numpy(), "minimum", units.of("state")),
        "well_potential": variable("well", level.cpu().numpy(), "potential", units.of("potential")),
        "basin_fraction": variable("well", fraction, "fraction of the starting points", "1"),
    }
    coords: dict[str, Any] = {"well": np.arange(len(minima)), **state_labels(potential.states, units)}
    for name, axis, unit in zip(potential.states, axes, units.states, strict=False):
        coords[name] = variable(name, axis.cpu().numpy(), name, unit)
    return xr.Dataset(variables, coords=coords, attrs=attributes_of(potential))


def _warn_degenerate(natural: Natural, minima: Tensor, model: QuadraticModel) -> None:
    """Warn of minima, shape (well, dim), with a zero eigenvalue that is not that of a continuous family."""
    degenerate = model.flat.any(-1)
    if degenerate.any():
        degenerate &= ~zero_modes(natural, minima, model, SETTLED_NOISE)[0].any(-1)
    if degenerate.any():
        first = natural.x(minima[degenerate][0]).tolist()
        warnings.warn(
            f"{int(degenerate.sum())} of {len(minima)} minima are degenerate, such as {first}: their number and the "
            "labels depend on the starting points",
            LandscapeWarning,
            stacklevel=7,
        )


def _relaxed(natural: Natural, near: Tensor) -> Tensor:
    """Return the minima to which the given wells relax, shape (well, dim), in natural units."""
    y = search(natural, near, 0)
    found = torch.isfinite(y).all(-1)
    model = model_at(natural, torch.where(found[:, None], y, near))
    found &= model.minimal & model.settled()
    for well, ok in zip(natural.x(near).tolist(), found, strict=True):
        if not ok:
            raise LandscapeError(f"the potential has no minimum near {well} in wells=…; pass a state inside a well")
    if len(distinct(y, natural.box)) < len(y):
        raise LandscapeError(f"two of wells=… relax to the same minimum; the minima are {natural.x(y).tolist()}")
    return y


def _sorted(potential: Tensor, label: Tensor, minima: Tensor, known: int) -> tuple[Tensor, Tensor]:
    """Return labels and the order of minima: the known ones, then by potential, and by position where it is equal."""
    level, x = potential.cpu().numpy().round(9), minima.cpu().numpy()
    ascending = np.lexsort((*x.round(6).T[::-1], level, np.arange(len(x)) >= known))
    order = torch.as_tensor(np.concatenate([np.arange(known), ascending[known:]]) if known else ascending)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return torch.where(label >= 0, rank.to(label.device)[label.clamp_min(0)], label), order


def _separatrix(natural: Natural, grid: Tensor, label: Tensor, minima: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return points between neighbours of different basins, (boundary, 2), and the labels there, (boundary, 2)."""
    pairs = [(grid[:-1], grid[1:], label[:-1], label[1:]), (grid[:, :-1], grid[:, 1:], label[:, :-1], label[:, 1:])]
    found = [[part[a != b] for part in (one, other, a, b)] for one, other, a, b in pairs]
    inner, outer, a, b = (torch.cat(parts) for parts in zip(*found, strict=True))
    fractions = torch.linspace(0, 1, BRACKET_PARTS + 1).to(grid)[:, None, None]
    for _ in range(BRACKET_REFINEMENTS if len(inner) else 0):
        x = inner + fractions * (outer - inner)
        label_inside = minima_reached(natural, x[1:-1].flatten(0, 1), minima)[0]
        same = label_inside.reshape(BRACKET_PARTS - 1, -1) == a
        last = same.int().cumprod(0).sum(0).expand(1, x.shape[-1], -1).mT
        inner, outer = x.gather(0, last)[0], x.gather(0, last + 1)[0]
    return ((inner + outer) / 2).cpu().numpy(), torch.stack([a, b], -1).cpu().numpy()
