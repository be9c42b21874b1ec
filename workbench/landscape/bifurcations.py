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
from scipy.optimize import minimize_scalar, root

from workbench.landscape.curves import Array, Curves

__all__ = ["bifurcation_at_end", "bifurcation_between", "folds_beside", "with_turns"]

CURVATURE_INCREMENT = 1e-2  # in units of the box, for the third and fourth derivatives along φ
AT_THE_END = 1e-6  # of the range of b: a bifurcation as near to an end of the range belongs to it
END_REACH = 1e-2  # how far from the last point of a branch a bifurcation at the end of the range is sought
MOST_HALVINGS = 18  # of the distance to a branch point near which folds are sought
NO_STEP, SAME_BIFURCATION = 1e-9, 1e-7  # shorter steps hold no fold; a fold as near to a branch point is that point
STEEP = 0.3  # b-component of a unit tangent: two folds within a step leave a smaller one beside them
ROUNDING_TURN = 1e-6  # a b-component of the other sign that is smaller is rounding, as at the end of a branch
TURN_TOLERANCE = 1e-4  # of a step: how closely the smallest b-component is sought
LEAST_CURVATURE = 1e-3  # in units of the box and of the spread of Ψ: unit of the equations at degenerate points
PITCHFORK_OFFSET = 1e-6  # in units of the box: a pitchfork's third derivative vanishes within this distance


def bifurcation_at_end(curves: Curves, u: Array) -> tuple[Array, str] | None:
    """Return the bifurcation at an end of the range of b near u, shape (dim + 1,), and its kind; None without one."""
    limit = float(round(u[-1]))
    if abs(u[-1] - limit) > END_REACH or not 0 <= limit <= 1:
        return None
    for fold in (False, True):  # a branch point also solves the equations of a fold
        try:
            found = bifurcation_between(curves, u, u, fold=fold, reach=END_REACH)
        except (ValueError, ArithmeticError):  # the family is not defined beyond the end of the range
            continue
        if found is not None:
            at, kind = found
            return (np.append(at[:-1], limit), kind) if abs(at[-1] - limit) <= AT_THE_END else None
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


def with_turns(curves: Curves, path: Array) -> Array:
    """Return a path, shape (point, dim + 1), with a point more wherever it turns back and forth within a step.

    Two folds that close leave the b-component of the tangent with the same sign at the points around them. Where that
    component is smallest among its neighbours, it is minimised along the branch; a sign found there is that between
    the folds.
    """
    chords = np.diff(path, axis=0)
    tangents = np.array([curves.tangent(u) for u in path])
    along = np.concatenate([chords, chords[-1:]])
    rises = tangents[:, -1] * np.sign((tangents * along).sum(-1))
    size, sign = np.abs(rises), np.sign(rises)
    lowest = (size[1:-1] <= np.minimum(size[:-2], size[2:])) & (size[1:-1] < STEEP)
    alike = (sign[1:-1] == sign[:-2]) & (sign[1:-1] == sign[2:])
    found: dict[int, Array] = {}
    for k in (np.flatnonzero(lowest & alike) + 1).tolist():
        for step in (k - 1, k):
            turn = _turn_between(curves, path[step], path[step + 1], sign[k])
            if turn is not None:
                found[step] = turn
                break
    places = sorted(found)
    return np.insert(path, [step + 1 for step in places], [found[step] for step in places], axis=0) if places else path


def _turn_between(curves: Curves, before: Array, after: Array, sign: float) -> Array | None:
    """Return a point of a branch between two others at which the b-component of its tangent has not the given sign."""
    chord, known = after - before, {}
    length = np.linalg.norm(chord)
    if length < NO_STEP:
        return None

    def rise(fraction: float) -> float:
        found = curves.corrected(before + fraction * chord, chord / length)
        if found is None:
            return 1.0
        tangent = curves.tangent(found[0])
        value = float(sign * tangent[-1] * np.sign(tangent @ chord))
        known[value] = found[0]
        return value

    least = minimize_scalar(rise, bounds=(0, 1), method="bounded", options={"xatol": TURN_TOLERANCE}).fun
    return known[least] if least < -ROUNDING_TURN else None


def folds_beside(curves: Curves, at: Array, before: Array, after: Array) -> list[Array]:
    """Return the folds of a branch between two of its points and a branch point between them, all shape (dim + 1,).

    A branch that crosses another at a small angle to the plane of constant b turns close by. It is corrected at ever
    smaller distances from the branch point, and its tangents are compared.
    """
    one, two = np.linalg.norm(at - before), np.linalg.norm(after - at)
    if min(one, two) < NO_STEP:
        return []
    direction = (at - before) * (two / one) + (after - at) * (one / two)
    direction /= np.linalg.norm(direction)
    folds = []
    for end, length in ((before, -one), (after, two)):
        points = [end]
        for distance in length * 2.0 ** -np.arange(1, MOST_HALVINGS + 1):
            predicted = at + distance * direction
            found = curves.corrected(predicted, direction)
            if found is not None and np.linalg.norm(found[0] - predicted) <= abs(distance) / 2:
                points.append(found[0])
        tangents = [curves.tangent(u) for u in points]
        rises = [t[-1] * np.sign(t @ direction) for t in tangents]
        for k in np.flatnonzero(np.multiply(rises[:-1], rises[1:]) < 0):
            fold = bifurcation_between(curves, points[k], points[k + 1], fold=True)
            if fold is not None and np.linalg.norm(fold[0] - at) > SAME_BIFURCATION:
                folds.append(fold[0])
    return folds


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
