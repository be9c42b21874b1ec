r"""The descent from one starting point: damped Gauss–Newton steps on any `Problem`, bent along its valley.

A plain step δ solves the damped normal equations (`losses.normal_equations`). The valley of a neural network is narrow
and curved, because its outputs are products of weights and positive maps of them, so that a straight step can follow it
a short way only. Geodesic acceleration bends the step with the valley: with r″ the second derivative of the residuals
along δ, from a central difference, and the factorised matrix C of the step,

    r″ = (r(θ + hδ) − 2r(θ) + r(θ − hδ))/h²,      a = −½ C⁻¹Jᵀr″,      θ ← θ + δ + a   if 2‖a‖ ≤ ¾‖δ‖,

otherwise, or if that does not lower the loss, θ ← θ + δ. It costs two evaluations of the residuals and no Jacobian.

The damping λ follows Nielsen's rule: with ϱ the ratio of the actual to the predicted reduction of the loss,
λ ← λ max(1/3, 1 − (2ϱ − 1)³) after an accepted step, and λ ← λν, ν ← 2ν after a rejected one. A step is rejected unless
it lowers the training loss and leaves loss and derivatives finite, so the current state is always finite and the
training loss never rises.

References
----------
M. K. Transtrum, J. P. Sethna, Improvements to the Levenberg–Marquardt algorithm for nonlinear least-squares
minimization (2012), doi:10.48550/arXiv.1201.5885 (geodesic acceleration, and its bound).

H. B. Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05, Technical University of Denmark (1999).
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from workbench.errors import FitError
from workbench.fitting.outcome import Outcome
from workbench.losses.normal_equations import Damped, Dual, Primal
from workbench.losses.problem import Problem

__all__ = ["Descent"]

COUNTED = ("jacobians", "factorisations", "evaluations", "uncorrected")


class Descent:
    """The descent from one starting point: call `step()` while `outcome` is RUNNING.

    `settings` are those of `LevenbergMarquardt`; `began` is the time from which the history counts. `theta` holds the
    current parameters, shape (parameter,), `best` those of the lowest held-out loss, and `records` one dict for the
    starting point and one per step.
    """

    LARGEST_DAMPING = 1e12  # beyond it, steps are negligible
    MOST_NON_FINITE = 6  # consecutive non-finite steps; by then the damping has grown by a factor of 2¹⁵
    DIFFERENCE = 0.1  # h: anything from 1e-3 to 0.3 gives the same errors
    LARGEST_CORRECTION = 0.75  # of 2‖a‖/‖δ‖

    def __init__(self, problem: Problem, settings: Any, began: float | None = None) -> None:
        self.settings, self.last = settings, settings.steps
        self._began = time.perf_counter() if began is None else began
        self.outcome = Outcome.RUNNING
        self.records: list[dict[str, Any]] = []
        self._damping, self._growth, self._non_finite, self._stale = settings.damping, 2.0, 0, 0
        self._count: Counter[str] = Counter()
        self._accepted = 0  # steps on the present problem
        self.theta = problem.vector()
        self._limit = problem.limit()
        self._begin(problem)
        self.best, self._reference = self.theta, self.held_out
        self._record()

    def _begin(self, problem: Problem) -> None:
        """Evaluate and linearise a problem at θ."""
        self.problem, state = problem, problem.initial_state()
        problem.memory = self.settings.memory * 2**20
        self._evaluated = self._evaluate(self.theta, state)
        self.loss = problem.loss(self._evaluated)
        self._linear = self._linearise(self.theta, self._evaluated)
        self.held_out, self._state = problem.validate(self.theta, problem.state_after(self._evaluated, state))
        if not (self._linear.finite and self.held_out < float("inf")):
            raise FitError(f"{problem.bad_term(self._evaluated)} at the starting point. Check the data for outliers")

    def go_on(self, problem: Problem, steps: int) -> None:
        """Continue from the best parameters with another problem of the same model, for at most that many steps."""
        self.theta, self.outcome, self._growth = self.best, Outcome.RUNNING, 2.0
        self._accepted = self._stale = 0
        self.last = len(self.records) - 1 + steps
        self._begin(problem)

    @property
    def lowest(self) -> float:
        """Lowest held-out loss so far, that of `best`."""
        return self.records[-1]["best"]

    def step(self) -> None:
        """Try one damped step, and keep it if it lowers the training loss."""
        if self._try():
            self._growth = 2.0
            self._select()
        else:
            self._damping *= self._growth
            self._growth *= 2
        self._record()
        if self.problem.small(max(self.loss, self.held_out), self.settings.tolerance):
            self.outcome = Outcome.TOLERANCE
        elif self._damping > self.LARGEST_DAMPING:
            self.outcome = Outcome.CONVERGED
        elif self._stale >= max(self.settings.patience, self._accepted - self._stale):
            self.outcome = Outcome.EARLY_STOPPING
        elif len(self.records) > self.last:
            self.outcome = Outcome.STEP_LIMIT

    def _try(self) -> bool:
        """Return whether a step was accepted."""
        self._count["factorisations"] += 1
        damped = self._linear.damped(self._damping)
        if damped is None:
            return False
        plain = self._clipped(damped.step())
        expected = self._linear.reduction(plain)
        for delta in self._candidates(plain, damped):
            theta = self.theta + delta
            evaluated = self._evaluate(theta, self._state)
            loss = self.problem.loss(evaluated)
            if loss < self.loss and expected > 0:
                self._count["bent"] += delta is not plain
                return self._accept(theta, evaluated, loss, expected)
        self._check_finite(loss, evaluated)
        return False

    def _candidates(self, plain: Tensor, damped: Damped) -> Iterator[Tensor]:
        """Yield the bent step, if there is one, and the plain step."""
        second = self._second_derivative(plain) if self.settings.acceleration else None
        if second is not None:
            correction = damped.correction(second)
            if 2 * correction.norm() <= self.LARGEST_CORRECTION * plain.norm():
                yield self._clipped(plain + correction)
        yield plain

    def _second_derivative(self, delta: Tensor) -> Tensor | None:
        """Return the second derivative of the outputs along δ by a central difference; None if it is not finite."""
        h, centre = self.DIFFERENCE, self.problem.outputs(self._evaluated)
        if centre is None:
            return None
        ahead, behind = (
            self.problem.outputs(self._evaluate(self.theta + side * h * delta, self._state)) for side in (1, -1)
        )
        second = (ahead - 2 * centre + behind) / h**2  # type: ignore[operator]
        if torch.isfinite(second).all():
            return second
        self._count["uncorrected"] += 1
        return None

    def _accept(self, theta: Tensor, evaluated: Any, loss: float, expected: float) -> bool:
        """Move to θ and return True, unless the derivatives there are not finite."""
        linear = self._linearise(theta, evaluated)
        if not linear.finite:
            self._linear = self._linearise(self.theta, self._evaluated)  # whose Jacobian may have been overwritten
            self._check_finite(float("nan"), evaluated)
            return False
        ratio = (self.loss - loss) / expected
        self._damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
        self.theta, self._evaluated, self.loss, self._linear, self._non_finite = theta, evaluated, loss, linear, 0
        self._state = self.problem.state_after(evaluated, self._state)
        self._count["accepted"] += 1
        self._accepted += 1
        return True

    def _clipped(self, delta: Tensor) -> Tensor:
        """Return a step within the limits of every parameter."""
        return torch.clamp(delta, -self._limit, self._limit)

    def _evaluate(self, theta: Tensor, state: Any) -> Any:
        """Return what the problem evaluates at θ, and count it."""
        self._count["evaluations"] += 1
        return self.problem.evaluate(theta, state)

    def _linearise(self, theta: Tensor, evaluated: Any) -> Primal | Dual:
        """Return the linearisation at θ, and count it."""
        self._count["jacobians"] += 1
        return self.problem.linearise(theta, evaluated)

    def _select(self) -> None:
        """Evaluate the held-out loss, and keep the parameters if it is the lowest so far."""
        self.held_out, self._state = self.problem.validate(self.theta, self._state)
        if self.held_out < self.lowest:
            self.best = self.theta
        improved = self.held_out < self._reference - self.problem.resolution(self._reference)
        self._reference = self.held_out if improved else self._reference
        self._stale = 0 if improved else self._stale + 1

    def _check_finite(self, loss: float, evaluated: Any) -> None:
        """Count consecutive non-finite steps, and raise `FitError` after `MOST_NON_FINITE`."""
        self._non_finite = 0 if loss < float("inf") else self._non_finite + 1
        if self._non_finite >= self.MOST_NON_FINITE:
            raise FitError(
                f"step {len(self.records)}: {self.MOST_NON_FINITE} consecutive steps were not finite "
                f"({self.problem.bad_term(evaluated)}). Check the data for outliers, or increase the damping"
            )

    def _record(self) -> None:
        """Append the record of the current state."""
        best = min(self.held_out, self.lowest) if self.records else self.held_out
        terms, recorded = self.problem.terms(self._evaluated), self.problem.recorded(self.theta)
        elapsed = time.perf_counter() - self._began
        self.records.append(
            {
                "step": len(self.records),
                "elapsed": elapsed,
                "loss": self.loss,
                "validation_loss": self.held_out,
                "best": best,
                "damping": self._damping,
            }
            | {name: self._count[name] for name in COUNTED}
            | ({} if self.problem.sample_count is None else {"samples": self.problem.sample_count})
            | {"accelerated": self._count["bent"] / max(self._count["accepted"], 1)}
            | {f"loss_{name}": value for name, value in terms.items()}
            | {name: values[0].cpu().numpy() for name, values in recorded.items()}
        )
