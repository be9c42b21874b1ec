r"""Generalised play: hysteresis with sharp transitions, exact steps, and a dissipation that cannot be negative.

A generalised standard material with an LSE-ICNN Ψ₀ of the invariants x(E) and internal variables hᵢ ∈ [0, 1],

    Ψ(E, h) = Ψ₀(x) + ½ a (tr E)² + Σᵢ (hᵢ qᵢ(E) + ½ bᵢ hᵢ²),        φ(h, ḣ) = Σᵢ (kᵢ + rᵢ hᵢ) |ḣᵢ|,

with bᵢ > 0, |rᵢ| < bᵢ, and thresholds kᵢ and kᵢ + rᵢ at the two ends of the way that are not negative. Each hᵢ rests
while its driving force −∂Ψ/∂hᵢ = −qᵢ − bᵢhᵢ lies between ±(kᵢ + rᵢhᵢ), and moves so that it never leaves them. Where
qᵢ is monotone along a step, which linear functions of E are along straight ones, the step is exact whatever its length:

    hᵢ ← min(max(hᵢ, lowᵢ), highᵢ),      lowᵢ = [(−qᵢ − kᵢ)/(bᵢ + rᵢ)],      highᵢ = [(−qᵢ + kᵢ)/(bᵢ − rᵢ)],

[·] clipped to [0, 1]. Such steps compose: a clamp after a clamp is a clamp. So a whole path is one prefix scan, of
log₂(time) operations on whole arrays, in place of a loop. A step dissipates (kᵢ + rᵢ (hᵢ + hᵢ′)/2) |hᵢ′ − hᵢ| ≥ 0, and
the work done is ΔΨ plus that, exactly.

What is assumed: rate independence; drives q linear in the linear invariants of the symmetry (tr E, and E:M with an
axis); internal variables with two ends; thresholds that are constant or linear in their own h (`hardening`; which end
of the way is which is not known beforehand, so they may rise or fall with h). The two-phase material of Eqs 23–28 is
itself of this class, as long as its bounds do not depend on the phase; several operators in sequence, each a part of
the way, approximate other laws: n of them with `hardening` follow curved thresholds on n straight pieces.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.checks import require_integer
from workbench.materials.invariants import Invariants
from workbench.materials.material import Features, Material
from workbench.potentials.convex import inverse_softplus, softplus
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["GeneralisedPlay", "clamp_scan"]

STEEPEST = 0.999  # |r| over b, at most: at 1 an operator would jump


def clamp_scan(low: Tensor, high: Tensor, start: Tensor) -> Tensor:
    """Return h_t = min(max(h_{t−1}, low_t), high_t), all with shape (…, time, operator), from h_{−1} = start.

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
    """A rate-independent material of play operators around an LSE-ICNN energy; `operators=0` is elastic.

    `invariants` say its symmetry; `modes` and `hidden` are those of the LSE-ICNN. With `hardening` the
    thresholds change linearly with their operator's h.

    >>> GeneralisedPlay(Invariants(), operators=2)
    <GeneralisedPlay of trE, trE2, trE3: 2 operators, 2 modes of 12-12>
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
        self.b, self.k, self.r = zeros(operators), zeros(operators), zeros(operators)  # raw
        self.r.requires_grad_(hardening)
        self.a = zeros()

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return b, k and r, each with shape (operator,), in units of energy."""
        scale, b, k = self.potential.potential_scale, softplus(self.b), softplus(self.k)
        most = STEEPEST * b
        r = most * torch.tanh((softplus(self.r) - k) / most) if self.hardening else torch.zeros_like(b)
        return scale * b, scale * k, scale * r

    def features(self, E: Tensor, time: Tensor) -> Features:
        """Return the invariants and their slopes."""
        return {"x": self.invariants.value(E), "slope": self.invariants.gradient(E)}

    def drive(self, x: Tensor) -> Tensor:
        """Return q, shape (…, operator), at the invariants x with shape (…, invariant)."""
        places = list(self.invariants.linear)
        scaled = ((x - self.potential.x_shift) / self.potential.x_scale)[..., places]
        return self.potential.potential_scale * (scaled @ self.w.mT + self.d)

    def states(self, features: Features, start: Tensor | None) -> Tensor:
        """Return h of every operator along the paths."""
        q, (b, k, r) = self.drive(features["x"]), self.coefficients()
        low, high = ((-q - k) / (b + r)).clamp(0, 1), ((-q + k) / (b - r)).clamp(0, 1)
        if start is None:
            return clamp_scan(low, high, torch.zeros_like(q[..., 0, :]))
        return torch.cat([start.unsqueeze(-2), clamp_scan(low[..., 1:, :], high[..., 1:, :], start)], -2)

    def gradients(self, features: Features, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂Ψ/∂x and ∂Ψ/∂h = q + bh."""
        x, scale, places = features["x"], self.potential.potential_scale, list(self.invariants.linear)
        each = scale / self.potential.x_scale
        by_x = self.potential.gradient(x)
        trace = self.a * scale / self.potential.x_scale[0] ** 2 * x[..., :1]
        turned = h @ self.w * each[places]
        added = torch.zeros_like(by_x).index_add(-1, torch.tensor(places, device=x.device), turned)
        added = torch.cat([added[..., :1] + trace, added[..., 1:]], -1)
        return by_x + added, self.drive(x) + self.coefficients()[0] * h

    def energy(self, features: Features, h: Tensor) -> Tensor:
        """Return Ψ along the paths."""
        x, b = features["x"], self.coefficients()[0]
        skip = 0.5 * self.a * self.potential.potential_scale * (x[..., 0] / self.potential.x_scale[0]) ** 2
        return self.potential.value(x) + skip + (h * self.drive(x) + 0.5 * b * h**2).sum(-1)

    def dissipated(self, features: Features, h: Tensor) -> Tensor:
        """Return Σ (k + r (h + h′)/2) |h′ − h|, which is not negative; 0 at the first sample, which ends no step."""
        _, k, r = self.coefficients()
        before = torch.cat([h[:, :1], h[:, :-1]], 1)
        return ((k + r * (before + h) / 2) * (h - before).abs()).sum(-1)

    @torch.no_grad()
    def divided(self, parts: int) -> "GeneralisedPlay":
        """Return the same material with every operator cut into `parts`, one after another on the way of the first.

        Stress, dissipation and energy stay as they are along every path, but each part has thresholds of its own to
        learn: fit few operators, then divide them and go on with `start="model"`.

        >>> GeneralisedPlay(Invariants(), operators=2).divided(3)
        <GeneralisedPlay of trE, trE2, trE3: 6 operators, 2 modes of 12-12>
        """
        require_integer(parts=parts)
        old, shape = self, {"modes": self.potential.modes, "hidden": self.potential.hidden}
        how: dict[str, Any] = {"operators": parts * self.internal, "hardening": self.hardening, **shape}
        new = GeneralisedPlay(self.invariants, **how, dtype=self.potential.dtype).to(self.w.device)
        new.potential.load_state_dict(old.potential.state_dict())
        new.a.copy_(old.a)

        def each(values: Tensor) -> Tensor:
            return values.repeat_interleave(parts, 0)

        b, k, r = (each(values) / old.potential.potential_scale for values in old.coefficients())
        before = torch.arange(parts, dtype=b.dtype, device=b.device).repeat(self.internal) / parts  # h where it begins
        new.w.copy_(each(old.w) / parts)
        new.d.copy_((each(old.d) + b * before) / parts)
        new.b.copy_(inverse_softplus(b / parts**2))
        new.k.copy_(inverse_softplus((k + r * before) / parts))
        most = STEEPEST * b / parts**2
        new.r.copy_(inverse_softplus((k + r * before) / parts + most * torch.atanh(r / parts**2 / most)))
        return new

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator, strain: np.ndarray, stress: np.ndarray, time: np.ndarray) -> None:
        """Take the scales from data and draw a start: the operators move one after another along one direction.

        Together they take a share of the spread of their drive over the data, between a fifth and a half, with a
        threshold between a twentieth and a fifth, and the middle of their loop lies anywhere.
        """
        x = self.invariants.value(strain.reshape(-1, 6))
        self.potential.set_scaling(x, potential=None, gradient=np.ones_like(x))
        spread = np.sqrt((stress**2).mean()) * np.sqrt((strain**2).sum(-1).mean())
        self.potential.potential_scale.fill_(float(spread) or 1.0)
        self.potential.initialise(rng, x, gradient=np.zeros_like(x))
        self.a.fill_(0.0)
        if self.internal == 0:
            return
        n = self.internal
        way = torch.as_tensor(rng.standard_normal(self.w.shape[1])).to(self.w)
        self.w.copy_((way / way.norm()).expand_as(self.w))
        self.d.zero_()
        y = -self.drive(torch.as_tensor(x).to(self.w))[:, 0] / self.potential.potential_scale
        width = (y.max() - y.min()).clamp_min(1e-6)
        b, k = width * rng.uniform(0.2, 0.5), width * rng.uniform(0.05, 0.2)
        first = y.min() + (width - b) * rng.uniform(0.1, 0.9)
        self.w.div_(n)  # each moves the stress by its part
        self.d.copy_((first + torch.arange(n).to(b) * b / n) / n)
        self.b.copy_(inverse_softplus(b / n**2).expand_as(self.b))
        self.k.copy_(inverse_softplus(k / n).expand_as(self.k))
        self.r.copy_(self.k)

    def __repr__(self) -> str:
        shape = "-".join(map(str, self.potential.hidden))
        of = ", ".join(self.invariants.names)
        return f"<GeneralisedPlay of {of}: {self.internal} operators, {self.potential.modes} modes of {shape}>"


def _clamp(h: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(h, low), high)
