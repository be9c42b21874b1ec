"""Two genes that activate themselves and repress each other, in conservative form (Eq 32 of Jones et al. 2025).

    Ξ(x) = Σᵢ a (xᵢ³/3 − pᵢ xᵢ²/2) − b [x₁/(Sⁿ + x₂ⁿ) + x₂/(Sⁿ + x₁ⁿ)],       ẋ = −∇Ξ

reproduces the published equation exactly; Ξ is affine in b. The publication specifies only b = 0.1 and 1. The defaults
a = p₁ = p₂ = S = 1 and n = 4 are a choice made here. With them, b = 0.1 has one stable state, x₁ = x₂ = 0.953487, and
b = 1 has two, (0.405621, 1.543999) and its mirror image, with a saddle at x₁ = x₂ = 0.813477. The two branches emerge
in a supercritical pitchfork bifurcation at b = 0.359530. (With S = 0.5, used elsewhere for this circuit, the system is
bistable already at b = 0.1.)

The model is defined for x ≥ 0, a region that the flow never leaves; solutions with negative x can diverge in finite
time.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from systems.families.potential import PotentialSystem
from systems.parameters import parameter
from systems.registry import register
from systems.system import State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GeneCircuit"]


@register("gene_circuit")
class GeneCircuit(PotentialSystem):
    """Two mutually repressing genes, with one stable state at b = 0.1 and two at b = 1.

        Ξ(x) = Σᵢ a (xᵢ³/3 − pᵢ xᵢ²/2) − b [x₁/(Sⁿ + x₂ⁿ) + x₂/(Sⁿ + x₁ⁿ)],       ẋ = −∇Ξ

    All quantities are dimensionless.

    Parameters
    ----------
    a : float, default 1
        Rate of self-activation a, > 0.
    b : float, default 1
        Strength b of cross-inhibition, ≥ 0.
    p1, p2 : float, default 1
        Preferred expression levels p₁ and p₂ of genes 1 and 2, > 0.
    S : float, default 1
        Half-saturation level S, > 0.
    n : int, default 4
        Hill exponent n, ≥ 1.

    Examples
    --------
    >>> GeneCircuit(b=0.1).velocity([0.953487095983108, 0.953487095983108]).round(12) + 0.0
    array([0., 0.])

    References
    ----------
    Eq 32 of
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242

    S. Huang, Y.-P. Guo, G. May, T. Enver, Dev. Biol. 305, 695–713 (2007), doi:10.1016/j.ydbio.2007.02.036

    J. Wang, K. Zhang, L. Xu, E. Wang, PNAS 108, 8257–8262 (2011), doi:10.1073/pnas.1017017108
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 32"
    state_space: ClassVar[tuple[State, ...]] = (
        State("x1", "expression of gene 1", "1", box=(0.0, 2.0), domain=(0.0, np.inf)),
        State("x2", "expression of gene 2", "1", box=(0.0, 2.0), domain=(0.0, np.inf)),
    )
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"

    a: float = parameter(1.0, "rate of self-activation", symbol="a", gt=0)
    b: float = parameter(1.0, "strength of cross-inhibition", symbol="b", ge=0)
    p1: float = parameter(1.0, "preferred expression of gene 1", symbol="p₁", gt=0)
    p2: float = parameter(1.0, "preferred expression of gene 2", symbol="p₂", gt=0)
    S: float = parameter(1.0, "half-saturation level", symbol="S", gt=0)
    n: int = parameter(4, "Hill exponent", symbol="n", ge=1)

    @property
    def symmetry(self) -> list[Any]:
        """Exchange of the two genes, if p₁ = p₂."""
        return [(1, 0)] if self.p1 == self.p2 else []

    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ξ, shape (…), at x, shape (…, 2)."""
        x1, x2 = x[..., 0], x[..., 1]
        activation = self.a * (x1**3 / 3 - self.p1 * x1**2 / 2 + x2**3 / 3 - self.p2 * x2**2 / 2)
        inhibition = x1 / (self.S**self.n + x2**self.n) + x2 / (self.S**self.n + x1**self.n)
        return activation - self.b * inhibition
