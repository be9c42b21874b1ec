"""Adam, followed by L-BFGS, on the stress along whole paths: the default optimiser of materials.

Adam comes first, on mini-batches of whole trajectories, with clipped gradients and a learning rate that falls to 0
along a cosine; L-BFGS on all training trajectories follows. Several starting points take the first steps, and the best
of them is continued. The validation trajectories decide between starting points and between steps: the weights with
the lowest validation loss are kept.
"""

import copy
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench import parallel
from workbench.checks import require_integer
from workbench.errors import FitError
from workbench.fitting.outcome import Learned, Outcome
from workbench.fitting.task import Task
from workbench.losses.stress import PathLoss
from workbench.materials.material import LARGEST_INTERNAL
from workbench.parallel import Report
from workbench.potentials.stored import storable_value

__all__ = ["PathTraining", "Training"]


@storable_value
@dataclass(frozen=True)
class PathTraining:
    """Optimiser of materials: Adam on mini-batches, followed by L-BFGS on all training trajectories.

    The validation loss is evaluated every `every` steps of Adam or iterations of L-BFGS and at the end of each; the
    weights of its lowest value are kept. After a step of Adam that is not finite, the fit returns to the last
    evaluation and continues with half the learning rate, at most six times.

    Parameters
    ----------
    steps : int, optional
        Steps of Adam.
    batch : int, optional
        Trajectories in a mini-batch.
    lr : float, optional
        Initial learning rate of Adam; it falls to 0 along a cosine.
    clip : float, optional
        Largest norm of the gradient; longer gradients are scaled down to it.
    polish : int, optional
        Largest number of iterations of L-BFGS.
    screening : int, optional
        Steps of Adam, out of `steps`, after which the best starting point is selected.
    every : int, optional
        Steps or iterations between evaluations of the validation loss.
    patience : int, optional
        L-BFGS stops if the validation loss has not fallen by a thousandth in this many evaluations.

    Raises
    ------
    ValueError
        If `steps` or `polish` is not an integer ≥ 0, another number of steps is not an integer ≥ 1, or `lr` or `clip`
        is not positive and finite.

    Examples
    --------
    >>> PathTraining(steps=100, polish=0).lr
    0.02

    References
    ----------
    - D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR (2015), doi:10.48550/arXiv.1412.6980
    - D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Math. Program. 45, 503–528
      (1989), doi:10.1007/BF01589116
    """

    steps: int = 400
    batch: int = 32
    lr: float = 2e-2
    clip: float = 1.0
    polish: int = 300
    screening: int = 60
    every: int = 20
    patience: int = 5

    def __post_init__(self) -> None:
        require_integer(0, steps=self.steps, polish=self.polish)
        require_integer(batch=self.batch, screening=self.screening, every=self.every, patience=self.patience)
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)!r}")

    def learn(
        self,
        task: Task,
        seeds: Sequence[np.random.SeedSequence],
        *,
        restarts: int | None,
        checkpoint: Path | None,
        workers: int,  # noqa: ARG002
        progress: bool | Report | None,
    ) -> list[Learned]:
        """Fit a material; `workbench.fit` calls this.

        Parameters
        ----------
        task : Task
            Material, paths and match.
        seeds : sequence of SeedSequence
            One, since a material has one member; further starts use those that follow it.
        restarts : int or None
            Starts; None means 2, or 1 if the task has weights to start from.
        checkpoint : None
            Not supported.
        workers : int
            Without effect.
        progress : bool, callable or None
            How progress is reported (see `workbench.parallel.run`).

        Returns
        -------
        list of Learned
            One.

        Raises
        ------
        ValueError
            If `checkpoint` is not None, or the match is not the stress along paths.
        FitError
            If no start is finite, or the fit cannot be kept finite.
        """
        if checkpoint is not None:
            raise ValueError("PathTraining does not support a checkpoint: only fits by Adam can be resumed")
        count = (2 if task.given is None else 1) if restarts is None else restarts
        *branch, last = seeds[0].spawn_key
        starts = [np.random.SeedSequence(seeds[0].entropy, spawn_key=(*branch, last + k)) for k in range(count)]
        return parallel.run(_learn, [(task, starts, self)], labels=["fit"], workers=1, progress=progress)


class Training:
    """The fit from one starting point; `lowest` is the lowest validation loss, at the weights `best_weights`."""

    MOST_ROLLBACKS = 6  # returns to the last evaluation, each halving the learning rate

    def __init__(self, task: Task, settings: PathTraining, seed: np.random.SeedSequence, turn: int) -> None:
        self.settings, self.began = settings, time.perf_counter()
        self.rng = np.random.default_rng(seed)
        if task.given is None:
            model = task.match.start(task.template, task.parts["train"], self.rng, task.init, turn)
        else:
            model = task.begin(seed, turn)
        problem = task.match.problem(model, task.parts)
        if not isinstance(problem, PathLoss):
            raise ValueError(
                f"PathTraining fits materials to stress, not match={task.match.name!r}: use LevenbergMarquardt or Adam"
            )
        self.model: Any = problem.model
        self.train, self.validation = problem.train, problem.validation
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.step, self.step_factor = 0, 1.0
        self.optimiser = torch.optim.Adam(self.parameters, lr=settings.lr)
        self.records: list[dict[str, Any]] = []
        self.lowest = math.inf
        self.evaluate()
        if not math.isfinite(self.lowest):
            raise FitError(f"the starting point is not finite: {self._first_failure()}; check the data for outliers")

    def adam(self, steps: int, report: Any) -> None:
        """Take steps of Adam, and call `report(self)` after each.

        After a step that is not finite, return to the last evaluation and halve the learning rate.
        """
        checkpoint, rollbacks = self._state(), 0
        for _ in range(steps):
            fraction = self.step / max(1, self.settings.steps)
            for group in self.optimiser.param_groups:
                group["lr"] = self.step_factor * self.settings.lr * 0.5 * (1 + math.cos(math.pi * fraction))
            rows = torch.as_tensor(self.rng.permutation(len(self.train.stress))[: self.settings.batch])
            self.optimiser.zero_grad(set_to_none=True)
            loss = self.train.residuals(self.model, rows).square().sum() * (len(self.train.stress) / len(rows))
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
            self.step += 1
            if torch.isfinite(loss) and torch.isfinite(norm):
                self.optimiser.step()
            else:
                rollbacks += 1
                if rollbacks > self.MOST_ROLLBACKS:
                    where = self._first_failure()
                    self._restore(checkpoint)
                    raise self._error(
                        f"step {self.step} of Adam: loss or gradient not finite {rollbacks} times: {where}"
                    )
                self._restore(checkpoint)
                self.step_factor /= 2
            if self.step % self.settings.every == 0 and self.evaluate():
                checkpoint = self._state()
            report(self)
        if self.step % self.settings.every:
            self.evaluate()

    def polish(self, report: Any) -> Outcome:
        """Continue from the best weights by L-BFGS, and call `report(self)` after each iteration.

        It ends where the loss no longer falls or is no longer finite.
        """
        self.model.load_state_dict(self.best_weights)
        stale, reference, every = 0, self.lowest, self.settings.every
        optimiser = torch.optim.LBFGS(
            self.parameters, max_iter=every, max_eval=2 * every, history_size=50, line_search_fn="strong_wolfe",
            tolerance_grad=0.0, tolerance_change=0.0,
        )  # fmt: skip

        def closure() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            loss = self.train.residuals(self.model).square().sum()
            loss.backward()
            return loss

        for done in range(0, self.settings.polish, every):
            stride = optimiser.param_groups[0]["max_iter"] = min(every, self.settings.polish - done)
            before = [p.detach().clone() for p in self.parameters]
            optimiser.step(closure)
            self.step += stride
            if not self.evaluate() or all(torch.equal(p, old) for p, old in zip(self.parameters, before, strict=True)):
                return Outcome.CONVERGED
            improved = self.lowest < 0.999 * reference
            reference, stale = (self.lowest, 0) if improved else (reference, stale + 1)
            if stale >= self.settings.patience:
                return Outcome.EARLY_STOPPING
            for _ in range(stride):
                report(self)
        return Outcome.STEP_LIMIT

    @torch.no_grad()
    def evaluate(self) -> bool:
        """Record both losses and return whether they are finite; keep the weights of the lowest validation loss."""
        loss, validation_loss = (
            float(part.residuals(self.model).square().sum()) for part in (self.train, self.validation)
        )
        if not (math.isfinite(loss) and math.isfinite(validation_loss)):
            return False
        if validation_loss < self.lowest:
            self.lowest, self.best_weights = validation_loss, copy.deepcopy(self.model.state_dict())
        elapsed = time.perf_counter() - self.began
        row = {"step": self.step, "elapsed": elapsed, "loss": loss, "validation_loss": validation_loss}
        self.records.append(row | {"best": self.lowest})
        return True

    def _state(self) -> dict[str, Any]:
        """Return a copy of the weights and of the state of Adam."""
        return copy.deepcopy({"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()})

    def _restore(self, state: dict[str, Any]) -> None:
        """Restore a state, which stays unchanged."""
        state = copy.deepcopy(state)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    @torch.no_grad()
    def _first_failure(self) -> str:
        """Describe the first trajectory whose response is not finite, or whose internal variables are too large."""
        for part in (self.train, self.validation):
            h: Tensor = self.model.states(part.features, None)
            S = self.model(part.features)
            bad = ~((h.abs() <= LARGEST_INTERNAL).all(-1) & torch.isfinite(S).all(-1))
            if bad.any():
                row = int(torch.nonzero(bad.any(-1))[0])
                return f"trajectory {part.labels[row]} blows up at sample {int(torch.nonzero(bad[row])[0])}"
        return "the gradient with respect to the weights"

    def _error(self, text: str) -> FitError:
        """Return the error of a failed fit, with the model."""
        error = FitError(f"{text}. Check the data for outliers, or reduce lr below {self.settings.lr:g}")
        error.model = self.model
        return error


def _learn(task: Task, seeds: list[np.random.SeedSequence], settings: PathTraining, report: Report) -> Learned:
    """Screen the starting points and continue the one with the lowest validation loss."""
    screening = min(settings.screening, settings.steps) if len(seeds) > 1 else 0
    total = screening * (len(seeds) - 1) + settings.steps + settings.polish
    done = itertools.count(1)

    def report_step(training: Training) -> None:
        report(min(next(done), total - 1), total, f"error {math.sqrt(training.lowest):.1e}")

    starts: list[Training] = []
    screened, failure = [], None
    for turn, seed in enumerate(seeds):
        try:
            training = Training(task, settings, seed, turn)
            training.adam(screening, report_step)
        except FitError as error:
            failure = error
            screened.append(float("nan"))
        else:
            starts.append(training)
            screened.append(training.lowest)
    if not starts:
        raise failure or FitError("no starting point is finite; check the data for outliers")
    best = min(starts, key=lambda start: start.lowest)
    best.adam(settings.steps - screening, report_step)
    outcome = best.polish(report_step)
    best.model.load_state_dict(best.best_weights)
    report(total, total, f"validation error {math.sqrt(best.lowest):.1e}")
    return Learned(best.model, best.records, screened, outcome)
