r"""Linear algebra of damped Gauss–Newton steps.

With residuals r(θ), their Jacobian J, the number P of parameters, and damping λ, the step and its correction of second
order, in which r″ is the second derivative of r along δ, are

    (JᵀJ + λ s I) δ = −Jᵀr,      (JᵀJ + λ s I) a = −½ Jᵀr″,      s = tr(JᵀJ)/P.

With fewer residuals than parameters, the equivalent Jᵀ(JJᵀ + λ s I)⁻¹ replaces (JᵀJ + λ s I)⁻¹Jᵀ. For a loss that is
not a sum of squares, half its gradient and half a matrix H ⪰ 0 that approximates its Hessian replace Jᵀr and JᵀJ.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Damped", "Dual", "Primal", "gram_of"]


class Primal:
    """The normal equations with JᵀJ, shape (P, P), and Jᵀr, shape (P,): for at least as many residuals as parameters.

    `pull_back` returns Jᵀv, shape (P,), for v of the shape of the residuals. `finite` says whether all entries are
    finite.
    """

    def __init__(self, gram: Tensor, gradient: Tensor, pull_back: Callable[[Tensor], Tensor]) -> None:
        self.gram, self.gradient, self.pull_back = gram, gradient, pull_back
        self.finite = bool(torch.isfinite(gradient).all() and torch.isfinite(gram).all())

    def damped(self, damping: float) -> "Damped | None":
        """Return the equations with their matrix factorised, or None if round-off makes it indefinite."""
        factor = _factor(self.gram, damping * self.gram.diagonal().mean())
        return None if factor is None else Damped(factor, self.gradient, self.pull_back, lambda y: y)

    def reduction(self, delta: Tensor) -> float:
        """Return the decrease of the loss that its quadratic model predicts for the step δ."""
        return float(-(2 * self.gradient @ delta + delta @ (self.gram @ delta)))


class Dual:
    """The same equations with the smaller matrix JJᵀ, for fewer residuals than parameters.

    `jacobian` has shape (residual, P); `ordered` brings residuals of any shape into the order of its rows.
    """

    def __init__(
        self, jacobian: Tensor, residuals: Tensor, ordered: Callable[[Tensor], Tensor] = torch.flatten
    ) -> None:
        self.jacobian, self.residuals, self.ordered = jacobian, ordered(residuals), ordered
        self.gram = gram_of(jacobian.T)
        self.finite = bool(torch.isfinite(self.gram).all() and torch.isfinite(self.residuals).all())

    @property
    def gradient(self) -> Tensor:
        """Half the gradient of the loss, Jᵀr, shape (P,)."""
        return self.jacobian.T @ self.residuals

    def damped(self, damping: float) -> "Damped | None":
        """Return the equations with their matrix factorised, or None if round-off makes it indefinite."""
        factor = _factor(self.gram, damping * self.gram.diagonal().sum() / self.jacobian.shape[1])
        if factor is None:
            return None
        return Damped(factor, self.residuals, self.ordered, lambda y: self.jacobian.T @ y)

    def reduction(self, delta: Tensor) -> float:
        """Return the decrease of the loss that its quadratic model predicts for the step δ."""
        change = self.jacobian @ delta
        return float(-(2 * self.residuals @ change + change @ change))


@dataclass(frozen=True)
class Damped:
    """Damped equations with the Cholesky factor of their matrix, which serves the step and its correction."""

    factor: Tensor
    side: Tensor
    right: Callable[[Tensor], Tensor]
    left: Callable[[Tensor], Tensor]

    def step(self) -> Tensor:
        """Return δ, shape (P,)."""
        return -self._solved(self.side)

    def correction(self, second: Tensor) -> Tensor:
        """Return a, shape (P,), from r″, in the shape of the residuals."""
        return -0.5 * self._solved(self.right(second))

    def _solved(self, side: Tensor) -> Tensor:
        """Return the solution for a right-hand side of the factorised matrix, in the space of the parameters."""
        return self.left(torch.cholesky_solve(side[:, None], self.factor)[:, 0])


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
