"""Levenberg–Marquardt on any `Problem`, from several starting points.

All starting points take the first steps (screening). The half with the lowest held-out losses goes on, and so on until
one is left (successive halving), which is continued. The steps are those of `descent`. Fits to many samples begin with
a subsample, which grows (`subsamples`).
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
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

ROUND_GROWTH = 3  # of the steps from one round of screening to the next


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
    steps : int, default 400
        Largest number of steps of a start, including its screening.
    screening : int, default 20
        Steps of every start, after which the half with the lowest held-out losses goes on. Of more than two starts, the
        half takes three times as many steps before it is halved in turn, and so on; the last one is continued.
    tolerance : float, default 0.0
        The fit stops when the training and held-out errors are both at most `tolerance`. An error is the square root of
        the loss: in units of the noise level `sigma` if the data give it, else relative to the spread of the data.
        Ignored for match="density".
    patience : int, default 30
        The fit stops after this many accepted steps without an improvement of the held-out loss by a thousandth (for
        match="density", by 1e-4 nats), but not before as many steps as it took to improve last.
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
    K. Jamieson, A. Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, Proc. AISTATS,
    PMLR 51, 240–248 (2016), doi:10.48550/arXiv.1502.07943 (successive halving).

    K. Levenberg, A method for the solution of certain non-linear problems in least squares, Q. Appl. Math. 2, 164–168
    (1944), doi:10.1090/qam/10666.

    D. W. Marquardt, An algorithm for least-squares estimation of nonlinear parameters, J. Soc. Indust. Appl. Math. 11,
    431–441 (1963), doi:10.1137/0111030.

    H. B. Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05, Technical University of Denmark (1999).

    M. K. Transtrum, J. P. Sethna, Improvements to the Levenberg–Marquardt algorithm for nonlinear least-squares
    minimization (2012), doi:10.48550/arXiv.1201.5885.
    """

    steps: int = 400
    screening: int = 20
    tolerance: float = 0.0
    patience: int = 30
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
    began, rounds = time.perf_counter(), _rounds(restarts, settings)
    until = [0, *(until for _, until in rounds)]
    total = sum(count * (end - start) for (count, end), start in zip(rounds, until, strict=False))
    done, total = itertools.count(1), total + max(0, settings.steps - until[-1])

    def advance(start: _Start, until: float) -> None:
        text = "" if until == math.inf else "screening, "
        for descent in start.descend(until):
            report(min(next(done), total - 1), total, f"{text}{descent.problem.formatted(descent.loss)}")

    starts, failures = [], list[FitError]()
    for turn, child in enumerate(seed.spawn(restarts)):
        try:
            starts.append(_Start(turn, task.problem(child, turn), child, settings, began))
        except FitError as error:
            failures.append(error)
    screened = _screened(starts, rounds, advance, failures)
    chosen = _continued(starts, advance, failures)
    report(total, total, f"validation {chosen.problem.formatted(chosen.lowest)}")
    losses = [screened.get(turn, math.nan) for turn in range(restarts)]
    return Learned(chosen.problem.model, chosen.records, losses, chosen.outcome, chosen.problem.differentiation)


class _Start:
    """A starting point: its descent, first on the smallest subsample of its problem, and finally on all samples."""

    def __init__(
        self, turn: int, problem: Problem, seed: np.random.SeedSequence, settings: LevenbergMarquardt, began: float
    ) -> None:
        self.turn, self.problem, self.seed, self.settings, self.sizes = turn, problem, seed, settings, sizes(problem)
        self.descent = Descent(drawn(problem, self.sizes[0], seed), settings, began)

    @property
    def lowest(self) -> float:
        """Lowest held-out loss so far."""
        return self.descent.lowest

    def descend(self, until: float) -> Iterator[Descent]:
        """Yield the descent after each step, up to that many steps; without a limit, on every subsample in turn."""
        yield from self._steps(until)
        for size in self.sizes[1:] if until == math.inf else ():
            steps = steps_with(size, self.sizes[0], self.settings.steps)
            self.descent.go_on(drawn(self.problem, size, self.seed), steps)
            yield from self._steps(until)

    def _steps(self, until: float) -> Iterator[Descent]:
        """Yield the descent after each step, with one sample."""
        while self.descent.outcome is Outcome.RUNNING and len(self.descent.records) <= until:
            self.descent.step()
            yield self.descent


def _rounds(restarts: int, settings: LevenbergMarquardt) -> list[tuple[int, int]]:
    """Return how many starts take part in each round of screening, and the steps after which it ends.

    >>> _rounds(4, LevenbergMarquardt(screening=20))
    [(4, 20), (2, 60)]
    """
    rounds = [(restarts, settings.screening)]
    while rounds[-1][0] > 2:
        count, until = rounds[-1]
        rounds.append(((count + 1) // 2, ROUND_GROWTH * until))
    return [(count, min(until, settings.steps)) for count, until in rounds]


def _screened(
    starts: list[_Start],
    rounds: Sequence[tuple[int, int]],
    advance: Callable[[_Start, float], None],
    failures: list[FitError],
) -> dict[int, float]:
    """Advance the best starts from round to round, and return the losses after the first; failed ones are removed."""
    losses: dict[int, float] = {}
    for count, until in rounds:
        for start in sorted(starts, key=lambda start: start.lowest)[:count] if losses else list(starts):
            try:
                advance(start, until)
            except FitError as error:
                failures.append(error)
                starts.remove(start)
        losses = losses or {start.turn: start.lowest for start in starts}
    return losses


def _continued(
    starts: Sequence[_Start], advance: Callable[[_Start, float], None], failures: Sequence[FitError]
) -> Descent:
    """Return the descent with the lowest held-out loss, advanced to its end; if it fails, try the next one."""
    failure, model = next(iter(failures), None), None
    for start in sorted(starts, key=lambda start: start.lowest):
        descent = start.descent
        try:
            advance(start, math.inf)
        except FitError as error:
            failure, model = error, descent.problem.model
        finally:
            descent.problem.load(descent.best)
        if descent.outcome is not Outcome.RUNNING:
            return descent
    tried = len(starts) + len(failures)
    stopped = FitError(f"no start could be continued (number tried: {tried}): {failure}")
    stopped.model = model
    raise stopped
