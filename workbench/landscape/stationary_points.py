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
from workbench.evaluation import Evaluation
from workbench.landscape.answers import stationary
from workbench.landscape.completeness import ENOUGH, coverage, missing
from workbench.landscape.eigenvector_following import NEWTON, search
from workbench.landscape.families import isolated_zeros, model_at, representatives, zero_modes
from workbench.landscape.quadratic import QuadraticModel, eigh
from workbench.landscape.reuse import remembered
from workbench.landscape.starts import between_minima, hollows
from workbench.potentials.box import SAME_POINT, Box, landscape_in, sobol
from workbench.potentials.bridge import evaluated, rows_of
from workbench.potentials.ensembles import over_members
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential, Sampled, Symmetric, attributes_of, units_of

__all__ = ["stationary_points"]

PER_MEMBER = ("missing", "missing_minima", "missing_saddles", "starts", "flat")  # attributes: the largest of any member
SLACK = 100.0  # how many times the noise of the gradient a component at a stationary point may be
FLAT_REGION = 1e-6  # of the depth of the deepest minimum: a smaller change of Ψ over the box counts as none
LONGEST_BRIDGE = 0.2  # in units of the box: degenerate points closer than this may be one, if all between is stationary


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
    points = _Points(natural, rule)
    low, even = hollows(natural, rule.count, rule.seed) if rule.count else (y0[:0], y0[:0])
    points.add([(torch.cat([y0, low if climb == 0 else even]), climb) for climb in rule.climbs])
    started = len(y0)
    if rule.count and rule.index in (None, 1):
        points.add([(between_minima(natural, points.of_index(0)), 1)])
    while rule.count and started < rule.most and points.incomplete():
        more = sobol(box, 2 * started, rule.seed)[started:]
        points.add([(natural.y(more), climb) for climb in rule.climbs])
        started += len(more)
    found = points.dataset().assign_attrs(starts=started)
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


class _Points:
    """Stationary points as they are found: where, how often, and the quadratic model about each."""

    def __init__(self, natural: Natural, rule: _Rule) -> None:
        self.natural, self.rule = natural, rule
        dim = len(natural.states)
        self.y = torch.zeros((0, dim), dtype=torch.float64, device=natural.device)
        self.found = self.y[:, 0].long()  # how often
        self.zero = self.y.bool()  # zero modes, along the eigenvectors
        self.degenerate = self.y[:, 0].bool()
        self.valleys = self.y  # states at the edge of flat valleys
        self.model: QuadraticModel = model_at(natural, self.y)

    def add(self, searches: Sequence[tuple[Tensor, int]]) -> None:
        """Search from states, shape (start, dim), climbing along so many eigenvectors, and keep what is new."""
        y0 = torch.cat([start for start, _ in searches])
        climb = torch.tensor([climb for _, climb in searches], device=y0.device)
        y = search(self.natural, y0, climb.repeat_interleave(torch.tensor([len(start) for start, _ in searches])))
        y = y[torch.isfinite(y).all(-1) & self.natural.box.contains(y)]
        model = model_at(self.natural, y)
        kept = model.stationary(self.rule.tolerance, SLACK) & (model.largest[:, 0] > 0)
        y, model = y[kept], model.at(kept)
        best = (model.components / model.largest).norm(dim=-1).argsort()
        y, model = y[best], model.at(best)
        first, count = _grouped(y, model)
        self._join(y[first], count, model.at(first))

    def _join(self, y: Tensor, count: Tensor, model: QuadraticModel) -> None:
        """Join distinct points and how often each was found to those known."""
        natural = self.natural
        zero, edge = zero_modes(natural, y, model, SLACK)
        inner = ~edge.any(-1)
        self.valleys = torch.cat([self.valleys, y[~inner]])
        y, count, zero, model = y[inner], count[inner], zero[inner], model.at(inner)
        moved = zero.any(-1)
        if moved.any():
            kept = torch.ones_like(moved)
            y[moved], kept[moved] = representatives(natural, y[moved], zero.sum(-1)[moved])
            self.valleys = torch.cat([self.valleys, y[~kept]])
            kept &= natural.box.contains(y)
            y, count, zero = y[kept], count[kept], zero[kept]
            model = model_at(natural, y)
            rank = model.values.abs().argsort(-1).argsort(-1)
            zero = rank < zero.sum(-1, keepdim=True)
        degenerate = (model.flat & ~zero).any(-1)
        softest = ~zero.any(-1) & ~degenerate
        degenerate[softest] = isolated_zeros(natural, y[softest], model.at(softest))
        y, count = torch.cat([self.y, y]), torch.cat([self.found, count])
        zero, degenerate = torch.cat([self.zero, zero]), torch.cat([self.degenerate, degenerate])
        model = self.model.joined(model)
        first, counts = _grouped(y, model, count, wide=zero.any(-1))
        first, counts = self._bridged(y, first, counts, degenerate)
        self.y, self.found, self.model = y[first], counts, model.at(first)
        self.zero, self.degenerate = zero[first], degenerate[first]

    def _bridged(self, y: Tensor, first: Tensor, counts: Tensor, degenerate: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows and counts without degenerate points that are joined to others by stationary states."""
        kept = torch.ones_like(first, dtype=torch.bool)
        place = torch.nonzero(degenerate[first])[:, 0]
        for k in place.tolist():
            others = place[kept[place] & (place > k)] if kept[k] else place[:0]
            step = y[first[others]] - y[first[k]]
            others, step = (a[step.norm(dim=-1) < LONGEST_BRIDGE] for a in (others, step))
            for fraction in (0.25, 0.5, 0.75):
                if len(others):
                    between = model_at(self.natural, y[first[k]] + fraction * step)
                    same = between.stationary(100 * SAME_POINT, SLACK**2) | (between.largest[:, 0] == 0)
                    others, step = others[same], step[same]
            kept[others] = False
            counts[k] += counts[others].sum()
        return first[kept], counts[kept]

    @property
    def index(self) -> Tensor:
        """Number of negative eigenvalues of each point, shape (point,); zero ones count as none."""
        return ((self.model.values < 0) & ~self.model.flat & ~self.zero).sum(-1)

    def of_index(self, index: int) -> Tensor:
        """Return the points of an index that are not degenerate, shape (point, dim)."""
        return self.y[(self.index == index) & ~self.degenerate]

    def missing(self, index: int) -> float:
        """Return the estimated number of points of an index that were not found."""
        return missing(self.found[(self.index == index) & ~self.degenerate].cpu().numpy())

    def incomplete(self) -> bool:
        """Return whether further searches are due: points are missing, and searches mostly find known ones."""
        own = [self.found[(self.index == k) & ~self.degenerate].cpu().numpy() for k in self.rule.required]
        return any(missing(found) >= ENOUGH and coverage(found) > 0.5 for found in own)

    def flat_part(self, y0: Tensor) -> float:
        """Return the part of the starting points, shape (start, dim), about which Ψ does not change."""
        level, gradient, _ = evaluated(self.natural, torch.cat([y0, self.of_index(0)]), 1)
        below = level[: len(y0)].median() - level[len(y0) :]
        depth = float(below.clamp_min(0).max()) if len(below) else 0.0
        return float((gradient[: len(y0)].norm(dim=-1) <= FLAT_REGION * depth).double().mean())

    def dataset(self) -> xr.Dataset:
        """Return the dataset of the points."""
        natural, rule = self.natural, self.rule
        potential, x = natural.potential, natural.x(self.y)
        psi = evaluated(potential, x, 2)
        found = _points(natural, x, psi, self)
        found = found.assign_attrs(missing_minima=self.missing(0), missing_saddles=self.missing(1))
        if rule.index is None:
            return found
        del found.attrs["missing_minima"], found.attrs["missing_saddles"]
        found = found.isel(point=((found["index"] == rule.index) & (found["kind"] != "degenerate")).values)
        name = {0: "missing_minima", 1: "missing_saddles"}.get(rule.index, "missing")
        return found.assign_coords(point=np.arange(found.sizes["point"])).assign_attrs({name: self.missing(rule.index)})


def _grouped(
    y: Tensor, model: QuadraticModel, count: Tensor | None = None, wide: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the first row of each group of coinciding points, and how often they were found in all, both (group,).

    Points coincide if they differ by at most `SAME_POINT`, or by less than Newton's step can tell, along every
    eigenvector at the first of them; those with `wide` by at most a hundred times that.
    """
    count = torch.ones_like(y[:, 0], dtype=torch.long) if count is None else count
    remaining, first, counts = torch.arange(len(y), device=y.device), [], []
    while len(remaining):
        k = remaining[0]
        near = SAME_POINT * (100 if wide is not None and wide[k] else 1)
        reach = (SLACK * model.noise[k] / model.values[k].abs().maximum(1e-8 * model.largest[k])).clamp(near, 0.01)
        same = ((y[remaining] - y[k]) @ model.vectors[k]).abs().le(reach).all(-1)
        first.append(k)
        counts.append(count[remaining[same]].sum())
        remaining = remaining[~same]
    return (torch.stack(first), torch.stack(counts)) if first else (remaining, remaining)


def _warn(points: _Points, flat: float) -> None:
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


def _points(natural: Natural, x: Tensor, psi: Evaluation, points: _Points) -> xr.Dataset:
    """Return the dataset of the points x, shape (point, dim), given Ψ there."""
    potential = natural.potential
    units = units_of(potential)
    index, modes, degenerate = (a.cpu().numpy() for a in (points.index, points.zero.sum(-1), points.degenerate))
    place, level = x.cpu().numpy(), psi.value.cpu().numpy()
    found = stationary(place, level, _eigenvalues(natural, points), units, degenerate, index=index, zero_modes=modes)
    residual = psi.gradient.norm(dim=-1).cpu().numpy()
    found["residual"] = variable("point", residual, "norm of the gradient", units.of("gradient"))
    found["found"] = variable("point", points.found.cpu().numpy(), "number of searches that ended there", "1")
    text = "number of directions along which the potential does not change"
    found["zero_modes"] = variable("point", modes, text, "1")
    if isinstance(potential, Symmetric):
        fields = np.asarray(potential.zero_modes(place), dtype=float)
        extent = np.sqrt(np.linalg.det(fields @ fields.swapaxes(-1, -2)).clip(0))
        text = "extent of the family of points under the symmetries, up to that of the group"
        found["extent"] = variable("point", extent, text)
    if isinstance(potential, Sampled):
        inside = np.asarray(potential.inside_data(x.cpu().numpy()), dtype=bool)
        found["inside_data"] = variable("point", inside, "inside the box of the data")
    level = evaluated(natural, points.y, 0).value.cpu().numpy()
    order = np.lexsort((*points.y.cpu().numpy().round(6).T[::-1], level.round(9), found["index"].values))
    found = found.isel(point=order).assign_coords(point=np.arange(len(order)), **state_labels(potential.states, units))
    return found.assign_attrs(attributes_of(potential))


def _eigenvalues(natural: Natural, points: _Points) -> np.ndarray:
    """Return the eigenvalues of ∇²Ψ in the units of x and Ψ, shape (point, dim)."""
    model, unit = points.model, natural.unit
    if not len(points.y) or bool((unit == unit[0]).all()):
        return (model.values * natural.spread / unit[0] ** 2).cpu().numpy()
    largest = unit.max()
    hessian = evaluated(natural, points.y, 2).hessian * torch.outer(largest / unit, largest / unit)
    return (eigh(hessian, unit)[0] * (natural.spread / largest**2)).cpu().numpy()
