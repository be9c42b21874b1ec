"""The Müller–Brown surface, the standard test of searches for transition states and reaction paths.

    Ψ(x, y) = s Σₖ Aₖ exp(aₖ (x − Xₖ)² + bₖ (x − Xₖ)(y − Yₖ) + cₖ (y − Yₖ)²),      k = 1 … 4

    A = (−200, −100, −170, 15)    a = (−1, −1, −6.5, 0.7)    b = (0, 0, 11, 0.6)    c = (−10, −10, −6.5, 0.7)
    X = (1, 0, −0.5, −1)          Y = (0, 0.5, 1.5, 1)

For s = 1 the published minima are (−0.558, 1.442), (0.623, 0.028) and (−0.050, 0.467), with Ψ = −146.700, −108.167 and
−80.768; the saddles are (−0.822, 0.624) and (0.212, 0.293), with Ψ = −40.665 and −72.249. The path from the deepest
well to the second deepest passes through the third.
"""

from typing import TYPE_CHECKING, ClassVar

from systems.families.potential import PotentialSystem
from systems.parameters import parameter
from systems.registry import register
from systems.system import State

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
    """Müller–Brown surface: three wells and two saddles in the plane.

        Ψ(x, y) = s Σₖ Aₖ exp(aₖ (x − Xₖ)² + bₖ (x − Xₖ)(y − Yₖ) + cₖ (y − Yₖ)²),      k = 1 … 4

    With s = 0.05 the barriers are a few units high.

    Parameters
    ----------
    scale : float, default 1
        Factor s of the potential, > 0; dimensionless.

    Examples
    --------
    >>> MullerBrown().value([[-0.558, 1.442], [-0.822, 0.624]]).round(2)
    array([-146.7 ,  -40.66])

    References
    ----------
    K. Müller, L. D. Brown, Theor. Chim. Acta 53, 75–93 (1979), doi:10.1007/BF00547608
    """

    reference: ClassVar[str] = "K. Müller and L. D. Brown, Theoretica Chimica Acta 53, 75 (1979)"
    duration: ClassVar[float] = 0.1
    state_space: ClassVar[tuple[State, ...]] = (
        State("x", "first coordinate", "1", box=(-1.5, 1.2)),
        State("y", "second coordinate", "1", box=(-0.2, 2.0)),
    )
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"

    scale: float = parameter(1.0, "factor of the potential", symbol="s", gt=0)

    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ψ, shape (…), at x, shape (…, 2)."""
        A, a, b, c, X, Y = x.new_tensor(TERMS).T
        u, v = x[..., :1] - X, x[..., 1:] - Y
        return self.scale * (A * (a * u**2 + b * u * v + c * v**2).exp()).sum(-1)
