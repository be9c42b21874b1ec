r"""Stationary points of a potential, ∇Ψ(x) = 0: minima, saddles of every index, and maxima.

Batched searches start from many points; their end points are kept where Newton's step is short enough, and points that
coincide are merged. Every point that is returned is stationary to the given tolerance. How often each was found tells
how many are probably missing (see `completeness`), and more searches follow until hardly any is. All is done in natural
units, so that an answer does not depend on those of x and Ψ.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.checks import require_integer
from workbench.dataset.variables import state_labels, variable
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.answers import stationary
from workbench.landscape.eigenvector_following import NEWTON
from workbench.landscape.found_points import FoundPoints
from workbench.landscape.reuse import remembered
from workbench.landscape.starts import between_minima, hollows
from workbench.potentials.box import Box, landscape_in, sobol
from workbench.potentials.bridge import evaluated, rows_of
from workbench.potentials.ensembles import over_members
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential, Sampled, Symmetric, attributes_of, units_of

__all__ = ["stationary_points"]

PER_MEMBER = ("missing", "missing_minima", "missing_saddles", "starts", "flat")  # attributes: the largest of any member
MISSING = {0: "missing_minima", 1: "missing_saddles"}  # attributes, by index


def stationary_points(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    *,
    starts: int | ArrayLike = 256,
    also: ArrayLike | None = None,
    index: int | None = None,
    seed: int = 0,
    tolerance: float = 1e-9,
    budget: int = 16,
) -> xr.Dataset:
    """Find the stationary points of Ψ inside a box: minima, saddles of every index, maxima.

    Three searches leave every starting point: Newton's method, which converges to any index, a descent to minima, and
    eigenvector following along the lowest eigenvector to saddles of index 1. If `index` is given, one search follows
    that many eigenvectors uphill, and only nondegenerate points of that index are returned; this is the efficient way
    to find all minima in many dimensions.

    Parameters
    ----------
    potential : Potential
        Any potential. The members of an ensemble are analysed one by one.
    within : sequence of (float, float)
        Box to search, one pair (low, high) per state.
    starts : int or array_like
        Number of Sobol points of the box to start from, or the starting points, shape (start, dim). With a number,
        searches also start in the hollows of a sample of four times as many states, at most 1024, and between
        neighbouring minima, and more Sobol points follow while minima or index-1 saddles (or points of the given index)
        seem to be missing.
    also : array_like, optional
        Further starting points, such as the data, shape (start, dim).
    index : int, optional
        Number of negative Hessian eigenvalues of the points to find; by default points of every index.
    seed : int
        Seed of the Sobol points.
    tolerance : float
        A point is stationary if Newton's step there is at most `tolerance` along every eigenvector of the Hessian, in
        units of the box, or is made of rounding errors. Points closer than 1e-5 of the box are merged.
    budget : int, default: 16
        Largest number of Sobol points, as a multiple of `starts`.

    Returns
    -------
    xarray.Dataset
        The points along ``point``, sorted by index, then by potential, with the coordinate ``kind(point)``, "minimum",
        "saddle" or "maximum"; "degenerate" where an eigenvalue is zero at that point alone. Of a continuous family of
        points, along which Ψ does not change, one is returned, and its zero eigenvalues count for nothing. Ensembles
        have the coordinate ``member(point)``, states of unlike units the coordinate ``unit(state)``. Variables, in the
        units that the potential knows:

        - ``x(point, state)`` and ``potential(point)``;
        - ``residual(point)``, the norm of the gradient, without a unit if those of the states are unlike;
        - ``eigenvalue(point, state)``, the eigenvalues of the Hessian in ascending order, likewise;
        - ``index(point)``, the number of negative eigenvalues;
        - ``zero_modes(point)``, the number of directions along which Ψ does not change;
        - ``found(point)``, the number of searches that ended there;
        - ``extent(point)``, for potentials that declare their symmetries by `zero_modes`: the extent of the family, as
          √det of the scalar products of the velocities of x under them;
        - ``inside_data(point)``, boolean, for potentials that know the box of their data: false marks an
          extrapolation. (An exact system, too, is extrapolated outside its domain of definition.)

        The attribute ``gauge`` states where the potential is zero; ``missing_minima`` and ``missing_saddles`` (of index
        1) how many of them were probably not found, by Chao's estimate; ``starts`` the number of Sobol points in the
        end; ``flat`` the part of the box in which Ψ does not change, if there is any.

    Raises
    ------
    ValueError
        If the box, `starts`, `also` or `index` is not as described.
    LandscapeError
        If the potential is constant over the box, or not finite at any starting point.
    TypeError
        If `potential` is not a potential, or changes in time.

    Warns
    -----
    LandscapeWarning
        If points stand for continuous families, if Ψ does not change in a part of the box, or if the potential is not
        finite at some starting points.

    References
    ----------
    C. J. Cerjan, W. H. Miller, J. Chem. Phys. 75, 2800-2806 (1981), doi:10.1063/1.442352.

    A. Chao, Scand. J. Stat. 11, 265-270 (1984).

    I. M. Sobol', USSR Comput. Math. Math. Phys. 7, 86-112 (1967), doi:10.1016/0041-5553(67)90144-9.

    Examples
    --------
    >>> import systems
    >>> found = stationary_points(systems.get("gene_circuit", b=1.0), within=[(0, 2), (0, 2)])
    >>> found.kind.values.tolist(), found.x.values[2].round(6).tolist()
    (['minimum', 'minimum', 'saddle'], [0.813477, 0.813477])
    """
    potential, box = landscape_in(potential, within)
    require_integer(budget=budget)
    if index is not None and not 0 <= index <= len(potential.states):
        raise ValueError(f"index must be between 0 and {len(potential.states)}, the number of states; got {index!r}")
    count = int(starts) if isinstance(starts, int | np.integer) else 0
    x0 = sobol(box, count, seed) if count or np.ndim(starts) == 0 else rows_of(potential, starts, "starts").double()
    if also is not None:
        x0 = torch.cat([x0, rows_of(potential, also, "also").double()])
    rule = _Rule(index, float(tolerance), int(seed), count, count * int(budget))
    attrs: list[dict[str, float]] = []

    def points(one: Landscape, _: int | None) -> xr.Dataset:
        found = _stationary_points(one, x0, box, rule)
        attrs.append({name: value for name, value in found.attrs.items() if name in PER_MEMBER})
        return found

    found = over_members(potential, points)
    names = dict.fromkeys(name for one in attrs for name in one)
    return found.assign_attrs({name: max(one.get(name, 0) for one in attrs) for name in names})


@dataclass(frozen=True)
class _Rule:
    """What is sought, and how: index, tolerance, seed, number of Sobol points at first, and at most."""

    index: int | None
    tolerance: float
    seed: int
    count: int
    most: int

    @property
    def climbs(self) -> list[int]:
        """The searches that leave every start."""
        return [NEWTON, 0, 1] if self.index is None else [self.index]

    @property
    def required(self) -> list[int]:
        """The indices of which hardly any point may be missing."""
        return [0, 1] if self.index is None else [self.index]


@remembered
@torch.no_grad()
def _stationary_points(potential: Landscape, x0: Tensor, box: Box, rule: _Rule) -> xr.Dataset:
    """Return the dataset of one member, by searches from x0, shape (start, dim)."""
    natural = Natural(potential, box)
    y0 = _usable(natural, natural.y(x0))
    points = FoundPoints(natural, rule.tolerance)
    low, even = hollows(natural, rule.count, rule.seed) if rule.count else (y0[:0], y0[:0])
    points.add([(torch.cat([y0, low if climb == 0 else even]), climb) for climb in rule.climbs])
    started = rule.count or len(y0)
    if rule.count and rule.index in (None, 1):
        points.add([(between_minima(natural, points.y[points.of_index(0)]), 1)])
    while rule.count and started < rule.most and points.incomplete(rule.required):
        more = sobol(box, 2 * started, rule.seed)[started:]
        points.add([(natural.y(more), climb) for climb in rule.climbs])
        started += len(more)
    found = _dataset(points, rule).assign_attrs(starts=started)
    flat = points.flat_part(y0)
    if flat:
        found.attrs["flat"] = flat
    _warn(points, flat)
    return found


def _usable(natural: Natural, y: Tensor) -> Tensor:
    """Return the starting points, shape (start, dim), at which Ψ is finite; raise or warn where there are none."""
    level, gradient, _ = evaluated(natural, y, 1)
    finite = torch.isfinite(gradient).all(-1) & torch.isfinite(level)
    lost = int((~finite).sum())
    if lost == len(y):
        raise LandscapeError(
            f"the potential is not finite at any of the {lost} starting points, such as {natural.x(y[0]).tolist()}; "
            "check its formula, or choose a box where it is defined"
        )
    if not gradient[finite].abs().max() > 0:
        raise LandscapeError(
            "the potential is flat over the box: its gradient is zero at every starting point; fit a new model first"
        )
    if lost:
        first = natural.x(y[~finite][0]).tolist()
        warnings.warn(
            f"the potential is not finite at {lost} of {len(y)} starting points, such as {first}; they are left out",
            LandscapeWarning,
            stacklevel=8,
        )
    return y[finite]


def _dataset(points: FoundPoints, rule: _Rule) -> xr.Dataset:
    """Return the dataset of the points that were sought."""
    natural, potential, units = points.natural, points.natural.potential, units_of(points.natural.potential)
    at = natural.x(points.y)
    psi = evaluated(potential, at, 1)
    x, level, residual = (one.cpu().numpy() for one in (at, psi.value, psi.gradient.norm(dim=-1)))
    index, modes, degenerate = (a.cpu().numpy() for a in (points.index, points.zero.sum(-1), points.degenerate))
    found = stationary(x, level, points.eigenvalues(), units, degenerate, index=index, zero_modes=modes)
    found["residual"] = variable("point", residual, "norm of the gradient", units.of("gradient"))
    found["found"] = variable("point", points.found.cpu().numpy(), "number of searches that ended there", "1")
    text = "number of directions along which the potential does not change"
    found["zero_modes"] = variable("point", modes, text, "1")
    if isinstance(potential, Symmetric):
        fields = np.asarray(potential.zero_modes(x), dtype=float)
        extent = np.sqrt(np.linalg.det(fields @ fields.swapaxes(-1, -2)).clip(0))
        found["extent"] = variable("point", extent, "extent of the family of points under the symmetries")
    if isinstance(potential, Sampled):
        inside = np.asarray(potential.inside_data(x), dtype=bool)
        found["inside_data"] = variable("point", inside, "inside the box of the data")
    height = (level - natural.level) / natural.spread
    order = np.lexsort((*points.y.cpu().numpy().round(6).T[::-1], height.round(9), index))
    found = found.isel(point=order)
    if rule.index is not None:
        found = found.isel(point=((found["index"] == rule.index) & (found["kind"] != "degenerate")).values)
    missing = {MISSING.get(k, "missing"): points.missing(k) for k in rule.required}
    labels = {"point": np.arange(found.sizes["point"]), **state_labels(potential.states, units)}
    return found.assign_coords(labels).assign_attrs(attributes_of(potential) | missing)


def _warn(points: FoundPoints, flat: float) -> None:
    """Warn of flat regions and of continuous families."""
    if flat >= 0.01:
        warnings.warn(
            f"no slope in {flat:.0%} of the box: searches that start there find nothing; narrow within=…, or pass "
            "states near the wells as also=…",
            LandscapeWarning,
            stacklevel=8,
        )
    if len(points.valleys):
        warnings.warn(
            f"Ψ does not change along a valley of the box, such as at {_short(points.natural.x(points.valleys[0]))}: "
            "its floor is no stationary point and is left out",
            LandscapeWarning,
            stacklevel=8,
        )
    moved = points.zero.any(-1)
    if moved.any():
        k = int(torch.nonzero(moved)[0])
        modes = int(points.zero[k].sum())
        along = points.model.vectors[k, :, points.zero[k]][:, 0] * points.natural.unit
        large = torch.nonzero(along.abs() > 1e-6 * along.abs().max())[:, 0]
        states = [points.natural.states[i] for i in large.tolist()]
        which = f"nothing depends on {states[0]}" if len(states) == 1 else f"such as along {_short(along)} at"
        at = "" if len(states) == 1 else f" {_short(points.natural.x(points.y[k]))}"
        warnings.warn(
            f"{int(moved.sum())} of {len(moved)} stationary points stand for continuous families, along which Ψ does "
            f"not change: {modes} zero mode{'s' if modes > 1 else ''} ({which}{at}), divided out of the index",
            LandscapeWarning,
            stacklevel=8,
        )


def _short(vector: Tensor) -> str:
    """Return a vector as text, with four digits."""
    text = ", ".join(f"{v:.4g}" for v in vector[:6].tolist())
    return f"({text}{', …' if len(vector) > 6 else ''})"
