"""Levenberg–Marquardt on any `Problem`, from several starting points.

All starting points take the first steps (screening); the one with the lowest held-out loss is continued. The steps are
those of `descent`. Fits to many samples begin with a subsample, which grows (`subsamples`).
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench import parallel
from workbench.checks import require_integer
from workbench.errors import FitError
from workbench.fitting.descent import Descent
from workbench.fitting.outcome import Learned, Outcome
from workbench.fitting.subsamples import drawn, sizes, steps_with
from workbench.fitting.task import Task
from workbench.losses.problem import Problem
from workbench.parallel import Report
from workbench.potentials.stored import storable_value

__all__ = ["LevenbergMarquardt"]


@storable_value
@dataclass(frozen=True)
class LevenbergMarquardt:
    """Settings of Levenberg–Marquardt, the default optimiser of `workbench.fit` for landscapes.

    It takes damped Gauss–Newton steps on sums of squares, those of materials included, and natural-gradient steps on
    densities. Each member of a fit is the best of several starts. With more than 8192 samples, the first steps use a
    random subsample, which grows until it holds all samples. The weights with the lowest held-out loss are returned.
    Losses, damping, ρ, gates and the work done are recorded over (member, step) in `fit.history`.

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
    memory : float, default 32
        Largest size of a block of the Jacobian in MiB. Beside it, a fit holds about five matrices of (number of
        parameters)² or, with fewer residuals than parameters, of their number × (number of parameters).
    acceleration : bool, default True
        Whether steps are bent along the valley by their second derivative (geodesic acceleration, Transtrum & Sethna
        2012), which lowers the final error by factors of 20 to 10⁵ (`benchmarks/fit_accuracy.py`).

    Raises
    ------
    ValueError
        If `steps`, `screening` or `patience` is not an integer ≥ 1, `tolerance` is negative, `damping` or
        `memory` is not positive and finite, `memory` is too small for one block, or `acceleration` is not a boolean.

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

    M. K. Transtrum, J. P. Sethna, Improvements to the Levenberg–Marquardt algorithm for nonlinear least-squares
    minimization (2012), doi:10.48550/arXiv.1201.5885.
    """

    steps: int = 300
    screening: int = 40
    tolerance: float = 0.0
    patience: int = 60
    damping: float = 1e-2
    memory: float = 32.0
    acceleration: bool = True

    def __post_init__(self) -> None:
        require_integer(steps=self.steps, screening=self.screening, patience=self.patience)
        if not (self.tolerance >= 0 and 0 < self.damping < float("inf") and 0 < self.memory < float("inf")):
            raise ValueError(
                "expected tolerance >= 0 and a positive, finite damping and memory, got "
                f"tolerance={self.tolerance!r}, damping={self.damping!r} and memory={self.memory!r}"
            )
        if not isinstance(self.acceleration, bool):
            raise ValueError(f"acceleration must be True or False, got {self.acceleration!r}")

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


def _learn_member(
    task: Task, seed: np.random.SeedSequence, restarts: int, settings: LevenbergMarquardt, report: Report
) -> Learned:
    """Screen the starts of a member, and continue the best."""
    began = time.perf_counter()
    total = settings.screening * restarts + max(0, settings.steps - settings.screening)
    done = itertools.count(1)

    def advance(descent: Descent, until: float, text: str) -> None:
        while descent.outcome is Outcome.RUNNING and len(descent.records) <= until:
            descent.step()
            report(min(next(done), total - 1), total, f"{text}{descent.problem.formatted(descent.loss)}")

    starts: list[_Start | FitError] = []
    for turn, child in enumerate(seed.spawn(restarts)):
        try:
            start = _Start(task.problem(child, turn), child, settings, began)
            advance(start.descent, settings.screening, "screening, ")
            starts.append(start)
        except FitError as error:
            starts.append(error)
    screened = [float("nan") if isinstance(start, FitError) else start.descent.lowest for start in starts]
    chosen = _continued(starts, lambda start: start.finish(lambda descent: advance(descent, math.inf, "")))
    report(total, total, f"validation {chosen.problem.formatted(chosen.lowest)}")
    return Learned(chosen.problem.model, chosen.records, screened, chosen.outcome, chosen.problem.differentiation)


class _Start:
    """A starting point: its descent, first on the smallest subsample of its problem, and finally on all samples."""

    def __init__(
        self, problem: Problem, seed: np.random.SeedSequence, settings: LevenbergMarquardt, began: float
    ) -> None:
        self.problem, self.seed, self.settings, self.sizes = problem, seed, settings, sizes(problem)
        self.descent = Descent(drawn(problem, self.sizes[0], seed), settings, began)

    def finish(self, advance: Callable[[Descent], None]) -> None:
        """Advance the descent to its end on every subsample in turn."""
        advance(self.descent)
        for size in self.sizes[1:]:
            steps = steps_with(size, self.sizes[0], self.settings.steps)
            self.descent.go_on(drawn(self.problem, size, self.seed), steps)
            advance(self.descent)


def _continued(starts: Sequence[_Start | FitError], finish: Callable[[_Start], None]) -> Descent:
    """Return the descent with the lowest held-out loss, advanced to its end; if it fails, try the next one."""
    failure = next((start for start in starts if isinstance(start, FitError)), None)
    model = None
    for start in sorted((s for s in starts if isinstance(s, _Start)), key=lambda start: start.descent.lowest):
        descent = start.descent
        try:
            finish(start)
        except FitError as error:
            failure, model = error, descent.problem.model
        finally:
            descent.problem.load(descent.best)
        if descent.outcome is not Outcome.RUNNING:
            return descent
    stopped = FitError(f"no start could be continued (number tried: {len(starts)}): {failure}")
    stopped.model = model
    raise stopped
