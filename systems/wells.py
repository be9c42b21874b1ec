"""Three functions of one variable with two, four and three wells, as the publication illustrates them (Eqs 8–10).

All are defined on the real line and sampled on [−3, 3].

    asymmetric_quartic   y = (2/5)(x⁴/4 − x² + x³/8)                    wells at −1.614089 and 1.239089
    cosine_quadratic     y = (x² + 1.6 cos 4x + 1)/20                   wells at ±0.728019 and ±2.169903
    min_mixture          y = minᵢ 0.05 (aᵢ (x − xᵢ)² + bᵢ)              wells at −1, 0 and 2

Eq 10 is printed with the factor 0.05 on the squares only, y = minᵢ (0.05 aᵢ (x − xᵢ)² + bᵢ). Then the branch at −1 is
never the lowest and the well at 2 is 8e-4 deep: two minima, where three are meant. `variant="scaled"` puts the factor
on the whole branch, with levels 0.1, −0.025 and 0.05 at the wells; `variant="printed"` is the formula as it stands.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from systems.families.base import State, register
from systems.families.potential import PotentialSystem
from systems.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AsymmetricQuartic", "CosineQuadratic", "MinMixture"]

LINE = (State("x", "position", box=(-3.0, 3.0)),)


@register("asymmetric_quartic")
class AsymmetricQuartic(PotentialSystem):
    """A double well with one well deeper than the other (Eq 8).

    >>> AsymmetricQuartic().gradient([[-1.614089026314166], [0.0], [1.239089026314166]]).round(12).ravel() + 0.0
    array([0., 0., 0.])
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 8"
    state_space: ClassVar[tuple[State, ...]] = LINE

    def potential(self, x: "Tensor") -> "Tensor":
        """Return y, shape (…), at x with shape (…, 1)."""
        return (0.4 * (x**4 / 4 - x**2 + x**3 / 8)).sum(-1)


@register("cosine_quadratic")
class CosineQuadratic(PotentialSystem):
    """A parabola with a cosine on it: four wells on [−3, 3] (Eq 9).

    >>> CosineQuadratic().gradient([[0.7280192237058791], [2.169902726162932]]).round(12).ravel() + 0.0
    array([0., 0.])
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 9"
    state_space: ClassVar[tuple[State, ...]] = LINE

    def potential(self, x: "Tensor") -> "Tensor":
        """Return y, shape (…), at x with shape (…, 1)."""
        return ((x**2 + 1.6 * (4 * x).cos() + 1) / 20).sum(-1)


@register("min_mixture")
class MinMixture(PotentialSystem):
    """The lowest of three parabolas, with a kink between neighbours (Eq 10).

    >>> MinMixture().value([[-1.0], [0.0], [2.0]]).round(12)
    array([ 0.1  , -0.025,  0.05 ])
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 10"
    state_space: ClassVar[tuple[State, ...]] = LINE

    variant: Literal["scaled", "printed"] = parameter("scaled", "the factor 0.05 on the whole branch, or as printed")

    def potential(self, x: "Tensor") -> "Tensor":
        """Return y, shape (…), at x with shape (…, 1)."""
        position, stiffness, level = x.new_tensor([[-1.0, 0.0, 2.0], [12.0, 8.0, 4.0], [2.0, -0.5, 1.0]])
        offset = 0.05 * level if self.variant == "scaled" else level
        return (0.05 * stiffness * (x - position) ** 2 + offset).amin(-1)
