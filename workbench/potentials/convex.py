r"""Input-convex neural networks, with all members and modes in one tensor (Eq 5 of Jones et al. 2025).

With softplus σ and hidden layers k = 1 … L−1, each mode is

    z₁ = V₁x + b₁,    z_k = V_k x + W_k h_{k−1} + b_k,    h_k = σ(z_k),    f = V_L x + W_L h_{L−1} + b_L.

f is convex in x for any values of the parameters, because σ is convex and increasing and W_k = softplus(raw W_k) > 0.
With c_k = ∂f/∂h_k ≥ 0 and J_k = ∂z_k/∂x, its derivatives have closed forms, so that no nested automatic
differentiation is needed:

    ∇f = V_Lᵀ + Σ_k V_kᵀ (c_k ∘ σ′(z_k)),        ∇²f = Σ_k J_kᵀ diag(c_k ∘ σ″(z_k)) J_k  ⪰ 0.

References
----------
B. Amos, L. Xu, J. Z. Kolter, Input convex neural networks, Proc. ICML, PMLR 70, 146–155 (2017),
doi:10.48550/arXiv.1609.07152.

R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well, locally-convex
potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["POSITIVE_MAP", "ConvexNetworks", "inverse_softplus", "softplus"]

POSITIVE_MAP = "W = log(1 + exp(raw))"
INITIAL_RANGE = 4.0  # half-width of the initial V √dim and b: units then curve within a fraction of the box of the data


class _Pass(NamedTuple):
    """A forward pass: z_k (member, mode, width, sample), W_k > 0 (member, mode, out, in), f (member, mode, sample)."""

    z: list[Tensor]
    W: list[Tensor]
    f: Tensor


class ConvexNetworks(nn.Module):
    """`members` × `modes` input-convex networks of one architecture.

    The trainable parameters, with layers k counted from 0, are `V[k]`, shape (member, mode, out, dim), `b[k]`, shape
    (member, mode, out), and the raw `W[k]` between layers k and k + 1, shape (member, mode, out, in).

    Inputs x have shape (member, sample, dim); a leading axis of length 1 is shared by all members. Internally, samples
    are the last axis: small matrices then multiply long rows, which is several times faster than the converse.
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
        """Return f(x) of every mode, shape (member, mode, sample)."""
        return self._forward(x).f

    def gradient(self, x: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        """Return Σᵢ wᵢ ∇fᵢ, shape (member, dim, sample), with weights w = weigh(f), shape (member, mode, sample).

        The weights multiply ∂f/∂z at the output, so that one product with V_k sums over units and modes at once.
        """
        z, W, f = self._forward(x)
        w = weigh(f).unsqueeze(-2)
        total: Any = 0.0
        for V, dz in zip(self.V, [*self._df_dz([torch.sigmoid(layer) for layer in z], W, w), w], strict=True):
            total = total + V.flatten(1, 2).mT @ dz.flatten(1, 2)
        return total

    def hessian(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return f (member, mode, sample), ∇f (member, mode, dim, sample) and ∇²f (member, mode, sample, dim, dim)."""
        z, W, f = self._forward(x)
        sigmoids = [torch.sigmoid(layer) for layer in z]
        df_dz = self._df_dz(sigmoids, W, torch.ones_like(f).unsqueeze(-2))
        gradient, hessian, J = self.V[-1].mT, torch.zeros((), dtype=x.dtype, device=x.device), None
        for k, (dz, s) in enumerate(zip(df_dz, sigmoids, strict=True)):
            gradient = gradient + self.V[k].mT @ dz
            J = self.V[k].unsqueeze(-3) if J is None else self.V[k].unsqueeze(-3) + W[k - 1].unsqueeze(-3) @ J
            hessian = hessian + (J.mT * (dz * (1 - s)).mT.unsqueeze(-2)) @ J
            J = s.mT.unsqueeze(-1) * J
        return f, gradient, hessian

    def _forward(self, x: Tensor) -> _Pass:
        """Evaluate all layers at x, shape (member or 1, sample, dim)."""
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
        rows = V.reshape(len(x), -1, self.dim)  # a single product for all members if they share x
        return (rows @ x).reshape(*V.shape[:-1], x.shape[-1])

    @staticmethod
    def _df_dz(sigmoids: list[Tensor], W: list[Tensor], w: Tensor) -> list[Tensor]:
        """Return w ∂f/∂z_k = w c_k ∘ σ′(z_k) of every hidden layer from σ′(z_k), (member, mode, width, sample)."""
        df_dz = [W[-1].mT * w * sigmoids[-1]]
        for k in range(len(sigmoids) - 2, -1, -1):
            df_dz.insert(0, (W[k].mT @ df_dz[0]) * sigmoids[k])
        return df_dz

    @torch.no_grad()
    def scatter(self, rng: np.random.Generator) -> None:
        """Draw initial weights in place: many small and a few large W, V uniform on ±4/√dim, b on ±4, a flat output.

        The effective W is max(u², 1e-3), with u uniform on (−0.1, 0.9) between hidden layers and on (0.2, 1.2) before
        the output; V and b of the output layer are 0. This distribution decides the quality of a fit: the usual raw
        weights on ±1/√width make all W nearly equal and the layers nearly collinear, and lead to errors twenty times
        larger for the gene circuit (`benchmarks/starts.py`).
        """
        for raw in self.W:
            low, high = (0.2, 1.2) if raw is self.W[-1] else (-0.1, 0.9)
            raw.copy_(inverse_softplus(_uniform(rng, raw, low, high).square().clamp_min(1e-3)))
        for V, b in zip(self.V, self.b, strict=True):
            V.copy_(_uniform(rng, V, -INITIAL_RANGE, INITIAL_RANGE) / self.dim**0.5)
            b.copy_(_uniform(rng, b, -INITIAL_RANGE, INITIAL_RANGE))
        self.V[-1].zero_()
        self.b[-1].zero_()

    @torch.no_grad()
    def uniform(self, rng: np.random.Generator) -> None:
        """Draw initial weights in place from the usual distribution of neural networks.

        V, b and u are uniform on ±1/√(width of the preceding layer), and the effective W is max(|u|, 1e-6).
        """
        for k, (V, b) in enumerate(zip(self.V, self.b, strict=True)):
            bound = (self.dim if k == 0 else self.hidden[k - 1]) ** -0.5
            for parameter in (V, b):
                parameter.copy_(_uniform(rng, parameter, -bound, bound))
            if k > 0:
                raw = self.W[k - 1]
                raw.copy_(inverse_softplus(_uniform(rng, raw, -bound, bound).abs().clamp_min(1e-6)))


def _uniform(rng: np.random.Generator, like: Tensor, low: float, high: float) -> Tensor:
    """Draw a tensor uniform on (low, high), with the shape, type and device of `like`."""
    return torch.as_tensor(rng.uniform(low, high, tuple(like.shape))).to(like)


def softplus(z: Tensor) -> Tensor:
    """Return log(1 + exp(z)) to full double precision; by default torch returns z above 20, with an error of 2e-9."""
    return functional.softplus(z, threshold=40.0)


def inverse_softplus(w: Tensor) -> Tensor:
    """Return the raw weight whose softplus is w, for w > 0."""
    return w + torch.log(-torch.expm1(-w))
