"""Free energy of a cubic–tetragonal crystal as a function of strain and concentration (Eq 11 of Jones et al. 2025).

With the strain invariants of cubic symmetry

    e₁ = tr E/√3,   e₂ = (E₁₁ − E₂₂)/√2,   e₃ = (E₁₁ + E₂₂ − 2E₃₃)/√6,   e₄ = √2 E₂₃,   e₅ = √2 E₁₃,   e₆ = √2 E₁₂

and η₂ = e₂/s, η₃ = e₃/s, s = s_e, the energy is

    Ψ = 16 d_c c²(1 − c)² + d_e [(1 − c) η₃(η₃² − 3η₂²) + (3/2)(2c − 1)(η₂² + η₃²) + (3/2)(η₂² + η₃²)²]
        + (3/2)(d_e/s²)(e₁² + e₄² + e₅² + e₆²).

At c = 1 the cubic phase is stable. Near c = 0 three tetragonal variants are stable, each elongated or shortened along
one axis.

The publication prints this energy expanded in components, with misprints: its fourth line breaks the cubic symmetry and
makes the energy unbounded below, and a common factor 1/6 of the first four lines is missing.

Strains are tensor components, E₁₂ rather than γ₁₂ = 2E₁₂. The gradient is that of a function of seven independent
variables, so its shear entries are ∂Ψ/∂E₁₂ = 2S₁₂; `stress` returns the tensor S.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from systems.families.potential import PotentialSystem
from systems.parameters import parameter
from systems.registry import register
from systems.system import State
from workbench.dataset.tensors import FULL

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Mechanochemical"]

LARGEST_STRAIN = 0.2  # sampled


def _strain(i: int, j: int) -> State:
    """Return the state of a strain component."""
    return State(f"E{i}{j}", f"Lagrange strain, tensor component {i}{j}", "1", box=(-LARGEST_STRAIN, LARGEST_STRAIN))


@register("mechanochemical")
class Mechanochemical(PotentialSystem):
    """Cubic–tetragonal crystal: free energy of six strain components and the concentration c.

    With the strain invariants e₁ … e₆ of cubic symmetry (see the module), η₂ = e₂/s_e and η₃ = e₃/s_e,

        Ψ = 16 d_c c²(1 − c)² + d_e [(1 − c) η₃(η₃² − 3η₂²) + (3/2)(2c − 1)(η₂² + η₃²) + (3/2)(η₂² + η₃²)²]
            + (3/2)(d_e/s_e²)(e₁² + e₄² + e₅² + e₆²).

    All quantities are dimensionless. Shear entries of the gradient are twice the stress, see `stress`.

    Parameters
    ----------
    variant : {"rudraraju", "eq11", "printed"}
        The energy above (default); the printed coefficients of Eq 11 with its fourth and fifth lines corrected, whose
        first four lines are six times as large; or Eq 11 exactly as printed.
    d_c : float, default 2
        Height d_c of the chemical barrier, > 0.
    d_e : float, default 0.1
        Depth d_e of the elastic wells, > 0.
    s_e : float, default 0.1
        Strain s_e of the elastic wells, > 0.

    Examples
    --------
    >>> crystal = Mechanochemical()
    >>> crystal.value([0, 0, 0, 0, 0, 0, 1.0]), crystal.gradient([0, 0, 0, 0, 0, 0, 1.0]).tolist()
    (array(0.), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])

    References
    ----------
    Eq 11 of
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242

    S. Rudraraju, A. Van der Ven, K. Garikipati, npj Comput. Mater. 2, 16012 (2016), doi:10.1038/npjcompumats.2016.12
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eq 11, after Rudraraju, Van der Ven and Garikipati"
    gradient_note: ClassVar[str] = (
        "derivatives with respect to seven independent inputs: those by E12, E13, E23 are twice the stress"
    )
    state_space: ClassVar[tuple[State, ...]] = (
        *(_strain(i, j) for i, j in ((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3))),
        State("c", "concentration", "1", box=(0.0, 1.0), sensible=(0.0, 1.0)),
    )
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"

    variant: Literal["rudraraju", "eq11", "printed"] = parameter(
        "rudraraju", "the energy of the reference, or Eq 11 corrected or as printed"
    )
    d_c: float = parameter(2.0, "height of the chemical barrier", symbol="d_c", gt=0)
    d_e: float = parameter(0.1, "depth of the elastic wells", symbol="d_e", gt=0)
    s_e: float = parameter(0.1, "strain of the elastic wells", symbol="s_e", gt=0)

    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ψ, shape (…), at x = (E11, E22, E33, E12, E13, E23, c), shape (…, 7)."""
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
        """Generators of the cubic group acting on x: two permutations of the axes and the reversal of one axis."""
        rotation, exchange, reversal = (1, 2, 0, 5, 3, 4, 6), (1, 0, 2, 3, 5, 4, 6), np.diag([1.0, 1, 1, -1, -1, 1, 1])
        return [] if self.variant == "printed" else [rotation, exchange, reversal]

    @staticmethod
    def invariants(x: "Tensor") -> "Tensor":
        """Return the invariants e₁ … e₆, shape (…, 6), at x, shape (…, 6) or (…, 7)."""
        import torch

        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        first = ((a + b + c) / 3**0.5, (a - b) / 2**0.5, (a + b - 2 * c) / 6**0.5)
        return torch.stack([*first, *(2**0.5 * x[..., k] for k in (5, 4, 3))], -1)

    @staticmethod
    def stress(gradient: Any) -> np.ndarray:
        """Return the stress tensor S, shape (…, 3, 3), of gradients, shape (…, 7), by halving shear entries.

        Examples
        --------
        >>> Mechanochemical.stress([1.0, 2.0, 3.0, 8.0, 10.0, 12.0, 0.0])
        array([[1., 4., 5.],
               [4., 2., 6.],
               [5., 6., 3.]])
        """
        g = np.asarray(gradient, dtype=np.float64)
        return g[..., FULL] * np.where(np.eye(3, dtype=bool), 1.0, 0.5)

    def _printed(self, x: "Tensor") -> "Tensor":
        """Return Eq 11 as printed, shape (…), at x, shape (…, 7)."""
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
