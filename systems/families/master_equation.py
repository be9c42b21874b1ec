r"""The master equation of a reaction network on a finite box of counts (finite-state projection).

    ∂p(x)/∂t = Σ_r a_r(x − ν_r) p(x − ν_r) − a_r(x) p(x),       or       ∂p/∂t = p Q,   p(t) = p(0) e^{Qt}

Probability that leaves the box is lost: p is never too large, and 1 − Σp bounds its error. For one species that moves
by ±1, with birth rates b_n and death rates d_n, the product formula

    log π_n = Σ_{k<n} log b_k − log d_{k+1}

gives the stationary distribution π. With D = diag π, S = D^{1/2} Q D^{-1/2} is symmetric and tridiagonal, and one
eigendecomposition gives p at all times.

Reference: B. Munsky, M. Khammash, J. Chem. Phys. 124, 044104 (2006), doi:10.1063/1.2145882.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from systems.families.jump_process import JumpProcess
from workbench.errors import DatasetError

if TYPE_CHECKING:
    from scipy.sparse import csr_array


__all__ = ["MasterEquation"]

LARGEST_BOX = 1_000_000  # states
LARGEST_DENSE = 2_000  # states up to which full matrices are used
STIFF_PRODUCTS = 50_000  # number of sparse products above which a full matrix exponential is faster
NEGLIGIBLE_DECAY = 40.0  # exp(-40) is below the precision of a double
BULK_RATIO = 1e-8  # smallest π/max π at which S keeps 10 digits; errors grow like its inverse square root


@dataclass(frozen=True, eq=False)
class MasterEquation:
    """The generator Q of a network on the box low … low + shape − 1, with states numbered in C order."""

    low: np.ndarray
    shape: tuple[int, ...]
    Q: "csr_array"

    @classmethod
    def of(cls, network: JumpProcess, box: np.ndarray) -> "MasterEquation":
        """Return the master equation on a box of counts, shape (species, 2), both ends included."""
        from scipy.sparse import csr_array

        low, shape = box[:, 0], tuple(map(int, box[:, 1] - box[:, 0] + 1))
        size = int(np.prod(shape))
        if size > LARGEST_BOX:
            raise DatasetError(
                f"the box of {network.name} has {size} states; the master equation allows at most {LARGEST_BOX}"
            )
        x = np.indices(shape).reshape(len(shape), -1).T + low
        with np.errstate(all="ignore"):
            a = network.propensities(x)
        inadmissible = ~network.possible(x, a)
        if inadmissible.any():
            where = x[inadmissible.argmax()]
            raise DatasetError(f"{network.name} has no master equation: at counts {where}, {network.fault(where)}")
        rows, columns, values = [np.arange(size)], [np.arange(size)], [-a.sum(-1)]
        for r, change in enumerate(network.changes):
            target = x - low + change
            stays = ((target >= 0) & (target < shape)).all(-1) & (a[:, r] > 0)
            rows.append(np.flatnonzero(stays))
            columns.append(np.ravel_multi_index(tuple(target[stays].T), shape))
            values.append(a[stays, r])
        entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
        return cls(low, shape, csr_array(entries, shape=(size, size)))

    def number(self, x: np.ndarray) -> np.ndarray:
        """Return the state numbers, shape (…), of counts x, shape (…, species), in the box."""
        inside = ((x >= self.low) & (x < self.low + self.shape)).all(-1)
        if not inside.all():
            raise DatasetError(f"the counts {x[~inside][0]} at t = 0 are outside the box {self}")
        return np.ravel_multi_index(tuple(np.moveaxis((x - self.low).astype(np.intp), -1, 0)), self.shape)

    def counts(self, number: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, species), of state numbers, shape (…)."""
        return np.stack(np.unravel_index(number, self.shape), -1) + self.low

    def __str__(self) -> str:
        return " x ".join(f"{low} … {low + n - 1}" for low, n in zip(self.low, self.shape, strict=True))

    def law(self, start: int, times: np.ndarray) -> np.ndarray:
        """Return p, shape (time, state), at increasing times, from the state of number `start`."""
        p = np.zeros((len(times), self.Q.shape[0]))
        p[times == 0, start] = 1
        later = times > 0
        if self._bulk[start]:
            eigenvalues, V = self._spectrum(times[later].min(initial=np.inf))
            decay = np.exp(np.outer(times[later], eigenvalues))
            p[later] = np.exp(self._half_log - self._half_log[start]) * ((decay * V[start]) @ V.T)
        else:
            p[later] = self._stepped(start, times[later])
        return np.maximum(p, 0, out=p)

    def stationary(self) -> np.ndarray:
        """Return π, shape (state,), by the product formula."""
        if self._half_log is None:
            raise DatasetError(
                "the product formula needs one species that moves by ±1, with all states in the box communicating"
            )
        pi = np.exp(2 * (self._half_log - self._half_log.max()))
        return pi / pi.sum()

    def sample(self, start: np.ndarray, times: np.ndarray, rng: np.random.Generator, width: int) -> np.ndarray:
        """Return state numbers, shape (trajectory, time), drawn from rows of e^{QΔt}; −1 for those outside the box.

        Each time uses `width` random numbers, at least one for each trajectory.
        """
        state, path = start, np.empty((len(start), len(times)), dtype=np.intp)
        for k, step in enumerate(_steps(times)):
            u = rng.random(width)[: len(start)]
            if step > 0:
                state = self._drawn(state, u, step)
            path[:, k] = state
        return path

    def _drawn(self, state: np.ndarray, u: np.ndarray, step: float) -> np.ndarray:
        """Return the states that uniform u, shape (trajectory,), select after a step, −1 outside the box."""
        inside, last = state >= 0, self.Q.shape[0] - 1
        cumulative, total = self._cumulative(step, fast=bool(inside.any() and self._bulk[state[inside]].all()))
        n = np.where(inside, state, 0)
        lower, upper = np.zeros_like(n), np.full_like(n, last)
        while (lower < upper).any():  # bisection, all trajectories at once
            middle = (lower + upper) // 2
            beyond = cumulative[n, middle] <= u
            lower, upper = np.where(beyond, middle + 1, lower), np.where(beyond, upper, middle)
        return np.where(inside & (u < total[n]), lower, -1)

    def _cumulative(self, step: float, *, fast: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return cumulative sums of the rows of e^{QΔt}, and their totals; cached, as most grids have one step."""
        key = (float(f"{step:.9e}"), fast)
        if key not in self._cache:
            cumulative = np.cumsum(np.maximum(self._transition(step, fast=fast), 0), -1)
            total = cumulative[:, -1].copy()
            complete = total > 1 - 1e-9  # the loss is within rounding
            cumulative[complete] /= total[complete, None]
            total[complete] = 1
            if any(other[0] != key[0] for other in self._cache):
                self._cache.clear()
            self._cache[key] = cumulative, total
        return self._cache[key]

    def _transition(self, step: float, *, fast: bool) -> np.ndarray:
        """Return e^{QΔt}, shape (state, state); `fast` by the spectrum of S, accurate for rows of the bulk."""
        if fast:
            eigenvalues, V = self._spectrum(step)
            h = self._half_log
            with np.errstate(over="ignore", invalid="ignore"):  # in rows far from the bulk, which are not used
                return np.nan_to_num(np.exp(h - h[:, None]) * ((V * np.exp(eigenvalues * step)) @ V.T))
        from scipy.linalg import expm

        if self.Q.shape[0] > LARGEST_DENSE:
            raise DatasetError(
                f"method='law' needs full matrices and allows at most {LARGEST_DENSE} states, got {self.Q.shape[0]}; "
                "use method='ssa'"
            )
        return expm(self.Q.toarray() * step)

    def _stepped(self, start: int, times: np.ndarray) -> np.ndarray:
        """Return p, shape (time, state), at positive times, by matrix exponentials from time to time."""
        from scipy.sparse.linalg import expm_multiply

        p, rows = np.zeros(self.Q.shape[0]), []
        p[start] = 1
        products = 2 * abs(self.Q.diagonal()).max() * times.max(initial=0)
        dense = len(p) <= LARGEST_DENSE and products > STIFF_PRODUCTS
        matrices: dict[str, np.ndarray] = {}
        for step in _steps(times):
            if dense:
                key = f"{step:.9e}"
                matrices = matrices if key in matrices else {key: self._transition(step, fast=False)}
                p = p @ matrices[key]
            else:
                p = expm_multiply(self.Q.T * step, p, traceA=step * self.Q.trace())
            rows.append(p)
        return np.array(rows).reshape(len(times), len(p))

    @cached_property
    def _cache(self) -> dict[tuple[float, bool], tuple[np.ndarray, np.ndarray]]:
        """Cumulative transition probabilities by step and method."""
        return {}

    @cached_property
    def _half_log(self) -> Any:
        """½ log π up to a constant, shape (state,), or None if the product formula does not hold."""
        if len(self.shape) > 1 or self.shape[0] < 2:
            return None
        births, deaths = self.Q.diagonal(1), self.Q.diagonal(-1)
        entries = self.Q.tocoo()
        if (abs(entries.row - entries.col) > 1).any() or not ((births > 0) & (deaths > 0)).all():
            return None
        return np.concatenate([[0.0], np.cumsum(np.log(births) - np.log(deaths))]) / 2

    @cached_property
    def _bulk(self) -> np.ndarray:
        """Whether the spectrum of S is accurate for trajectories from each state, shape (state,)."""
        h = self._half_log
        unavailable = h is None or len(h) > LARGEST_DENSE
        return np.zeros(self.Q.shape[0], dtype=bool) if unavailable else h - h.max() > np.log(BULK_RATIO) / 2

    def _spectrum(self, shortest: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the eigenvalues and eigenvectors of S that have not decayed by the shortest time."""
        from scipy.linalg import eigh_tridiagonal

        off = np.sqrt(self.Q.diagonal(1) * self.Q.diagonal(-1))
        norm = 4 * abs(self.Q.diagonal()).max() + 1
        span = (-min(NEGLIGIBLE_DECAY / shortest, norm), norm)
        return eigh_tridiagonal(self.Q.diagonal(), off, select="v", select_range=span)


def _steps(times: np.ndarray) -> np.ndarray:
    """Return the steps between times, the first of them from t = 0."""
    return np.diff(times, prepend=0.0)
