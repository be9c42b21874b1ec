r"""The Müller–Brown surface: three wells in a row, the classic test of searches for reaction paths.

    Ψ(x, y) = Σₖ Aₖ exp(aₖ (x − Xₖ)² + bₖ (x − Xₖ)(y − Yₖ) + cₖ (y − Yₖ)²),      k = 1 … 4

    A = (−200, −100, −170, 15)    a = (−1, −1, −6.5, 0.7)    b = (0, 0, 11, 0.6)    c = (−10, −10, −6.5, 0.7)
    X = (1, 0, −0.5, −1)          Y = (0, 0.5, 1.5, 1)

Published minima (−0.558, 1.442), (0.623, 0.028), (−0.050, 0.467) at −146.700, −108.167 and −80.768; saddles
(−0.822, 0.624) and (0.212, 0.293) at −40.665 and −72.249. The way from the deepest well to the second leads through
the third. `scale` multiplies Ψ: with 0.05 the barriers are a few units high.
"""

from typing import TYPE_CHECKING, ClassVar

from systems.families.base import State, register
from systems.families.potential import PotentialSystem
from systems.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MullerBrown"]

TERMS = (  # A, a, b, c, X, Y
    (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
    (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)


@register("muller_brown")
class MullerBrown(PotentialSystem):
    """Three wells and two saddles in the plane, a test of path searches (Müller and Brown 1979).

    >>> MullerBrown().value([[-0.558, 1.442], [-0.822, 0.624]]).round(2)
    array([-146.7 ,  -40.66])
    """

    reference: ClassVar[str] = "K. Müller and L. D. Brown, Theoretica Chimica Acta 53, 75 (1979)"
    duration: ClassVar[float] = 0.1
    state_space: ClassVar[tuple[State, ...]] = (
        State("x", "first coordinate", box=(-1.5, 1.2)),
        State("y", "second coordinate", box=(-0.2, 2.0)),
    )

    scale: float = parameter(1.0, "factor on the potential", symbol="s", gt=0)

    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ψ, shape (…), at x with shape (…, 2)."""
        A, a, b, c, X, Y = x.new_tensor(TERMS).T
        u, v = x[..., :1] - X, x[..., 1:] - Y
        return self.scale * (A * (a * u**2 + b * u * v + c * v**2).exp()).sum(-1)
