r"""The exact law of a reaction network on a finite box of counts (finite-state projection).

    ∂p(x)/∂t = Σ_r a_r(x − ν_r) p(x − ν_r) − a_r(x) p(x),       or       ∂p/∂t = p Q,   p(t) = p(0) e^{Qt}

What leaves the box is lost: p is never too large, and 1 − Σp bounds its error. For one species that moves by ±1, with
births b_n and deaths d_n, the product formula

    log π_n = Σ_{k<n} log b_k − log d_{k+1}

makes S = D^{1/2} Q D^{-1/2}, D = diag π, symmetric and tridiagonal: one eigendecomposition gives all times.
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

STATES = 1_000_000  # largest box
DENSE = 2_000  # states, up to which a full matrix is worth its memory
STIFF = 50_000  # sparse products, beyond which a full matrix exponential is faster
NEGLIGIBLE = 40.0  # e^-40 is below the last digit of a double
BULK = 1e-8  # π/max π from which the symmetrised generator keeps 10 digits: errors grow like its inverse root


@dataclass(frozen=True, eq=False)
class MasterEquation:
    """The generator Q of a network on the box low … low + shape − 1; states are numbered in C order."""

    low: np.ndarray
    shape: tuple[int, ...]
    Q: "csr_array"

    @classmethod
    def of(cls, network: JumpProcess, box: np.ndarray) -> "MasterEquation":
        """Return the master equation on a box of counts, shape (species, 2), both ends included."""
        from scipy.sparse import csr_array

        low, shape = box[:, 0], tuple(map(int, box[:, 1] - box[:, 0] + 1))
        size = int(np.prod(shape))
        if size > STATES:
            raise DatasetError(f"the law of {network.name} on {size} states needs a box of at most {STATES}")
        x = np.indices(shape).reshape(len(shape), -1).T + low
        with np.errstate(all="ignore"):
            a = network.propensities(x)
        impossible = ~network.possible(x, a)
        if impossible.any():
            where = x[impossible.argmax()]
            raise DatasetError(f"the law of {network.name} cannot be had: at counts {where}, {network.fault(where)}")
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
        """Return the numbers (…) of counts with shape (…, species) in the box."""
        inside = ((x >= self.low) & (x < self.low + self.shape)).all(-1)
        if not inside.all():
            raise DatasetError(f"the start {x[~inside][0]} is not in the box of the law, {self}")
        return np.ravel_multi_index(tuple(np.moveaxis((x - self.low).astype(np.intp), -1, 0)), self.shape)

    def counts(self, number: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, species), of numbered states."""
        return np.stack(np.unravel_index(number, self.shape), -1) + self.low

    def __str__(self) -> str:
        return " x ".join(f"{low} … {low + n - 1}" for low, n in zip(self.low, self.shape, strict=True))

    def law(self, start: int, times: np.ndarray) -> np.ndarray:
        """Return p, shape (time, states), at increasing times, from a numbered state."""
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
        """Return π, shape (states,), by the product formula."""
        if self._half_log is None:
            raise DatasetError(
                "the product formula needs one species that moves by ±1, all states of which communicate"
            )
        pi = np.exp(2 * (self._half_log - self._half_log.max()))
        return pi / pi.sum()

    def sample(self, start: np.ndarray, times: np.ndarray, rng: np.random.Generator, width: int) -> np.ndarray:
        """Return numbered states, shape (trajectory, time), drawn from rows of e^{QΔt}; −1 has left the box.

        Each time takes `width` uniform numbers, at least one a trajectory.
        """
        state, path = start, np.empty((len(start), len(times)), dtype=np.intp)
        for k, step in enumerate(_steps(times)):
            u = rng.random(width)[: len(start)]
            if step > 0:
                state = self._drawn(state, u, step)
            path[:, k] = state
        return path

    def _drawn(self, state: np.ndarray, u: np.ndarray, step: float) -> np.ndarray:
        inside, last = state >= 0, self.Q.shape[0] - 1
        cumulative, total = self._cumulative(step, fast=bool(inside.any() and self._bulk[state[inside]].all()))
        n = np.where(inside, state, 0)
        lower, upper = np.zeros_like(n), np.full_like(n, last)
        while (lower < upper).any():  # bisection in all rows at once
            middle = (lower + upper) // 2
            above = cumulative[n, middle] <= u
            lower, upper = np.where(above, middle + 1, lower), np.where(above, upper, middle)
        return np.where(inside & (u < total[n]), lower, -1)

    def _cumulative(self, step: float, *, fast: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the rows of e^{QΔt} up to each state, and in all; kept, as most grids have one step."""
        key = (float(f"{step:.9e}"), fast)
        if key not in self._kept:
            cumulative = np.cumsum(np.maximum(self._transition(step, fast=fast), 0), -1)
            total = cumulative[:, -1].copy()
            whole = total > 1 - 1e-9  # no more is lost than by rounding
            cumulative[whole] /= total[whole, None]
            total[whole] = 1
            if any(other[0] != key[0] for other in self._kept):
                self._kept.clear()
            self._kept[key] = cumulative, total
        return self._kept[key]

    def _transition(self, step: float, *, fast: bool) -> np.ndarray:
        if fast:
            eigenvalues, V = self._spectrum(step)
            h = self._half_log
            with np.errstate(over="ignore", invalid="ignore"):  # rows far from the bulk, which are not used
                return np.nan_to_num(np.exp(h - h[:, None]) * ((V * np.exp(eigenvalues * step)) @ V.T))
        from scipy.linalg import expm

        if self.Q.shape[0] > DENSE:
            raise DatasetError(
                f"sampling from the law takes full matrices: at most {DENSE} states, here {self.Q.shape[0]}; "
                "use method='ssa'"
            )
        return expm(self.Q.toarray() * step)

    def _stepped(self, start: int, times: np.ndarray) -> np.ndarray:
        from scipy.sparse.linalg import expm_multiply

        p, rows = np.zeros(self.Q.shape[0]), []
        p[start] = 1
        products = 2 * abs(self.Q.diagonal()).max() * times.max(initial=0)
        dense = len(p) <= DENSE and products > STIFF
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
    def _kept(self) -> dict[tuple[float, bool], tuple[np.ndarray, np.ndarray]]:
        return {}

    @cached_property
    def _half_log(self) -> Any:
        """Return ½ log π up to a constant, shape (states,), or None if the product formula does not hold."""
        if len(self.shape) > 1 or self.shape[0] < 2:
            return None
        births, deaths = self.Q.diagonal(1), self.Q.diagonal(-1)
        entries = self.Q.tocoo()
        if (abs(entries.row - entries.col) > 1).any() or not ((births > 0) & (deaths > 0)).all():
            return None
        return np.concatenate([[0.0], np.cumsum(np.log(births) - np.log(deaths))]) / 2

    @cached_property
    def _bulk(self) -> np.ndarray:
        """Return, for each state, whether the symmetrised generator serves it."""
        h = self._half_log
        small = h is None or len(h) > DENSE
        return np.zeros(self.Q.shape[0], dtype=bool) if small else h - h.max() > np.log(BULK) / 2

    def _spectrum(self, shortest: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the eigenpairs of S that have not died out by the shortest time."""
        from scipy.linalg import eigh_tridiagonal

        off = np.sqrt(self.Q.diagonal(1) * self.Q.diagonal(-1))
        norm = 4 * abs(self.Q.diagonal()).max() + 1
        span = (-min(NEGLIGIBLE / shortest, norm), norm)
        return eigh_tridiagonal(self.Q.diagonal(), off, select="v", select_range=span)


def _steps(times: np.ndarray) -> np.ndarray:
    return np.diff(times, prepend=0.0)
