r"""Folds and branch points on curves of stationary points, located to rounding error.

With the null vector φ of the Hessian and a fixed vector φ₀ near it, both kinds solve a regular extended system,

    fold:          ∇Ψ = 0,            ∇²Ψ φ = 0,    φ₀·φ = 1,
    branch point:  ∇Ψ + ε φ₀ = 0,     ∇²Ψ φ = 0,    φ₀·φ = 1,    φ·∂_b∇Ψ = 0,

for (u, φ) and (u, φ, ε) with u = (x, b); at a branch point ε = 0. A branch point is a pitchfork where the third
derivative of Ψ along φ vanishes, and transcritical otherwise.

References
----------
W. J. F. Govaerts, Numerical Methods for Bifurcations of Dynamical Equilibria, SIAM (2000),
doi:10.1137/1.9780898719543.
"""

import numpy as np
from scipy.optimize import root

from workbench.landscape.curves import Array, Curves

__all__ = ["bifurcation_at", "bifurcation_between"]

CURVATURE_INCREMENT = 1e-2  # in units of the box, for the third and fourth derivatives along φ
LEAST_CURVATURE = 1e-3  # in units of the box and of the spread of Ψ: unit of the equations at degenerate points
PITCHFORK_OFFSET = 1e-6  # in units of the box: a pitchfork's third derivative vanishes within this distance


def bifurcation_at(curves: Curves, u: Array, *, reach: float) -> tuple[Array, str] | None:
    """Return the bifurcation within a distance of a point, shape (dim + 1,), and its kind; None if there is none."""
    for fold in (False, True):  # a branch point also solves the equations of a fold
        try:
            found = bifurcation_between(curves, u, u, fold=fold, reach=reach)
        except (ValueError, ArithmeticError):  # the family is not defined beyond the end of the range
            continue
        if found is not None:
            return found
    return None


def bifurcation_between(
    curves: Curves, before: Array, after: Array, *, fold: bool, reach: float | None = None
) -> tuple[Array, str] | None:
    """Return the bifurcation between two points of a branch, shape (dim + 1,), and its kind; None if there is none.

    It is at most `reach`, by default twice their distance, from where it is expected.

    A solution with ε ≠ 0 is no branch point: two branches pass close to each other, and the step jumped between them.
    """
    dim = len(before) - 1
    values, vectors = zip(*(np.linalg.eigh(curves.jacobian(u)[:, :-1]) for u in (before, after)), strict=True)
    softest = [int(np.abs(v).argmin()) for v in values]
    eigenvalue = [values[side][softest[side]] for side in (0, 1)]
    crosses_zero = eigenvalue[0] * eigenvalue[1] < 0
    fraction = eigenvalue[0] / (eigenvalue[0] - eigenvalue[1]) if crosses_zero else 0.5
    phi = vectors[0][:, softest[0]]
    guess = (1 - fraction) * before + fraction * after
    scale = max(np.abs(values[0]).max(), LEAST_CURVATURE)

    def fold_system(z: Array) -> Array:
        u, v = z[: dim + 1], z[dim + 1 :]
        hessian, gradient = curves.hessian(u), curves.gradient(u)
        return np.concatenate([gradient / scale, hessian @ v / scale, [phi @ v - 1]])

    def branch_system(z: Array) -> Array:
        u, v, e = z[: dim + 1], z[dim + 1 : -1], z[-1]
        hessian, gradient, by_b = curves.hessian(u), curves.gradient(u), curves.gradient_by_b(u)
        return np.concatenate([gradient / scale + e * phi, hessian @ v / scale, [phi @ v - 1, v @ by_b / scale]])

    z = np.concatenate([guess, phi, [] if fold else [0.0]])
    rough = {"eps": curves.resolution**0.5} if curves.resolution > 1e-12 else {}
    found = root(fold_system if fold else branch_system, z, tol=1e-14, options=rough)
    u, null = found.x[: dim + 1], found.x[dim + 1 : 2 * dim + 1]
    slack = max(1e-9, 100 * curves.resolution * _change_of_curvature(curves, guess, phi) / scale)
    jumped = not fold and abs(found.x[-1]) > slack
    reach = 2 * float(np.linalg.norm(after - before)) if reach is None else reach
    if jumped or np.abs(found.fun).max() > slack or np.linalg.norm(u - guess) > reach:
        return None
    return u, "fold" if fold else _kind_of_branch_point(curves, u, null / np.linalg.norm(null))


def _change_of_curvature(curves: Curves, u: Array, phi: Array) -> float:
    """Return how much the Hessian changes per side of the box along φ, shape (dim,), at least 1."""
    step = CURVATURE_INCREMENT * np.append(phi, 0.0)
    change = np.abs(curves.hessian(u + step) - curves.hessian(u - step)).max() / (2 * CURVATURE_INCREMENT)
    return max(1.0, float(change))


def _kind_of_branch_point(curves: Curves, u: Array, phi: Array) -> str:
    """Return the kind of a branch point with null vector φ, shape (dim,), from the derivatives of Ψ along φ."""
    along = np.append(phi, 0.0)
    h = CURVATURE_INCREMENT
    a, c, e, f, g = (phi @ curves.hessian(u + s * h * along) @ phi for s in (-1.0, -0.5, 0.0, 0.5, 1.0))
    third, fourth = (8 * (f - c) - (g - a)) / (6 * h), (g - 2 * e + a) / h**2
    rounding = (1e-13 + curves.resolution) * max(abs(g), abs(a)) / h
    return "pitchfork" if abs(third) < PITCHFORK_OFFSET * abs(fourth) + rounding else "transcritical"
