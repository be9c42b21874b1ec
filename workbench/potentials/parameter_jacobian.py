r"""Derivatives of an LSE-ICNN with respect to its parameters at every sample, in closed form.

They are accumulated in reverse through the networks and through their tangents: a dot is the derivative along the
component tⱼ of x that a row of the Jacobian belongs to. With the softmax weights w of the modes and their mean ⟨·⟩, the
layers k = L … 1 of a mode, with parameters V_k, W_k, b_k and inputs x and h = h_{k−1}, have

    B_L = w,      A_L = w for a row Ψ,      A_L = −ρ w (ḟ − ⟨ḟ⟩) for a row ∂ⱼΨ,

    B_k = σ′(z_k) ∘ W_{k+1}ᵀ B_{k+1},      A_k = σ′(z_k) ∘ W_{k+1}ᵀ A_{k+1} + σ″(z_k) ∘ ż_k ∘ W_{k+1}ᵀ B_{k+1},

    ∂/∂b_k = A_k,      ∂/∂V_k = A_k xᵀ + B_k tⱼᵀ,      ∂/∂W_k = A_k hᵀ + B_k ḣᵀ,

where the terms with B belong to rows ∂ⱼΨ only. For the soft minimum itself,

    ∂Ψ/∂ρ = (⟨f⟩ − Ψ)/ρ,      ∂∂ⱼΨ/∂ρ = −⟨(f − ⟨f⟩) ḟ⟩,      ∂Ψ/∂log ςᵢ = −wᵢ/ρ,      ∂∂ⱼΨ/∂log ςᵢ = wᵢ (ḟᵢ − ⟨ḟ⟩).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.potentials.convex import softplus
from workbench.potentials.soft_minimum import LARGEST_LOG_RHO, log_gate, soft_minimum, soft_minimum_constant

__all__ = ["parameter_jacobian"]


@torch.no_grad()
def parameter_jacobian(
    model: Any, x: Tensor, value: Tensor | None, gradient: Tensor | None, names: Sequence[str], out: Tensor
) -> None:
    """Write weighted derivatives of an `LSEICNN` with respect to its parameters.

    Parameters
    ----------
    model : LSEICNN
        The model.
    x : Tensor, shape (sample, dim)
        States.
    value : Tensor, shape (sample,), or None
        Factor of the row Ψ of every sample; None leaves Ψ out.
    gradient : Tensor, shape (sample, dim), or None
        Factors of the rows ∇Ψ of every sample; None leaves ∇Ψ out.
    names : sequence of str
        Parameters, as in ``model.named_parameters()``.
    out : Tensor, shape (member, parameter, entry, sample)
        Where to write; entries are Ψ, if it has a factor, then the components of ∇Ψ.
    """
    rows, start = _Rows(model, x, value, gradient), 0
    for name in names:
        kind, _, layer = name.removeprefix("convex.").partition(".")
        raw = getattr(model.convex, kind)[int(layer)] if layer else getattr(model, kind)
        end = start + raw.numel() // len(raw)
        rows.write(kind, int(layer or 0), out[:, start:end])
        start = end


class _Rows:
    """What the derivatives are products of.

    Tensors have the shape (member, mode, unit, entry, sample), without the axis of entries, or of units, where nothing
    depends on them.
    """

    def __init__(self, model: Any, x: Tensor, value: Tensor | None, gradient: Tensor | None) -> None:
        self.model, self.W = model, [softplus(raw) for raw in model.convex.W]
        self.x = ((x - model.x_shift) / model.x_scale).mT.contiguous()
        self.value = None if value is None else model.potential_scale * value
        self.t = None if gradient is None else (gradient * (model.potential_scale / model.x_scale)).mT.contiguous()
        self.slopes = slice(value is not None, None)  # entries that are components of the gradient
        self._forward()
        self._soft_minimum()
        self._backward()

    def _forward(self) -> None:
        """Evaluate z, h, σ′ and their derivatives ż, ḣ along every entry, scaled by its factor."""
        self.h: list[Tensor] = []
        self.sigmoid: list[Tensor] = []
        self.dz: list[Tensor] = []
        self.dh: list[Tensor] = []
        net, hidden = self.model.convex, len(self.model.hidden)
        for k, (V, b) in enumerate(zip(net.V, net.b, strict=True)):
            z = b.unsqueeze(-1) + V @ self.x
            if k:
                z = z + self.W[k - 1] @ self.h[-1]
            if k < hidden:
                self.h.append(softplus(z))
                self.sigmoid.append(torch.sigmoid(z))
            if self.t is None:
                continue
            dz = V.unsqueeze(-1) * self.t
            self.dz.append(dz + _product(self.W[k - 1], self.dh[-1]) if k else dz)
            if k < hidden:
                self.dh.append(self.sigmoid[k].unsqueeze(-2) * self.dz[k])
        self.f = z.squeeze(-2)

    def _soft_minimum(self) -> None:
        """Set A and B of the output, and the rows of ρ and of the logarithms of the gates."""
        f, rho = self.f, self.model.rho[:, None]
        weight = log_gate(self.model.alpha)
        w = torch.softmax(weight.unsqueeze(-1) - rho.unsqueeze(-1) * (f - f.amin(1, keepdim=True)), 1)
        mean = (w * f).sum(1)
        A, by_rho, by_gate = [], [], []
        if self.value is not None:
            psi = soft_minimum(f, self.model.rho, weight) + soft_minimum_constant(self.model.rho, weight)[:, None]
            A.append((w * self.value).unsqueeze(-2))
            by_rho.append(((mean - psi) / rho * self.value).unsqueeze(1))
            by_gate.append(-A[0] / rho[..., None, None])
        if self.t is not None:
            df = self.dz[-1].squeeze(2)
            deviation = w.unsqueeze(-2) * (df - (w.unsqueeze(-2) * df).sum(1, keepdim=True))
            A.append(-rho[..., None, None] * deviation)
            by_rho.append(-((f - mean.unsqueeze(1)).unsqueeze(-2) * deviation).sum(1))
            by_gate.append(deviation)
        self.by_rho, self.by_gate = torch.cat(by_rho, -2), torch.cat(by_gate, -2)
        self.A, self.B = [torch.cat(A, -2).unsqueeze(2)], [w.unsqueeze(2)]

    def _backward(self) -> None:
        """Accumulate A and B of the hidden layers."""
        for k in reversed(range(len(self.h))):
            up, s = self.W[k].mT, self.sigmoid[k]
            B = (up @ self.B[0]) * s
            A = _product(up, self.A[0]).mul_(s.unsqueeze(-2))
            if self.t is not None:
                A[..., self.slopes, :].addcmul_(self.dz[k], (B * (1 - s)).unsqueeze(-2))
            self.A.insert(0, A)
            self.B.insert(0, B)

    def write(self, kind: str, k: int, out: Tensor) -> None:
        """Write the derivatives with respect to one parameter to `out`, shape (member, parameter, entry, sample)."""
        model = self.model
        if kind == "u":
            free = model.u.abs() <= LARGEST_LOG_RHO
            torch.mul((free * (model.rho - model.rho_lo))[:, None, None, None], self.by_rho.unsqueeze(1), out=out)
        elif kind == "alpha":
            torch.mul(5 * (1 - model.gate)[..., None, None], self.by_gate, out=out)
        elif kind == "b":
            out.copy_(self.A[k].flatten(1, 2))
        else:  # shape (member, mode, unit, input, entry, sample)
            raw = getattr(model.convex, kind)[k]
            (self._write_v if kind == "V" else self._write_w)(k, out.unflatten(1, raw.shape[1:]))

    def _write_v(self, k: int, out: Tensor) -> None:
        """Write A xᵀ + B tⱼᵀ."""
        torch.mul(self.A[k].unsqueeze(3), self.x.unsqueeze(-2), out=out)
        if self.t is not None:
            out[..., self.slopes, :].diagonal(dim1=3, dim2=4).add_((self.B[k].unsqueeze(3) * self.t).mT)

    def _write_w(self, k: int, out: Tensor) -> None:
        """Write (A hᵀ + B ḣᵀ) ∘ ∂W/∂raw W, of the weights between layers k and k + 1."""
        torch.mul(self.A[k + 1].unsqueeze(3), self.h[k][:, :, None, :, None], out=out)
        if self.t is not None:
            out[..., self.slopes, :].addcmul_(self.B[k + 1][..., None, None, :], self.dh[k].unsqueeze(2))
        out.mul_(torch.sigmoid(self.model.convex.W[k])[..., None, None])


def _product(W: Tensor, h: Tensor) -> Tensor:
    """Return W h for h of shape (member, mode, in, entry, sample)."""
    return (W @ h.flatten(-2)).unflatten(-1, h.shape[-2:])
