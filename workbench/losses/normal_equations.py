r"""Linear algebra of damped Gauss–Newton steps.

With residuals r(θ), their Jacobian J, the number P of parameters, and damping λ,

    (JᵀJ + λ s I) δ = −Jᵀr,       s = tr(JᵀJ)/P,

or, with fewer residuals than parameters, the equivalent δ = −Jᵀ(JJᵀ + λ s I)⁻¹ r. For a loss that is not a sum of
squares, half its gradient and half a matrix H ⪰ 0 that approximates its Hessian replace Jᵀr and JᵀJ.
"""

import torch
from torch import Tensor

__all__ = ["Dual", "Primal", "gram_of"]


class Primal:
    """The normal equations with JᵀJ, shape (P, P), and Jᵀr, shape (P,): for at least as many residuals as parameters.

    `finite` says whether all entries are finite.
    """

    def __init__(self, gram: Tensor, gradient: Tensor) -> None:
        self.gram, self.gradient = gram, gradient
        self.finite = bool(torch.isfinite(gradient).all() and torch.isfinite(gram).all())

    def step(self, damping: float) -> Tensor | None:
        """Return δ, shape (parameter,), or None if round-off makes the matrix indefinite."""
        factor = _factor(self.gram, damping * self.gram.diagonal().mean())
        return None if factor is None else -torch.cholesky_solve(self.gradient[:, None], factor)[:, 0]

    def reduction(self, delta: Tensor) -> float:
        """Return the decrease of the loss that its quadratic model predicts for the step δ."""
        return float(-(2 * self.gradient @ delta + delta @ (self.gram @ delta)))


class Dual:
    """The same step from the smaller matrix JJᵀ, for fewer residuals than parameters.

    `jacobian` has shape (residual, P), `residuals` shape (residual,).
    """

    def __init__(self, jacobian: Tensor, residuals: Tensor) -> None:
        self.jacobian, self.residuals = jacobian, residuals
        self.gram = gram_of(jacobian.T)
        self.finite = bool(torch.isfinite(self.gram).all() and torch.isfinite(residuals).all())

    def step(self, damping: float) -> Tensor | None:
        """Return δ, shape (parameter,), or None if round-off makes the matrix indefinite."""
        factor = _factor(self.gram, damping * self.gram.diagonal().sum() / self.jacobian.shape[1])
        if factor is None:
            return None
        return -self.jacobian.T @ torch.cholesky_solve(self.residuals[:, None], factor)[:, 0]

    def reduction(self, delta: Tensor) -> float:
        """Return the decrease of the loss that its quadratic model predicts for the step δ."""
        change = self.jacobian @ delta
        return float(-(2 * self.residuals @ change + change @ change))


def gram_of(J: Tensor, width: int = 128) -> Tensor:
    """Return JᵀJ, shape (P, P), by blocks of its upper triangle: half the work of the full product."""
    gram = J.new_empty(J.shape[1], J.shape[1])
    for k in range(0, J.shape[1], width):
        block = J[:, k : k + width].T @ J[:, k:]
        gram[k : k + width, k:] = block
        gram[k:, k : k + width] = block.T
    return gram


def _factor(gram: Tensor, shift: Tensor) -> Tensor | None:
    """Return the Cholesky factor of gram + shift·I, shape (P, P), or None if round-off makes it indefinite."""
    damped = gram.clone()
    damped.diagonal().add_(torch.clamp_min(shift, torch.finfo(gram.dtype).tiny))
    factor, failed = torch.linalg.cholesky_ex(damped)
    return None if failed else factor
