r"""Input-convex networks, all members and all modes in one tensor (Eq 5).

With softplus σ and hidden layers k = 1 … L−1, each mode is

    z₁ = V₁x + b₁,    z_k = V_k x + W_k h_{k−1} + b_k,    h_k = σ(z_k),    f = V_L x + W_L h_{L−1} + b_L.

It is convex in x because W_k = softplus(raw weight) ≥ 0 whatever the optimiser does to the raw weight, and σ is convex
and increasing. With c_k = ∂f/∂h_k ≥ 0 and J_k = ∂z_k/∂x its derivatives are closed forms, without nested autodiff:

    ∇f = V_L + Σ_k V_kᵀ (c_k ∘ σ′(z_k)),        ∇²f = Σ_k J_kᵀ diag(c_k ∘ σ″(z_k)) J_k  ⪰ 0.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["POSITIVE_MAP", "ConvexNetworks", "inverse_softplus", "softplus"]

POSITIVE_MAP = "W = log(1 + exp(raw))"
SPREAD = 4.0  # of pre-activations at the start: enough to bend within a fraction of the data's box


class _Pass(NamedTuple):
    """One evaluation: z_k with shape (member, mode, width, sample), W_k > 0 for k ≥ 2, f with shape (…, sample)."""

    z: list[Tensor]
    W: list[Tensor]
    f: Tensor


class ConvexNetworks(nn.Module):
    """`members` × `modes` input-convex networks of one architecture.

    Parameters, with k counting the layers from 0: `V[k]` with shape (member, mode, out, dim), `b[k]` with shape
    (member, mode, out), and, between layers k and k + 1, the raw `W[k]` with shape (member, mode, out, in).
    Inputs have shape (member, sample, dim), where a leading axis of 1 is shared by all members. Inside, samples are the
    last axis: the small matrices then multiply long rows, several times faster than the other way round.
    """

    def __init__(self, dim: int, modes: int, hidden: Sequence[int], members: int = 1, **options: Any) -> None:
        super().__init__()
        self.dim, self.modes, self.hidden, self.members = dim, modes, tuple(hidden), members
        widths = (*self.hidden, 1)

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(members, modes, *shape, **options))

        self.V = nn.ParameterList([zeros(out, dim) for out in widths])
        self.W = nn.ParameterList([zeros(out, inner) for inner, out in zip(widths, widths[1:], strict=False)])
        self.b = nn.ParameterList([zeros(out) for out in widths])

    def value(self, x: Tensor) -> Tensor:
        """Return every f(x), shape (member, mode, sample)."""
        return self._forward(x).f

    def gradient(self, x: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        """Return Σᵢ wᵢ ∇fᵢ, shape (member, dim, sample), with weights w = weigh(f), shape (member, mode, sample).

        The weights enter at the top of the chain c_k, so that one product with V_k sums over units and modes at once.
        """
        z, W, f = self._forward(x)
        w = weigh(f).unsqueeze(-2)
        total: Any = 0.0
        for V, slope in zip(self.V, [*self._slopes([torch.sigmoid(layer) for layer in z], W, w), w], strict=True):
            total = total + V.flatten(1, 2).mT @ slope.flatten(1, 2)
        return total

    def hessian(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return f, ∇f and ∇²f, the last with shape (member, mode, sample, dim, dim)."""
        z, W, f = self._forward(x)
        sigmoids = [torch.sigmoid(layer) for layer in z]
        slopes = self._slopes(sigmoids, W, torch.ones_like(f).unsqueeze(-2))
        gradient, hessian, J = self.V[-1].mT, torch.zeros((), dtype=x.dtype, device=x.device), None
        for k, (slope, s) in enumerate(zip(slopes, sigmoids, strict=True)):
            gradient = gradient + self.V[k].mT @ slope
            J = self.V[k].unsqueeze(-3) if J is None else self.V[k].unsqueeze(-3) + W[k - 1].unsqueeze(-3) @ J
            hessian = hessian + (J.mT * (slope * (1 - s)).mT.unsqueeze(-2)) @ J
            J = s.mT.unsqueeze(-1) * J
        return f, gradient, hessian

    def _forward(self, x: Tensor) -> _Pass:
        h, z = None, []
        W = [softplus(raw) for raw in self.W]
        for k, b in enumerate(self.b):
            layer = b.unsqueeze(-1) + self._project(k, x.mT)
            z.append(layer if h is None else layer + W[k - 1] @ h)
            h = softplus(z[k])
        return _Pass(z[:-1], W, z[-1].squeeze(-2))

    def _project(self, k: int, x: Tensor) -> Tensor:
        """Return V_k x, shape (member, mode, width, sample), for x with shape (member or 1, dim, sample)."""
        V = self.V[k]
        if self.dim == 1:
            return V * x.unsqueeze(-3)
        rows = V.reshape(len(x), -1, self.dim)  # one product for all members where they share x
        return (rows @ x).reshape(*V.shape[:-1], x.shape[-1])

    @staticmethod
    def _slopes(sigmoids: list[Tensor], W: list[Tensor], w: Tensor) -> list[Tensor]:
        """Return w ∂f/∂z_k = w c_k ∘ σ′(z_k) of every hidden layer from σ′(z_k), (member, mode, width, sample)."""
        slopes = [W[-1].mT * w * sigmoids[-1]]
        for k in range(len(sigmoids) - 2, -1, -1):
            slopes.insert(0, (W[k].mT @ slopes[0]) * sigmoids[k])
        return slopes

    @torch.no_grad()
    def scatter(self, rng: np.random.Generator) -> None:
        """Draw the start: W many small and a few large, V and b uniform on ±1.5, the output layer flat.

        The effective W is max(u², 1e-3), with u uniform on (−0.1, 0.9) between hidden layers and on (0.2, 1.2) before
        the output. This scale decides how well a fit ends: the usual ±1/√width inside softplus makes all W alike and
        the layers nearly collinear, and ends twenty times worse on the gene circuit (`benchmarks/starts.py`).
        """
        for raw in self.W:
            low, high = (0.2, 1.2) if raw is self.W[-1] else (-0.1, 0.9)
            raw.copy_(inverse_softplus(_uniform(rng, raw, low, high).square().clamp_min(1e-3)))
        for V, b in zip(self.V, self.b, strict=True):
            V.copy_(_uniform(rng, V, -SPREAD, SPREAD) / self.dim**0.5)
            b.copy_(_uniform(rng, b, -SPREAD, SPREAD))
        self.V[-1].zero_()
        self.b[-1].zero_()

    @torch.no_grad()
    def uniform(self, rng: np.random.Generator) -> None:
        """Draw the start by the usual law: V, b and the effective W uniform on ±1/√(width of the layer before), |W|."""
        for k, (V, b) in enumerate(zip(self.V, self.b, strict=True)):
            bound = (self.dim if k == 0 else self.hidden[k - 1]) ** -0.5
            for parameter in (V, b):
                parameter.copy_(_uniform(rng, parameter, -bound, bound))
            if k > 0:
                raw = self.W[k - 1]
                raw.copy_(inverse_softplus(_uniform(rng, raw, -bound, bound).abs().clamp_min(1e-6)))


def _uniform(rng: np.random.Generator, like: Tensor, low: float, high: float) -> Tensor:
    return torch.as_tensor(rng.uniform(low, high, tuple(like.shape))).to(like)


def softplus(z: Tensor) -> Tensor:
    """Return log(1 + exp(z)) to the last digit; torch's own cuts over to z at 20, where 2e-9 is still missing."""
    return functional.softplus(z, threshold=40.0)


def inverse_softplus(w: Tensor) -> Tensor:
    """Return the raw weight whose softplus is w > 0."""
    return w + torch.log(-torch.expm1(-w))
