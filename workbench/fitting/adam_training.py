"""Training by Adam: full-batch steps on the problems of all members, which can be stopped and continued to the bit."""

import copy
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.errors import FitError
from workbench.fitting.outcome import Learned, Outcome
from workbench.fitting.task import Task
from workbench.losses.problem import Problem
from workbench.potentials.trainable import TrainablePotential

__all__ = ["Training", "Trainings"]

MOST_RETRIES = 5  # halvings of the step factor of a copy before it is stopped


class Training:
    """Training on one problem: `advance(epochs)`, `evaluate()`, and `state()` and `restore(state)`, exact to the bit.

    A problem of several copies trains all of them together; they share the steps but nothing else. `step_factor`, shape
    (copy,), multiplies the steps of each; 0 means that the copy no longer changes.
    """

    def __init__(self, problem: Problem, settings: Any) -> None:
        self.settings, self.problem = settings, problem.compiled() if settings.compiled else problem
        self.owner, self.penalised = problem.owner, problem.penalised()
        theta, slow = problem.vector(), problem.slow()
        self.runs = problem.blocks()
        self.parts = [theta[run].clone() for run in self.runs]
        rates = [settings.slow_rate if slow[run][0] else settings.lr for run in self.runs]
        groups = [{"params": [part], "lr": rate} for part, rate in zip(self.parts, rates, strict=True)]
        self.optimiser = torch.optim.Adam(groups, fused=True)
        self.carried, self.epoch, self.elapsed = problem.initial_state(), 0, 0.0
        self.step_factor = torch.ones(problem.copies, dtype=torch.float64, device=theta.device)
        self.records: list[dict[str, Tensor]] = []
        self.best, self.lowest = theta, torch.full_like(self.step_factor, torch.inf)
        self.evaluate()
        finite = torch.isfinite(self.records[0]["loss"]) & torch.isfinite(self.records[0]["validation_loss"])
        self.step_factor[~finite.to(self.step_factor.device)] = 0.0
        if not finite.any():
            raise FitError("the loss is not finite at any starting point. Check the data for outliers")

    @property
    def theta(self) -> Tensor:
        """Current parameters, shape (parameter,)."""
        return torch.cat(self.parts)

    def advance(self, epochs: int) -> None:
        """Train for a number of epochs; if interrupted, restore the state before them.

        A copy that becomes non-finite returns to its state before these epochs, and continues with half the step
        factor; after more than `MOST_RETRIES` such failures it no longer changes. Other copies are not affected.
        """
        before, began, recorded = self._snapshot(), time.perf_counter(), len(self.records)
        try:
            for _ in range(epochs):
                self._step()
            self._roll_back(before)
            self.epoch += epochs
            self.elapsed += time.perf_counter() - began
            if self.epoch % self.settings.every == 0:
                self.evaluate()
        except BaseException:
            self.restore(before)
            del self.records[recorded:]
            raise

    def state(self) -> dict[str, Any]:
        """Return all that determines the rest of the training, as tensors and plain values."""
        names = self.records[0]
        return self._snapshot() | {"records": {name: torch.stack([r[name] for r in self.records]) for name in names}}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state of the same task and settings."""
        state, device = copy.deepcopy(state), self.owner.device
        for part, run in zip(self.parts, self.runs, strict=True):
            part.copy_(state["theta"][run])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.lowest = state["best"].to(device), state["lowest"].to(device)
        self.step_factor, self.carried = state["step_factor"].to(device), state["carried"]
        self.epoch, self.elapsed = state["epoch"], state["elapsed"]
        if "records" in state:
            count = len(state["records"]["step"])
            self.records = [{name: rows[k] for name, rows in state["records"].items()} for k in range(count)]

    def learned(self) -> list[Learned]:
        """Return the copies, each with the weights of its lowest held-out loss."""
        self.problem.load(self.best)
        model, copies = self.problem.model, range(self.problem.copies)
        models = [model.member(k) for k in copies] if isinstance(model, TrainablePotential) else [model]
        rows = [{name: np.asarray(values) for name, values in record.items()} for record in self.records]
        return [
            Learned(
                model=models[k],
                records=[
                    {name: values[k] if values.ndim else values.item() for name, values in r.items()} for r in rows
                ],
                screened=[float(rows[0]["validation_loss"][k])],
                outcome=Outcome.STEP_LIMIT,
            )
            for k in range(len(self.lowest))
        ]

    def _step(self) -> None:
        """Take one step of Adam, multiplied by each copy's step factor."""
        theta = self.theta
        gradient, self.carried = self.problem.loss_gradient(theta, self.carried)
        gradient = gradient + self.settings.penalty * torch.sign(theta) * self.penalised
        for part, run in zip(self.parts, self.runs, strict=True):
            part.grad = gradient[run]
        self.optimiser.step()
        if bool((self.step_factor < 1).any()):
            factor = self.step_factor.to(theta)[self.owner]
            after = torch.where(factor > 0, theta + factor * (self.theta - theta), theta)
            for part, run in zip(self.parts, self.runs, strict=True):
                part.copy_(after[run])

    @torch.no_grad()
    def evaluate(self) -> None:
        """Record losses and parameters, and keep the weights of copies whose held-out loss is the lowest so far."""
        problem, theta, copies = self.problem, self.theta, self.problem.copies

        def each(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float64, device=theta.device).reshape(copies)

        evaluated = problem.evaluate(theta, self.carried)
        validation, _ = problem.validate(theta, self.carried)
        loss, validation = each(problem.loss(evaluated)), each(validation)
        better = validation < self.lowest
        self.lowest = torch.where(better, validation, self.lowest)
        self.best = torch.where(better[self.owner], theta, self.best)
        record = {"step": torch.tensor(self.epoch), "elapsed": torch.tensor(self.elapsed, dtype=torch.float64)}
        record |= {"loss": loss, "validation_loss": validation, "best": self.lowest}
        record |= {f"loss_{name}": each(term) for name, term in problem.terms(evaluated).items()}
        self.records.append({name: values.cpu() for name, values in (record | problem.recorded(theta)).items()})

    def _snapshot(self) -> dict[str, Any]:
        """Return a copy of the state without the records."""
        values: dict[str, Any] = {"theta": self.theta, "optimiser": self.optimiser.state_dict(), "best": self.best}
        values |= {"lowest": self.lowest, "step_factor": self.step_factor, "carried": self.carried}
        return copy.deepcopy(values | {"epoch": self.epoch, "elapsed": self.elapsed})

    def _roll_back(self, before: dict[str, Any]) -> None:
        """Return copies that are not finite to an earlier state, with half the step factor."""
        failed = torch.zeros_like(self.step_factor, dtype=torch.bool)
        failed[self.owner[~torch.isfinite(self.theta)]] = True
        if not failed.any():
            return
        moments = before["optimiser"]["state"]
        for k, (part, run) in enumerate(zip(self.parts, self.runs, strict=True)):
            mine = failed[self.owner[run]]
            part[mine] = before["theta"][run][mine]
            for moment, values in self.optimiser.state[part].items():
                if values.ndim:
                    values[mine] = moments[k][moment][mine] if k in moments else 0.0
        self.step_factor = torch.where(failed, self.step_factor / 2, self.step_factor)
        self.step_factor[self.step_factor < 2.0**-MOST_RETRIES] = 0.0
        if not self.step_factor.any():
            raise FitError(
                f"epoch {self.epoch}: the weights of every member became non-finite {MOST_RETRIES + 1} times, although "
                f"the step was halved each time. Check the data for outliers, or use lr below {self.settings.lr:g}"
            )


class Trainings:
    """The trainings of all members, in step: one of several copies, or one for each member."""

    def __init__(self, task: Task, seeds: Sequence[np.random.SeedSequence], settings: Any) -> None:
        self.each = [Training(problem, settings) for problem in task.problems(list(seeds))]

    @property
    def epoch(self) -> int:
        """Epochs of all."""
        return min(one.epoch for one in self.each)

    @property
    def reached(self) -> str:
        """Median of the lowest held-out losses, as progress reports show it."""
        lowest = float(torch.cat([one.lowest.cpu() for one in self.each]).median())
        return f"median {self.each[0].problem.formatted(lowest)}"

    def advance(self, epochs: int) -> None:
        """Train all up to so many epochs beyond the slowest."""
        goal = self.epoch + epochs
        for one in self.each:
            one.advance(goal - one.epoch) if goal > one.epoch else None

    def evaluate(self) -> None:
        """Record the current state of all."""
        for one in self.each:
            one.evaluate()

    def state(self) -> dict[str, Any]:
        """Return all that determines the rest of the training."""
        return {"epoch": self.epoch, "each": [one.state() for one in self.each]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state of the same task and settings."""
        for one, saved in zip(self.each, state["each"], strict=True):
            one.restore(saved)

    def learned(self) -> list[Learned]:
        """Return all members."""
        return [member for one in self.each for member in one.learned()]
