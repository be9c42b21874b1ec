"""`fit()`: the only way a landscape is learned.

Per member, several starts, soft and sharp in turn, are drawn and screened for a few steps; the one with the lowest
held-out loss is carried on and the rest are dropped. Every choice (between restarts, steps and members) looks at the
held-out part of the data only, and never at samples marked "test". All randomness descends from one `SeedSequence`.

An optimiser, `LevenbergMarquardt` or `Adam`, is a frozen value with settings and one verb, `learn(task, seeds, …)`,
which returns a member for each seed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr

from workbench import dataset, discovery
from workbench.adam import Adam
from workbench.atomic import check_target
from workbench.levenberg_marquardt import LevenbergMarquardt
from workbench.lse_icnn import LSEICNN
from workbench.objectives import check_matched, parse_match
from workbench.parallel import Report
from workbench.start import Start
from workbench.task import FitError, Outcome, Task

__all__ = ["Fit", "FitError", "fit"]


@dataclass(frozen=True)
class Fit:
    """What a fit returns.

    `model` is the member with the lowest held-out loss, a plain potential; `ensemble` holds all members. `history` is
    over (member, epoch), `restarts` over (member, restart), and `scan` over the number of modes where that was chosen;
    `data` are the samples as the fit saw them, with `split`. The weights are frozen (`requires_grad_(True)` thaws
    them), so that results are plain tensors.
    """

    model: LSEICNN
    ensemble: LSEICNN
    history: xr.Dataset
    restarts: xr.Dataset
    scan: xr.Dataset | None
    data: xr.Dataset
    match: dict[str, float]
    outcomes: tuple[Outcome, ...]
    seed: str
    elapsed: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """Index of the member with the lowest held-out loss."""
        return _best(self.history)

    @property
    def outcome(self) -> Outcome:
        """How the best member's fit ended, and what to try."""
        return self.outcomes[self.best]

    @property
    def error(self) -> float:
        """Validation error of the best member: the root of its loss, in units of the noise or of the data's spread."""
        return float(np.sqrt(self.history["best"].min()))

    @property
    def training_error(self) -> float:
        """Training error of the best member at the same step."""
        record = self.history.isel(member=self.best)
        return float(np.sqrt(record["loss"].values[np.nanargmin(record["validation_loss"].values)]))

    @classmethod
    def joined(cls, fits: "Sequence[Fit]") -> "Fit":
        """Return the members of several fits of the same data, architecture and match as one ensemble."""
        first = fits[0]
        for other in fits[1:]:
            if not (other.data.identical(first.data) and other.match == first.match):
                raise ValueError("fits can be joined where data (with their split) and match are the same")
        models = [fit.ensemble.member(k) for fit in fits for k in range(fit.ensemble.members or 1)]
        history, restarts = (
            xr.concat([getattr(fit, name) for fit in fits], "member", join="outer").assign_coords(
                member=np.arange(len(models))
            )
            for name in ("history", "restarts")
        )
        return cls(
            model=models[_best(history)],
            ensemble=LSEICNN.stack(models).requires_grad_(False),
            history=history,
            restarts=restarts,
            scan=first.scan if len(fits) == 1 else None,
            data=first.data,
            match=first.match,
            outcomes=tuple(outcome for fit in fits for outcome in fit.outcomes),
            seed=" ".join(fit.seed for fit in fits),
            elapsed=sum(fit.elapsed for fit in fits),
            settings=first.settings | {"members": len(models)},
        )

    def __repr__(self) -> str:
        noisy = any(str(name).startswith("sigma") for name in self.data.data_vars)
        unit = "sigma" if noisy else "of the data's spread"
        errors = f"validation error {self.error:.2e}, training {self.training_error:.2e} ({unit})"
        scanned = "" if self.scan is None else f", {self.model.modes} modes chosen of {self.scan.sizes['modes']} tried"
        return f"<Fit of {' + '.join(self.match)}{scanned}: {errors}, {self.elapsed:.1f} s; {self.outcome}>"


def fit(
    model: LSEICNN,
    data: xr.Dataset,
    *,
    match: str | Mapping[str, float],
    seed: Any = None,
    modes: Literal["auto"] | None = None,
    members: int | None = None,
    restarts: int | None = None,
    held_out: float = 0.2,
    start: Start | None = None,
    optimiser: LevenbergMarquardt | Adam | None = None,
    checkpoint: str | Path | None = None,
    workers: int = 1,
    progress: bool | Report | None = None,
) -> Fit:
    """Fit a landscape to data, and return the result; the model given says the architecture and is left as it is.

    `match` is "potential", "gradient" or "velocity", or several with weights, {"potential": 1, "gradient": 10} (see
    `objectives`). `data` are points or trajectories (`workbench.dataset`); where they have no `split`, the share
    `held_out` validates. `members` independent fits (default: as many as the model has, or 1) are kept, each the best
    of `restarts` starts (default 4, and 2 with `modes="auto"`). `start` says where fits begin, `optimiser` how they go
    on (`LevenbergMarquardt` or `Adam`). `workers` processes share the members. `seed` is a whole number, or None for a
    fresh one, which the result records.

    With `modes="auto"` the model's number of modes is the most that are tried, and `fit.scan` tells what each number
    reached (see `discovery`).

    `checkpoint` names a file from which an interrupted fit by Adam goes on, equal to the last bit; it is written every
    20 seconds and at the end, so that a longer fit goes on from a shorter one.

    Raises `DatasetError` for data that do not fit, `ValueError` for wrong settings, `FitError` if no start is finite.

    >>> import numpy as np, workbench as wb
    >>> x = np.linspace(-2, 2, 60)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> quick = wb.LevenbergMarquardt(steps=60)
    >>> fit = wb.fit(wb.LSEICNN(dim=1, modes=2), data, match="potential", seed=0, restarts=2, optimiser=quick)
    >>> fit.error < 0.01, fit.model.value(np.array([[1.0]])).shape
    (True, (1,))
    """
    began = time.perf_counter()
    optimiser, start = optimiser or LevenbergMarquardt(), start or Start()
    if not isinstance(optimiser, LevenbergMarquardt | Adam):
        raise ValueError(f"optimiser is LevenbergMarquardt(...) or Adam(...) of workbench, got {optimiser!r}")
    weights = parse_match(match)
    members = (model.members or 1) if members is None else members
    _check_counts(members=members, restarts=1 if restarts is None else restarts)
    if checkpoint is not None and seed is None:
        raise ValueError("a checkpoint needs a seed: a fresh one each time would never be the fit that it belongs to")
    where = None if checkpoint is None else check_target(checkpoint, overwrite=True)
    sequence = dataset.seed_sequence(seed)
    shuffle, *seeds = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key).spawn(1 + members)
    data = dataset.check(data)
    check_matched(data, weights, model.dim)
    if model.states != tuple(f"x{i + 1}" for i in range(model.dim)):
        data = dataset.with_states(data, model.states)
    data = dataset.assign_split(dataset.check(data, weights), shuffle, held_out)
    settings: dict[str, Any] = {"members": members, "restarts": restarts, "held_out": held_out}
    how: dict[str, Any] = {"restarts": restarts, "workers": workers, "progress": progress}
    scan = None
    if modes is not None:
        if modes != "auto":
            raise ValueError(f"modes is 'auto' or left out (the model has {model.modes}), got {modes!r}")
        if restarts is None and isinstance(optimiser, LevenbergMarquardt):
            how["restarts"] = 2
        model, scan = discovery.choose(model, data, weights, start, optimiser, seeds[0], **how)
    task = Task.of(model, data, weights, start)
    learned = optimiser.learn(task, seeds, checkpoint=where, **how)
    if "potential" not in weights:  # slopes leave the constant free: measure from the lowest sample
        for one in learned:
            x = torch.tensor(task.parts["train"]["x"].values).to(one.model.u)
            with torch.no_grad():
                one.model.offset -= one.model.value(x).min()
    history = _history([one.records for one in learned])
    return Fit(
        model=learned[_best(history)].model.requires_grad_(False),
        ensemble=LSEICNN.stack([one.model for one in learned]).requires_grad_(False),
        history=history,
        restarts=_restarts([one.screened for one in learned]),
        scan=scan,
        data=data,
        match=weights,
        outcomes=tuple(one.outcome for one in learned),
        seed=dataset.seed_text(sequence),
        elapsed=time.perf_counter() - began,
        settings=settings | {"optimiser": repr(optimiser), "start": repr(start)},
    )


def _history(records: Sequence[list[dict[str, Any]]]) -> xr.Dataset:
    """Return the members' records over (member, epoch), NaN after a member's end."""
    longest = max(records, key=len)
    epochs = [row["epoch"] for row in longest]
    variables = {}
    for name, first in records[0][0].items():
        if name == "epoch":
            continue
        shape = (len(records), len(epochs), *np.shape(first))
        values = np.full(shape, np.nan)
        for member, rows in enumerate(records):
            values[member, : len(rows)] = [row[name] for row in rows]
        attrs: dict[str, Any] = {"long_name": _MEANING.get(name, name.replace("_", " of the ")), "units": "1"}
        attrs |= {"units": "s", "wall_clock": 1} if name == "elapsed" else {}
        variables[name] = (("member", "epoch", "mode")[: len(shape)], values, attrs)
    coords = {"member": np.arange(len(records)), "epoch": epochs, "mode": np.arange(len(records[0][0]["gate"]))}
    return xr.Dataset(variables, coords=coords)


def _best(history: xr.Dataset) -> int:
    """Return the member with the lowest held-out loss."""
    return int(np.argmin(history["best"].min("epoch").values))


def _restarts(screened: Sequence[list[float]]) -> xr.Dataset:
    values = np.array(screened)
    attrs = {"long_name": "held-out loss after screening, NaN for a start that failed", "units": "1"}
    coords = {"member": np.arange(values.shape[0]), "restart": np.arange(values.shape[1])}
    return xr.Dataset({"restart_loss": (("member", "restart"), values, attrs)}, coords=coords)


def _check_counts(**counts: Any) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {count!r}")


_MEANING = {
    "elapsed": "time since the start, on the machine it ran on",
    "loss": "training loss",
    "validation_loss": "held-out loss",
    "best": "lowest held-out loss so far",
    "damping": "damping of Levenberg–Marquardt",
    "rho": "sharpness of the soft minimum, scaled units",
    "gate": "gate of the mode",
    "active": "number of gates above 1e-6",
}
