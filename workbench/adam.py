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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench import checkpoints, parallel
from workbench.interrupts import held_signals
from workbench.lse_icnn import LSEICNN
from workbench.objectives import predictions
from workbench.parallel import Report
from workbench.task import ACTIVE, FitError, Learned, Outcome, Task

__all__ = ["Adam"]

SAVED_EVERY = 20.0  # seconds between checkpoints
RETRIES = 5  # times that the learning rates are halved before a fit gives up


@dataclass(frozen=True)
class Adam:
    """Settings of Adam; the defaults are the published protocol.

    `epochs` full-batch steps at `rate` for the networks and `slow_rate` for ρ and α, with `penalty` ε on |α|. The
    weights of the lowest held-out loss are kept; it is looked at every `every` epochs, and so is what the history
    records. `compiled` lets torch compile the step, which takes up to a minute and a C++ compiler, and changes last
    digits.

    >>> Adam(epochs=1000).penalty
    0.0001
    """

    epochs: int = 150_000
    rate: float = 1e-3
    slow_rate: float = 1e-4
    penalty: float = 1e-4
    every: int = 100
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        for name in ("rate", "slow_rate", "penalty"):
            value = getattr(self, name)
            if not (0 <= value < math.inf) or (value == 0 and name == "rate"):
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
    """An ensemble on its way: `advance(epochs)`, and `state()` / `restore(state)` equal to the last bit."""

    def __init__(self, task: Task, seeds: Sequence[np.random.SeedSequence], settings: Adam) -> None:
        self.settings = settings
        self.model = LSEICNN.stack([task.begin(seed.spawn(1)[0], turn) for turn, seed in enumerate(seeds)])
        self.seen, self.kept = task.observations()
        self.match = task.match
        slow = [self.model.u, self.model.alpha]
        groups = [
            {"params": list(self.model.convex.parameters()), "lr": settings.rate},
            {"params": slow, "lr": settings.slow_rate},
        ]
        self.optimiser = torch.optim.Adam(groups)
        self.loss = torch.compile(self._loss, dynamic=False) if settings.compiled else self._loss
        self.epoch, self.cuts, self.elapsed = 0, 0, 0.0
        self.records: list[dict[str, Tensor]] = []
        self.best = copy.deepcopy(self.model.state_dict())
        self.lowest = torch.full((len(seeds),), torch.inf, dtype=torch.float64, device=self.model.device)
        self._record()
        if not (torch.isfinite(self.records[0]["loss"]).all() and torch.isfinite(self.lowest).all()):
            raise FitError("the start is not finite; look for outliers in the data")

    def advance(self, epochs: int) -> None:
        """Train on, up to the next record at most; go back and halve the rates where anything stops being finite."""
        before = None if self.cuts > RETRIES else self._snapshot()
        began = time.perf_counter()
        for _ in range(epochs):
            self.optimiser.zero_grad(set_to_none=True)
            total = self.loss().sum() + self.settings.penalty * self.model.alpha.abs().sum()
            total.backward()
            self.optimiser.step()
        self.epoch += epochs
        self.elapsed += time.perf_counter() - began
        if not all(torch.isfinite(p).all() for p in self.model.parameters()):
            self._go_back(before, epochs)
        elif self.epoch % self.settings.every == 0:
            self._record()

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "lowest": self.lowest,
            "records": self.records,
            "counters": [self.epoch, self.cuts],
            "elapsed": self.elapsed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same task and settings."""
        state = copy.deepcopy(state)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best = {name: values.to(self.model.device) for name, values in state["best"].items()}
        self.lowest, self.records = state["lowest"].to(self.model.device), state["records"]
        self.epoch, self.cuts = state["counters"]
        self.elapsed = state["elapsed"]

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
                outcome=Outcome.STEPS,
            )
            for k in range(len(self.lowest))
        ]

    def _loss(self) -> Tensor:
        """Return the mean square residual of every member, shape (member,)."""
        residuals = (predictions(self.model, self.seen.x, self.match) - self.seen.target) * self.seen.factor
        return residuals.square().sum((-2, -1))

    @torch.no_grad()
    def _record(self) -> None:
        model = self.model
        seen, held_out = (
            ((predictions(model, o.x, self.match) - o.target) * o.factor).square() for o in (self.seen, self.kept)
        )
        loss, validation = (squares.sum((-2, -1)).double() for squares in (seen, held_out))
        better = validation < self.lowest
        self.lowest = torch.where(better, validation, self.lowest)
        for name, values in model.state_dict().items():
            if values.ndim and len(values) == len(better) and name not in ("x_shift", "x_scale", "x_low", "x_high"):
                self.best[name][better] = values[better]
        terms = {f"loss_{name}": seen[..., at].sum((-2, -1)).double() for name, at in self.seen.entries.items()}
        gate = model.gate
        record = {"epoch": torch.tensor(self.epoch), "elapsed": torch.tensor(self.elapsed, dtype=torch.float64)}
        record |= {"loss": loss, "validation_loss": validation, "best": self.lowest, **terms}
        record |= {"rho": model.rho, "gate": gate, "active": (gate > ACTIVE).sum(-1)}
        self.records.append({name: values.cpu() for name, values in record.items()})

    def _snapshot(self) -> dict[str, Any]:
        return copy.deepcopy({key: value for key, value in self.state().items() if key != "records"})

    def _go_back(self, before: dict[str, Any] | None, epochs: int) -> None:
        """Undo the last epochs and halve the learning rates; the members that are fine lose nothing but pace."""
        if before is None:
            error = FitError(
                f"epoch {self.epoch}: weights were not finite {RETRIES + 1} times although the learning rates were "
                f"halved each time. Look for outliers in the data, or start with a rate below {self.settings.rate:g}"
            )
            error.model = self.model.like(members=self.model.members)
            error.model.load_state_dict(self.best)
            raise error
        self.restore(before | {"records": self.records})
        self.cuts += 1
        for group in self.optimiser.param_groups:
            group["lr"] /= 2


def _learn_together(
    task: Task, seeds: Sequence[np.random.SeedSequence], settings: Adam, checkpoint: Path | None, report: Report
) -> list[Learned]:
    training = Training(task, seeds, settings)
    identity = checkpoints.identity(task, seeds, {k: v for k, v in asdict(settings).items() if k != "epochs"})
    if checkpoint is not None:
        state = checkpoints.load(checkpoint, identity)
        if state is not None:
            training.restore(state)
    if training.epoch > settings.epochs:
        raise ValueError(f"the checkpoint {checkpoint} is at epoch {training.epoch} already, past {settings.epochs}")
    saved = -math.inf  # the first checkpoint comes with the first record

    def save() -> None:
        if checkpoint is not None:
            checkpoints.save(checkpoint, training.state(), identity)

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
    finally:  # also when interrupted or out of tries: what is done is kept
        save()
    report(settings.epochs, settings.epochs, f"median error {float(training.lowest.median()) ** 0.5:.1e}")
    return training.learned()
