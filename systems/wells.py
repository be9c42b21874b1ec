"""Three functions of one variable with two, four and three wells (Eqs 8–10 of Jones et al. 2025).

All are defined on the real line and sampled on [−3, 3].

    asymmetric_quartic   y = (2/5)(x⁴/4 − x² + x³/8)                    wells at −1.614089 and 1.239089
    cosine_quadratic     y = (x² + 1.6 cos 4x + 1)/20                   wells at ±0.728019 and ±2.169903
    min_mixture          y = minᵢ 0.05 (aᵢ (x − xᵢ)² + bᵢ)              wells at −1, 0 and 2

In print, the factor 0.05 of Eq 10 multiplies the squares only, y = minᵢ (0.05 aᵢ (x − xᵢ)² + bᵢ). With that formula the
branch at −1 is never the lowest one, and the well at 2 is 8e-4 deep: there are two minima where three are intended.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from systems.families.potential import PotentialSystem
from systems.parameters import parameter
from systems.registry import register
from systems.system import State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AsymmetricQuartic", "CosineQuadratic", "MinMixture"]

LINE = (State("x", "position", "1", box=(-3.0, 3.0)),)


@register("asymmetric_quartic")
class AsymmetricQuartic(PotentialSystem):
    """Asymmetric quartic: a double well with one well deeper than the other.

        y = (2/5)(x⁴/4 − x² + x³/8)

    The wells are at x = −1.614089 and 1.239089, the barrier is at x = 0. There are no parameters.

    Examples
    --------
    >>> AsymmetricQuartic().gradient([[-1.614089026314166], [0.0], [1.239089026314166]]).round(12).ravel() + 0.0
    array([0., 0., 0.])

    References
    ----------
    Eq 8 of
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 8"
    state_space: ClassVar[tuple[State, ...]] = LINE
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"

    def potential(self, x: "Tensor") -> "Tensor":
        """Return y, shape (…), at x, shape (…, 1)."""
        return (0.4 * (x**4 / 4 - x**2 + x**3 / 8)).sum(-1)


@register("cosine_quadratic")
class CosineQuadratic(PotentialSystem):
    """Cosine on a parabola: four wells on [−3, 3].

        y = (x² + 1.6 cos 4x + 1)/20

    The wells are at x = ±0.728019 and ±2.169903. There are no parameters.

    Examples
    --------
    >>> CosineQuadratic().gradient([[0.7280192237058791], [2.169902726162932]]).round(12).ravel() + 0.0
    array([0., 0.])

    References
    ----------
    Eq 9 of
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 9"
    state_space: ClassVar[tuple[State, ...]] = LINE
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"

    def potential(self, x: "Tensor") -> "Tensor":
        """Return y, shape (…), at x, shape (…, 1)."""
        return ((x**2 + 1.6 * (4 * x).cos() + 1) / 20).sum(-1)


@register("min_mixture")
class MinMixture(PotentialSystem):
    """Lowest of three parabolas, with a kink between neighbours.

        y = minᵢ 0.05 (aᵢ (x − xᵢ)² + bᵢ),      x = (−1, 0, 2),   a = (12, 8, 4),   b = (2, −1/2, 1)

    The wells are at x = −1, 0 and 2, with levels 0.1, −0.025 and 0.05.

    Parameters
    ----------
    variant : {"scaled", "printed"}
        Eq 10 with the factor 0.05 on the whole branch (default), or on the squares only, as printed.

    Examples
    --------
    >>> MinMixture().value([[-1.0], [0.0], [2.0]]).round(12)
    array([ 0.1  , -0.025,  0.05 ])

    References
    ----------
    Eq 10 of
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 10"
    state_space: ClassVar[tuple[State, ...]] = LINE
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"

    variant: Literal["scaled", "printed"] = parameter("scaled", "factor 0.05 on the whole branch, or as printed")

    def potential(self, x: "Tensor") -> "Tensor":
        """Return y, shape (…), at x, shape (…, 1)."""
        position, stiffness, level = x.new_tensor([[-1.0, 0.0, 2.0], [12.0, 8.0, 4.0], [2.0, -0.5, 1.0]])
        offset = 0.05 * level if self.variant == "scaled" else level
        return (0.05 * stiffness * (x - position) ** 2 + offset).amin(-1)
