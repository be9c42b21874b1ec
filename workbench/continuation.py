r"""Branches of stationary points along a parameter, with their folds and branch points.

A branch is a curve of solutions u = (x, b) of ∇Ψ_b(x) = 0. It is followed by pseudo-arclength continuation: a step
along the tangent t, the null vector of [∇²Ψ | ∂_b∇Ψ], then Newton's method on

    ∇Ψ_b(x) = 0,        t·(u − u_predicted) = 0,

which passes folds as it passes regular points. Between two steps a fold is where the b-component of the tangent changes
sign along with the index, a branch point where only one of them does. Both are solved for, with the null vector φ of
the Hessian and a fixed vector φ₀ near it,

    fold:          ∇Ψ = 0,            ∇²Ψ φ = 0,    φ₀·φ = 1,
    branch point:  ∇Ψ + ε φ₀ = 0,     ∇²Ψ φ = 0,    φ₀·φ = 1,    φ·∂_b∇Ψ = 0,

regular systems, so that Newton's method finds b to rounding. A branch point is a pitchfork where the third derivative
of Ψ along φ vanishes. x is measured in units of the box and b in units of its range; ∂_b∇Ψ is a central difference,
exact where Ψ is affine in b, as a blend is.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.optimize import root

from workbench.checks import require_whole
from workbench.landscape import joined_members, stationary_points
from workbench.potentials import Blend, Potential, require_potential
from workbench.searches import Box, LandscapeWarning

__all__ = ["branches"]

SHORTEST = 1e-6  # of the range: a continuation that needs shorter steps is stuck
TURN = 0.25  # at most, of the tangent in a step
LONGEST = 5000  # points of a branch
ROUNDS = 6  # of ever shorter steps, where branches are not kept apart
DIFFERENCE = 1e-4  # of the range of b, for ∂_b
ASIDE = 1e-2  # of the box, for third and fourth derivatives
CLOSE = 1e-10  # a step of Newton's method that leaves nothing to gain
SAME = 1e-5
SYMMETRIC = 1e-3  # of the box: a third derivative that vanishes as near as that to the point makes it a pitchfork

Array = np.ndarray
Family = Callable[[float], Potential]


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
    among them; `starts` is for those searches, `step` the longest step, in units of box and range; where it proves too
    long to keep branches apart, shorter ones are taken. A branch ends at the ends of the range and at the edge of the
    box.

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
    require_whole(2, seeds=seeds)
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


class _Curves:
    """∇Ψ, ∇²Ψ and ∂_b∇Ψ at u = (y, c), shape (dim + 1,): y in units of the box, c in units of the range of b."""

    def __init__(self, family: Family, box: Box, between: tuple[float, float]) -> None:
        self.low, self.width = box.low.cpu().numpy().astype(float), box.width.cpu().numpy().astype(float)
        self.start, self.span = between[0], between[1] - between[0]
        self.known: dict[bytes, Array] = {}
        self.at = lru_cache(maxsize=16)(lambda c: family(self.b(c)))

    def x(self, u: Array) -> Array:
        return self.low + self.width * u[..., :-1]

    def b(self, c: float) -> float:
        return float(self.start + self.span * c)

    @torch.no_grad()
    def slope(self, u: Array) -> Array:
        return np.asarray(self.at(u[-1]).gradient(self.x(u))) * self.width

    @torch.no_grad()
    def bend(self, u: Array) -> Array:
        return np.asarray(self.at(u[-1]).hessian(self.x(u))) * np.outer(self.width, self.width)

    def drift(self, u: Array) -> Array:
        before, after = max(0.0, u[-1] - DIFFERENCE), min(1.0, u[-1] + DIFFERENCE)
        return (self.slope(np.append(u[:-1], after)) - self.slope(np.append(u[:-1], before))) / (after - before)

    def jacobian(self, u: Array) -> Array:
        key = u.tobytes()
        if key not in self.known:
            self.known[key] = np.column_stack([self.bend(u), self.drift(u)])
        return self.known[key]

    def tangent(self, u: Array) -> Array:
        return np.linalg.svd(self.jacobian(u))[2][-1]

    def corrected(self, u: Array, t: Array) -> tuple[Array, int] | None:
        """Return the solution on the plane through u across t, and the steps of Newton's method; None if it fails.

        The Jacobian of the last step serves as long as steps shrink well.
        """
        foot, before, size = u, np.inf, np.inf
        for k in range(1, 16):
            if not -1e-9 <= u[-1] <= 1 + 1e-9:
                return None
            residual = np.append(self.slope(u), t @ (u - foot))
            if not np.isfinite(residual).all():
                return None
            if k == 1 or size > 0.2 * before:  # the first time, or where the last steps shrank badly
                jacobian = np.vstack([self.jacobian(u), t])
                if not np.isfinite(jacobian).all():
                    return None
            before = size
            move = np.linalg.lstsq(jacobian, residual, rcond=None)[0]
            u, size = u - move, float(np.linalg.norm(move))
            if size < CLOSE:
                return u, k
        return None


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
        self.curves = _Curves(family, Box.of(family(between[0]), within), between)
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
        return self._bifurcations(len(self.branches) - 1)

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
            ds = min(ds, self._longest(u), max(self._longest(u + ds * t), ds / 4))
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
            if (turns or changes) and not self._solved(path[k], path[k + 1], fold=turns and changes, branch=number):
                unsolved.append(((path[k] + path[k + 1]) / 2, float(np.linalg.norm(path[k + 1] - path[k]))))
        return unsolved

    def _solved(self, before: Array, after: Array, *, fold: bool, branch: int) -> bool:
        """Solve for the bifurcation between two points of a branch, keep it unless it is known, or return False.

        At a branch point ε is zero. Where it is not, branches pass each other at a distance: the step has jumped.
        """
        curves, n = self.curves, len(before) - 1
        values, vectors = zip(*(np.linalg.eigh(curves.jacobian(u)[:, :-1]) for u in (before, after)), strict=True)
        place = [int(np.abs(v).argmin()) for v in values]
        near = [values[side][place[side]] for side in (0, 1)]
        share = near[0] / (near[0] - near[1]) if near[0] * near[1] < 0 else 0.5
        phi = vectors[0][:, place[0]]
        guess = (1 - share) * before + share * after
        size = np.abs(values[0]).max()

        def fold_system(z: Array) -> Array:
            u, v = z[: n + 1], z[n + 1 :]
            return np.concatenate([curves.slope(u) / size, curves.bend(u) @ v / size, [phi @ v - 1]])

        def branch_system(z: Array) -> Array:
            u, v, e = z[: n + 1], z[n + 1 : -1], z[-1]
            slope = curves.slope(u) / size + e * phi
            return np.concatenate([slope, curves.bend(u) @ v / size, [phi @ v - 1, v @ curves.drift(u) / size]])

        z = np.concatenate([guess, phi, [] if fold else [0.0]])
        found = root(fold_system if fold else branch_system, z, tol=1e-14)
        u, phi = found.x[: n + 1], found.x[n + 1 : 2 * n + 1]
        apart = np.linalg.norm(after - before)
        jumped = not fold and abs(found.x[-1]) > 1e-9
        if jumped or np.abs(found.fun).max() > 1e-9 or np.linalg.norm(u - guess) > 2 * apart:
            return False
        if all(np.linalg.norm(u - known) > SAME for known, _, _ in self.special):
            self.special.append((u, "fold" if fold else self._meeting(u, phi / np.linalg.norm(phi)), branch))
        return True

    def _meeting(self, u: Array, phi: Array) -> str:
        """Return the kind of a branch point with null vector φ, from the derivatives of Ψ along φ."""
        along = np.append(phi, 0.0)
        less, here, more = (phi @ self.curves.bend(u + s * along) @ phi for s in (-ASIDE, 0.0, ASIDE))
        third, fourth = (more - less) / (2 * ASIDE), (more - 2 * here + less) / ASIDE**2
        return "pitchfork" if abs(third) < SYMMETRIC * abs(fourth) else "transcritical"

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
