r"""Branches of stationary points of a family Ψ_b along b, with their folds and branch points.

A branch is a curve of solutions u = (x, b) of ∇Ψ_b(x) = 0. Pseudo-arclength continuation follows it: a step along the
tangent t, the null vector of [∇²Ψ | ∂_b∇Ψ], predicts the next point, and Newton's method on

    ∇Ψ_b(x) = 0,        t·(u − u_predicted) = 0,

corrects it; the system remains regular at folds. Between two steps there is a fold where both the b-component of the
tangent and the index change, and a branch point where only one of them does; either is then located exactly (see
`bifurcations`). At a branch point the null space of [∇²Ψ | ∂_b∇Ψ] is a plane, and the second branch is entered by a
short step in that plane normal to t. x is scaled by the box and b by its range (see `curves`).
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.dataset.variables import Units, state_labels, variable
from workbench.errors import LandscapeWarning
from workbench.landscape.answers import stationary
from workbench.landscape.bifurcations import bifurcation_at_end, bifurcation_between, folds_beside, with_turns
from workbench.landscape.curves import SAME_SOLUTION, Array, Curves, Family
from workbench.landscape.stationary_points import stationary_points
from workbench.potentials.blend import Blend, parameter_unit
from workbench.potentials.box import Box
from workbench.potentials.bridge import Remembering, require_potential
from workbench.potentials.ensembles import member_of, over_members
from workbench.potentials.potential import Ensemble, Landscape, Potential, TimeVarying, attributes_of, units_of

__all__ = ["branches"]

# All lengths are in units of the box and of the range of b.
SHORTEST_CONTINUATION_STEP = 1e-6  # a branch that needs a shorter one is given up
LARGEST_TURN = 0.25  # largest change of the unit tangent in a step
MOST_BRANCH_POINTS = 5000
MOST_CONTINUATIONS = 6  # each repeats the last with shorter steps where branches were not kept apart


def branches(
    family: TimeVarying | Family,
    within: Sequence[tuple[float, float]],
    between: tuple[float, float] = (0.0, 1.0),
    *,
    seeds: int = 3,
    starts: int = 64,
    step: float = 0.02,
) -> xr.Dataset:
    """Follow the branches of stationary points of Ψ_b in a box and locate their folds and branch points.

    Continuation starts from the stationary points at a few values of b and from every branch point found. Branches end
    at the limits of b and where they leave the box; bifurcations at the limits are among those returned. A branch that
    no seed and no branch point touches, such as a closed loop between two seeds, is missed: increase `seeds`. Two folds
    within a step are found where the branch is steep beside them; other bifurcations within one step of each other may
    be missed: reduce `step`. Two of a kind closer than 1e-5 of the box and of the range count as one. The attributes
    `step`, `seeds` and `starts` state what was searched.

    Parameters
    ----------
    family : TimeVarying or callable
        Family Ψ_b: a landscape that changes in time, such as a `Blend`, or a function of b that returns a potential,
        such as ``lambda b: systems.get("gene_circuit", b=b)``. Each member of an ensemble has its own branches.
    within : sequence of (float, float)
        Box of x, one (low, high) per state.
    between : tuple of (float, float), default: (0.0, 1.0)
        Range of b, (low, high).
    seeds : int, default: 3
        Number of evenly spaced values of b at which stationary points are sought, including both limits; at least 2.
    starts : int, default: 64
        Number of starting points of each of these searches (see `stationary_points`).
    step : float, default: 0.02
        Longest continuation step, in units of the box and of the range of b, at most 0.2. Steps are shortened
        automatically where branches are not kept apart.

    Returns
    -------
    xarray.Dataset
        The branches, one after the other along ``point``, with the coordinates ``branch(point)`` and ``kind(point)``,
        "minimum", "saddle" or "maximum"; and their bifurcations along ``bifurcation``, with the coordinate
        ``bifurcation_kind(bifurcation)``, "fold", "pitchfork" or "transcritical". Ensembles add the coordinates
        ``member(point)`` and ``bifurcation_member(bifurcation)``. Variables, in the units that the potential knows:

        - ``x(point, state)``, ``b(point)`` and ``potential(point)``;
        - ``eigenvalue(point, state)``, the eigenvalues of the Hessian in ascending order, without a unit if those of
          the states are unlike;
        - ``index(point)``, the number of negative eigenvalues;
        - ``bifurcation_x(bifurcation, state)`` and ``bifurcation_b(bifurcation)``;
        - ``bifurcation_branch(bifurcation)``, the branch on which it was first found.

        The attribute ``parameter`` holds the name of the parameter: of a blend with ``parameter="load"``, ``b`` is
        called ``load``, and ``bifurcation_b`` ``bifurcation_load``. The attribute ``gauge`` states where the potential
        is zero.

    Raises
    ------
    TypeError
        If `family` does not return potentials.
    ValueError
        If `between` is not an increasing pair of finite numbers, `within` has the wrong shape, `seeds` is below 2, or
        `step` is not in (0, 0.2].
    LandscapeError
        If Ψ_b is flat over the box, or finite at none of the starting points, for one of the seeds.

    Warns
    -----
    LandscapeWarning
        If a branch cannot be followed to its end, or a bifurcation cannot be resolved.

    References
    ----------
    E. L. Allgower, K. Georg, Introduction to Numerical Continuation Methods, SIAM (2003),
    doi:10.1137/1.9780898719154.

    W. J. F. Govaerts, Numerical Methods for Bifurcations of Dynamical Equilibria, SIAM (2000),
    doi:10.1137/1.9780898719543.

    Examples
    --------
    >>> import systems
    >>> box = [(0, 2), (0, 2)]
    >>> found = branches(lambda b: systems.get("gene_circuit", b=b), box, (0.2, 0.5), seeds=2, starts=16, step=0.1)
    >>> found.bifurcation_kind.values.tolist(), found.bifurcation_b.values.round(6).tolist()
    (['pitchfork'], [0.35953])
    """
    low, high = (float(b) for b in between)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"between must be two finite numbers (low, high) with low < high, got {between}")
    require_integer(2, seeds=seeds)
    if not 0 < step <= 0.2:
        raise ValueError(f"step is a fraction of the box and of the range of b, 0 < step <= 0.2, got {step!r}")
    named = (family.parameter if isinstance(family, TimeVarying) else "b", parameter_unit(family))

    def diagram(_: Landscape, k: int | None) -> xr.Dataset:
        found = _Diagram(_curves(family, k, within, (low, high)), within, starts, step, named).dataset(int(seeds))
        return found.assign_attrs(step=step, seeds=int(seeds), starts=starts)

    return over_members(_function(family, within)(low), diagram)


def _curves(
    family: TimeVarying | Family,
    index: int | None,
    within: Sequence[tuple[float, float]],
    between: tuple[float, float],
) -> Curves:
    """Return the derivatives of a family, or of one of its members.

    Its potentials remember their last state: those that a blend consists of, so that one evaluation serves all b.
    """
    if index is not None and isinstance(family, TimeVarying) and isinstance(family, Ensemble):
        return _curves(family.member(index), None, within, between)
    box = Box.of(_function(family, within)(between[0]), within)
    if index is None and isinstance(family, Blend) and type(family).at is Blend.at:
        parts = (Remembering(family.first), Remembering(family.second))
        blend = Blend(*parts, family.schedule, family.parameter)
        return Curves(_function(blend, within), box, between, blend.by_parameter())
    function = _function(family, within)
    return Curves(lambda b: Remembering(function(b) if index is None else member_of(function(b), index)), box, between)


def _function(family: TimeVarying | Family, within: Sequence[tuple[float, float]]) -> Callable[[float], Landscape]:
    """Return a family as a function of b."""
    function: Family = partial(_at, family) if isinstance(family, TimeVarying) else family
    return lambda b: require_potential(function(b), len(within))


def _at(family: TimeVarying, b: float) -> Potential:
    """Return the potential of a family at the value b of its parameter."""
    return family.at(**{family.parameter: b})


class _Diagram:
    """Bifurcation diagram of a family without members: all branches, each of shape (point, dim + 1)."""

    def __init__(
        self,
        curves: Curves,
        within: Sequence[tuple[float, float]],
        starts: int,
        step: float,
        parameter: tuple[str, str | None],  # its name and unit
    ) -> None:
        self.curves, self.within, self.starts, self.step, (self.name, self.unit) = (
            curves,
            within,
            starts,
            step,
            parameter,
        )
        self.branches: list[Array] = []
        self.bifurcations: list[tuple[Array, str, int]] = []  # point, kind, branch
        self.failed_steps: list[tuple[Array, float]] = []  # midpoint and length of steps that jumped between branches

    def dataset(self, seeds: int) -> xr.Dataset:
        """Return all branches, followed again with shorter steps near the steps that failed to keep branches apart."""
        seeded = [
            np.append((x - self.curves.low) / self.curves.width, c)
            for c in np.linspace(0, 1, seeds)
            for x in stationary_points(self.curves.at(float(c)), self.within, starts=self.starts)["x"].values
        ]
        seeded = [u for u in seeded if self.curves.has_one_tangent(u)]  # at others branches meet that start elsewhere
        for _ in range(MOST_CONTINUATIONS):
            self.branches, self.bifurcations = [], []
            failed = [one for u in seeded for one in self._follow_from(u)]
            if not failed:
                return self._dataset()
            self.failed_steps += failed
        warnings.warn(
            f"the bifurcation near {self.name} = {self.curves.b(failed[0][0][-1]):g} could not be resolved, and "
            "branches may be joined wrongly there; reduce step=…",
            LandscapeWarning,
            stacklevel=3,
        )
        return self._dataset()

    def _longest_step(self, u: Array) -> float:
        """Return the longest step allowed at u: at most a quarter of the steps that failed nearby."""
        return min([self.step, *(size / 4 for at, size in self.failed_steps if np.linalg.norm(u - at) < 4 * size)])

    def _follow_from(self, u: Array) -> list[tuple[Array, float]]:
        """Follow the branch through u, unless it is known, and all that it meets; return the steps that failed."""
        if any(self.curves.passes(path, u) for path in self.branches):
            return []
        path = self._branch_through(u)
        path = with_turns(self.curves, path) if len(path) > 2 else path
        if len(path) > 1 and any(self.curves.passes(other, path[len(path) // 2]) for other in self.branches):
            return []
        self.branches.append(path)
        known = len(self.bifurcations)
        failed = self._locate_bifurcations(len(self.branches) - 1)
        for at, kind, number in self.bifurcations[known:]:
            for other in [] if kind == "fold" else self._on_other_branches(at, self.branches[number]):
                failed += self._follow_from(other)
        return failed

    def _on_other_branches(self, at: Array, path: Array) -> list[Array]:
        """Return points, one on either side, of the branch that crosses a path at a branch point."""
        nearest = np.linalg.norm(path - at, axis=-1).argmin()
        t = path[min(nearest + 1, len(path) - 1)] - path[max(nearest - 1, 0)]
        plane = np.linalg.svd(self.curves.jacobian(at))[2][-2:]  # spanned by the tangents of both branches
        t = plane.T @ (plane @ t)
        normal = plane.T @ np.array([-plane[1] @ t, plane[0] @ t]) / np.linalg.norm(t)
        distance = min(self._longest_step(at), 0.02)
        found = [self.curves.corrected(at + side * distance * normal, normal) for side in (1, -1)]
        return [one[0] for one in found if one is not None and ((one[0] >= 0) & (one[0] <= 1)).all()]

    def _branch_through(self, u: Array) -> Array:
        """Return the branch through u, followed in both directions, shape (point, dim + 1)."""
        t = self.curves.tangent(u)
        forward, closed = self._followed(u, t)
        if closed:
            return forward
        backward, _ = self._followed(u, -t)
        return np.concatenate([backward[:0:-1], forward])

    def _followed(self, u: Array, t: Array) -> tuple[Array, bool]:
        """Return the branch from u in the direction t, shape (point, dim + 1), and whether it is a closed loop."""
        path, ds = [u], self._longest_step(u) / 4
        if (u[-1] <= 0 and t[-1] < 0) or (u[-1] >= 1 and t[-1] > 0):
            return np.array(path), False
        while len(path) < MOST_BRANCH_POINTS:
            # Shorten steps gradually on the way to a place where steps have failed.
            ds = min(ds, self._longest_step(u), max(self._longest_step(u + ds * t), ds / 4))
            predicted = u + ds * t
            limit = min(max(predicted[-1], 0.0), 1.0)
            last = limit != predicted[-1]
            normal = np.append(np.zeros(len(u) - 1), 1.0) if last else t
            if last:
                predicted = u + (limit - u[-1]) / t[-1] * t
            found = self.curves.corrected(predicted, normal)
            tangent = None if found is None else self._oriented_tangent(found[0], t)
            length = np.linalg.norm(predicted - u)
            if found is None or tangent is None or np.linalg.norm(found[0] - predicted) > 0.3 * length + 1e-9:
                ds /= 2
                if ds < SHORTEST_CONTINUATION_STEP:
                    end = bifurcation_at_end(self.curves, u)
                    if end is not None:
                        return np.array([*path, end[0]]), False
                    self._warn_incomplete(u, "reduce")
                    return np.array(path), False
                continue
            u, t = found[0], tangent
            if last:
                u[-1] = limit  # exactly, so that the stationary points of the seed at this limit are recognised
            path.append(u)
            if last or not ((u[:-1] >= 0) & (u[:-1] <= 1)).all():
                return np.array(path), False
            if len(path) > 3 and np.linalg.norm(u - path[0]) < 0.75 * ds and t @ (path[1] - path[0]) > 0:
                return np.array([*path, path[0]]), True
            ds = min(self.step, 1.5 * ds) if found[1] <= 6 else ds
        self._warn_incomplete(u, f"it has {MOST_BRANCH_POINTS} points, increase")
        return np.array(path), False

    def _oriented_tangent(self, u: Array, t: Array) -> Array | None:
        """Return the tangent at u oriented along t; None if it turns by more than LARGEST_TURN."""
        tangent = self.curves.tangent(u)
        tangent = tangent * np.sign(tangent @ t)
        return tangent if np.linalg.norm(tangent - t) < LARGEST_TURN else None

    def _warn_incomplete(self, u: Array, advice: str) -> None:
        warnings.warn(
            f"a branch could not be followed beyond {self.name} = {self.curves.b(u[-1]):g} at "
            f"x = {self.curves.x(u).tolist()}; {advice} step=…",
            LandscapeWarning,
            stacklevel=2,
        )

    def _locate_bifurcations(self, number: int) -> list[tuple[Array, float]]:
        """Add the bifurcations of a branch; return midpoint and length of the steps where locating one failed."""
        path, failed = self.branches[number], []
        tangents = [self.curves.tangent(u) for u in path]
        for k in range(1, len(tangents)):
            tangents[k] *= np.sign(tangents[k] @ (path[k] - path[k - 1]))
        tangents[0] *= np.sign(tangents[0] @ (path[min(1, len(path) - 1)] - path[0])) or 1.0
        index = [(np.linalg.eigvalsh(self.curves.jacobian(u)[:, :-1]) < 0).sum() for u in path]
        for k in range(len(path) - 1):
            turns, changes = tangents[k][-1] * tangents[k + 1][-1] < 0, index[k] != index[k + 1]
            if not (turns or changes):
                continue
            found = bifurcation_between(self.curves, path[k], path[k + 1], fold=turns and changes)
            at_end = [u for u in path[k : k + 2] if u[-1] in (0.0, 1.0)]
            if found is None and any(bifurcation_at_end(self.curves, u) for u in at_end):
                continue  # it is added below
            if found is None:
                failed.append(((path[k] + path[k + 1]) / 2, float(np.linalg.norm(path[k + 1] - path[k]))))
                continue
            self._add(found, number)
            if found[1] == "transcritical":
                for fold in folds_beside(self.curves, found[0], path[k], path[k + 1]):
                    self._add((fold, "fold"), number)
        for u in (path[0], path[-1]):
            end = bifurcation_at_end(self.curves, u) if u[-1] in (0.0, 1.0) and self.curves.is_soft(u) else None
            if end is not None:
                self._add(end, number)
        return failed

    def _add(self, found: tuple[Array, str], number: int) -> None:
        """Add a bifurcation of a branch unless it is known."""
        same = [np.linalg.norm(found[0] - at) for at, kind, _ in self.bifurcations if kind == found[1]]
        if not same or min(same) > SAME_SOLUTION:
            self.bifurcations.append((*found, number))

    def _dataset(self) -> xr.Dataset:
        """Return the dataset of all branches and bifurcations."""
        curves, potential, dim = self.curves, self.curves.at(0.0), len(self.curves.low)
        u = np.concatenate(self.branches) if self.branches else np.zeros((0, dim + 1))
        level = np.array([curves.potential(row) for row in u])
        scale = np.outer(curves.width, curves.width)
        hessians = [curves.jacobian(row)[:, :-1] * curves.spread / scale for row in u]
        eigenvalue = np.array([np.linalg.eigvalsh(hessian) for hessian in hessians]).reshape(-1, dim)
        units = units_of(potential)
        found = stationary(curves.x(u), level, eigenvalue, units).assign(self._bifurcations(units))
        found[self.name] = variable("point", curves.b(0) + curves.span * u[:, -1], "parameter", self.unit)
        owner = np.repeat(np.arange(len(self.branches)), [len(path) for path in self.branches])
        labels = state_labels(potential.states, units) | {"branch": ("point", owner)}
        return found.assign_coords(labels).assign_attrs(attributes_of(potential), parameter=self.name)

    def _bifurcations(self, units: Units) -> xr.Dataset:
        """Return the dataset of the bifurcations along ``bifurcation``."""
        curves, dims = self.curves, ("bifurcation", "state")
        u = np.array([at for at, _, _ in self.bifurcations]).reshape(-1, len(curves.low) + 1)
        b = curves.b(0) + curves.span * u[:, -1]
        branch = np.array([k for *_, k in self.bifurcations], dtype=int)
        kind = np.array([kind for _, kind, _ in self.bifurcations], dtype="U13")
        variables = {
            "bifurcation_x": variable(dims, curves.x(u), "bifurcation", units.of("state")),
            f"bifurcation_{self.name}": variable("bifurcation", b, "parameter at the bifurcation", self.unit),
            "bifurcation_branch": variable("bifurcation", branch, "branch", "1"),
        }
        labels = {"bifurcation_kind": variable("bifurcation", kind, "kind of bifurcation")}
        return xr.Dataset(variables, coords={"bifurcation": np.arange(len(u)), **labels})
