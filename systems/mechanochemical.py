r"""Free energy of a crystal that changes phase with strain and concentration, cubic or tetragonal (Eq 11).

With the strain invariants of cubic symmetry

    e₁ = tr E/√3,   e₂ = (E₁₁ − E₂₂)/√2,   e₃ = (E₁₁ + E₂₂ − 2E₃₃)/√6,   e₄ = √2 E₂₃,   e₅ = √2 E₁₃,   e₆ = √2 E₁₂

and η₂ = e₂/s, η₃ = e₃/s (s = s_e) the energy is

    Ψ = 16 d_c c²(1 − c)² + d_e [(1 − c) η₃(η₃² − 3η₂²) + (3/2)(2c − 1)(η₂² + η₃²) + (3/2)(η₂² + η₃²)²]
        + (3/2)(d_e/s²)(e₁² + e₄² + e₅² + e₆²).

At c = 1 the cubic phase is stable, near c = 0 three tetragonal variants are, each longer or shorter along one axis.

The publication prints this expanded in components, and not without slips: its fourth line breaks the cubic symmetry
and makes the energy unbounded below, and a common factor 1/6 of the first four lines is missing. `variant="rudraraju"`
is the energy above, that of the reference it is taken from; `variant="eq11"` has the printed coefficients with the
fourth and fifth line repaired (four lines are six times as large); `variant="printed"` is the formula as it stands.

Inputs are tensor components of strain, E₁₂ and not γ₁₂ = 2E₁₂. The gradient is that of a function of seven independent
variables, so its shear entries are ∂Ψ/∂E₁₂ = 2S₁₂; `stress` gives the tensor S.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from systems.families.base import State, register
from systems.families.potential import PotentialSystem
from systems.parameters import parameter
from workbench.dataset.tensors import FULL

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Mechanochemical"]

REACH = 0.2  # of the sampled strains


def _strain(i: int, j: int) -> State:
    return State(f"E{i}{j}", f"Lagrange strain, tensor component {i}{j}", box=(-REACH, REACH))


@register("mechanochemical")
class Mechanochemical(PotentialSystem):
    """A cubic–tetragonal phase change driven by concentration: energy of six strains and c (Eq 11).

    >>> crystal = Mechanochemical()
    >>> crystal.value([0, 0, 0, 0, 0, 0, 1.0]), crystal.gradient([0, 0, 0, 0, 0, 0, 1.0]).tolist()
    (array(0.), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 11, after Rudraraju, Van der Ven and Garikipati"
    slopes: ClassVar[str] = "derivatives by the seven independent inputs: entries by E12, E13, E23 are twice the stress"
    state_space: ClassVar[tuple[State, ...]] = (
        *(_strain(i, j) for i, j in ((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3))),
        State("c", "concentration", box=(0.0, 1.0), sensible=(0.0, 1.0)),
    )

    variant: Literal["rudraraju", "eq11", "printed"] = parameter(
        "rudraraju", "the energy, or Eq 11 repaired or as printed"
    )
    d_c: float = parameter(2.0, "height of the chemical barrier", symbol="d_c", gt=0)
    d_e: float = parameter(0.1, "depth of the elastic wells", symbol="d_e", gt=0)
    s_e: float = parameter(0.1, "strain of the elastic wells", symbol="s_e", gt=0)

    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ψ(E, c), shape (…), at x = (E11, E22, E33, E12, E13, E23, c), shape (…, 7)."""
        if self.variant == "printed":
            return self._printed(x)
        c, e = x[..., 6], self.invariants(x)
        e1, n2, n3 = e[..., 0], e[..., 1] / self.s_e, e[..., 2] / self.s_e
        square = n2**2 + n3**2
        chemical = 16 * self.d_c * c**2 * (1 - c) ** 2
        elastic = (1 - c) * n3 * (n3**2 - 3 * n2**2) + 1.5 * (2 * c - 1) * square + 1.5 * square**2
        harmonic = 1.5 * self.d_e / self.s_e**2 * (e1**2 + (e[..., 3:] ** 2).sum(-1))
        return (6 if self.variant == "eq11" else 1) * (chemical + self.d_e * elastic) + harmonic

    @property
    def symmetry(self) -> list[Any]:
        """Generators of the cubic group on (E11 … E23, c): two exchanges of axes, and the reversal of one."""
        turn, exchange, reversal = (1, 2, 0, 5, 3, 4, 6), (1, 0, 2, 3, 5, 4, 6), np.diag([1.0, 1, 1, -1, -1, 1, 1])
        return [] if self.variant == "printed" else [turn, exchange, reversal]

    @staticmethod
    def invariants(x: "Tensor") -> "Tensor":
        """Return e₁ … e₆, shape (…, 6), of x with shape (…, 6) or (…, 7)."""
        import torch

        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        first = ((a + b + c) / 3**0.5, (a - b) / 2**0.5, (a + b - 2 * c) / 6**0.5)
        return torch.stack([*first, *(2**0.5 * x[..., k] for k in (5, 4, 3))], -1)

    @staticmethod
    def stress(gradient: Any) -> np.ndarray:
        """Return the stress tensor S, shape (…, 3, 3), of gradients with shape (…, 7): shear entries are halved.

        >>> Mechanochemical.stress([1.0, 2.0, 3.0, 8.0, 10.0, 12.0, 0.0])
        array([[1., 4., 5.],
               [4., 2., 6.],
               [5., 6., 3.]])
        """
        g = np.asarray(gradient, dtype=np.float64)
        return g[..., FULL] * np.where(np.eye(3, dtype=bool), 1.0, 0.5)

    def _printed(self, x: "Tensor") -> "Tensor":
        a, b, d, e12, e13, e23, c = x.unbind(-1)
        cubic = (a + b - 2 * d) * (a - 2 * b + d) * (2 * a - b - d)
        square = a**2 + b**2 + d**2 - b * d
        return (
            self.d_c * (96 * c**2 - 192 * c**3 + 96 * c**4)
            + 2 * (2 / 3) ** 0.5 * self.d_e / self.s_e**3 * (c - 1) * cubic
            + 6 * self.d_e / self.s_e**2 * (2 * c - 1) * (square - a * b - a * d)
            + 4 * self.d_e / self.s_e * (square - a * (b + d) ** 2)
            + self.d_e / (2 * self.s_e) * (6 * (e12**2 + e13**2 + e23**2) + (a + b + d) ** 2)
        )
