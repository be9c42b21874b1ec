r"""Adam on full batches, for all members of an ensemble at once (Eq 7 of Jones et al., 2025).

    L(θ, α) = Σ_member [ mean square residual + ε Σᵢ |αᵢ| ],

with one learning rate for the networks and a lower one for the sharpness ρ and the parameters α of the gates. Members
share the steps but nothing else: the sum over members only serves to compute all gradients at once.

Least squares alone cannot distinguish α from the output bias of a mode, which absorbs log ς(α)/ρ exactly. The penalty
therefore moves α to 0 without any change of Ψ; there ς = 4.5e-5, still active by the published threshold of 1e-6.
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

CHECKPOINT_INTERVAL = 20.0  # seconds
MOST_RETRIES = 5  # halvings of the step factor of a member before it is stopped


@dataclass(frozen=True)
class Adam:
    """Settings of Adam, which trains all members of an ensemble together in full-batch steps.

    The weights with the lowest held-out loss are returned. Together with
    ``Initialisation(rho=(2.0,), weights="uniform", scaled=False)``, the defaults are the settings of Jones et al.
    (2025). Adam fits potentials, gradients and velocities, without restarts, `warm_start` or `bootstrap`. Its fits, and
    only these, can be resumed from a checkpoint.

    Parameters
    ----------
    epochs : int, default 150000
        Number of steps.
    lr : float, default 0.001
        Learning rate of the networks.
    slow_rate : float, default 0.0001
        Learning rate of the sharpness ρ and of the gate parameters α; 0 keeps them fixed.
    penalty : float, default 0.0001
        Weight ε of the penalty on |α|; 0 turns it off.
    every : int, default 100
        Epochs between evaluations of the training and held-out losses, which are recorded over (member, step) in
        `fit.history`. The last epoch is evaluated, too.
    compiled : bool, default False
        Whether torch compiles the step. That takes up to a minute and needs a C++ compiler, and the last digits of the
        result change.

    Raises
    ------
    ValueError
        If `epochs` or `every` is not an integer ≥ 1, `lr` is not positive and finite, or `slow_rate` or `penalty` is
        negative or not finite.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.linspace(-2, 2, 40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> optimiser = Adam(epochs=20, lr=0.01, every=10)
    >>> model = wb.LSEICNN(dim=1, modes=2, hidden=(4,))
    >>> fit = wb.fit(model, data, match="potential", seed=0, members=3, optimiser=optimiser)
    >>> fit.history.step.values.tolist(), fit.ensemble.members
    ([0, 10, 20], 3)

    References
    ----------
    D. P. Kingma, J. Ba, Adam: A method for stochastic optimization, ICLR (2015), doi:10.48550/arXiv.1412.6980.

    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242.
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
                expected = "positive and finite" if name == "lr" else "finite and >= 0"
                raise ValueError(f"{name} must be {expected}, got {value!r}")

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
        """Train the members in one process; `workbench.fit` calls this.

        Parameters
        ----------
        task : Task
            Model, data and match.
        seeds : sequence of SeedSequence
            One per member.
        restarts : 1 or None
            Adam takes one start per member.
        checkpoint : Path or None
            File to resume from, if it exists, and to write to.
        workers : int
            Without effect.
        progress : bool, callable or None
            How progress is reported (see `workbench.parallel.run`).

        Returns
        -------
        list of Learned
            One per seed.

        Raises
        ------
        ValueError
            If `restarts` is more than 1, or the checkpoint is beyond `epochs`.
        FileError
            If the checkpoint is damaged or belongs to another fit.
        FitError
            If no member can be kept finite.
        """
        if restarts not in (None, 1):
            raise ValueError(f"Adam takes one start per member, got restarts={restarts!r}: increase members instead")
        label = f"{len(seeds)} fits" if len(seeds) > 1 else "fit"
        jobs = [(task, seeds, self, checkpoint)]
        return parallel.run(_learn_together, jobs, labels=[label], workers=1, progress=progress)[0]

    def seconds(self, task: Task, members: int, sample: int = 20) -> float:
        """Estimate the wall-clock time of a fit on this machine.

        Parameters
        ----------
        task : Task
            Model, data and match.
        members : int
            Number of members.
        sample : int, default 20
            Epochs from which the time is extrapolated.

        Returns
        -------
        float
            Expected time of all epochs, in seconds.
        """
        with parallel.one_thread():
            training = Training(task, np.random.SeedSequence(0).spawn(members), self)
            training.advance(3)
            began = time.perf_counter()
            training.advance(sample)
        return (time.perf_counter() - began) / sample * self.epochs


class Training:
    """Training of an ensemble: `advance(epochs)`, `evaluate()`, and `state()` and `restore(state)`, exact to the bit.

    `step_factor`, shape (member,), multiplies the steps of each member; 0 means that the member no longer changes.
    """

    def __init__(self, task: Task, seeds: Sequence[np.random.SeedSequence], settings: Adam) -> None:
        self.settings = settings
        self.model = LSEICNN.stack([task.begin(seed.spawn(1)[0], turn) for turn, seed in enumerate(seeds)])
        self.training, self.validation = task.observations()
        self.match = task.match
        slow = [self.model.u, self.model.alpha]
        groups = [
            {"params": list(self.model.convex.parameters()), "lr": settings.lr},
            {"params": slow, "lr": settings.slow_rate},
        ]
        self.optimiser = torch.optim.Adam(groups, fused=True)
        self.loss = torch.compile(self._loss, dynamic=False) if settings.compiled else self._loss
        self.epoch, self.elapsed = 0, 0.0
        self.step_factor = torch.ones(len(seeds), dtype=torch.float64, device=self.model.device)
        self.records: list[dict[str, Tensor]] = []
        self.best = copy.deepcopy(self.model.state_dict())
        self.lowest = torch.full_like(self.step_factor, torch.inf)
        self.evaluate()
        finite = torch.isfinite(self.records[0]["loss"]) & torch.isfinite(self.records[0]["validation_loss"])
        self.step_factor[~finite.to(self.step_factor.device)] = 0.0
        if not finite.any():
            raise FitError("the loss is not finite at any starting point. Check the data for outliers")

    def advance(self, epochs: int) -> None:
        """Train for a number of epochs; if interrupted, restore the state before them.

        A member that becomes non-finite returns to its state before these epochs, and continues with half the step
        factor; after more than `MOST_RETRIES` such failures it no longer changes. Other members are not affected.
        """
        before, began = self._snapshot(), time.perf_counter()
        try:
            for _ in range(epochs):
                self._step()
            self._roll_back(before)
        except BaseException:
            self.restore(before)
            raise
        self.epoch += epochs
        self.elapsed += time.perf_counter() - began
        if self.epoch % self.settings.every == 0:
            self.evaluate()

    def state(self) -> dict[str, Any]:
        """Return all that determines the rest of the training, as tensors and plain values."""
        names = self.records[0]
        return self._snapshot() | {"records": {name: torch.stack([r[name] for r in self.records]) for name in names}}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state of the same task and settings."""
        state, device = copy.deepcopy(state), self.model.device
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best = {name: values.to(device) for name, values in state["best"].items()}
        self.lowest, self.step_factor = state["lowest"].to(device), state["step_factor"].to(device)
        self.epoch, self.elapsed = state["epoch"], state["elapsed"]
        if "records" in state:
            count = len(state["records"]["step"])
            self.records = [{name: rows[k] for name, rows in state["records"].items()} for k in range(count)]

    def learned(self) -> list[Learned]:
        """Return the members, each with the weights of its lowest held-out loss."""
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
        residuals = (predictions(self.model, self.training.x, self.match) - self.training.target) * self.training.factor
        return residuals.square().sum((-2, -1))

    def _step(self) -> None:
        """Take one step of Adam, multiplied by each member's step factor."""
        self.optimiser.zero_grad(set_to_none=True)
        total = self.loss().sum() + self.settings.penalty * self.model.alpha.abs().sum()
        total.backward()
        reduced = bool((self.step_factor < 1).any())
        before = [p.detach().clone() for p in self.model.parameters()] if reduced else []
        self.optimiser.step()
        with torch.no_grad():
            for p, old in zip(self.model.parameters(), before, strict=False):
                factor = self.step_factor.to(p).reshape(-1, *[1] * (p.ndim - 1))
                p.copy_(torch.where(factor > 0, old + factor * (p - old), old))

    @torch.no_grad()
    def evaluate(self) -> None:
        """Record losses and parameters, and keep the weights of members whose held-out loss is the lowest so far."""
        model = self.model
        squares, held_out = (
            ((predictions(model, o.x, self.match) - o.target) * o.factor).square()
            for o in (self.training, self.validation)
        )
        loss, validation = (part.sum((-2, -1)).double() for part in (squares, held_out))
        better = validation < self.lowest
        self.lowest = torch.where(better, validation, self.lowest)
        for name, values in model.state_dict().items():
            if name not in SHARED:
                self.best[name][better] = values[better]
        terms = {f"loss_{name}": squares[..., at].sum((-2, -1)).double() for name, at in self.training.entries.items()}
        gate = model.gate
        record = {"step": torch.tensor(self.epoch), "elapsed": torch.tensor(self.elapsed, dtype=torch.float64)}
        record |= {"loss": loss, "validation_loss": validation, "best": self.lowest, **terms}
        record |= {"rho": model.rho, "gate": gate, "active": (gate > ACTIVE).sum(-1)}
        self.records.append({name: values.cpu() for name, values in record.items()})

    def _snapshot(self) -> dict[str, Any]:
        """Return a copy of the state without the records."""
        values: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
        }
        values |= {"lowest": self.lowest, "step_factor": self.step_factor, "epoch": self.epoch, "elapsed": self.elapsed}
        return copy.deepcopy(values)

    @torch.no_grad()
    def _roll_back(self, before: dict[str, Any]) -> None:
        """Return members that are not finite to an earlier state, with half the step factor."""
        failed = torch.zeros_like(self.step_factor, dtype=torch.bool)
        for p in self.model.parameters():
            failed |= ~torch.isfinite(p).reshape(len(p), -1).all(-1)
        if not failed.any():
            return
        moments = before["optimiser"]["state"]
        for k, (name, weights) in enumerate(self._ordered()):
            weights[failed] = before["model"][name][failed]
            for moment, values in self.optimiser.state[weights].items():
                if values.ndim:
                    values[failed] = moments[k][moment][failed] if k in moments else 0.0
        self.step_factor = torch.where(failed, self.step_factor / 2, self.step_factor)
        self.step_factor[self.step_factor < 2.0**-MOST_RETRIES] = 0.0
        if not self.step_factor.any():
            raise FitError(
                f"epoch {self.epoch}: the weights of every member became non-finite {MOST_RETRIES + 1} times, although "
                f"the step was halved each time. Check the data for outliers, or use lr below {self.settings.lr:g}"
            )

    def _ordered(self) -> list[tuple[str, Tensor]]:
        """Return the parameters with their names, in the order of the optimiser's state."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        return [(names[id(p)], p) for group in self.optimiser.param_groups for p in group["params"]]


def _learn_together(
    task: Task, seeds: Sequence[np.random.SeedSequence], settings: Adam, checkpoint: Path | None, report: Report
) -> list[Learned]:
    """Train all members to the last epoch, from the checkpoint if there is one."""
    training = Training(task, seeds, settings)
    save = _kept_in(checkpoint, training, checkpoints.identity(task, seeds, _without_epochs(settings)))
    if training.epoch > settings.epochs:
        raise ValueError(
            f"the checkpoint {checkpoint} is already at epoch {training.epoch}, beyond epochs={settings.epochs}: "
            "increase epochs, or use another checkpoint"
        )
    saved = -math.inf  # so that the first checkpoint is written with the first record
    try:
        while training.epoch < settings.epochs:
            chunk = min(settings.every - training.epoch % settings.every, settings.epochs - training.epoch)
            with held_signals(patience=1):
                training.advance(chunk)
            if time.perf_counter() - saved > CHECKPOINT_INTERVAL:
                save()
                saved = time.perf_counter()
            error = float(training.records[-1]["best"].median()) ** 0.5
            report(min(training.epoch, settings.epochs - 1), settings.epochs, f"median error {error:.1e}")
    except BaseException as stop:
        if isinstance(stop, FitError):
            stop.model = training.learned()[0].model
        elif checkpoint is not None:
            stop.add_note(
                f"{checkpoint} holds epoch {training.epoch}: repeat the same call of fit to resume from there"
            )
        raise
    finally:  # also when interrupted
        save()
    if training.epoch % settings.every:
        training.evaluate()  # not in the checkpoint, so that a longer fit resumes as if it had not stopped
    report(settings.epochs, settings.epochs, f"median error {float(training.lowest.median()) ** 0.5:.1e}")
    return training.learned()


def _kept_in(path: Path | None, training: Training, identity: dict[str, str]) -> Callable[[], None]:
    """Restore the state in the checkpoint, if it exists, and return a function that writes to it."""
    if path is None:
        return lambda: None
    state = checkpoints.load(path, identity)
    if state is not None:
        training.restore(state)
    return lambda: checkpoints.save(path, training.state(), identity)


def _without_epochs(settings: Adam) -> dict[str, Any]:
    """Return the settings that a resumed fit must share."""
    return {name: value for name, value in asdict(settings).items() if name != "epochs"}
