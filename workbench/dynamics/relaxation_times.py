r"""Relaxation times: how slowly a motion forgets where it began.

The generator of overdamped Langevin dynamics in a box with reflecting sides has the eigenvalues 0 = −λ₀ > −λ₁ ≥ −λ₂ …
Means approach those at equilibrium as sums of e^{−λₖt}, and 1/λₖ are the relaxation times; n wells make n − 1 slow
ones. On a grid (`workbench.dynamics.generator`), detailed balance makes S = −D^{1/2} L D^{−1/2}, with D = diag(π),
symmetric:

    Sᵢⱼ = −√(rᵢⱼ rⱼᵢ),        Sᵢᵢ = Σⱼ rᵢⱼ.

√π is the eigenvector of 0. On what is orthogonal to it S has an inverse, whose largest eigenvalues Lanczos iterations
yield. It is applied as in `workbench.dynamics.hitting`: by a factorisation without the minima of Ψ, between which a
chain remains. Of an eigenvector v, λ is computed as the sum of squares

    λ = Σ (√rᵢⱼ vᵢ − √rⱼᵢ vⱼ)² / Σ vᵢ²        over pairs of neighbours,

to which rounding in v contributes in second order only. Barriers may thus be as high as some 60 T; the agreement of λ
with the inverse, vᵀS⁻¹v = 1/λ, tells whether rounding spoils an answer.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from scipy.sparse import csc_array, csr_array, dia_array
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from workbench.checks import require_integer, require_temperature
from workbench.dataset.variables import variable
from workbench.dynamics.generator import Generator, require_nodes
from workbench.dynamics.hitting import eliminated, factorised, wells_of
from workbench.dynamics.two_grids import TRUSTED_ERROR, extrapolated, heights_in, warn_of_error
from workbench.errors import LandscapeError
from workbench.potentials.box import Box, landscape_in
from workbench.potentials.ensembles import over_members
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential, attributes_of, units_of

__all__ = ["relaxation_times", "slowest_rates"]

TOLERANCE = 1e-9  # of the Lanczos iterations
MOST_RESTARTS = 100  # of one run of them; some five suffice unless rounding spoils the operator
MOST_RUNS = 4  # beyond those that yield the eigenvalues asked for
SAME_EIGENVALUE = 1e-6  # relative: less slow ones are not looked for
RANGE = 1e-6  # of eigenvalues of the inverse that one run of them tells apart from rounding


def relaxation_times(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    temperature: float,
    *,
    count: int = 3,
    nodes: int | None = None,
) -> xr.Dataset:
    """Compute the slowest relaxation times of overdamped Langevin dynamics in a box.

    Parameters
    ----------
    potential : Potential
        Landscape of one to three states. The members of an ensemble are asked one by one.
    within : sequence of (float, float)
        Box with reflecting sides, one pair (low, high) per state. It should reach to where Ψ is some 15 T above what
        matters.
    temperature : float
        T in dx = −∇Ψ dt + √(2T) dW, in the unit of Ψ.
    count : int, default: 3
        Number of relaxation times.
    nodes : int, optional
        Odd number of nodes of the grid along each state; by default 2001, 241 and 33 in one, two and three dimensions.

    Returns
    -------
    xarray.Dataset
        Along ``process``, from the slowest on:

        - ``time(process)``, the relaxation times, in the unit of time that the potential knows;
        - ``time_error(process)``, their errors, as estimated from grids of two spacings.

        The attribute ``temperature`` records the argument.

    Raises
    ------
    TypeError
        If `potential` is not a potential, or changes in time.
    ValueError
        If `temperature` is not positive, `count` is not a positive integer, `within` does not have one pair (low, high)
        with low < high per state, or `nodes` is even, below 9, or too large.
    LandscapeError
        If there are more than three states, or barriers are so high, some 60 T and more, that rounding errors spoil the
        times.

    Warns
    -----
    LandscapeWarning
        If an error is estimated to exceed 1 %, or the potential is not finite at nodes of the grid, which are then
        walls.

    References
    ----------
    H. Risken, The Fokker–Planck Equation, Springer (1996), doi:10.1007/978-3-642-61544-3.

    J. C. Latorre, P. Metzner, C. Hartmann, C. Schütte, Commun. Math. Sci. 9, 1051-1072 (2011),
    doi:10.4310/CMS.2011.v9.n4.a6.

    Examples
    --------
    >>> import systems
    >>> well = systems.get("asymmetric_quartic")
    >>> found = relaxation_times(well, [(-4.0, 4.0)], 0.1, count=2)
    >>> bool(found.time[0] > 10 * found.time[1])
    True
    """
    potential, box = landscape_in(potential, within)
    temperature = require_temperature(temperature)
    nodes = require_nodes(nodes, potential.states)
    require_integer(count=count)

    def answer(one: Landscape, member: int | None) -> xr.Dataset:
        return _relaxation_times(one, box, temperature, count, nodes)

    found = over_members(potential, answer)
    warn_of_error("the relaxation times", (found["time_error"] / found["time"]).values, nodes)
    units = units_of(potential)
    return found.assign_attrs(temperature=temperature, **attributes_of(potential), **units.motion())


def _relaxation_times(potential: Landscape, box: Box, temperature: float, count: int, nodes: int) -> xr.Dataset:
    """Return the answer for a landscape without members."""
    natural = Natural(potential, box, isotropic=True)
    heights = heights_in(natural, temperature, nodes)
    (fine, lost), (coarse, _) = (slowest_rates(Generator(one), count) for one in (heights, heights.coarser()))
    log_time, error = extrapolated(-np.log(fine), -np.log(coarse))
    time = np.exp(log_time + 2 * np.log(float(natural.unit[0])) - np.log(natural.spread))
    unit = units_of(potential).time
    variables = {
        "time": variable("process", time, "relaxation time", unit),
        "time_error": variable("process", time * (error + lost), "error of the time, from two grids", unit),
    }
    return xr.Dataset(variables, coords={"process": variable("process", np.arange(count), "relaxation process", "1")})


def slowest_rates(generator: Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest positive eigenvalues of −L in ascending order, and their relative errors by rounding.

    Parameters
    ----------
    generator : Generator
        Jumps on a grid, without sets.
    count : int
        Number of eigenvalues.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Eigenvalues and errors, shape (count,).

    Raises
    ------
    LandscapeError
        If rounding spoils them.
    """
    size = len(generator.nodes)
    if size < 2 * count + 3:
        raise LandscapeError(f"{size} connected nodes are too few for {count} relaxation times: increase nodes")
    inverse = _Inverse(generator)
    start = np.random.default_rng(0).normal(size=size)
    vectors, rate = np.empty((size, 0)), np.empty(0)
    while True:  # until nothing slower is left, which one run may miss where eigenvalues coincide
        restricted = _without(inverse, vectors)
        operator = LinearOperator((size, size), matvec=restricted, dtype=np.float64)
        try:
            found, more = eigsh(
                operator, k=max(1, count - len(rate)), which="LA", v0=start, tol=TOLERANCE, maxiter=MOST_RESTARTS
            )
        except (ArpackError, ValueError):
            raise _spoilt() from None
        if len(rate) >= count and found[-1] * np.sort(rate)[count - 1] < 1 + SAME_EIGENVALUE:
            break
        polished = [restricted(v) for v in more.T[::-1][found[::-1] > RANGE * found[-1]]]
        if not len(polished) or not np.isfinite(polished).all() or len(rate) > 2 * count + MOST_RUNS:
            raise _spoilt()
        vectors = np.linalg.qr(np.column_stack([vectors, *polished]))[0]
        rate = inverse.quotients(vectors)
    slowest = np.argsort(rate)[:count]
    rounding = np.abs([rate[k] * (vectors[:, k] @ inverse(vectors[:, k])) - 1 for k in slowest])
    if not (rounding < TRUSTED_ERROR).all():
        raise _spoilt()
    return rate[slowest], rounding


def _without(inverse: Callable[[np.ndarray], np.ndarray], known: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a symmetric operator on what is orthogonal to known eigenvectors, shape (node, eigenvector)."""

    def restricted(b: np.ndarray) -> np.ndarray:
        b = b.ravel()
        x = inverse(b - known @ (known.T @ b))
        return x - known @ (known.T @ x)

    return restricted


def _spoilt() -> LandscapeError:
    """Return the error for barriers that are too high."""
    return LandscapeError(
        "rounding errors spoil the relaxation times: barriers are too high in units of T; raise the temperature, take "
        "a smaller count, or take the times of crossings from rates(…)"
    )


class _Inverse:
    """The inverse of S on what is orthogonal to √π."""

    def __init__(self, generator: Generator) -> None:
        rates, size = generator.rates.tocoo(), len(generator.nodes)
        self.tail, self.head, self.forth = rates.row, rates.col, np.sqrt(rates.data)
        self.back = np.sqrt(np.asarray(generator.rates.T.tocsr()[rates.row, rates.col]))
        root = np.sqrt(generator.weight[generator.nodes])
        self.root = root / np.linalg.norm(root)
        chosen = wells_of(generator)
        wells = np.flatnonzero(chosen)
        self.wells, self.rest = wells[np.argsort(-self.root[wells])], np.flatnonzero(~chosen)  # the deepest first
        coupling = csr_array((self.forth * self.back, (self.tail, self.head)), shape=(size, size))
        total = dia_array((generator.total[None], [0]), shape=(size, size))
        matrix = csc_array((total - coupling).tocsr()[self.rest][:, self.rest])
        depth = self.root[self.wells]
        try:
            self.lu = factorised(matrix)
        except RuntimeError:  # exactly singular
            raise _spoilt() from None
        self.coupling = coupling[self.wells][:, self.rest]
        self.spread = np.maximum(self.lu.solve(self.coupling.T.toarray()), 0.0)
        chain = self.coupling @ self.spread + coupling[self.wells][:, self.wells].toarray()
        if not (depth > 0).all():
            raise _spoilt()
        self.chain = chain * depth / depth[:, None]
        self.depth = depth

    def __call__(self, b: np.ndarray) -> np.ndarray:
        """Return the x orthogonal to √π with Sx = b, less the part of b along √π."""
        b = b - self.root * (self.root @ b)
        near = self.lu.solve(b[self.rest])
        left = (b[self.wells] + self.coupling @ near) / self.depth
        x = np.zeros(len(b))
        x[self.wells[1:]] = self.depth[1:] * eliminated(self.chain[1:], left[1:])[1]
        x[self.rest] = near + self.spread @ x[self.wells]
        return x - self.root * (self.root @ x)

    def quotients(self, vectors: np.ndarray) -> np.ndarray:
        """Return λ for each of several vectors, shape (node, vector)."""
        flow = self.forth[:, None] * vectors[self.tail] - self.back[:, None] * vectors[self.head]
        return (flow**2).sum(0) / 2
