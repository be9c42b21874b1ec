r"""Adam, as the publication trains (Eq 7): all members of an ensemble in one step.

    L(θ, α) = Σ_member [ mean square residual + ε Σᵢ |αᵢ| ],

with one learning rate for the networks and a lower one for ρ and the gates' α. The members share nothing but the step,
so the sum over members is only a way to take all their gradients at once.

Least squares alone cannot tell α from a mode's output bias, which absorbs log ς(α)/ρ exactly: the penalty therefore
moves α to 0 without changing Ψ, where ς = 4.5e-5 still counts as active by the published threshold of 1e-6.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench import parallel
from workbench.checks import require_integer
from workbench.errors import FitError
from workbench.fitting import checkpoints
from workbench.fitting.outcome import ACTIVE, Learned, Outcome
from workbench.fitting.task import Task
from workbench.interrupts import held_signals
from workbench.losses.least_squares import predictions
from workbench.parallel import Report
from workbench.potentials.lse_icnn import LSEICNN, SHARED

__all__ = ["Adam"]

SAVED_EVERY = 20.0  # seconds between checkpoints
RETRIES = 5  # times that the pace of a member is halved before it is given up


@dataclass(frozen=True)
class Adam:
    """Settings of Adam; with `Initialisation(rho=(2.0,), weights="uniform", scaled=False)` they are as published.

    `epochs` full-batch steps at `lr` for the networks and `slow_rate` for ρ and α, with `penalty` ε on |α|. The
    weights of the lowest held-out loss are kept; it is looked at every `every` epochs and at the end, and so is what
    the history records. `compiled` lets torch compile the step, which takes up to a minute and a C++ compiler, and
    changes last digits.

    >>> Adam(epochs=1000).penalty
    0.0001
    """

    epochs: int = 150_000
    lr: float = 1e-3
    slow_rate: float = 1e-4
    penalty: float = 1e-4
    every: int = 100
    compiled: bool = False

    def __post_init__(self) -> None:
        require_integer(epochs=self.epochs, every=self.every)
        for name in ("lr", "slow_rate", "penalty"):
            value = getattr(self, name)
            if not (0 <= value < math.inf) or (value == 0 and name == "lr"):
                raise ValueError(f"{name} must be positive and finite (slow_rate and penalty may be 0), got {value!r}")

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
        """Return one member for each seed, all of them trained together in one process."""
        if restarts not in (None, 1):
            raise ValueError("Adam carries every start to the end: ask for more members instead of restarts")
        label = f"{len(seeds)} fits" if len(seeds) > 1 else "fit"
        jobs = [(task, seeds, self, checkpoint)]
        return parallel.run(_learn_together, jobs, labels=[label], workers=1, progress=progress)[0]

    def seconds(self, task: Task, members: int, sample: int = 20) -> float:
        """Return the expected time of a fit on this machine, from `sample` epochs of it."""
        with parallel.one_thread():
            training = Training(task, np.random.SeedSequence(0).spawn(members), self)
            training.advance(3)
            began = time.perf_counter()
            training.advance(sample)
        return (time.perf_counter() - began) / sample * self.epochs


class Training:
    """An ensemble on its way: `advance(epochs)`, `look()`, and `state()` / `restore(state)` equal to the last bit."""

    def __init__(self, task: Task, seeds: Sequence[np.random.SeedSequence], settings: Adam) -> None:
        self.settings = settings
        self.model = LSEICNN.stack([task.begin(seed.spawn(1)[0], turn) for turn, seed in enumerate(seeds)])
        self.seen, self.kept = task.observations()
        self.match = task.match
        slow = [self.model.u, self.model.alpha]
        groups = [
            {"params": list(self.model.convex.parameters()), "lr": settings.lr},
            {"params": slow, "lr": settings.slow_rate},
        ]
        self.optimiser = torch.optim.Adam(groups, fused=True)
        self.loss = torch.compile(self._loss, dynamic=False) if settings.compiled else self._loss
        self.epoch, self.elapsed = 0, 0.0
        self.pace = torch.ones(len(seeds), dtype=torch.float64, device=self.model.device)
        self.records: list[dict[str, Tensor]] = []
        self.best = copy.deepcopy(self.model.state_dict())
        self.lowest = torch.full_like(self.pace, torch.inf)
        self.look()
        finite = torch.isfinite(self.records[0]["loss"]) & torch.isfinite(self.records[0]["validation_loss"])
        self.pace[~finite.to(self.pace.device)] = 0.0
        if not finite.any():
            raise FitError("no start is finite; look for outliers in the data")

    def advance(self, epochs: int) -> None:
        """Train on for some epochs; whatever interrupts them, the state is the one before or the one after.

        A member that stops being finite goes back to where it stood, loses these epochs, and goes on at half the pace;
        after `RETRIES` times it stays where it is. The others do not notice.
        """
        before, began = self._snapshot(), time.perf_counter()
        try:
            for _ in range(epochs):
                self._step()
            self._go_back(before)
        except BaseException:
            self.restore(before)
            raise
        self.epoch += epochs
        self.elapsed += time.perf_counter() - began
        if self.epoch % self.settings.every == 0:
            self.look()

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, as tensors and plain values."""
        names = self.records[0]
        return self._snapshot() | {"records": {name: torch.stack([r[name] for r in self.records]) for name in names}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same task and settings."""
        state, device = copy.deepcopy(state), self.model.device
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best = {name: values.to(device) for name, values in state["best"].items()}
        self.lowest, self.pace = state["lowest"].to(device), state["pace"].to(device)
        self.epoch, self.elapsed = state["epoch"], state["elapsed"]
        if "records" in state:
            count = len(state["records"]["step"])
            self.records = [{name: rows[k] for name, rows in state["records"].items()} for k in range(count)]

    def learned(self) -> list[Learned]:
        """Return the members with the weights of their lowest held-out loss."""
        ensemble = self.model.like(members=self.model.members)
        ensemble.load_state_dict(self.best)
        rows = [{name: np.asarray(values) for name, values in record.items()} for record in self.records]
        return [
            Learned(
                model=ensemble.member(k),
                records=[
                    {name: values[k] if values.ndim else values.item() for name, values in r.items()} for r in rows
                ],
                screened=[float(rows[0]["validation_loss"][k])],
                outcome=Outcome.STEP_LIMIT,
            )
            for k in range(len(self.lowest))
        ]

    def _loss(self) -> Tensor:
        """Return the mean square residual of every member, shape (member,)."""
        residuals = (predictions(self.model, self.seen.x, self.match) - self.seen.target) * self.seen.factor
        return residuals.square().sum((-2, -1))

    def _step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        total = self.loss().sum() + self.settings.penalty * self.model.alpha.abs().sum()
        total.backward()
        slow = bool((self.pace < 1).any())
        before = [p.detach().clone() for p in self.model.parameters()] if slow else []
        self.optimiser.step()
        with torch.no_grad():
            for p, old in zip(self.model.parameters(), before, strict=False):
                pace = self.pace.to(p).reshape(-1, *[1] * (p.ndim - 1))
                p.copy_(torch.where(pace > 0, old + pace * (p - old), old))

    @torch.no_grad()
    def look(self) -> None:
        """Record losses and parameters, and keep the weights of members that were never better on held-out data."""
        model = self.model
        seen, held_out = (
            ((predictions(model, o.x, self.match) - o.target) * o.factor).square() for o in (self.seen, self.kept)
        )
        loss, validation = (squares.sum((-2, -1)).double() for squares in (seen, held_out))
        better = validation < self.lowest
        self.lowest = torch.where(better, validation, self.lowest)
        for name, values in model.state_dict().items():
            if name not in SHARED:
                self.best[name][better] = values[better]
        terms = {f"loss_{name}": seen[..., at].sum((-2, -1)).double() for name, at in self.seen.entries.items()}
        gate = model.gate
        record = {"step": torch.tensor(self.epoch), "elapsed": torch.tensor(self.elapsed, dtype=torch.float64)}
        record |= {"loss": loss, "validation_loss": validation, "best": self.lowest, **terms}
        record |= {"rho": model.rho, "gate": gate, "active": (gate > ACTIVE).sum(-1)}
        self.records.append({name: values.cpu() for name, values in record.items()})

    def _snapshot(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
        }
        values |= {"lowest": self.lowest, "pace": self.pace, "epoch": self.epoch, "elapsed": self.elapsed}
        return copy.deepcopy(values)

    @torch.no_grad()
    def _go_back(self, before: dict[str, Any]) -> None:
        """Take members that are not finite back to where they were, at half the pace."""
        sick = torch.zeros_like(self.pace, dtype=torch.bool)
        for p in self.model.parameters():
            sick |= ~torch.isfinite(p).reshape(len(p), -1).all(-1)
        if not sick.any():
            return
        moments = before["optimiser"]["state"]
        for k, (name, weights) in enumerate(self._ordered()):
            weights[sick] = before["model"][name][sick]
            for moment, values in self.optimiser.state[weights].items():
                if values.ndim:
                    values[sick] = moments[k][moment][sick] if k in moments else 0.0
        self.pace = torch.where(sick, self.pace / 2, self.pace)
        self.pace[self.pace < 2.0**-RETRIES] = 0.0
        if not self.pace.any():
            raise FitError(
                f"epoch {self.epoch}: the weights of every member stopped being finite {RETRIES + 1} times, although "
                "its pace was halved each time. Look for outliers in the data, or start with lr below "
                f"{self.settings.lr:g}"
            )

    def _ordered(self) -> list[tuple[str, Tensor]]:
        """Return the parameters with their names, in the order of the optimiser's state."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        return [(names[id(p)], p) for group in self.optimiser.param_groups for p in group["params"]]


def _learn_together(
    task: Task, seeds: Sequence[np.random.SeedSequence], settings: Adam, checkpoint: Path | None, report: Report
) -> list[Learned]:
    training = Training(task, seeds, settings)
    save = _kept_in(checkpoint, training, checkpoints.identity(task, seeds, _without_epochs(settings)))
    if training.epoch > settings.epochs:
        raise ValueError(f"the checkpoint {checkpoint} is at epoch {training.epoch} already, past {settings.epochs}")
    saved = -math.inf  # the first checkpoint comes with the first record
    try:
        while training.epoch < settings.epochs:
            chunk = min(settings.every - training.epoch % settings.every, settings.epochs - training.epoch)
            with held_signals(patience=1):
                training.advance(chunk)
            if time.perf_counter() - saved > SAVED_EVERY:
                save()
                saved = time.perf_counter()
            error = float(training.records[-1]["best"].median()) ** 0.5
            report(min(training.epoch, settings.epochs - 1), settings.epochs, f"median error {error:.1e}")
    except BaseException as stop:
        if isinstance(stop, FitError):
            stop.model = training.learned()[0].model
        elif checkpoint is not None:
            stop.add_note(f"{checkpoint} holds epoch {training.epoch}: the same call of fit goes on from there")
        raise
    finally:  # also when interrupted: what is done is kept
        save()
    if training.epoch % settings.every:
        training.look()  # not part of the checkpoint, so that a longer fit goes on as if it had not stopped
    report(settings.epochs, settings.epochs, f"median error {float(training.lowest.median()) ** 0.5:.1e}")
    return training.learned()


def _kept_in(path: Path | None, training: Training, identity: dict[str, str]) -> Callable[[], None]:
    """Restore what the checkpoint holds, if there is one, and return how to save to it."""
    if path is None:
        return lambda: None
    state = checkpoints.load(path, identity)
    if state is not None:
        training.restore(state)
    return lambda: checkpoints.save(path, training.state(), identity)


def _without_epochs(settings: Adam) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name != "epochs"}
