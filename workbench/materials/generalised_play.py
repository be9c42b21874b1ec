"""Generalised play: a rate-independent material with sharp transitions, exact steps and nonnegative dissipation.

A generalised standard material (Halphen and Nguyen 1975) with an LSE-ICNN Ψ₀ of the invariants x(E) and internal
variables hᵢ ∈ [0, 1] has the energy Ψ and the dissipation potential φ

    Ψ(E, h) = Ψ₀(x) + ½ a (tr E)² + Σᵢ (hᵢ qᵢ(E) + ½ bᵢ hᵢ²),        φ(h, ḣ) = Σᵢ (kᵢ + rᵢ hᵢ) |ḣᵢ|,

with bᵢ > 0, |rᵢ| < bᵢ, and nonnegative thresholds kᵢ at hᵢ = 0 and kᵢ + rᵢ at hᵢ = 1. Each hᵢ rests while its driving
force −∂Ψ/∂hᵢ = −qᵢ − bᵢhᵢ lies between ±(kᵢ + rᵢhᵢ), and otherwise moves such that the force stays at the threshold.
This is a play (Prandtl–Ishlinskii) operator. The drive qᵢ is linear in E, hence monotone along a straight step, and the
step is exact for any length:

    hᵢ ← min(max(hᵢ, lowᵢ), highᵢ),      lowᵢ = [(−qᵢ − kᵢ)/(bᵢ + rᵢ)],      highᵢ = [(−qᵢ + kᵢ)/(bᵢ − rᵢ)],

with [·] clipped to [0, 1]. Two clamps in succession are again a clamp, so a whole path is one prefix scan (Hillis and
Steele 1986): log₂(time) operations on whole arrays instead of a loop over time. A step dissipates
(kᵢ + rᵢ (hᵢ + hᵢ′)/2) |hᵢ′ − hᵢ| ≥ 0, and the work equals ΔΨ plus the dissipation exactly.

Assumptions: rate independence; drives that are linear in the linear invariants of the symmetry (tr E, and E:M with an
axis); bounded internal variables; thresholds that are constant or, with `hardening`, linear in their own h. Which phase
is h = 0 is not known in advance, so thresholds may rise or fall with h. The two-phase material of Eqs 23–28 of Jones et
al. (2025) belongs to this class if its bounds do not depend on the phase fraction. Several operators in sequence, each
covering a part of the transition, approximate other laws: n operators with `hardening` represent curved thresholds by n
straight pieces. The references are listed at `GeneralisedPlay`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench import dataset
from workbench.checks import require_integer
from workbench.materials.invariants import Invariants
from workbench.materials.material import Features, Material
from workbench.potentials.convex import inverse_softplus, softplus
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["GeneralisedPlay", "clamp_scan"]

LARGEST_HARDENING = 0.999  # bound on |r|/b; at 1 an operator would jump


def clamp_scan(low: Tensor, high: Tensor, start: Tensor) -> Tensor:
    """Return h_t = min(max(h_{t−1}, low_t), high_t) for all t by a prefix scan.

    Parameters
    ----------
    low, high : torch.Tensor
        Bounds with low ≤ high, shape (…, time, operator).
    start : torch.Tensor
        h before the first bounds, shape (…, operator).

    Returns
    -------
    torch.Tensor
        h, shape (…, time, operator).

    Examples
    --------
    >>> low, high = torch.tensor([[0.0, 0.4, 0.0, 0.0]]).mT, torch.tensor([[1.0, 1.0, 1.0, 0.3]]).mT
    >>> clamp_scan(low, high, torch.zeros(1)).ravel()
    tensor([0.0000, 0.4000, 0.4000, 0.3000])
    """
    shift = 1
    while shift < low.shape[-2]:
        lowest, highest = low[..., shift:, :], high[..., shift:, :]
        joined = [torch.cat([b[..., :shift, :], _clamp(b[..., :-shift, :], lowest, highest)], -2) for b in (low, high)]
        low, high = joined
        shift *= 2
    return _clamp(start.unsqueeze(-2), low, high)


class GeneralisedPlay(Material):
    """Rate-independent material with play operators and an LSE-ICNN energy.

        Ψ(E, h) = Ψ₀(x) + ½ a (tr E)² + Σᵢ (hᵢ qᵢ(E) + ½ bᵢ hᵢ²),        φ(h, ḣ) = Σᵢ (kᵢ + rᵢ hᵢ) |ḣᵢ|,

    with 0 ≤ hᵢ ≤ 1 and drives qᵢ that are linear in E. The dissipation of every step is nonnegative, and steps of any
    length are exact. Without operators the material is elastic.

    Parameters
    ----------
    invariants : Invariants
        Symmetry of the material.
    operators : int, optional
        Number of play operators, each with one internal variable in [0, 1]; 0 is an elastic material.
    hardening : bool, optional
        Let the threshold of each operator change linearly with its internal variable.
    modes : int, optional
        Number of convex modes of the LSE-ICNN.
    hidden : tuple of int, optional
        Widths of the hidden layers of every mode.
    dtype : torch.dtype, optional
        Floating-point type.

    Raises
    ------
    ValueError
        If `operators` is not an integer ≥ 0, or a size of the LSE-ICNN is invalid.

    Examples
    --------
    >>> GeneralisedPlay(Invariants(), operators=2)
    <GeneralisedPlay of trE, trE2, trE3: 2 operators, 2 modes of 12-12>

    References
    ----------
    - A. Visintin, Differential Models of Hysteresis, Springer (1994), doi:10.1007/978-3-662-11557-2
    - B. Halphen, Q. S. Nguyen, Sur les matériaux standard généralisés, J. Mécanique 14, 39–63 (1975)
    - W. D. Hillis, G. L. Steele, Data parallel algorithms, Commun. ACM 29, 1170–1183 (1986), doi:10.1145/7902.7903
    """

    def __init__(
        self,
        invariants: Invariants,
        *,
        operators: int = 1,
        hardening: bool = False,
        modes: int = 2,
        hidden: tuple[int, ...] = (12, 12),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        require_integer(0, operators=operators)
        self.invariants, self.internal, self.hardening = invariants, operators, hardening
        self.potential = LSEICNN(len(invariants.names), modes, hidden, states=invariants.names, dtype=dtype)

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, dtype=dtype))

        self.w, self.d = zeros(operators, len(invariants.linear)), zeros(operators)
        self.b, self.k, self.r = zeros(operators), zeros(operators), zeros(operators)  # before softplus
        self.UNIDENTIFIED = () if hardening else ("r",)
        self.a = zeros()

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return b, k and r in units of energy, each with shape (operator,)."""
        scale, b, k = self.potential.potential_scale, softplus(self.b), softplus(self.k)
        bound = LARGEST_HARDENING * b
        r = bound * torch.tanh((softplus(self.r) - k) / bound) if self.hardening else torch.zeros_like(b)
        return scale * b, scale * k, scale * r

    def features(self, E: Tensor, time: Tensor) -> Features:
        """Return the invariants and their derivatives with respect to strain."""
        return {"x": self.invariants.value(E), "slope": self.invariants.gradient(E)}

    def drive(self, x: Tensor) -> Tensor:
        """Return the drives q, shape (…, operator), at the invariants x, shape (…, invariant)."""
        linear = list(self.invariants.linear)
        scaled = ((x - self.potential.x_shift) / self.potential.x_scale)[..., linear]
        return self.potential.potential_scale * (scaled @ self.w.mT + self.d)

    def states(self, features: Features, start: Tensor | None) -> Tensor:
        """Return h along the paths, shape (trajectory, time, operator)."""
        q, (b, k, r) = self.drive(features["x"]), self.coefficients()
        low, high = ((-q - k) / (b + r)).clamp(0, 1), ((-q + k) / (b - r)).clamp(0, 1)
        if start is None:
            return clamp_scan(low, high, torch.zeros_like(q[..., 0, :]))
        return torch.cat([start.unsqueeze(-2), clamp_scan(low[..., 1:, :], high[..., 1:, :], start)], -2)

    def gradients(self, features: Features, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂Ψ/∂x, shape (trajectory, time, invariant), and ∂Ψ/∂h = q + bh, shape (trajectory, time, operator)."""
        x, scale, linear = features["x"], self.potential.potential_scale, list(self.invariants.linear)
        by_x = self.potential.gradient(x)
        by_trace = self.a * scale / self.potential.x_scale[0] ** 2 * x[..., :1]
        by_linear = h @ self.w * (scale / self.potential.x_scale)[linear]
        added = torch.zeros_like(by_x).index_add(-1, torch.tensor(linear, device=x.device), by_linear)
        added = torch.cat([added[..., :1] + by_trace, added[..., 1:]], -1)
        return by_x + added, self.drive(x) + self.coefficients()[0] * h

    def energy(self, features: Features, h: Tensor) -> Tensor:
        """Return Ψ along the paths, shape (trajectory, time)."""
        x, b = features["x"], self.coefficients()[0]
        quadratic = 0.5 * self.a * self.potential.potential_scale * (x[..., 0] / self.potential.x_scale[0]) ** 2
        return self.potential.value(x) + quadratic + (h * self.drive(x) + 0.5 * b * h**2).sum(-1)

    def dissipated(self, features: Features, h: Tensor) -> Tensor:
        """Return Σ (k + r (h + h′)/2) |h′ − h| ≥ 0, shape (trajectory, time); 0 at the first sample."""
        _, k, r = self.coefficients()
        before = torch.cat([h[:, :1], h[:, :-1]], 1)
        return ((k + r * (before + h) / 2) * (h - before).abs()).sum(-1)

    @torch.no_grad()
    def divided(self, parts: int) -> "GeneralisedPlay":
        """Return the same material with every operator divided into several that move in sequence.

        Stress, dissipation and energy along any path stay the same, but every part has a threshold of its own to
        learn. Fit a few operators, divide them, and continue the fit with ``warm_start=True``.

        Parameters
        ----------
        parts : int
            Number of operators that replace each one.

        Returns
        -------
        GeneralisedPlay
            A new material; this one is not modified.

        Raises
        ------
        ValueError
            If `parts` is not an integer ≥ 1.

        Examples
        --------
        >>> GeneralisedPlay(Invariants(), operators=2).divided(3)
        <GeneralisedPlay of trE, trE2, trE3: 6 operators, 2 modes of 12-12>
        """
        require_integer(parts=parts)
        old, shape = self, {"modes": self.potential.modes, "hidden": self.potential.hidden}
        settings: dict[str, Any] = {"operators": parts * self.internal, "hardening": self.hardening, **shape}
        new = GeneralisedPlay(self.invariants, **settings, dtype=self.potential.dtype).to(self.w.device)
        new.potential.load_state_dict(old.potential.state_dict())
        new.a.copy_(old.a)

        def repeated(values: Tensor) -> Tensor:
            return values.repeat_interleave(parts, 0)

        b, k, r = (repeated(values) / old.potential.potential_scale for values in old.coefficients())
        lower = torch.arange(parts, dtype=b.dtype, device=b.device).repeat(self.internal) / parts  # old h at new h = 0
        new.w.copy_(repeated(old.w) / parts)
        new.d.copy_((repeated(old.d) + b * lower) / parts)
        new.b.copy_(inverse_softplus(b / parts**2))
        new.k.copy_(inverse_softplus((k + r * lower) / parts))
        bound = LARGEST_HARDENING * b / parts**2
        new.r.copy_(inverse_softplus((k + r * lower) / parts + bound * torch.atanh(r / parts**2 / bound)))
        return new

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator, strain: np.ndarray, stress: np.ndarray, time: np.ndarray) -> None:
        """Set the scales from data and draw a starting point, with operators that move in sequence.

        Their drives share one random direction. In units of the range of the drive over the data, the whole
        transition spans 0.2 to 0.5, the threshold is 0.05 to 0.2, and the position of the loop is random. `strain` and
        `stress` have shape (trajectory, time, 6), `time` has shape (time,).
        """
        x = self.invariants.value(strain.reshape(-1, 6))
        self.potential.set_scaling(x, potential=None, gradient=np.ones_like(x))
        work = np.sqrt((stress**2).mean()) * np.sqrt((strain**2).sum(-1).mean())
        self.potential.potential_scale.fill_(float(work) or 1.0)
        self.potential.initialise(dataset.points(x, gradient=np.zeros_like(x)), rng)
        self.a.fill_(0.0)
        if self.internal == 0:
            return
        n = self.internal
        direction = torch.as_tensor(rng.standard_normal(self.w.shape[1])).to(self.w)
        self.w.copy_((direction / direction.norm()).expand_as(self.w))
        self.d.zero_()
        y = -self.drive(torch.as_tensor(x).to(self.w))[:, 0] / self.potential.potential_scale
        width = (y.max() - y.min()).clamp_min(1e-6)
        b, k = width * rng.uniform(0.2, 0.5), width * rng.uniform(0.05, 0.2)
        first = y.min() + (width - b) * rng.uniform(0.1, 0.9)
        self.w.div_(n)  # each contributes 1/n of the change in stress
        self.d.copy_((first + torch.arange(n).to(b) * b / n) / n)
        self.b.copy_(inverse_softplus(b / n**2).expand_as(self.b))
        self.k.copy_(inverse_softplus(k / n).expand_as(self.k))
        self.r.copy_(self.k)

    def __repr__(self) -> str:
        shape = "-".join(map(str, self.potential.hidden))
        names = ", ".join(self.invariants.names)
        return f"<GeneralisedPlay of {names}: {self.internal} operators, {self.potential.modes} modes of {shape}>"


def _clamp(h: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return min(max(h, low), high), elementwise."""
    return torch.minimum(torch.maximum(h, low), high)
