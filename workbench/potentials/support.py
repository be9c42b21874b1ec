"""Support of a density, a box or the integers in it, and its quadrature rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.errors import DatasetError
from workbench.potentials.stored import storable_value

__all__ = ["Support"]

LARGEST_QUADRATURE = 2**20  # nodes in all


@storable_value
@dataclass(frozen=True)
class Support:
    """Support of a density: a box of states that contains all probability, or the integers in it.

    On integers, both bounds included, the density is a probability mass. States of a model that the support does not
    name are conditions (see `Density`). During a fit the normalisation uses `nodes` nodes per state: Gauss–Legendre
    nodes, or the centres of equal cells of integers. The evaluation of a fitted `Density` sums over all integers, or
    uses 4 × `nodes` Gauss–Legendre nodes per state.

    Parameters
    ----------
    bounds : mapping of str to (float, float)
        (lowest, highest) value of each state, by name.
    integer : bool, optional
        Whether the states are integers, such as copy numbers. By default they are continuous.
    nodes : int, optional
        Quadrature nodes per state during a fit, at least 2.

    Raises
    ------
    ValueError
        If there are no bounds, if they are not finite and increasing, if those of integer states are not integers, or
        if `nodes` is not an integer ≥ 2.

    Examples
    --------
    >>> x, weight = Support({"X": (0, 3)}, integer=True).quadrature()
    >>> x.ravel().tolist(), weight.sum()
    ([0.0, 1.0, 2.0, 3.0], np.float64(4.0))
    """

    bounds: Mapping[str, tuple[float, float]]
    integer: bool = field(default=False, kw_only=True)
    nodes: int = field(default=128, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", {str(k): tuple(map(float, v)) for k, v in dict(self.bounds).items()})
        if not self.bounds:
            raise ValueError("a support needs the bounds of at least one state, such as {'x1': (-3, 3)}; got none")
        for name, interval in self.bounds.items():
            if not (len(interval) == 2 and np.isfinite(interval).all() and interval[0] < interval[1]):
                raise ValueError(
                    f"the support of {name} must be finite (lowest, highest) with lowest < highest, got {interval}"
                )
            if self.integer and any(end != round(end) for end in interval):
                raise ValueError(f"the bounds of an integer support must be integers, got {interval} for {name}")
        require_integer(2, nodes=self.nodes)

    def __hash__(self) -> int:
        return hash((tuple(self.bounds.items()), self.integer, self.nodes))

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states over which the density is normalised; other states of a model are conditions."""
        return tuple(self.bounds)

    @property
    def volume(self) -> float:
        """Length, area or volume of the box, or the number of integers in it."""
        return float(np.prod([high - low + self.integer for low, high in self.bounds.values()]))

    def quadrature(self, nodes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes and weights of a tensor-product quadrature.

        Parameters
        ----------
        nodes : int, optional
            Nodes per state. By default all integers, or 4 times the attribute `nodes` of Gauss–Legendre nodes.

        Returns
        -------
        tuple of numpy.ndarray
            Nodes, shape (node, state), and weights, shape (node,).

        Raises
        ------
        DatasetError
            If there are more than 2²⁰ nodes in all.
        """
        axes = [self._axis(low, high, nodes) for low, high in self.bounds.values()]
        size = int(np.prod([len(x) for x, _ in axes]))
        if size > LARGEST_QUADRATURE:
            raise DatasetError(
                f"a quadrature of {size} nodes is too large, at most {LARGEST_QUADRATURE} are allowed; "
                "use fewer nodes per state or a smaller support"
            )
        x = np.stack(np.meshgrid(*(x for x, _ in axes), indexing="ij"), -1).reshape(-1, len(axes))
        weight = np.prod(np.stack(np.meshgrid(*(w for _, w in axes), indexing="ij"), -1), -1).ravel()
        return x, weight

    def check(self, data: xr.Dataset) -> None:
        """Raise `DatasetError` unless points ``x(sample, state)`` lie in the support and, if required, are integers."""
        for name, (low, high) in self.bounds.items():
            x = data["x"].sel(state=name).values
            outside = (x < low) | (x > high)
            if outside.any():
                raise DatasetError(
                    f"{name} must lie in its support [{low:g}, {high:g}], but {int(outside.sum())} sample(s) do not, "
                    f"the first at {x[outside][0]:g}; widen the support"
                )
            if self.integer and (x != np.round(x)).any():
                raise DatasetError(
                    f"the support of {name} is integer, but {name} = {x[x != np.round(x)][0]:g} is not an integer; "
                    "round the data or use a continuous support"
                )

    def _axis(self, low: float, high: float, nodes: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes and weights along one state, shape (node,) each."""
        if not self.integer:
            x, weight = np.polynomial.legendre.leggauss(nodes or 4 * self.nodes)
            return low + (high - low) * (x + 1) / 2, weight * (high - low) / 2
        count = int(high - low) + 1
        if nodes is None or nodes >= count:
            return np.arange(low, high + 1), np.ones(count)
        width = count / nodes
        return low - 0.5 + width * (np.arange(nodes) + 0.5), np.full(nodes, width)
