"""Where a density lives: a box, or the integers in it, and how to integrate over it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.errors import DatasetError

__all__ = ["Support"]

LARGEST = 2**20  # nodes of one quadrature


@dataclass(frozen=True)
class Support:
    """A box of states in which all probability lies, `bounds` being (lowest, highest) of each by name.

    With `integer` only integers count, both ends included, and the density is that per unit: a probability.
    `nodes` a state are used in a fit: Gauss–Legendre, or equal cells of integers; what a fitted density says of
    integers is summed over all of them.

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
            raise ValueError("a support needs the bounds of a state, such as {'x1': (-3, 3)}")
        for name, side in self.bounds.items():
            if not (len(side) == 2 and np.isfinite(side).all() and side[0] < side[1]):
                raise ValueError(f"the support of {name} must be finite (lowest, highest), got {side}")
            if self.integer and any(end != round(end) for end in side):
                raise ValueError(f"the support of {name} must be integers, got the bounds {side}")
        require_integer(2, nodes=self.nodes)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states that have a density; other states of a model are conditions."""
        return tuple(self.bounds)

    @property
    def volume(self) -> float:
        """Length, area … of the box, or how many integers there are."""
        return float(np.prod([high - low + self.integer for low, high in self.bounds.values()]))

    def quadrature(self, nodes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes (node, state) and weights (node,) with `nodes` a state; None takes all integers."""
        axes = [self._axis(low, high, nodes) for low, high in self.bounds.values()]
        size = int(np.prod([len(x) for x, _ in axes]))
        if size > LARGEST:
            raise DatasetError(f"a quadrature of {size} nodes is too large: at most {LARGEST}; ask for fewer a state")
        x = np.stack(np.meshgrid(*(x for x, _ in axes), indexing="ij"), -1).reshape(-1, len(axes))
        weight = np.prod(np.stack(np.meshgrid(*(w for _, w in axes), indexing="ij"), -1), -1).ravel()
        return x, weight

    def check(self, data: xr.Dataset) -> None:
        """Raise `DatasetError` for flat data that lie outside, or are no integers where they should be."""
        for name, (low, high) in self.bounds.items():
            x = data["x"].sel(state=name).values
            out = (x < low) | (x > high)
            if out.any():
                raise DatasetError(
                    f"{int(out.sum())} samples of {name} lie outside the support [{low:g}, {high:g}], the first at "
                    f"{x[out][0]:g}: widen it"
                )
            if self.integer and (x != np.round(x)).any():
                raise DatasetError(f"{name} = {x[x != np.round(x)][0]:g} is not an integer, as its support demands")

    def _axis(self, low: float, high: float, nodes: int | None) -> tuple[np.ndarray, np.ndarray]:
        if not self.integer:
            x, weight = np.polynomial.legendre.leggauss(nodes or 4 * self.nodes)
            return low + (high - low) * (x + 1) / 2, weight * (high - low) / 2
        count = int(high - low) + 1
        if nodes is None or nodes >= count:
            return np.arange(low, high + 1), np.ones(count)
        width = count / nodes
        return low - 0.5 + width * (np.arange(nodes) + 0.5), np.full(nodes, width)
