r"""The soft minimum of modes, −(1/ρ) log[(1/N) Σᵢ ςᵢ exp(−ρ fᵢ)], and its gates (Eqs 3 and 6 of Jones et al., 2025)."""

import math
from typing import Any

from workbench.potentials.functions import library, log_sigmoid, log_softmax, log_sum_exp, lowest

__all__ = ["LARGEST_LOG_RHO", "log_gate", "soft_minimum", "soft_minimum_constant"]

LARGEST_LOG_RHO = 14.0  # bound of |u|: exp(u) stays between 1e-6 and 1e6, where all results are finite


def log_gate(alpha: Any) -> Any:
    """Return the logarithm of the gate, log ς(α) = log sigmoid(10 (α/2 − 1)), with the shape of α; 0 < ς < 1."""
    return log_sigmoid(10 * (alpha / 2 - 1))


def soft_minimum(f: Any, rho: Any, log_weight: Any) -> Any:
    """Return −(1/ρ) log Σᵢ pᵢ exp(−ρ fᵢ), with normalised weights pᵢ: Eq 3 without `soft_minimum_constant`.

    Shapes are (member, mode, sample) for `f`, (member,) for `rho`, (member, mode) for `log_weight` and (member, sample)
    for the result; all are tensors, or all arrays. It lies between min f and Σ pᵢ fᵢ, its limits for ρ → ∞ and ρ → 0,
    and is accurate at both: near the second, the sum is close to 1, and its logarithm is computed by expm1 and log1p.

    >>> import torch
    >>> f = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    >>> equal = torch.zeros(1, 2, dtype=torch.float64)
    >>> [round(soft_minimum(f, torch.tensor([rho]), equal).item(), 6) for rho in (1e-9, 1.0, 1e9)]
    [2.0, 1.566219, 1.0]
    """
    log_p, rho = log_softmax(log_weight, -1)[..., None], rho[:, None]
    above = rho[..., None] * (f - lowest(f, -2))
    excess = (library(f).exp(log_p) * library(f).expm1(-above)).sum(-2)
    near, far = library(f).log1p(excess.clip(-0.5)), log_sum_exp(log_p - above, -2)
    return lowest(f, -2)[..., 0, :] - library(f).where(excess > -0.5, near, far) / rho


def soft_minimum_constant(rho: Any, log_weight: Any) -> Any:
    """Return −(1/ρ) log(Σᵢ ς(αᵢ)/N), shape (member,): the part of Eq 3 that is independent of x."""
    return -(log_sum_exp(log_weight, -1) - math.log(log_weight.shape[-1])) / rho
