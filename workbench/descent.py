r"""The steps of Levenberg–Marquardt: damped Gauss–Newton on residuals r(θ) with Jacobian J.

    (JᵀJ + λ s I) δ = −Jᵀr,       s = tr(JᵀJ)/P,

or, where residuals are fewer than parameters, δ = −Jᵀ(JJᵀ + λ s I)⁻¹ r, which is the same step. The damping λ follows
Nielsen's rule: with ϱ the actual over the predicted reduction, λ ← λ max(1/3, 1 − (2ϱ − 1)³) after a good step, and
λ ← λν, ν ← 2ν after a bad one. A step to where anything is not finite is a bad step, so the state is always good.
"""

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.objectives import LeastSquares, Observations
from workbench.task import ACTIVE, FitError, Outcome

if TYPE_CHECKING:
    from workbench.levenberg_marquardt import LevenbergMarquardt

__all__ = ["Descent"]


class Descent:
    """One start on its way down: `step()` until `outcome` is no longer RUNNING.

    `theta` is where it stands, `best` where the held-out loss was lowest, `records` one dict per step.
    """

    STALLED = 1e12  # damping at which steps are too small to matter
    BAD = 6  # steps in a row that were not finite; by then the step is a millionth of what it was

    def __init__(
        self,
        problem: LeastSquares,
        validation: Observations,
        settings: "LevenbergMarquardt",
        began: float | None = None,
    ) -> None:
        self.problem, self.validation, self.settings = problem, validation, settings
        self._began = time.perf_counter() if began is None else began
        self.outcome = Outcome.RUNNING
        self.records: list[dict[str, Any]] = []
        self._damping, self._growth, self._bad, self._stale = settings.damping, 2.0, 0, 0
        self.theta = problem.vector()
        self._limit = problem.limit()
        self._residuals = problem.residuals(self.theta)
        self.loss = float(self._residuals.square().sum())
        self._linear = _linearise(problem, self.theta, self._residuals)
        self.held_out = self._held_out()
        if not (self._linear.finite and self.held_out < float("inf")):
            raise FitError(f"the start is not finite: {_bad_term(problem, self._residuals)}")
        self.best, self._reference = self.theta, self.held_out
        self._record()

    @property
    def lowest(self) -> float:
        """Lowest held-out loss so far, that of `best`."""
        return self.records[-1]["best"]

    def step(self) -> None:
        """Try one damped step; keep it if it lowers the loss."""
        if self._try():
            self._growth = 2.0
            self._select()
        else:
            self._damping *= self._growth
            self._growth *= 2
        self._record()
        if max(self.loss, self.held_out) <= self.settings.tolerance**2:
            self.outcome = Outcome.TOLERANCE
        elif self._damping > self.STALLED:
            self.outcome = Outcome.CONVERGED
        elif self._stale >= self.settings.patience:
            self.outcome = Outcome.HELD_OUT
        elif len(self.records) > self.settings.steps:
            self.outcome = Outcome.STEPS

    def _try(self) -> bool:
        delta = self._linear.step(self._damping)
        if delta is None:
            return False
        delta = torch.clamp(delta, -self._limit, self._limit)
        theta = self.theta + delta
        residuals = self.problem.residuals(theta)
        loss = float(residuals.square().sum())
        expected = self._linear.reduction(delta)
        if not loss < self.loss or expected <= 0:
            self._check_finite(loss, residuals)
            return False
        linear = _linearise(self.problem, theta, residuals)
        if not linear.finite:
            self._check_finite(float("nan"), residuals)
            return False
        ratio = (self.loss - loss) / expected
        self._damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
        self.theta, self._residuals, self.loss, self._linear, self._bad = theta, residuals, loss, linear, 0
        return True

    def _select(self) -> None:
        self.held_out = self._held_out()
        if self.held_out < self.lowest:
            self.best = self.theta
        improved = self.held_out < 0.999 * self._reference
        self._reference = self.held_out if improved else self._reference
        self._stale = 0 if improved else self._stale + 1

    def _check_finite(self, loss: float, residuals: Tensor) -> None:
        self._bad = 0 if loss < float("inf") else self._bad + 1
        if self._bad >= self.BAD:
            raise FitError(
                f"step {len(self.records)}: {self.BAD} steps in a row were not finite "
                f"({_bad_term(self.problem, residuals)}). Look for outliers in the data, or start with more damping"
            )

    def _held_out(self) -> float:
        return float(self.problem.residuals(self.theta, self.validation).square().sum())

    def _record(self) -> None:
        best = min(self.held_out, self.lowest) if self.records else self.held_out
        terms = self.problem.terms(self._residuals, self.problem.observations)
        self.problem.load(self.theta)
        model = self.problem.model
        gate = model.gate[0].detach().cpu().numpy()
        elapsed = time.perf_counter() - self._began
        self.records.append(
            {
                "epoch": len(self.records),
                "elapsed": elapsed,
                "loss": self.loss,
                "validation_loss": self.held_out,
                "best": best,
                "damping": self._damping,
            }
            | {f"loss_{name}": value for name, value in terms.items()}
            | {"rho": float(model.rho.detach()[0]), "gate": gate, "active": int((gate > ACTIVE).sum())}
        )


class _Primal:
    """Normal equations (P × P), for at least as many residuals as parameters."""

    def __init__(self, gram: Tensor, gradient: Tensor) -> None:
        self.gram, self.gradient = gram, gradient
        self.finite = bool(torch.isfinite(gradient).all() and torch.isfinite(gram).all())

    def step(self, damping: float) -> Tensor | None:
        factor = _factor(self.gram, damping * self.gram.diagonal().mean())
        return None if factor is None else -torch.cholesky_solve(self.gradient[:, None], factor)[:, 0]

    def reduction(self, delta: Tensor) -> float:
        return float(-(2 * self.gradient @ delta + delta @ (self.gram @ delta)))


class _Dual:
    """The same step from the smaller matrix JJᵀ, for fewer residuals than parameters."""

    def __init__(self, jacobian: Tensor, residuals: Tensor) -> None:
        self.jacobian, self.residuals = jacobian, residuals
        self.gram = _gram(jacobian.T)
        self.finite = bool(torch.isfinite(self.gram).all() and torch.isfinite(residuals).all())

    def step(self, damping: float) -> Tensor | None:
        factor = _factor(self.gram, damping * self.gram.diagonal().sum() / self.jacobian.shape[1])
        if factor is None:
            return None
        return -self.jacobian.T @ torch.cholesky_solve(self.residuals[:, None], factor)[:, 0]

    def reduction(self, delta: Tensor) -> float:
        change = self.jacobian @ delta
        return float(-(2 * self.residuals @ change + change @ change))


def _linearise(problem: LeastSquares, theta: Tensor, residuals: Tensor) -> "_Primal | _Dual":
    flat = residuals.reshape(-1)
    blocks = problem.jacobians(theta)
    if len(flat) < len(theta):
        return _Dual(torch.cat(list(blocks)), flat)
    gram, gradient, start = theta.new_zeros(len(theta), len(theta)), torch.zeros_like(theta), 0
    for J in blocks:
        gram += _gram(J)
        gradient += J.T @ flat[start : start + len(J)]
        start += len(J)
    return _Primal(gram, gradient)


def _gram(J: Tensor, width: int = 128) -> Tensor:
    """Return JᵀJ by blocks of its upper triangle: half the work of the full product, on any device."""
    gram = J.new_empty(J.shape[1], J.shape[1])
    for k in range(0, J.shape[1], width):
        block = J[:, k : k + width].T @ J[:, k:]
        gram[k : k + width, k:] = block
        gram[k:, k : k + width] = block.T
    return gram


def _factor(gram: Tensor, shift: Tensor) -> Tensor | None:
    """Return the Cholesky factor of gram + shift·I, or None where rounding leaves it indefinite."""
    damped = gram.clone()
    damped.diagonal().add_(torch.clamp_min(shift, torch.finfo(gram.dtype).tiny))
    factor, failed = torch.linalg.cholesky_ex(damped)
    return None if failed else factor


def _bad_term(problem: LeastSquares, residuals: Tensor) -> str:
    for name, at in problem.observations.entries.items():
        if not torch.isfinite(residuals[:, at]).all():
            return f"the {name} predicted is not finite"
    return "its derivative by the weights is not finite"
