r"""Levenberg–Marquardt: damped Gauss–Newton steps on any `Problem`, from several starting points.

The normal equations are those of `losses.normal_equations`. Their damping λ follows Nielsen's rule: with ϱ the ratio of
the actual to the predicted reduction of the loss, λ ← λ max(1/3, 1 − (2ϱ − 1)³) after an accepted step, and λ ← λν,
ν ← 2ν after a rejected one. A step is rejected unless it lowers the training loss and leaves loss and derivatives
finite, so the current state is always finite and the training loss never rises.

All starting points take the first steps (screening); the one with the lowest held-out loss is continued.
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
from workbench.fitting.outcome import Learned, Outcome
from workbench.fitting.task import Task
from workbench.losses.problem import Problem
from workbench.parallel import Report
from workbench.potentials.stored import storable_value

__all__ = ["Descent", "LevenbergMarquardt"]


@storable_value
@dataclass(frozen=True)
class LevenbergMarquardt:
    """Settings of Levenberg–Marquardt, the default optimiser of `workbench.fit` for landscapes.

    It takes damped Gauss–Newton steps on sums of squares, those of materials included, and natural-gradient steps on
    densities.
    Each member of a fit is the best of several starts. The weights with the lowest held-out loss are returned. Losses,
    damping, ρ and gates are recorded over (member, step) in `fit.history`.

    Parameters
    ----------
    steps : int, default 300
        Largest number of steps of a start, including its screening.
    screening : int, default 40
        Steps of every start before the one with the lowest held-out loss is selected and continued.
    tolerance : float, default 0.0
        The fit stops when the training and held-out errors are both at most `tolerance`. An error is the square root of
        the loss: in units of the noise level `sigma` if the data give it, else relative to the spread of the data.
        Ignored for match="density".
    patience : int, default 60
        The fit stops after this many accepted steps without an improvement of the held-out loss by a thousandth (for
        match="density", by 1e-4 nats).
    damping : float, default 0.01
        Initial damping λ, relative to the mean diagonal entry of JᵀJ.

    Raises
    ------
    ValueError
        If `steps`, `screening` or `patience` is not an integer ≥ 1, `tolerance` is negative, or `damping` is not
        positive and finite.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.linspace(-2, 2, 40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> model = wb.LSEICNN(dim=1, modes=2, hidden=(4,))
    >>> optimiser = LevenbergMarquardt(steps=100, screening=5, tolerance=0.1)
    >>> fit = wb.fit(model, data, match="potential", seed=0, restarts=2, optimiser=optimiser)
    >>> fit.outcome.name, fit.error <= 0.1
    ('TOLERANCE', True)

    References
    ----------
    K. Levenberg, A method for the solution of certain non-linear problems in least squares, Q. Appl. Math. 2, 164–168
    (1944), doi:10.1090/qam/10666.

    D. W. Marquardt, An algorithm for least-squares estimation of nonlinear parameters, J. Soc. Indust. Appl. Math. 11,
    431–441 (1963), doi:10.1137/0111030.

    H. B. Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05, Technical University of Denmark (1999).
    """

    steps: int = 300
    screening: int = 40
    tolerance: float = 0.0
    patience: int = 60
    damping: float = 1e-2

    def __post_init__(self) -> None:
        require_integer(steps=self.steps, screening=self.screening, patience=self.patience)
        if not (self.tolerance >= 0 and 0 < self.damping < float("inf")):
            raise ValueError(
                "expected tolerance >= 0 and a positive, finite damping, "
                f"got tolerance={self.tolerance!r} and damping={self.damping!r}"
            )

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
        """Fit the members; `workbench.fit` calls this.

        Parameters
        ----------
        task : Task
            Model, data and match.
        seeds : sequence of SeedSequence
            One per member.
        restarts : int or None
            Starts per member; None means 4, or 1 if the task has weights to start from.
        checkpoint : None
            Not supported.
        workers : int
            Number of processes that share the members.
        progress : bool, callable or None
            How progress is reported (see `workbench.parallel.run`).

        Returns
        -------
        list of Learned
            One per seed.

        Raises
        ------
        ValueError
            If `checkpoint` is not None.
        FitError
            If no start of a member can be continued.
        """
        if checkpoint is not None:
            raise ValueError("LevenbergMarquardt does not support a checkpoint: only fits by Adam can be resumed")
        count = (4 if task.given is None else 1) if restarts is None else restarts
        jobs = [(task.of_member(k, seed), seed, count, self) for k, seed in enumerate(seeds)]
        labels = [f"fit {k + 1}" if len(seeds) > 1 else "fit" for k in range(len(seeds))]
        return parallel.run(_learn_member, jobs, labels=labels, workers=workers, progress=progress)


class Descent:
    """The descent from one starting point: call `step()` while `outcome` is RUNNING.

    `theta` holds the current parameters, shape (parameter,), `best` those of the lowest held-out loss, and `records`
    one dict for the starting point and one per step.
    """

    LARGEST_DAMPING = 1e12  # beyond it, steps are negligible
    MOST_NON_FINITE = 6  # consecutive non-finite steps; by then the damping has grown by a factor of 2¹⁵

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
        self._damping, self._growth, self._non_finite, self._stale = settings.damping, 2.0, 0, 0
        self.theta = problem.vector()
        self._limit = problem.limit()
        state = problem.initial_state()
        self._evaluated = problem.evaluate(self.theta, state)
        self.loss = problem.loss(self._evaluated)
        self._linear = problem.linearise(self.theta, self._evaluated)
        self.held_out, self._state = problem.validate(self.theta, problem.state_after(self._evaluated, state))
        if not (self._linear.finite and self.held_out < float("inf")):
            raise FitError(f"{problem.bad_term(self._evaluated)} at the starting point. Check the data for outliers")
        self.best, self._reference = self.theta, self.held_out
        self._record()

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
        elif self._stale >= self.settings.patience:
            self.outcome = Outcome.EARLY_STOPPING
        elif len(self.records) > self.settings.steps:
            self.outcome = Outcome.STEP_LIMIT

    def _try(self) -> bool:
        """Return whether a step was accepted."""
        delta = self._linear.step(self._damping)
        if delta is None:
            return False
        delta = torch.clamp(delta, -self._limit, self._limit)
        theta = self.theta + delta
        evaluated = self.problem.evaluate(theta, self._state)
        loss = self.problem.loss(evaluated)
        expected = self._linear.reduction(delta)
        if not loss < self.loss or expected <= 0:
            self._check_finite(loss, evaluated)
            return False
        linear = self.problem.linearise(theta, evaluated)
        if not linear.finite:
            self._check_finite(float("nan"), evaluated)
            return False
        ratio = (self.loss - loss) / expected
        self._damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
        self.theta, self._evaluated, self.loss, self._linear, self._non_finite = theta, evaluated, loss, linear, 0
        self._state = self.problem.state_after(evaluated, self._state)
        return True

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
            | {f"loss_{name}": value for name, value in terms.items()}
            | {name: values[0].cpu().numpy() for name, values in recorded.items()}
        )


def _learn_member(
    task: Task, seed: np.random.SeedSequence, restarts: int, settings: LevenbergMarquardt, report: Report
) -> Learned:
    """Screen the starts of a member, and continue the best."""
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
    chosen = _continued(starts, lambda start: advance(start, math.inf, ""))
    model = chosen.problem.model
    report(total, total, f"validation {chosen.problem.formatted(chosen.lowest)}")
    return Learned(model, chosen.records, screened, chosen.outcome)


def _continued(starts: Sequence[Descent | FitError], advance: Callable[[Descent], Descent]) -> Descent:
    """Return the start with the lowest held-out loss, advanced to its end; if it fails, try the next one."""
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
    stopped = FitError(f"no start could be continued (number tried: {len(starts)}): {failure}")
    stopped.model = model
    raise stopped
