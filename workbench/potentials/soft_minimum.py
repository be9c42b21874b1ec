r"""The soft minimum of modes, −(1/ρ) log[(1/N) Σᵢ ςᵢ exp(−ρ fᵢ)], and its gates (Eqs 3 and 6 of Jones et al., 2025)."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

__all__ = ["LARGEST_LOG_RHO", "log_gate", "soft_minimum", "soft_minimum_constant"]

LARGEST_LOG_RHO = 14.0  # bound of |u|: exp(u) stays between 1e-6 and 1e6, where all results are finite


def log_gate(alpha: Tensor) -> Tensor:
    """Return the logarithm of the gate, log ς(α) = log sigmoid(10 (α/2 − 1)), with the shape of α; 0 < ς < 1."""
    return logsigmoid(10 * (alpha / 2 - 1))


def soft_minimum(f: Tensor, rho: Tensor, log_weight: Tensor) -> Tensor:
    """Return −(1/ρ) log Σᵢ pᵢ exp(−ρ fᵢ), with normalised weights pᵢ: Eq 3 without `soft_minimum_constant`.

    Shapes are (member, mode, sample) for `f`, (member,) for `rho`, (member, mode) for `log_weight` and (member, sample)
    for the result. It lies between min f and Σ pᵢ fᵢ, its limits for ρ → ∞ and ρ → 0, and is accurate at both: near
    the second, the sum is close to 1, and its logarithm is computed by expm1 and log1p.

    >>> f = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    >>> equal = torch.zeros(1, 2, dtype=torch.float64)
    >>> [round(soft_minimum(f, torch.tensor([rho]), equal).item(), 6) for rho in (1e-9, 1.0, 1e9)]
    [2.0, 1.566219, 1.0]
    """
    log_p = log_softmax(log_weight, -1).unsqueeze(-1)
    rho = rho[:, None]
    lowest = f.detach().amin(-2)
    above = rho.unsqueeze(-1) * (f - lowest.unsqueeze(-2))
    excess = (log_p.exp() * torch.expm1(-above)).sum(-2)
    log_sum = torch.where(excess > -0.5, torch.log1p(excess.clamp_min(-0.5)), torch.logsumexp(log_p - above, -2))
    return lowest - log_sum / rho


def soft_minimum_constant(rho: Tensor, log_weight: Tensor) -> Tensor:
    """Return −(1/ρ) log(Σᵢ ς(αᵢ)/N), shape (member,): the part of Eq 3 that is independent of x."""
    return -(torch.logsumexp(log_weight, -1) - np.log(log_weight.shape[-1])) / rho
