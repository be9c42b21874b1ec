r"""Two genes that activate themselves and repress each other, in conservative form (Eq 32).

    Ξ(x) = Σᵢ a (xᵢ³/3 − pᵢ xᵢ²/2) − b [x₁/(Sⁿ + x₂ⁿ) + x₂/(Sⁿ + x₁ⁿ)],       ẋ = −∇Ξ

is the published equation exactly, and affine in b. The publication gives b = 0.1 and 1.0 only; a = p₁ = p₂ = S = 1 and
n = 4 are our choice: with them b = 0.1 has one stable state, x₁ = x₂ = 0.953487, and b = 1 two, (0.405621, 1.543999)
and its mirror image, with a saddle at x₁ = x₂ = 0.813477. The branch splits in a supercritical pitchfork at
b = 0.359530. (S = 0.5, used elsewhere for this circuit, is bistable at b = 0.1 already.)

Defined for x ≥ 0, which the flow never leaves; from negative values solutions can run away in finite time.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from systems.families.base import State, register
from systems.families.potential import PotentialSystem
from systems.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GeneCircuit"]


@register("gene_circuit")
class GeneCircuit(PotentialSystem):
    """Two mutually repressing genes; b = 0.1 has one stable state, b = 1 two (Eq 32).

    >>> GeneCircuit(b=0.1).velocity([0.953487095983108, 0.953487095983108]).round(12) + 0.0
    array([0., 0.])
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 32"
    state_space: ClassVar[tuple[State, ...]] = (
        State("x1", "expression of gene 1", box=(0.0, 2.0), domain=(0.0, np.inf)),
        State("x2", "expression of gene 2", box=(0.0, 2.0), domain=(0.0, np.inf)),
    )

    a: float = parameter(1.0, "rate of self-activation", symbol="a", gt=0)
    b: float = parameter(1.0, "strength of cross-inhibition", symbol="b", ge=0)
    p1: float = parameter(1.0, "preferred expression of gene 1", symbol="p₁", gt=0)
    p2: float = parameter(1.0, "preferred expression of gene 2", symbol="p₂", gt=0)
    S: float = parameter(1.0, "half-saturation level", symbol="S", gt=0)
    n: int = parameter(4, "Hill exponent", symbol="n", ge=1)

    @property
    def symmetry(self) -> list[Any]:
        """The exchange of the genes, where they are alike."""
        return [(1, 0)] if self.p1 == self.p2 else []

    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ξ(x), shape (…), at x with shape (…, 2)."""
        x1, x2 = x[..., 0], x[..., 1]
        activation = self.a * (x1**3 / 3 - self.p1 * x1**2 / 2 + x2**3 / 3 - self.p2 * x2**2 / 2)
        inhibition = x1 / (self.S**self.n + x2**self.n) + x2 / (self.S**self.n + x1**self.n)
        return activation - self.b * inhibition
