r"""Levenberg–Marquardt, damped Gauss–Newton on any `Problem`: starts are screened, the best is carried on.

The damping λ follows Nielsen's rule: with ϱ the actual over the predicted reduction, λ ← λ max(1/3, 1 − (2ϱ − 1)³)
after a good step, and λ ← λν, ν ← 2ν after a bad one. A step to where anything is not finite is a bad step, so the
state is always good. (Normal equations: see `losses.normal_equations`.)
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench import parallel
from workbench.checks import require_integer
from workbench.errors import FitError
from workbench.fitting.outcome import ACTIVE, Learned, Outcome
from workbench.fitting.task import Task
from workbench.losses.problem import Problem
from workbench.parallel import Report

__all__ = ["Descent", "LevenbergMarquardt"]


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Settings of Levenberg–Marquardt, the optimiser of every least-squares match.

    `steps` a start that is carried on, of which `screening` decide between restarts. A fit stops when the errors (roots
    of the loss: relative to the spread of the data, or to their `sigma`) of training and held-out samples are below
    `tolerance`, or when the held-out loss has not improved by a thousandth for `patience` steps. `damping` is λ at the
    start.

    >>> LevenbergMarquardt(steps=100).screening
    40
    """

    steps: int = 300
    screening: int = 40
    tolerance: float = 0.0
    patience: int = 60
    damping: float = 1e-2

    def __post_init__(self) -> None:
        require_integer(steps=self.steps, screening=self.screening, patience=self.patience)
        if not (self.tolerance >= 0 and 0 < self.damping < float("inf")):
            raise ValueError(f"expected tolerance >= 0 and damping > 0, got {self.tolerance!r} and {self.damping!r}")

    def learn(
        self,
        task: Task,
        seeds: Sequence[np.random.SeedSequence],
        *,
        restarts: int | None,
        checkpoint: Path | None,
        workers: int,
        progress: bool | Report | None,
    ) -> list[Learned]:
        """Return one member for each seed, each the best of `restarts` starts (4 where None); members in processes."""
        if checkpoint is not None:
            raise ValueError("Levenberg–Marquardt takes no checkpoint: only Adam's long fits can be resumed")
        count = (4 if task.given is None else 1) if restarts is None else restarts
        jobs = [(task.of_member(k, seed), seed, count, self) for k, seed in enumerate(seeds)]
        labels = [f"fit {k + 1}" if len(seeds) > 1 else "fit" for k in range(len(seeds))]
        return parallel.run(_learn_member, jobs, labels=labels, workers=workers, progress=progress)


class Descent:
    """One start on its way down: `step()` until `outcome` is no longer RUNNING.

    `theta` is where it stands, `best` where the held-out loss was lowest, `records` one dict per step.
    """

    STALLED = 1e12  # damping at which steps are too small to matter
    BAD = 6  # steps in a row that were not finite; by then the step is a millionth of what it was

    def __init__(
        self,
        problem: Problem,
        settings: LevenbergMarquardt,
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
            self.outcome = Outcome.EARLY_STOPPING
        elif len(self.records) > self.settings.steps:
            self.outcome = Outcome.STEP_LIMIT

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
                "step": len(self.records),
                "elapsed": elapsed,
                "loss": self.loss,
                "validation_loss": self.held_out,
                "best": best,
                "damping": self._damping,
            }
            | {f"loss_{name}": value for name, value in terms.items()}
            | {"rho": float(model.rho.detach()[0]), "gate": gate, "active": int((gate > ACTIVE).sum())}
        )


def _learn_member(
    task: Task, seed: np.random.SeedSequence, restarts: int, settings: LevenbergMarquardt, report: Report
) -> Learned:
    """Screen the restarts, carry on the best."""
    began = time.perf_counter()
    total = settings.screening * restarts + max(0, settings.steps - settings.screening)
    done = itertools.count(1)

    def advance(descent: Descent, until: float, text: str) -> Descent:
        while descent.outcome is Outcome.RUNNING and len(descent.records) <= until:
            descent.step()
            report(min(next(done), total - 1), total, f"{text}{descent.problem.formatted(descent.loss)}")
        return descent

    starts: list[Descent | FitError] = []
    for turn, child in enumerate(seed.spawn(restarts)):
        try:
            start = Descent(task.problem(child, turn), settings, began)
            starts.append(advance(start, settings.screening, "screening, "))
        except FitError as error:
            starts.append(error)
    screened = [float("nan") if isinstance(start, FitError) else start.lowest for start in starts]
    chosen = _carry_on(starts, lambda start: advance(start, math.inf, ""))
    model = chosen.problem.model
    report(total, total, f"validation {chosen.problem.formatted(chosen.lowest)}")
    return Learned(model, chosen.records, screened, chosen.outcome)


def _carry_on(starts: Sequence[Descent | FitError], advance: Callable[[Descent], Descent]) -> Descent:
    """Carry on the start with the lowest held-out loss, to its end and best weights; the next one where it fails."""
    failure = next((start for start in starts if isinstance(start, FitError)), None)
    model = None
    for start in sorted((s for s in starts if isinstance(s, Descent)), key=lambda start: start.lowest):
        try:
            advance(start)
        except FitError as error:
            failure, model = error, start.problem.model
        finally:
            start.problem.load(start.best)
        if start.outcome is not Outcome.RUNNING:
            return start
    stopped = FitError(f"none of {len(starts)} starts could be carried on; the last: {failure}")
    stopped.model = model
    raise stopped
