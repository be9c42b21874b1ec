r"""Branches of stationary points along a parameter, with their folds and branch points.

A branch is a curve of solutions u = (x, b) of ∇Ψ_b(x) = 0. It is followed by pseudo-arclength continuation: a step
along the tangent t, the null vector of [∇²Ψ | ∂_b∇Ψ], then Newton's method on

    ∇Ψ_b(x) = 0,        t·(u − u_predicted) = 0,

which passes folds as it passes regular points. Between two steps a fold is where the b-component of the tangent changes
sign along with the index, a branch point where only one of them does; both are then solved for (see `bifurcations`).
At a branch point the null space of [∇²Ψ | ∂_b∇Ψ] is a plane; the other branch is met a little across t in that plane.
x is measured in units of the box and b in units of its range (see `curves`).
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.errors import LandscapeWarning
from workbench.landscape.bifurcations import solved
from workbench.landscape.box import Box
from workbench.landscape.curves import Array, Curves, Family
from workbench.landscape.stationary_points import stationary_points
from workbench.potentials.blend import Blend
from workbench.potentials.ensembles import joined_members
from workbench.potentials.potential import require_potential

__all__ = ["branches"]

SHORTEST = 1e-6  # of the range: a continuation that needs shorter steps is stuck
TURN = 0.25  # at most, of the tangent in a step
LONGEST = 5000  # points of a branch
ROUNDS = 6  # of ever shorter steps, where branches are not kept apart
SAME = 1e-5  # points as near as that, in units of box and range, are one


def branches(
    family: Blend | Family,
    within: Sequence[tuple[float, float]],
    between: tuple[float, float] = (0.0, 1.0),
    *,
    seeds: int = 3,
    starts: int = 64,
    step: float = 0.02,
) -> xr.Dataset:
    """Return the branches of stationary points of Ψ_b in a box as b runs through a range, and where they meet or turn.

    `family` is a `Blend`, or a function of b that returns a potential, such as `lambda b: systems.get("gene_circuit",
    b=b)`. Branches are seeded from all stationary points at `seeds` values of b evenly spread over the range, its ends
    among them, and from the branch points met; `starts` is for those searches, `step` the longest step, in units of box
    and range; where it proves too long to keep branches apart, shorter ones are taken. A branch ends at the ends of the
    range and at the edge of the box.

    The dataset holds, over `point`, with the coordinate branch(point): x(point, state), b, potential,
    eigenvalue(point, state), index and kind; and over `bifurcation`: bifurcation_x(bifurcation, state), bifurcation_b,
    bifurcation_kind ("fold", "pitchfork", "transcritical") and bifurcation_branch, the first branch it was met on.
    Ensembles gain the coordinates member(point) and bifurcation_member(bifurcation). A branch that cannot be followed
    to its end is told by a `LandscapeWarning`. Isolated loops of points between two seeds are not seen: raise `seeds`.

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
        raise ValueError(f"step is a share of the range, above 0 and at most 0.2, got {step!r}")
    first = family.at(b=low) if isinstance(family, Blend) else family(low)
    require_potential(first)

    def of(member: int | None) -> xr.Dataset:
        return _Atlas(_member(family, member), within, (low, high), starts, step).charted(int(seeds))

    if first.members is None:
        return of(None)
    parts = [of(k) for k in range(first.members)]
    points = joined_members([p.drop_dims("bifurcation") for p in parts])
    owner = np.repeat(np.arange(len(parts)), [p.sizes["bifurcation"] for p in parts])
    special = xr.concat([p.drop_dims("point") for p in parts], "bifurcation")
    special = special.assign_coords(bifurcation=np.arange(len(owner)), bifurcation_member=("bifurcation", owner))
    return xr.merge([points, special])


def _member(family: Blend | Family, member: int | None) -> Family:
    """Return the plain family of one member; parts of a blend are taken apart once."""
    if isinstance(family, Blend):
        one = [p if p.members is None else p.member(member) for p in (family.first, family.second)]  # type: ignore[attr-defined]
        blend = Blend(one[0], one[1], family.schedule)
        return lambda b: blend.at(b=b)
    return family if member is None else lambda b: family(b).member(member)  # type: ignore[attr-defined]


class _Atlas:
    """All branches of a family: seeds, continuation, bifurcations, and the dataset."""

    def __init__(
        self,
        family: Family,
        within: Sequence[tuple[float, float]],
        between: tuple[float, float],
        starts: int,
        step: float,
    ) -> None:
        self.within, self.starts, self.step = within, starts, step
        self.curves = Curves(family, Box.of(family(between[0]), within), between)
        self.branches: list[Array] = []
        self.special: list[tuple[Array, str, int]] = []
        self.narrows: list[tuple[Array, float]] = []  # where steps of a length were too long

    def charted(self, seeds: int) -> xr.Dataset:
        """Return all branches, followed again with shorter steps wherever steps failed to keep branches apart."""
        seeded = [
            np.append((x - self.curves.low) / self.curves.width, c)
            for c in np.linspace(0, 1, seeds)
            for x in stationary_points(self.curves.at(float(c)), self.within, starts=self.starts)["x"].values
        ]
        for _ in range(ROUNDS):
            self.branches, self.special = [], []
            unsolved = [jump for u in seeded for jump in self._charted(u)]
            if not unsolved:
                return self._dataset()
            self.narrows += unsolved
        warnings.warn(
            f"the bifurcation near b = {self.curves.b(unsolved[0][0][-1]):g} could not be told: branches may be "
            "confused",
            LandscapeWarning,
            stacklevel=3,
        )
        return self._dataset()

    def _longest(self, u: Array) -> float:
        """Return the longest step at u: a quarter of those that have failed nearby."""
        return min([self.step, *(size / 4 for at, size in self.narrows if np.linalg.norm(u - at) < 4 * size)])

    def _charted(self, u: Array) -> list[tuple[Array, float]]:
        """Follow the branch through u unless it is known; return the steps that hide what could not be solved for."""
        if self._visited(u):
            return []
        self.branches.append(self._whole(u))
        known = len(self.special)
        unsolved = self._bifurcations(len(self.branches) - 1)
        for at, kind, number in self.special[known:]:
            for other in [] if kind == "fold" else self._switched(at, self.branches[number]):
                unsolved += self._charted(other)
        return unsolved

    def _switched(self, at: Array, path: Array) -> list[Array]:
        """Return points on the branch that meets a path at a bifurcation, on both sides of it."""
        nearest = np.linalg.norm(path - at, axis=-1).argmin()
        t = path[min(nearest + 1, len(path) - 1)] - path[max(nearest - 1, 0)]
        plane = np.linalg.svd(self.curves.jacobian(at))[2][-2:]  # of the tangents of both branches
        t = plane.T @ (plane @ t)
        across = plane.T @ np.array([-plane[1] @ t, plane[0] @ t]) / np.linalg.norm(t)
        far = min(self._longest(at), 0.02)
        found = [self.curves.corrected(at + side * far * across, across) for side in (1, -1)]
        return [one[0] for one in found if one is not None and ((one[0] >= 0) & (one[0] <= 1)).all()]

    def _visited(self, u: Array) -> bool:
        """Return whether a branch passes through u; it is made exact at that b where it comes near."""
        across = np.append(np.zeros(len(u) - 1), 1.0)
        for path in self.branches:
            c = path[:, -1] - u[-1]
            for k in np.flatnonzero((c[:-1] * c[1:] <= 0) & (c[:-1] != c[1:])):
                share = c[k] / (c[k] - c[k + 1])
                near = (1 - share) * path[k] + share * path[k + 1]
                near[-1] = u[-1]
                if np.linalg.norm(near - u) < 2 * self.step:
                    exact = self.curves.corrected(near, across)
                    if exact is not None and np.linalg.norm(exact[0] - u) < SAME:
                        return True
        return False

    def _whole(self, u: Array) -> Array:
        """Return the branch through u, followed both ways, shape (point, dim + 1)."""
        t = self.curves.tangent(u)
        ahead, closed = self._followed(u, t)
        if closed:
            return ahead
        behind, _ = self._followed(u, -t)
        return np.concatenate([behind[:0:-1], ahead])

    def _followed(self, u: Array, t: Array) -> tuple[Array, bool]:
        path, ds = [u], self._longest(u) / 4
        if (u[-1] <= 0 and t[-1] < 0) or (u[-1] >= 1 and t[-1] > 0):
            return np.array(path), False
        while len(path) < LONGEST:
            ds = min(ds, self._longest(u), max(self._longest(u + ds * t), ds / 4))  # shorter before a narrow, by and by
            ahead = u + ds * t
            end = min(max(ahead[-1], 0.0), 1.0)
            last = end != ahead[-1]
            across = np.append(np.zeros(len(u) - 1), 1.0) if last else t
            if last:
                ahead = u + (end - u[-1]) / t[-1] * t
            found = self.curves.corrected(ahead, across)
            turn = None if found is None else self._oriented(found[0], t)
            far = np.linalg.norm(ahead - u)
            if found is None or turn is None or np.linalg.norm(found[0] - ahead) > 0.3 * far + 1e-9:
                ds /= 2
                if ds < SHORTEST:
                    self._tell(u)
                    return np.array(path), False
                continue
            u, t = found[0], turn
            if last:
                u[-1] = end  # without rounding, so that what is sought there is found there
            path.append(u)
            if last or not ((u[:-1] >= 0) & (u[:-1] <= 1)).all():
                return np.array(path), False
            if len(path) > 3 and np.linalg.norm(u - path[0]) < 0.75 * ds and t @ (path[1] - path[0]) > 0:
                return np.array([*path, path[0]]), True
            ds = min(self.step, 1.5 * ds) if found[1] <= 6 else ds
        self._tell(u)
        return np.array(path), False

    def _oriented(self, u: Array, t: Array) -> Array | None:
        """Return the tangent at u on the side of t, None where it turns too far."""
        turned = self.curves.tangent(u)
        turned = turned * np.sign(turned @ t)
        return turned if np.linalg.norm(turned - t) < TURN else None

    def _tell(self, u: Array) -> None:
        warnings.warn(
            f"a branch could not be followed beyond b = {self.curves.b(u[-1]):g} at {self.curves.x(u).tolist()}; try a "
            "smaller step",
            LandscapeWarning,
            stacklevel=2,
        )

    def _bifurcations(self, number: int) -> list[tuple[Array, float]]:
        """Solve for the bifurcations of a branch; return middle and length of the steps in which that fails."""
        path, unsolved = self.branches[number], []
        tangents = [self.curves.tangent(u) for u in path]
        for k in range(1, len(tangents)):
            tangents[k] *= np.sign(tangents[k] @ (path[k] - path[k - 1]))
        tangents[0] *= np.sign(tangents[0] @ (path[min(1, len(path) - 1)] - path[0])) or 1.0
        index = [(np.linalg.eigvalsh(self.curves.jacobian(u)[:, :-1]) < 0).sum() for u in path]
        for k in range(len(path) - 1):
            turns, changes = tangents[k][-1] * tangents[k + 1][-1] < 0, index[k] != index[k + 1]
            if not (turns or changes):
                continue
            found = solved(self.curves, path[k], path[k + 1], fold=turns and changes)
            if found is None:
                unsolved.append(((path[k] + path[k + 1]) / 2, float(np.linalg.norm(path[k + 1] - path[k]))))
            elif all(np.linalg.norm(found[0] - known) > SAME for known, _, _ in self.special):
                self.special.append((*found, number))
        return unsolved

    def _dataset(self) -> xr.Dataset:
        curves, dim = self.curves, len(self.curves.low)
        u = np.concatenate(self.branches) if self.branches else np.zeros((0, dim + 1))
        owner = np.repeat(np.arange(len(self.branches)), [len(path) for path in self.branches])
        level = np.array([float(curves.at(row[-1]).value(curves.x(row))) for row in u])
        scale = np.outer(curves.width, curves.width)
        bends = [curves.jacobian(row)[:, :-1] / scale for row in u]
        eigenvalue = np.array([np.linalg.eigvalsh(bend) for bend in bends]).reshape(-1, dim)
        index = (eigenvalue < 0).sum(-1)
        kind = np.where(index == 0, "minimum", np.where(index == dim, "maximum", "saddle")).astype("U10")
        turn = np.array([one for one, _, _ in self.special]).reshape(-1, dim + 1)
        columns: dict[str, Any] = {
            "x": (("point", "state"), curves.x(u), "stationary point"),
            "b": ("point", curves.b(0) + curves.span * u[:, -1], "parameter"),
            "potential": ("point", level, "potential"),
            "eigenvalue": (("point", "state"), eigenvalue, "eigenvalue of the Hessian, in ascending order along state"),
            "index": ("point", index, "number of negative eigenvalues"),
            "bifurcation_x": (("bifurcation", "state"), curves.x(turn), "bifurcation"),
            "bifurcation_b": ("bifurcation", curves.b(0) + curves.span * turn[:, -1], "parameter at the bifurcation"),
            "bifurcation_branch": ("bifurcation", np.array([k for *_, k in self.special], dtype=int), "branch"),
        }
        variables: dict[str, Any] = {
            name: (dims, values, {"long_name": text, "units": "1"}) for name, (dims, values, text) in columns.items()
        }
        variables["kind"] = ("point", kind, {"long_name": "kind of stationary point"})
        kinds = np.array([k for _, k, _ in self.special], dtype="U13")
        variables["bifurcation_kind"] = ("bifurcation", kinds, {"long_name": "kind of bifurcation"})
        coords = {
            "point": np.arange(len(u)),
            "branch": ("point", owner),
            "bifurcation": np.arange(len(turn)),
            "state": list(curves.at(0.0).states),
        }
        return xr.Dataset(variables, coords=coords)
