r"""When, and where, a motion on a grid reaches one of several sets.

The probabilities p of ending in a set, and the mean time τ, solve −Lp = 0 and −Lτ = 1 outside the sets. At low
temperature these equations are as good as singular: their solution takes e^{ΔΨ/T} jumps, and each costs one rounding
error. The wells are therefore taken out first. Let every local minimum m of Ψ on the grid end the motion as a set does.
What remains has no wells; it yields the probabilities g and the times of reaching a set or a minimum, whichever comes
first. Between sets and minima the motion is that of a small chain, with rates

    k_{mn} = Σⱼ r_{mj} g_n(j),

from which the minima are eliminated one by one, in a way that adds and multiplies positive numbers only (Grassmann,
Taksar and Heyman). No accuracy is lost, however high the barriers, until rates underflow, at about 700 T.

References
----------
W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107-1116 (1985), doi:10.1287/opre.33.5.1107.
"""

from itertools import product

import numpy as np
from scipy.ndimage import generate_binary_structure, label, minimum_filter
from scipy.sparse import csc_array, dia_array
from scipy.sparse.linalg import SuperLU, splu

from workbench.dynamics.generator import OUTSIDE, Generator, Heights
from workbench.errors import LandscapeError

__all__ = ["Hitting", "eliminated", "factorised", "interpolated", "wells_of"]

MOST_WELLS = 100  # minima that are taken out
MOST_ROUNDING = 1e-2  # relative
EPSILON = float(np.finfo(np.float64).eps)


class Hitting:
    """Probabilities and mean times of reaching the sets of a generator.

    Parameters
    ----------
    generator : Generator
        Jumps on a grid, with one or more sets.

    Attributes
    ----------
    probability : numpy.ndarray
        Probability of reaching each set before the others, shape (node of the grid, set); NaN where no way leads to
        one.
    time : numpy.ndarray
        Mean time until a set is reached, shape (node of the grid,); NaN where no way leads to one.
    rounding : float
        Bound on the relative error by rounding.
    """

    def __init__(self, generator: Generator) -> None:
        count, sets = generator.exits.shape
        chosen = wells_of(generator)
        wells, rest = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        total, rates = generator.total[rest, None], generator.rates[rest]
        if not (total > 0).all():
            raise LandscapeError(
                "rates between neighbouring nodes underflow: the temperature is too low for this grid; increase nodes "
                "or temperature, or use rates(…)"
            )
        try:
            lu = factorised(_jumps(rates[:, rest] / total))
        except RuntimeError:  # exactly singular
            raise _too_many_wells() from None
        given = np.column_stack([generator.exits[rest], rates[:, wells].toarray()]) / total
        reached = np.maximum(lu.solve(given), 0.0)
        waited, jumps = lu.solve(np.column_stack([1 / total, np.ones(len(rest))])).T
        self.rounding = EPSILON * float(jumps.max())
        if not self.rounding < MOST_ROUNDING:
            raise _too_many_wells()
        out = generator.rates[wells]
        chain = np.column_stack([generator.exits[wells], out[:, wells].toarray()]) + out[:, rest] @ reached
        ended, time = eliminated(chain, 1.0 + out[:, rest] @ waited)
        probability, times = np.empty((count, sets)), np.empty(count)
        probability[wells], times[wells] = ended, time
        probability[rest] = reached[:, :sets] + reached[:, sets:] @ ended
        with np.errstate(invalid="ignore", over="ignore"):  # 0 · ∞ where a time beyond all numbers is not reached
            times[rest] = waited + np.where(reached[:, sets:] > 0, reached[:, sets:] * time, 0.0).sum(1)
        size = len(generator.inside)
        self.probability, self.time = np.full((size, sets), np.nan), np.full(size, np.nan)
        self.probability[generator.nodes], self.time[generator.nodes] = probability, times
        within = generator.inside != OUTSIDE
        self.probability[within] = generator.inside[within, None] == np.arange(sets)
        self.time[within] = 0.0


def _too_many_wells() -> LandscapeError:
    """Return the error for rounding that cannot be avoided by taking wells out."""
    return LandscapeError(
        f"rounding errors spoil the answer: barriers between more than {MOST_WELLS} wells, or a part of the grid "
        "without a well, hold the motion for too long; raise the temperature, narrow the box, or use rates(…)"
    )


def factorised(matrix: csc_array) -> SuperLU:
    """Return the factors of a matrix of symmetric pattern with a dominant diagonal, which needs no pivots."""
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _jumps(probability: csc_array) -> csc_array:
    """Return 1 − P of the probabilities of jumps."""
    one = dia_array((np.ones((1, probability.shape[0])), [0]), shape=probability.shape)
    return csc_array(one - probability)


def wells_of(generator: Generator) -> np.ndarray:
    """Return which nodes of the motion are local minima of Ψ, at most 100; boolean, shape (node,)."""
    heights = generator.heights
    level = np.where(np.isfinite(heights.value), heights.value, np.inf).reshape(heights.shape)
    free = np.zeros(level.size, dtype=bool)
    free[generator.nodes] = True
    dim = len(heights.shape)
    cross = generate_binary_structure(dim, 1)
    size = 1
    while True:
        lowest = minimum_filter(level, footprint=cross) if size == 1 else minimum_filter(level, size=size)
        parts, found = label((level == lowest) & free.reshape(level.shape), generate_binary_structure(dim, dim))
        if found <= MOST_WELLS:
            break
        size = 2 * size + 1
    _, first = np.unique(parts.ravel()[generator.nodes], return_index=True)
    first = first[1:] if (parts.ravel()[generator.nodes] == 0).any() else first
    chosen = np.zeros(len(generator.nodes), dtype=bool)
    chosen[first] = True
    return chosen


def eliminated(rates: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a chain ends and its mean time, shapes (state, set) and (state,).

    Parameters
    ----------
    rates : numpy.ndarray
        Rates from every state to the sets and to the states, shape (state, set + state); the diagonal is ignored.
    time : numpy.ndarray
        Rate times mean time that every state contributes, 1 for a chain in continuous time.

    Examples
    --------
    >>> ended, time = eliminated(np.array([[1.0, 0.0, 9.0, 1.0], [0.0, 3.0, 2.0, 9.0]]), np.ones(2))
    >>> ended.round(3).tolist(), time.round(3).tolist()
    ([[0.625, 0.375], [0.25, 0.75]], [0.75, 0.5])
    """
    k, t = rates.copy(), time.copy()
    states = len(k)
    sets = k.shape[1] - states
    leaving = np.zeros(states)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for n in reversed(range(states)):
            leaving[n] = k[n, : sets + n].sum()
            part = k[:n, sets + n] / leaving[n]
            k[:n, : sets + n] += part[:, None] * k[n, : sets + n]
            t[:n] += part * t[n]
        ended, total = np.zeros((states, sets)), np.zeros(states)
        for n in range(states):
            before = k[n, sets : sets + n]
            ended[n] = (k[n, :sets] + before @ ended[:n]) / leaving[n]
            total[n] = (t[n] + before @ total[:n]) / leaving[n]
    return ended, total


def interpolated(heights: Heights, value: np.ndarray, y: np.ndarray, usable: np.ndarray) -> float:
    """Return a function on the grid at a state, by cubic polynomials in every state.

    Parameters
    ----------
    heights : Heights
        The grid.
    value, usable : numpy.ndarray
        Values at the nodes and where they belong to a smooth function, shape (node,).
    y : numpy.ndarray
        State in natural units, shape (dim,).

    Returns
    -------
    float
        The value; linear between the nodes beside `y` where no cube of four nodes along each state is usable, and NaN
        where one of those is NaN.
    """
    place = [np.clip((y[k] - axis[0]) / heights.spacing[k], 0, len(axis) - 1) for k, axis in enumerate(heights.axes)]
    cell = [min(int(p), n - 2) for p, n in zip(place, heights.shape, strict=True)]
    field, good = value.reshape(heights.shape), usable.reshape(heights.shape)
    for shift in sorted(product((-1, 0, -2), repeat=len(cell)), key=lambda one: sum(s != -1 for s in one)):
        first = [c + s for c, s in zip(cell, shift, strict=True)]
        block = tuple(slice(f, f + 4) for f in first)
        inside = all(0 <= f <= n - 4 for f, n in zip(first, heights.shape, strict=True))
        if inside and good[block].all():
            return _weighted(field[block], [p - f for p, f in zip(place, first, strict=True)], 4)
    return _weighted(field[tuple(slice(c, c + 2) for c in cell)], [p - c for p, c in zip(place, cell, strict=True)], 2)


def _weighted(block: np.ndarray, place: list[float], nodes: int) -> float:
    """Return the interpolating polynomial of values at 0, 1, … along each axis, at a place."""
    for p in place:
        weights = [np.prod([(p - j) / (i - j) for j in range(nodes) if j != i]) for i in range(nodes)]
        block = np.tensordot(weights, block, axes=(0, 0))
    return float(block)
