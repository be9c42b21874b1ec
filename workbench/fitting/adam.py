r"""Adam on full batches, for all members of an ensemble at once (Eq 7 of Jones et al., 2025).

    L(θ, α) = Σ_member [ mean square residual + ε Σᵢ |αᵢ| ],

with one learning rate for the networks and a lower one for the sharpness ρ and the parameters α of the gates. Members
share the steps but nothing else: the sum over members only serves to compute all gradients at once.

Least squares alone cannot distinguish α from the output bias of a mode, which absorbs log ς(α)/ρ exactly. The penalty
therefore moves α to 0 without any change of Ψ; there ς = 4.5e-5, still active by the published threshold of 1e-6.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench import parallel
from workbench.checks import require_integer
from workbench.errors import FitError
from workbench.fitting import checkpoints
from workbench.fitting.adam_training import Trainings
from workbench.fitting.outcome import Learned
from workbench.fitting.task import Task
from workbench.interrupts import held_signals
from workbench.parallel import Report
from workbench.potentials.stored import storable_value

__all__ = ["Adam"]

CHECKPOINT_INTERVAL = 20.0  # seconds


@storable_value
@dataclass(frozen=True)
class Adam:
    """Settings of Adam, which trains all members of an ensemble together in full-batch steps.

    The weights with the lowest held-out loss are returned. Together with
    ``Initialisation(rho=(2.0,), weights="uniform", scaled=False)``, the defaults are the settings of Jones et al.
    (2025). It takes one start per member. Members that are matched sample by sample train together, others one after
    the other. Fits by Adam, and only these, can be resumed from a checkpoint.

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
            training = Trainings(task, np.random.SeedSequence(0).spawn(members), self)
            training.advance(3)
            began = time.perf_counter()
            training.advance(sample)
        return (time.perf_counter() - began) / sample * self.epochs


def _learn_together(
    task: Task, seeds: Sequence[np.random.SeedSequence], settings: Adam, checkpoint: Path | None, report: Report
) -> list[Learned]:
    """Train all members to the last epoch, from the checkpoint if there is one."""
    training = Trainings(task, seeds, settings)
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
            report(min(training.epoch, settings.epochs - 1), settings.epochs, training.reached)
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
    report(settings.epochs, settings.epochs, training.reached)
    return training.learned()


def _kept_in(path: Path | None, training: Trainings, identity: dict[str, str]) -> Callable[[], None]:
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
