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

from workbench.potentials.functions import constant, contiguous, library, like, sigmoid, softplus

__all__ = [
    "POSITIVE_MAP",
    "ConvexNetworks",
    "Pass",
    "inverse_softplus",
    "softplus",
    "sum_of_squares",
]

POSITIVE_MAP = "W = log(1 + exp(raw))"
INITIAL_RANGE = 4.0  # half-width of the initial V √dim and b: units then curve within a fraction of the box of the data


class Pass(NamedTuple):
    """A forward pass at given states, from which the derivatives follow: tensors, or arrays for arrays of states.

    Shapes are (member, mode, out, in) for W_k > 0, (member, mode, width, sample) for z_k and σ′(z_k) of the hidden
    layers, and (member, mode, sample) for f and for weights w of the modes.
    """

    V: list[Any]
    W: list[Any]
    z: list[Any]
    f: Any

    def sigmoids(self) -> list[Any]:
        """Return σ′(z_k) of every hidden layer."""
        return [sigmoid(z) for z in self.z]

    def backward(self, sigmoids: Sequence[Any], w: Any) -> list[Any]:
        """Return w ∂f/∂z_k = w c_k ∘ σ′(z_k) of every layer, the output included.

        The weights multiply ∂f/∂z at the output, so that one product with V_k sums over units and modes at once.
        """
        df_dz = [w[..., None, :]]
        for W, s in zip(reversed(self.W), reversed(sigmoids), strict=True):
            product = W.mT * df_dz[0] if df_dz[0] is df_dz[-1] else W.mT @ df_dz[0]
            df_dz.insert(0, product * s)
        return df_dz

    def gradient(self, df_dz: Sequence[Any]) -> Any:
        """Return Σᵢ wᵢ ∇fᵢ, shape (member, dim, sample)."""
        total: Any = 0.0
        for V, dz in zip(self.V, df_dz, strict=True):
            total = total + _over_modes(V).mT @ _over_modes(dz)
        return total

    def tangents(self, sigmoids: Sequence[Any]) -> list[Any]:
        """Return J_k = ∂z_k/∂x of every layer, shape (member, mode, width, dim, sample); the last one is ∇f."""
        J = [self.V[0][..., None]]
        for V, W, s in zip(self.V[1:], self.W, sigmoids, strict=True):
            dh = s[..., None, :] * J[-1]
            J.append(V[..., None] + (W @ dh.reshape(*dh.shape[:3], -1)).reshape(*V.shape, -1))
        return J

    def curvature(self, sigmoids: Sequence[Any], df_dz: Sequence[Any], J: Sequence[Any]) -> Any:
        """Return Σᵢ wᵢ ∇²fᵢ, shape (member, sample, dim, dim), from σ′, w ∂f/∂z and J of the hidden layers."""
        layers = zip(sigmoids, df_dz, J, strict=False)
        return sum(sum_of_squares(_over_modes(dz * (1 - s)), _over_modes(j)) for s, dz, j in layers)


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

    def value(self, x: Any) -> Any:
        """Return f(x) of every mode, shape (member, mode, sample)."""
        return self.forward(x).f

    def gradient(self, x: Any, weigh: Callable[[Any], Any]) -> Any:
        """Return Σᵢ wᵢ ∇fᵢ, shape (member, dim, sample), with weights w = weigh(f), shape (member, mode, sample)."""
        one = self.forward(x)
        return one.gradient(one.backward(one.sigmoids(), weigh(one.f)))

    def hessian(self, x: Any) -> tuple[Any, Any, Any]:
        """Return f (member, mode, sample), ∇f (member, mode, dim, sample) and ∇²f (member, mode, sample, dim, dim)."""
        one = self.forward(x)
        sigmoids = one.sigmoids()
        *J, df = one.tangents(sigmoids)
        alone = [constant(row[:, None], x) * library(x).ones_like(one.f) for row in np.eye(self.modes)]
        ddf = [one.curvature(sigmoids, one.backward(sigmoids, w), J) for w in alone]
        return one.f, df[:, :, 0], library(x).stack(ddf, 1)

    def forward(self, x: Any) -> Pass:
        """Evaluate all layers at x, shape (member or 1, sample, dim), a tensor or an array."""
        h, z = None, []
        V, W, b = (parameters_like(x, one) for one in (self.V, self.W, self.b))
        W = [softplus(raw) for raw in W]
        for k in range(len(b)):
            layer = b[k][..., None] + self._project(V[k], x.mT)
            z.append(layer if h is None else layer + W[k - 1] @ h)
            h = softplus(z[k]) if k < len(W) else None
        return Pass(V, W, z[:-1], z[-1][..., 0, :])

    def _project(self, V: Any, x: Any) -> Any:
        """Return V x, shape (member, mode, width, sample), for x with shape (member or 1, dim, sample)."""
        if self.dim == 1:
            return V * x[..., None, :, :]
        rows = V.reshape(len(x), -1, self.dim)  # a single product for all members if they share x
        return (rows @ x).reshape(*V.shape[:-1], x.shape[-1])

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


def parameters_like(x: Any, parameters: nn.ParameterList) -> list[Any]:
    """Return parameters as tensors or arrays, as x is; to iterate over a `ParameterList` itself takes far longer."""
    return [like(one, x) for one in parameters._parameters.values() if one is not None]


def sum_of_squares(a: Any, J: Any) -> Any:
    """Return Σ_u a_u J_u J_uᵀ over units u, shape (member, sample, dim, dim).

    Shapes are (member, unit, sample) for a and (member, unit, dim, sample) for J, or 1 for a J that all samples share.
    """
    members, units, dim, samples = J.shape
    if samples == 1:
        J = J[..., 0]
        squares = (J[..., None] * J[..., None, :]).reshape(members, units, dim * dim)
        return (a.mT @ squares).reshape(members, a.shape[-1], dim, dim)
    rows = contiguous(J.reshape(members, units * dim, samples).mT).reshape(members, samples, units, dim)
    return (contiguous(a.mT)[..., None] * rows).mT @ rows


def _over_modes(x: Any) -> Any:
    """Return x, shape (member, mode, unit, …), with the units of all modes along one axis."""
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:])


def inverse_softplus(w: Tensor) -> Tensor:
    """Return the raw weight whose softplus is w, for w > 0."""
    return w + torch.log(-torch.expm1(-w))
