"""The optimiser of every least-squares match: several starts are screened, the best is carried on (see `descent`)."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench import parallel
from workbench.checks import require_whole
from workbench.descent import Descent
from workbench.errors import FitError
from workbench.parallel import Report
from workbench.task import Learned, Outcome, Task

__all__ = ["LevenbergMarquardt"]


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
        require_whole(steps=self.steps, screening=self.screening, patience=self.patience)
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
            report(min(next(done), total - 1), total, f"{text}{descent.problem.told(descent.loss)}")
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
    report(total, total, f"validation {chosen.problem.told(chosen.lowest)}")
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
