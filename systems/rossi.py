"""A two-phase material with rate-independent hysteresis (Eqs 23–28 and A-1 … A-11 of Jones et al. 2025).

With the phase fraction c ∈ [0, 1], the transformation strain E₀ = ε₀ e₁⊗e₁ and the isotropic stiffness
C = K I⊗I + 2G (𝕀 − I⊗I/3), the energy of the mixture of both phases, its stress and the driving force are

    Ψ(E, c) = ½ (E − cE₀):C:(E − cE₀) + c Δψ,      S = C:(E − cE₀),      κ = −∂Ψ/∂c = e − cH,

    e = E₀:C:E − Δψ,      H = E₀:C:E₀.

The phase fraction changes when κ reaches a bound, and κ stays on the bound during the change: κ = k₊ for the forward
transformation, κ = −k₋ for the reverse one. (Taken literally, the published flow rule equates a rate with an energy
density, and the response would be rate-dependent.) Along a straight strain step, on which e is monotone, c is therefore
the result of a play operator,

    c ← min(max(c, c₊(e)), c₋(e)) ∈ [0, 1],        e − c₊H = k₊,        e − c₋H = −k₋,

which is exact for steps of any length. The dissipation is ∫ k±|dc| ≥ 0, which is k₊ + k₋ for a full loop.

With hardening η > 0 the bounds increase with the phase fraction, k±(c) = k± (1 + ηc²); then c₊ and c₋ are the roots of
quadratic equations. With a frozen phase fraction the material is elastic.

Under uniaxial strain the forward transformation begins at E₁₁ = −0.072 and ends at −0.172. The reverse one begins at
−0.100 and ends exactly at 0, because Δψ = k₋: in the unstrained state κ is on its bound, and rounding decides on which
side. Shear does not drive the transformation. Although C is isotropic, E₀ makes the material transversely isotropic
about e₁: the three invariants of E alone cannot describe it.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from systems.families.paths import PathSystem
from systems.parameters import ParameterError, parameter
from systems.registry import register
from workbench.dataset.tensors import IDENTITY, SHEAR

__all__ = ["Rossi"]


@register("rossi")
class Rossi(PathSystem):
    """Two-phase metamaterial with rate-independent hysteresis.

        Ψ(E, c) = ½ (E − cE₀):C:(E − cE₀) + c Δψ,      κ = −∂Ψ/∂c,      −k₋ (1 + ηc²) ≤ κ ≤ k₊ (1 + ηc²)  (0 < c < 1)

    The phase fraction c changes only while the driving force κ is on a bound. All quantities are dimensionless.

    Parameters
    ----------
    K, G : float, default 1, 0.5
        Bulk modulus K and shear modulus G, > 0.
    e0 : float, default -0.1
        Transformation strain ε₀ along the axis e₁, not 0.
    gap : float, default 0.006
        Energy Δψ of the second phase above the first, ≥ −k₊.
    k_forward, k_back : float, default 0.006
        Energies k₊ and k₋ dissipated by a complete forward or reverse transformation (at η = 0), ≥ 0.
    hardening : float, default 0
        Increase η of the bounds with the phase fraction, ≥ 0, at most H/(2 k₋) with H = E₀:C:E₀.
    frozen : float, optional
        Phase fraction held fixed, between 0 and 1. Default: none, c evolves.

    Examples
    --------
    >>> E11 = np.array([0.0, -0.072, -0.122, -0.25, -0.1, -0.05, 0.0])
    >>> Rossi().respond(E11[:, None] * np.eye(6)[0])["phase_fraction"].round(12)
    array([0. , 0. , 0.5, 1. , 1. , 0.5, 0. ])

    References
    ----------
    Eqs 23–28 and Appendix A of
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242

    A. Visintin, Differential Models of Hysteresis, Springer (1994), doi:10.1007/978-3-662-11557-2
    """

    reference: ClassVar[str] = (
        "Jones, Buganza Tepole and Fuhg, Eqs 23-28 and Appendix A, after Rossi, Romero and Huespe"
    )
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"
    gauge: ClassVar[str] = "zero in the unstrained first phase"

    K: float = parameter(1.0, "bulk modulus", symbol="K", gt=0)
    G: float = parameter(0.5, "shear modulus", symbol="G", gt=0)
    e0: float = parameter(-0.1, "transformation strain along the axis", symbol="ε₀")
    gap: float = parameter(0.006, "energy of the second phase above the first", symbol="Δψ")
    k_forward: float = parameter(0.006, "energy dissipated by a complete forward transformation", symbol="k₊", ge=0)
    k_back: float = parameter(0.006, "energy dissipated by a complete reverse transformation", symbol="k₋", ge=0)
    hardening: float = parameter(0.0, "increase of the bounds with the phase fraction", symbol="η", ge=0)
    frozen: float | None = parameter(None, "phase fraction held fixed; by default it evolves", ge=0, le=1)

    def model_post_init(self, context: object) -> None:
        """Check conditions that involve several parameters."""
        if self.e0 == 0:
            raise ParameterError("e0 of rossi must not be 0, or the two phases would coincide")
        if self.frozen is None and self.gap < -self.k_forward:
            raise ParameterError(
                f"gap of rossi must be at least -k_forward = {-self.k_forward:g}, or the unstrained first phase, in "
                f"which every path begins, would be unstable; got {self.gap:g}"
            )
        if self.H < 2 * self.k_back * self.hardening:
            limit = self.H / (2 * self.k_back)
            raise ParameterError(
                f"hardening of rossi must be at most H/(2 k_back) = {limit:g}, or the reverse transformation "
                f"would jump; got {self.hardening:g}"
            )

    @property
    def H(self) -> float:
        """H = E₀:C:E₀, the decrease of the driving force over a complete transformation at fixed strain."""
        return self.e0**2 * (self.K + 4 * self.G / 3)

    def respond(self, strain: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the response to strain paths.

        Parameters
        ----------
        strain : numpy.ndarray, shape (…, time, 6)
            Strain paths, which begin unstrained in the first phase.

        Returns
        -------
        dict of str to numpy.ndarray
            ``stress``, shape (…, time, 6); ``potential``, ``phase_fraction`` and ``dissipation`` (in the step that ends
            here), shape (…, time).
        """
        e = self.e0 * self._stress(strain)[..., 0] - self.gap
        c = self._phase(e)
        elastic = strain - c[..., None] * self.e0 * np.eye(6)[0]
        stress = self._stress(elastic)
        initial = self.frozen or 0.0
        change = np.diff(c, axis=-1, prepend=initial)
        cubes = np.diff(c**3, axis=-1, prepend=initial**3)
        k = np.where(change > 0, self.k_forward, self.k_back)
        return {
            "stress": stress,
            "potential": 0.5 * (stress * elastic) @ SHEAR + c * self.gap,
            "phase_fraction": c,
            "dissipation": k * np.abs(change + self.hardening * cubes / 3),
        }

    def _stress(self, elastic: np.ndarray) -> np.ndarray:
        """Return C:E, shape (…, 6), of an elastic strain E, shape (…, 6)."""
        return 2 * self.G * elastic + (self.K - 2 * self.G / 3) * (elastic @ IDENTITY)[..., None] * IDENTITY

    def _phase(self, e: np.ndarray) -> np.ndarray:
        """Return the phase fraction along e = E₀:C:E − Δψ, both of shape (…, time), from c = 0."""
        if self.frozen is not None:
            return np.full_like(e, self.frozen)
        low = self._bound(e - self.k_forward, self.k_forward)
        high = self._bound(e + self.k_back, -self.k_back)
        c, fraction = np.empty((e.shape[-1], *e.shape[:-1])), np.zeros(e.shape[:-1])
        for t, (lowest, highest) in enumerate(zip(np.moveaxis(low, -1, 0), np.moveaxis(high, -1, 0), strict=True)):
            c[t] = fraction = np.minimum(np.maximum(fraction, lowest), highest)
        return np.moveaxis(c, 0, -1)

    def _bound(self, y: np.ndarray, k: float) -> np.ndarray:
        """Return the root c of Hc + kηc² = y, clipped to [0, 1]."""
        root = np.sqrt(np.maximum(self.H**2 + 4 * k * self.hardening * y, 0.0))
        return np.clip(2 * y / (self.H + root), 0.0, 1.0)
