r"""Natural units: a potential over a box, with states from −1/2 to 1/2 and differences of Ψ of order 1.

    y = (x − c)/w,        Ψ̂(y) = (Ψ(x) − m)/k,

with c the centre of the box, w its sides (or one length for all states, where distances matter), m the median of Ψ at
points of the box and k their spread. Whatever is asked of a landscape is asked in these units. Thresholds are then
plain numbers, and no answer depends on the units of x, on the origin or on the zero of Ψ. Two things remain that
float64 imposes: x is known to ε|x| only, which is `resolution` in natural units, and Ψ to ε|Ψ|.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.evaluation import Evaluation, require_order
from workbench.potentials.box import Box, sobol
from workbench.potentials.potential import Landscape

__all__ = ["Natural"]

PROBES = 256  # points of the box at which the spread of Ψ is measured


class Natural:
    """A potential without members in natural units; it is a `Landscape` itself, in double precision.

    Parameters
    ----------
    potential : Landscape
        Ψ(x), without members.
    box : Box
        Box of x that sets the units.
    isotropic : bool, default: False
        Whether one length, the geometric mean of the sides, is the unit of all states. Distances and directions of
        descent are then those in x.

    Attributes
    ----------
    box : Box
        The box in natural units.
    level, spread : float
        m and k: the median of Ψ at 256 Sobol points of the box, and half the range of the middle half of the values.
        k is the largest deviation from m where more than half of them are equal, and 1 where all are.
    sides : torch.Tensor
        Sides of the box of x over their geometric mean, shape (dim,): distances in x are those of ``sides * y``.
    resolution : torch.Tensor
        Distance in y below which states are not told apart by the numbers of the potential, shape (dim,).

    Examples
    --------
    >>> import systems
    >>> from workbench.potentials.box import landscape_in
    >>> natural = Natural(*landscape_in(systems.get("gene_circuit"), [(0, 2), (0, 2)]))
    >>> natural.x(torch.tensor([[0.5, 0.0]])).tolist(), natural.box.low.tolist()
    ([[2.0, 1.0]], [-0.5, -0.5])
    """

    members = None
    dtype = torch.float64

    def __init__(self, potential: Landscape, box: Box, *, isotropic: bool = False) -> None:
        self.potential, self.states = potential, tuple(potential.states)
        self.device = box.low.device
        low, high = box.low.double(), box.high.double()
        width = high - low
        self.centre = low + width / 2
        self.unit = width.log().mean().exp().expand_as(width) if isotropic else width
        self.box = Box(-width / self.unit / 2, width / self.unit / 2)
        self.sides = width / width.log().mean().exp()
        precision = torch.finfo(getattr(potential, "dtype", torch.float64)).eps
        self.resolution = precision * torch.maximum(low.abs(), high.abs()).maximum(width) / self.unit
        self.level, self.spread = _level_and_spread(potential, box)
        self._centre, self._unit = self.centre.cpu().numpy(), self.unit.cpu().numpy()

    def x(self, y: Any) -> Any:
        """Return x, shape (…, dim), of y, an array or a tensor of that shape."""
        return self.centre + self.unit * y if isinstance(y, Tensor) else self._centre + self._unit * y

    def y(self, x: Any) -> Any:
        """Return y, shape (…, dim), of x, an array or a tensor of that shape."""
        return (x.double() - self.centre) / self.unit if isinstance(x, Tensor) else (x - self._centre) / self._unit

    def rows(self, x: np.ndarray) -> Tensor:
        """Return y as a tensor, for states x of a dataset, shape (row, dim)."""
        return torch.as_tensor(self.y(np.asarray(x, dtype=np.float64)), device=self.device)

    def value(self, y: Any) -> Any:
        """Return Ψ̂(y), shape (…), for y of shape (…, dim)."""
        return self._scaled(self.potential.value(self._given(y)), y, 0)

    def gradient(self, y: Any) -> Any:
        """Return its gradient, shape (…, dim), for y of shape (…, dim)."""
        if 0 in np.shape(y)[:-1]:
            return y
        return self._scaled(self.potential.gradient(self._given(y)), y, 1)

    def hessian(self, y: Any) -> Any:
        """Return its Hessian, shape (…, dim, dim), for y of shape (…, dim)."""
        return self._scaled(self.potential.hessian(self._given(y)), y, 2)

    def evaluate(self, y: Any, order: int = 0) -> Evaluation:
        """Return Ψ̂ and its derivatives up to an order at y, shape (…, dim)."""
        if 0 in np.shape(y)[:-1]:  # formulas are not written for no state at all
            return self._empty(y, require_order(order))
        found = self.potential.evaluate(self._given(y), require_order(order))
        return Evaluation(*(None if one is None else self._scaled(one, y, k) for k, one in enumerate(found)))

    def _empty(self, y: Any, order: int) -> Evaluation:
        """Return Ψ̂ and its derivatives at no state."""
        return Evaluation(y[..., 0], *((y, y[..., None] + 0 * y[..., None, :])[:order]))

    def _given(self, y: Any) -> Any:
        """Return x in the dtype of the potential."""
        x = self.x(y)
        return x.to(getattr(self.potential, "dtype", torch.float64)) if isinstance(x, Tensor) else x

    def _scaled(self, one: Any, y: Any, order: int) -> Any:
        """Return Ψ, ∇Ψ or ∇²Ψ, by `order`, in natural units, as an array or a tensor like y."""
        one = torch.as_tensor(one).to(y) if isinstance(y, Tensor) else np.asarray(one, dtype=np.float64)
        if order == 0:
            return (one - self.level) / self.spread
        unit: Any = self.unit if isinstance(y, Tensor) else self._unit
        slopes = one * (unit / self.spread)
        return slopes if order == 1 else slopes * unit[:, None]


def _level_and_spread(potential: Landscape, box: Box) -> tuple[float, float]:
    """Return m and k of a potential in a box."""
    probes = sobol(box, PROBES, seed=0).to(getattr(potential, "dtype", torch.float64))
    with torch.no_grad():
        values = torch.as_tensor(potential.value(probes)).double()
    values = values[torch.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, middle, high = torch.quantile(values, torch.tensor([0.25, 0.5, 0.75]).to(values)).tolist()
    spread = (high - low) / 2 or float((values - middle).abs().max())
    return middle, spread or 1.0
