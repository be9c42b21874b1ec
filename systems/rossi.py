r"""A material of two phases with hysteresis that does not depend on rate, in three dimensions (Eqs 23–28, A-1 … A-11).

With the phase fraction c ∈ [0, 1], the transformation strain E₀ = ε₀ e₁⊗e₁ and the isotropic stiffness
C = K I⊗I + 2G (𝕀 − I⊗I/3), the mixture energy of both phases in equilibrium, its stress and the driving force are

    Ψ(E, c) = ½ (E − cE₀):C:(E − cE₀) + c Δψ,      S = C:(E − cE₀),      κ = −∂Ψ/∂c = e − cH,

    e = E₀:C:E − Δψ,      H = E₀:C:E₀.

The phases change where κ reaches a bound and stay on it while they do: κ = k₊ forward, κ = −k₋ back. (Taken literally
the published flow rule equates a rate with an energy density, and the response would depend on the rate.) So along a
straight step of strain, on which e is monotone,

    c ← min(max(c, c₊(e)), c₋(e)) ∈ [0, 1],        e − c₊H = k₊,        e − c₋H = −k₋,

a play operator, exact for steps of any length. It dissipates ∫ k±|dc| ≥ 0, which is k₊ + k₋ in a full loop.

With `hardening` η > 0 the bounds rise with the phase fraction, k±(c) = k± (1 + ηc²); c₊ and c₋ then solve quadratic
equations, in closed form again. With `frozen` the phase fraction stays where it is put, and the material is elastic.

Along uniaxial strain the change begins at E₁₁ = −0.072 and ends at −0.172; back, it goes from −0.100 to 0 exactly,
because Δψ = k₋: unstrained, the material is on the bound, and rounding decides on which side. Shear does not drive c.
Although C is isotropic, E₀ makes the material transversely isotropic about e₁: the three invariants of E alone cannot
describe it.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from systems.families.base import register
from systems.families.paths import PathSystem
from systems.parameters import ParameterError, parameter
from workbench.dataset.tensors import IDENTITY, SHEAR

__all__ = ["Rossi"]


@register("rossi")
class Rossi(PathSystem):
    """A metamaterial that buckles from one phase to another and back, with hysteresis (Eqs 23–28).

    >>> E11 = np.array([0.0, -0.072, -0.122, -0.25, -0.1, -0.05, 0.0])
    >>> Rossi().respond(E11[:, None] * np.eye(6)[0])["phase_fraction"].round(12)
    array([0. , 0. , 0.5, 1. , 1. , 0.5, 0. ])
    """

    reference: ClassVar[str] = (
        "Jones, Buganza Tepole and Fuhg, Eqs 23-28 and Appendix A, after Rossi, Romero and Huespe"
    )

    K: float = parameter(1.0, "bulk modulus", symbol="K", gt=0)
    G: float = parameter(0.5, "shear modulus", symbol="G", gt=0)
    e0: float = parameter(-0.1, "transformation strain along the axis", symbol="ε₀")
    gap: float = parameter(0.006, "energy of the second phase above the first", symbol="Δψ")
    k_forward: float = parameter(0.006, "energy dissipated by a full change forward", symbol="k₊", ge=0)
    k_back: float = parameter(0.006, "energy dissipated by a full change back", symbol="k₋", ge=0)
    hardening: float = parameter(0.0, "rise of the bounds with the phase fraction", symbol="η", ge=0)
    frozen: float | None = parameter(None, "phase fraction held fixed, or none to let it change", ge=0, le=1)

    def model_post_init(self, context: object) -> None:
        """Check what involves several parameters."""
        if self.e0 == 0:
            raise ParameterError("e0 of rossi must not be 0: the two phases would be one")
        if self.frozen is None and self.gap < -self.k_forward:
            raise ParameterError(
                f"gap of rossi must be at least -k_forward = {-self.k_forward:g}, or the unstrained first phase, from "
                f"which every path begins, would not last; got {self.gap:g}"
            )
        if self.H < 2 * self.k_back * self.hardening:
            limit = self.H / (2 * self.k_back)
            raise ParameterError(
                f"hardening of rossi must be at most H/(2 k_back) = {limit:g}, or the way back would jump; "
                f"got {self.hardening:g}"
            )

    @property
    def H(self) -> float:
        """E₀:C:E₀, by how much the driving force falls in a full change of phase."""
        return self.e0**2 * (self.K + 4 * self.G / 3)

    def respond(self, strain: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return stress, phase_fraction, dissipation and potential along strain with shape (…, time, 6)."""
        e = self.e0 * self._stress(strain)[..., 0] - self.gap
        c = self._phase(e)
        elastic = strain - c[..., None] * self.e0 * np.eye(6)[0]
        stress = self._stress(elastic)
        before = self.frozen or 0.0
        change = np.diff(c, axis=-1, prepend=before)
        cubes = np.diff(c**3, axis=-1, prepend=before**3)
        k = np.where(change > 0, self.k_forward, self.k_back)
        return {
            "stress": stress,
            "potential": 0.5 * (stress * elastic) @ SHEAR + c * self.gap,
            "phase_fraction": c,
            "dissipation": k * np.abs(change + self.hardening * cubes / 3),
        }

    def _stress(self, elastic: np.ndarray) -> np.ndarray:
        return 2 * self.G * elastic + (self.K - 2 * self.G / 3) * (elastic @ IDENTITY)[..., None] * IDENTITY

    def _phase(self, e: np.ndarray) -> np.ndarray:
        """Return the phase fraction along e = E₀:C:E − Δψ, shape (…, time), from c = 0."""
        if self.frozen is not None:
            return np.full_like(e, self.frozen)
        low = self._bound(e - self.k_forward, self.k_forward)
        high = self._bound(e + self.k_back, -self.k_back)
        c, fraction = np.empty((e.shape[-1], *e.shape[:-1])), np.zeros(e.shape[:-1])
        for t, (lowest, highest) in enumerate(zip(np.moveaxis(low, -1, 0), np.moveaxis(high, -1, 0), strict=True)):
            c[t] = fraction = np.minimum(np.maximum(fraction, lowest), highest)
        return np.moveaxis(c, 0, -1)

    def _bound(self, y: np.ndarray, k: float) -> np.ndarray:
        """Return the root in [0, 1] of Hc + kηc² = y; beyond the ends, the end."""
        root = np.sqrt(np.maximum(self.H**2 + 4 * k * self.hardening * y, 0.0))
        return np.clip(2 * y / (self.H + root), 0.0, 1.0)
