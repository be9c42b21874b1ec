r"""The steps of Levenberg–Marquardt: damped Gauss–Newton on any `Problem` (see `normal_equations`).

The damping λ follows Nielsen's rule: with ϱ the actual over the predicted reduction, λ ← λ max(1/3, 1 − (2ϱ − 1)³)
after a good step, and λ ← λν, ν ← 2ν after a bad one. A step to where anything is not finite is a bad step, so the
state is always good.
"""

import time
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import FitError
from workbench.losses.problem import Problem
from workbench.task import ACTIVE, Outcome

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
        problem: Problem,
        settings: "LevenbergMarquardt",
        began: float | None = None,
    ) -> None:
        self.problem, self.settings = problem, settings
        self._began = time.perf_counter() if began is None else began
        self.outcome = Outcome.RUNNING
        self.records: list[dict[str, Any]] = []
        self._damping, self._growth, self._bad, self._stale = settings.damping, 2.0, 0, 0
        self.theta = problem.vector()
        self._limit = problem.limit()
        self._seen = problem.evaluate(self.theta)
        self.loss = problem.loss(self._seen)
        self._linear = problem.linearise(self.theta, self._seen)
        self.held_out = problem.held_out(self.theta)
        if not (self._linear.finite and self.held_out < float("inf")):
            raise FitError(f"the start is not finite: {problem.bad_term(self._seen)}")
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
        if self.problem.small(max(self.loss, self.held_out), self.settings.tolerance):
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
        seen = self.problem.evaluate(theta)
        loss = self.problem.loss(seen)
        expected = self._linear.reduction(delta)
        if not loss < self.loss or expected <= 0:
            self._check_finite(loss, seen)
            return False
        linear = self.problem.linearise(theta, seen)
        if not linear.finite:
            self._check_finite(float("nan"), seen)
            return False
        ratio = (self.loss - loss) / expected
        self._damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
        self.theta, self._seen, self.loss, self._linear, self._bad = theta, seen, loss, linear, 0
        return True

    def _select(self) -> None:
        self.held_out = self.problem.held_out(self.theta)
        if self.held_out < self.lowest:
            self.best = self.theta
        improved = self.held_out < self._reference - self.problem.resolution(self._reference)
        self._reference = self.held_out if improved else self._reference
        self._stale = 0 if improved else self._stale + 1

    def _check_finite(self, loss: float, seen: Any) -> None:
        self._bad = 0 if loss < float("inf") else self._bad + 1
        if self._bad >= self.BAD:
            raise FitError(
                f"step {len(self.records)}: {self.BAD} steps in a row were not finite "
                f"({self.problem.bad_term(seen)}). Look for outliers in the data, or start with more damping"
            )

    def _record(self) -> None:
        best = min(self.held_out, self.lowest) if self.records else self.held_out
        terms = self.problem.terms(self._seen)
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
