r"""Folds and branch points on curves of stationary points, solved for to rounding.

With the null vector φ of the Hessian and a fixed vector φ₀ near it,

    fold:          ∇Ψ = 0,            ∇²Ψ φ = 0,    φ₀·φ = 1,
    branch point:  ∇Ψ + ε φ₀ = 0,     ∇²Ψ φ = 0,    φ₀·φ = 1,    φ·∂_b∇Ψ = 0,

are regular systems for (u, φ) and (u, φ, ε), u = (x, b). A branch point is a pitchfork where the third derivative of Ψ
along φ vanishes.
"""

import numpy as np
from scipy.optimize import root

from workbench.landscape.curves import Array, Curves

__all__ = ["solved"]

ASIDE = 1e-2  # of the box, for third and fourth derivatives
SYMMETRIC = 1e-3  # of the box: a third derivative that vanishes as near as that to the point makes it a pitchfork


def solved(curves: Curves, before: Array, after: Array, *, fold: bool) -> tuple[Array, str] | None:
    """Return the bifurcation between two points of a branch, shape (dim + 1,), and its kind; None if it is not found.

    At a branch point ε is zero. Where it is not, branches pass each other at a distance: the step has jumped.
    """
    n = len(before) - 1
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
    u, null = found.x[: n + 1], found.x[n + 1 : 2 * n + 1]
    jumped = not fold and abs(found.x[-1]) > 1e-9
    apart = np.linalg.norm(after - before)
    if jumped or np.abs(found.fun).max() > 1e-9 or np.linalg.norm(u - guess) > 2 * apart:
        return None
    return u, "fold" if fold else _meeting(curves, u, null / np.linalg.norm(null))


def _meeting(curves: Curves, u: Array, phi: Array) -> str:
    """Return the kind of a branch point with null vector φ, from the derivatives of Ψ along φ."""
    along = np.append(phi, 0.0)
    less, here, more = (phi @ curves.bend(u + s * along) @ phi for s in (-ASIDE, 0.0, ASIDE))
    third, fourth = (more - less) / (2 * ASIDE), (more - 2 * here + less) / ASIDE**2
    return "pitchfork" if abs(third) < SYMMETRIC * abs(fourth) else "transcritical"
