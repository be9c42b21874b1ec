r"""A potential as a density: q(x) = exp(−Ψ(x))/Z on a stated support, with Z = ∫ exp(−Ψ) or the sum over integers.

States of the potential that are not in the support are conditions: q(y | t) = exp(−Ψ(y, t))/Z(t). The density of an
ensemble is the mean of its members' densities, each normalised on its own.

(The publication's Eq 20 sets log q equal to the soft minimum itself, with the other sign and without Z.)
"""

from typing import Any

import numpy as np
import torch
import xarray as xr

from workbench import dataset
from workbench.checks import require_integer
from workbench.potentials.potential import Potential, require_potential, tensor_options
from workbench.potentials.support import Support

__all__ = ["Density"]

CELLS = 4096  # in which one continuous state is sampled


class Density:
    """The density of a potential on its support (`model.support` after match="density", or one of your own).

    >>> import systems
    >>> quartic = systems.get("asymmetric_quartic")
    >>> q = Density(quartic, Support({"x": (-3, 3)}))
    >>> x = np.linspace(-3, 3, 2001)
    >>> bool(abs(np.trapezoid(q.prob(x[:, None]), x) - 1) < 1e-6)
    True
    """

    def __init__(self, potential: Potential, support: Support | None = None) -> None:
        require_potential(potential)
        support = support or getattr(potential, "support", None)
        if support is None:
            raise ValueError("this potential has no support: give one, such as wb.Support({'x1': (-3, 3)})")
        missing = set(support.states) - set(potential.states)
        if missing:
            raise ValueError(f"the support names {sorted(missing)}; the potential has the states {potential.states}")
        self.potential, self.support = potential, support
        self.conditions = tuple(name for name in potential.states if name not in support.states)
        self._at = [potential.states.index(name) for name in support.states]
        self._given = [potential.states.index(name) for name in self.conditions]

    def log_prob(self, x: Any) -> np.ndarray:
        """Return log q, shape (…), at x with shape (…, dim) with all states; −∞ outside the support."""
        x = np.asarray(x, dtype=np.float64)
        rows = x.reshape(-1, len(self.potential.states))
        conditions, group = np.unique(rows[:, self._given], axis=0, return_inverse=True)
        inside = np.ones(len(rows), dtype=bool)
        for k, (low, high) in zip(self._at, self.support.bounds.values(), strict=True):
            inside &= (rows[:, k] >= low) & (rows[:, k] <= high)
        log_z = np.stack([self.log_normaliser(row) for row in conditions], -1)[:, group.ravel()]
        log_q = -self._value(rows) - log_z
        mean = np.logaddexp.reduce(log_q, 0) - np.log(len(log_q))
        return np.where(inside, mean, -np.inf).reshape(x.shape[:-1])

    def prob(self, x: Any) -> np.ndarray:
        """Return q, shape (…), at x with shape (…, dim)."""
        return np.exp(self.log_prob(x))

    def table(self, nodes: int | None = None, **conditions: float) -> xr.DataArray:
        """Return q over one state of the support, all integers or `nodes` equally spaced values.

        `conditions` name the values of the other states. (`fit.model` alone, for one member.)
        """
        (name, (low, high)) = self._only()
        x = np.arange(low, high + 1) if self.support.integer else np.linspace(low, high, nodes or 401)
        q = self.prob(self._rows(x[:, None], conditions))
        label = {"long_name": "probability" if self.support.integer else "probability density", "units": "1"}
        return xr.DataArray(q, coords={name: x}, dims=[name], attrs=label, name="probability")

    def quantile(self, p: Any, **conditions: float) -> np.ndarray:
        """Return the values of the one state below which the share p lies, same shape; p between 0 and 1."""
        share = np.asarray(p, dtype=np.float64)
        if not ((share >= 0) & (share <= 1)).all():
            raise ValueError(f"p is a share between 0 and 1, got {p!r}")
        self._only()
        edges, cumulative = self._cumulative(conditions)
        if self.support.integer:
            return edges[np.minimum(np.searchsorted(cumulative, share), len(edges) - 1)]
        return np.interp(share, np.append(0.0, cumulative), edges)

    def sample(self, count: int, *, seed: Any = None, **conditions: float) -> np.ndarray:
        """Return `count` draws of the states of the support, shape (count, state).

        Whole numbers are drawn exactly; in one continuous state from 4096 cells and evenly inside each, in more states
        from as many cells in all.
        """
        rng = np.random.default_rng(dataset.seed_sequence(seed))
        require_integer(count=count)
        if len(self.support.states) == 1:
            return self.quantile(rng.random(count), **conditions)[:, None]
        x, width = self._cells()
        q = self.prob(self._rows(x, conditions))
        chosen = x[rng.choice(len(x), count, p=q / q.sum())]
        return chosen if self.support.integer else chosen + width * (rng.random(chosen.shape) - 0.5)

    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the middles of equal cells, shape (cell, state), and their sides."""
        if self.support.integer:
            x, _ = self.support.quadrature()
            return x, np.ones(x.shape[1])
        low, high = np.array(list(self.support.bounds.values())).T
        each = max(2, round(CELLS ** (1 / len(low))))
        axes = [a + (b - a) * (np.arange(each) + 0.5) / each for a, b in zip(low, high, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(low)), (high - low) / each

    def _cumulative(self, conditions: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Return integers, or edges of cells, of the one state, and the share of probability up to each cell."""
        x, width = self._cells()
        cumulative = np.cumsum(self.prob(self._rows(x, conditions)))
        edges = x[:, 0] if self.support.integer else np.append(x[:, 0] - width / 2, x[-1, 0] + width / 2)
        return edges, cumulative / cumulative[-1]

    def _only(self) -> tuple[str, tuple[float, float]]:
        if len(self.support.states) > 1:
            raise ValueError(f"this needs a density of one state, it is of {self.support.states}; use prob or sample")
        return next(iter(self.support.bounds.items()))

    def _rows(self, y: np.ndarray, conditions: dict[str, float]) -> np.ndarray:
        """Return all states, shape (row, dim), from those of the support, shape (row, state), and the conditions."""
        if set(conditions) != set(self.conditions):
            raise ValueError(f"expected values of {self.conditions or 'no states'}, got {sorted(conditions) or 'none'}")
        rows = np.empty((len(y), len(self.potential.states)))
        rows[:, self._at] = y
        rows[:, self._given] = [conditions[name] for name in self.conditions]
        return rows

    def _value(self, rows: np.ndarray) -> np.ndarray:
        """Return Ψ, shape (member, row)."""
        with torch.no_grad():
            return np.atleast_2d(
                self.potential.value(torch.tensor(rows, **tensor_options(self.potential))).cpu().numpy()
            )

    def log_normaliser(self, condition: np.ndarray) -> np.ndarray:
        """Return log Z of every member, shape (member,), under one condition, shape (condition,)."""
        y, weight = self.support.quadrature()
        rows = self._rows(y, dict(zip(self.conditions, condition, strict=True)))
        return np.logaddexp.reduce(np.log(weight) - self._value(rows), -1)
