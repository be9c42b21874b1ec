r"""Probability density of a potential on a bounded support.

    q(x) = exp(−Ψ(x)) / Z,      Z = ∫ exp(−Ψ(x)) dx, or the sum over the integers of the support.

States of the potential that the support does not name are conditions: q(y | t) = exp(−Ψ(y, t)) / Z(t). The density of
an ensemble is the mean of the separately normalised densities of its members. The sign is that of statistical
mechanics: probable states lie in the wells. Eq 20 of Jones et al. (2025) instead sets log q equal to the soft minimum
itself, with the opposite sign and without Z.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import xarray as xr

from workbench import dataset
from workbench.checks import require_integer
from workbench.dataset.variables import product, variable
from workbench.potentials.bridge import require_potential, tensor_options
from workbench.potentials.potential import Potential, units_of
from workbench.potentials.support import Support

__all__ = ["Density", "Supported"]

SAMPLING_CELLS = 4096  # over the whole continuous support


@runtime_checkable
class Supported(Protocol):
    """A potential with the support of the density to which it was fitted."""

    @property
    def support(self) -> Support | None:
        """States over which the density is normalised; None for a potential that was fitted otherwise."""


class Density:
    """Normalised probability density of a potential, q(y | conditions) = exp(−Ψ)/Z.

    Z is computed by the quadrature of the support, separately for each value of the conditions; evaluation raises a
    `DatasetError` if the quadrature has more than 2²⁰ nodes. For an ensemble, q is the mean of the members' densities.

    Parameters
    ----------
    potential : Potential
        Ψ, dimensionless (in units of k_B T), learned with ``match="density"`` or any other.
    support : Support, optional
        States over which q is normalised, and their bounds. By default that of a model fitted with
        ``match="density"``.

    Attributes
    ----------
    conditions : tuple of str
        States of the potential that are not in the support, such as the time.

    Raises
    ------
    TypeError
        If `potential` is not a potential.
    ValueError
        If there is no support, or it names states that the potential does not have.

    Examples
    --------
    >>> import systems
    >>> quartic = systems.get("asymmetric_quartic")
    >>> q = Density(quartic, Support({"x": (-3, 3)}))
    >>> x = np.linspace(-3, 3, 2001)
    >>> bool(abs(np.trapezoid(q.prob(x[:, None]), x) - 1) < 1e-6)
    True
    >>> q.quantile([0.1, 0.5]).round(2), q.sample(3, seed=0).shape
    (array([-2.03, -0.47]), (3, 1))

    References
    ----------
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242, Eq 20 (with the sign stated in
    the module).
    """

    def __init__(self, potential: Potential, support: Support | None = None) -> None:
        if support is None and isinstance(potential, Supported):
            support = potential.support
        potential = require_potential(potential, 1 if support is None else len(support.states))
        if support is None:
            raise ValueError("this potential has no support: pass one, such as wb.Support({'x1': (-3, 3)})")
        missing = set(support.states) - set(potential.states)
        if missing:
            raise ValueError(
                f"the support names {sorted(missing)}, but the potential has the states {potential.states}"
            )
        self.potential, self.support = potential, support
        self.conditions = tuple(name for name in potential.states if name not in support.states)
        self._support_columns = [potential.states.index(name) for name in support.states]
        self._condition_columns = [potential.states.index(name) for name in self.conditions]

    def log_prob(self, x: Any) -> np.ndarray:
        """Return log q, shape (…), at x of shape (…, dim), which includes the conditions; −∞ outside the support."""
        x = np.asarray(x, dtype=np.float64)
        rows = x.reshape(-1, len(self.potential.states))
        conditions, group = np.unique(rows[:, self._condition_columns], axis=0, return_inverse=True)
        inside = np.ones(len(rows), dtype=bool)
        for k, (low, high) in zip(self._support_columns, self.support.bounds.values(), strict=True):
            inside &= (rows[:, k] >= low) & (rows[:, k] <= high)
        log_z = np.stack([self.log_normaliser(row) for row in conditions], -1)[:, group.ravel()]
        log_q = -self._value(rows) - log_z
        mean = np.logaddexp.reduce(log_q, 0) - np.log(len(log_q))
        return np.where(inside, mean, -np.inf).reshape(x.shape[:-1])

    def prob(self, x: Any) -> np.ndarray:
        """Return q, shape (…), at x of shape (…, dim), which includes the conditions; 0 outside the support."""
        return np.exp(self.log_prob(x))

    def table(self, nodes: int | None = None, **conditions: float) -> xr.DataArray:
        """Tabulate q over the single state of the support.

        Parameters
        ----------
        nodes : int, optional
            Number of equally spaced values of a continuous state, 401 by default; integers are all tabulated.
        **conditions : float
            Value of every condition, by name.

        Returns
        -------
        xarray.DataArray
            ``probability`` over the state, with its values as the coordinate; dimensionless for integers, else in the
            inverse unit of the state, if that is known.

        Raises
        ------
        ValueError
            If the support has several states, or the conditions are not those of the density.
        """
        (name, (low, high)) = self._single_state()
        x = np.arange(low, high + 1) if self.support.integer else np.linspace(low, high, nodes or 401)
        q = self.prob(self._rows(x[:, None], conditions))
        unit = units_of(self.potential).states[self.potential.states.index(name)]
        label = "probability" if self.support.integer else "probability density"
        table = variable(name, q, label, "1" if self.support.integer else product((unit, -1)))
        return xr.DataArray(table, coords={name: variable(name, x, name, unit)}, name="probability")

    def quantile(self, p: Any, **conditions: float) -> np.ndarray:
        """Return the quantiles of the single state of the support.

        Parameters
        ----------
        p : float or array_like
            Cumulative probabilities between 0 and 1.
        **conditions : float
            Value of every condition, by name.

        Returns
        -------
        numpy.ndarray
            Quantiles, with the shape of `p`: the smallest integer with at least this cumulative probability, or, for a
            continuous state, the value interpolated linearly in the cumulative distribution of 4096 cells.

        Raises
        ------
        ValueError
            If `p` is out of range, the support has several states, or the conditions are not those of the density.
        """
        probability = np.asarray(p, dtype=np.float64)
        if not ((probability >= 0) & (probability <= 1)).all():
            raise ValueError(f"p must be a probability between 0 and 1, got {p!r}")
        self._single_state()
        edges, cumulative = self._cumulative(conditions)
        if self.support.integer:
            return edges[np.minimum(np.searchsorted(cumulative, probability), len(edges) - 1)]
        return np.interp(probability, np.append(0.0, cumulative), edges)

    def sample(self, count: int, *, seed: Any = None, **conditions: float) -> np.ndarray:
        """Draw independent samples of the states of the support.

        Integers are drawn exactly. Continuous states are drawn from about 4096 cells in all and uniformly within a
        cell.

        Parameters
        ----------
        count : int
            Number of samples, at least 1.
        seed : int, numpy.random.SeedSequence or None, optional
            Seed; by default a fresh one is drawn.
        **conditions : float
            Value of every condition, by name.

        Returns
        -------
        numpy.ndarray
            Samples, shape (count, state).

        Raises
        ------
        ValueError
            If `count` or `seed` is invalid, or the conditions are not those of the density.
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
        """Return the centres of equal cells, shape (cell, state), and their widths, shape (state,)."""
        if self.support.integer:
            x, _ = self.support.quadrature()
            return x, np.ones(x.shape[1])
        low, high = np.array(list(self.support.bounds.values())).T
        each = max(2, round(SAMPLING_CELLS ** (1 / len(low))))
        axes = [a + (b - a) * (np.arange(each) + 0.5) / each for a, b in zip(low, high, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(low)), (high - low) / each

    def _cumulative(self, conditions: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the integers or cell edges of the single state, and the cumulative probability up to each cell."""
        x, width = self._cells()
        cumulative = np.cumsum(self.prob(self._rows(x, conditions)))
        edges = x[:, 0] if self.support.integer else np.append(x[:, 0] - width / 2, x[-1, 0] + width / 2)
        return edges, cumulative / cumulative[-1]

    def _single_state(self) -> tuple[str, tuple[float, float]]:
        """Return the name and bounds of the single state of the support; raise if there are several."""
        if len(self.support.states) > 1:
            raise ValueError(f"expected a density of one state, got one of {self.support.states}; use prob or sample")
        return next(iter(self.support.bounds.items()))

    def _rows(self, y: np.ndarray, conditions: dict[str, float]) -> np.ndarray:
        """Combine states of the support, shape (row, state), with the conditions into all states, shape (row, dim)."""
        if set(conditions) != set(self.conditions):
            raise ValueError(
                f"expected values of {self.conditions or 'no conditions'}, got {sorted(conditions) or 'none'}; "
                "pass every condition by name"
            )
        rows = np.empty((len(y), len(self.potential.states)))
        rows[:, self._support_columns] = y
        rows[:, self._condition_columns] = [conditions[name] for name in self.conditions]
        return rows

    def _value(self, rows: np.ndarray) -> np.ndarray:
        """Return Ψ, shape (member, row), for states of shape (row, dim)."""
        with torch.no_grad():
            return np.atleast_2d(
                self.potential.value(torch.tensor(rows, **tensor_options(self.potential))).cpu().numpy()
            )

    def log_normaliser(self, condition: np.ndarray) -> np.ndarray:
        """Return log Z of every member, shape (member,), for one set of condition values, shape (condition,)."""
        y, weight = self.support.quadrature()
        rows = self._rows(y, dict(zip(self.conditions, condition, strict=True)))
        return np.logaddexp.reduce(np.log(weight) - self._value(rows), -1)
