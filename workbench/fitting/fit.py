"""`fit()`: the only way a landscape is learned.

Per member, several starts, soft and sharp in turn, are drawn and screened for a few steps; the one with the lowest
held-out loss is carried on and the rest are dropped. Every choice (between restarts, steps and members) looks at the
held-out part of the data only, and never at samples marked "test". All randomness descends from one `SeedSequence`.

An optimiser, `LevenbergMarquardt` or `Adam`, is a frozen value with settings and one verb, `learn(task, seeds, …)`,
which returns a member for each seed. Materials, which have a history, are learned by `materials`.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
import xarray as xr

from workbench import dataset
from workbench.atomic import check_target
from workbench.checks import require_integer
from workbench.fitting.adam import Adam
from workbench.fitting.history import best_member, history_of, restarts_of
from workbench.fitting.levenberg_marquardt import LevenbergMarquardt
from workbench.fitting.materials import fit_paths
from workbench.fitting.modes import choose
from workbench.fitting.path_training import PathTraining
from workbench.fitting.result import Fit, PathFit
from workbench.fitting.task import Task, prepared
from workbench.losses.likelihood import normalise
from workbench.losses.match import DENSITY, check_together, parse_match
from workbench.materials.material import Material
from workbench.parallel import Report
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.support import Support

__all__ = ["Fit", "fit"]


@overload
def fit(model: LSEICNN, data: xr.Dataset, *, match: str | Mapping[str, float], **settings: Any) -> Fit:  # noqa: D418
    """Fit a landscape."""


@overload
def fit(model: Material, data: xr.Dataset, *, match: Literal["stress"], **settings: Any) -> PathFit:  # noqa: D418
    """Fit a material."""


def fit(  # type: ignore[misc]
    model: LSEICNN | Material,
    data: xr.Dataset,
    *,
    match: str | Mapping[str, float],
    seed: Any = None,
    modes: Literal["auto"] | None = None,
    members: int | None = None,
    restarts: int | None = None,
    validation_fraction: float = 0.2,
    init: Initialisation | None = None,
    warm_start: bool = False,
    bootstrap: bool = False,
    optimiser: LevenbergMarquardt | Adam | PathTraining | None = None,
    support: Support | None = None,
    prior: float = 0.0,
    checkpoint: str | Path | None = None,
    workers: int = 1,
    progress: bool | Report | None = None,
) -> Fit | PathFit:
    """Fit a landscape to data, and return the result; the model given says the architecture and is left as it is.

    `match` is "potential", "gradient" or "velocity", or several with weights, {"potential": 1, "gradient": 10} (see
    `objectives`). `data` are points or trajectories (`workbench.dataset`); where they have no `split`, the share
    `validation_fraction` validates. `members` independent fits (default: as many as the model has, or 1) are kept, each
    the best of `restarts` starts (default 4, and 2 with `modes="auto"`). `init` says where fits begin, `optimiser` how
    they go on (`LevenbergMarquardt` or `Adam`). `workers` processes share the members. `seed` is a whole number, or
    None for a fresh one, which the result records.

    With `modes="auto"` the model's number of modes is the most that are tried, and `fit.scan` tells what each number
    reached (see `discovery`).

    With `warm_start=True` fits go on from the weights of the model given, member by member, instead of a draw. That is
    how match="trajectory" polishes what was fitted to velocities (see `shooting`): `fit(first.ensemble, data,
    match="trajectory", warm_start=True)`. With `bootstrap` every member weighs the trajectories (or points) anew, by
    the Bayesian bootstrap, so that the spread of the members is the standard error that noise leaves; without it, it
    tells how much the start matters.

    With match="density" the model becomes the density of the samples on `support`, q = exp(−Ψ)/Z; Ψ is in nats,
    `prior` is the weight β of KL(q ‖ uniform), and `Density` and `fit.model.log_prob` ask the result. States that are
    not in the support are conditions, q(y | t): for trajectories the time is one if the model has a state "time".

    `checkpoint` names a file from which an interrupted fit by Adam goes on, equal to the last bit; it is written every
    20 seconds and at the end, so that a longer fit goes on from a shorter one.

    A material, `GeneralisedPlay` or `StateNODE`, is fitted to paths by match="stress"; then `optimiser` is a
    `PathTraining`, the result a `PathFit`, and of the other settings `seed`, `restarts` (default 2),
    `validation_fraction` and `progress` apply (see `path_fitting`).

    Raises `DatasetError` for data that do not fit, `ValueError` for wrong settings, `FitError` if no start is finite.

    >>> import numpy as np, workbench as wb
    >>> x = np.linspace(-2, 2, 60)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> quick = wb.LevenbergMarquardt(steps=60)
    >>> fit = wb.fit(wb.LSEICNN(dim=1, modes=2), data, match="potential", seed=0, restarts=2, optimiser=quick)
    >>> fit.error < 0.01, fit.model.value(np.array([[1.0]])).shape
    (True, (1,))
    """
    if isinstance(model, Material) or match == "stress":
        others = {"modes": modes, "members": members, "init": init, "bootstrap": bootstrap, "support": support}
        others |= {"prior": prior, "checkpoint": checkpoint}
        _check_material(model, match, optimiser, **others)
        how: dict[str, Any] = {
            "restarts": restarts,
            "validation_fraction": validation_fraction,
            "warm_start": warm_start,
            "progress": progress,
        }
        return fit_paths(model, data, seed=seed, optimiser=optimiser, **how)  # type: ignore[arg-type]
    began = time.perf_counter()
    init, weights = init or Initialisation(), parse_match(match)
    how = {"modes": modes, "warm_start": warm_start, "bootstrap": bootstrap}
    minimise = _checked_optimiser(optimiser or LevenbergMarquardt(), init, weights, **how)
    members = (model.members or 1) if members is None else members
    require_integer(members=members, restarts=1 if restarts is None else restarts)
    if warm_start:
        _check_warm_start(model, members, restarts, modes)
    where = _checkpoint(checkpoint, seed)
    sequence = dataset.seed_sequence(seed)
    shuffle, *seeds = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key).spawn(1 + members)
    model, data = prepared(
        model, data, weights, shuffle, validation_fraction=validation_fraction, support=support, prior=prior
    )
    settings: dict[str, Any] = {
        "members": members,
        "restarts": restarts,
        "validation_fraction": validation_fraction,
        "bootstrap": bootstrap,
    }
    how = {"restarts": restarts, "workers": workers, "progress": progress}
    scan = None
    if modes is not None:
        if restarts is None and isinstance(minimise, LevenbergMarquardt):
            how["restarts"] = 2
        model, scan = choose(model, data, weights, init, minimise, seeds[0], **how)
    task = Task.of(model, data, weights, init, prior, given=model if warm_start else None, bootstrap=bootstrap)
    learned = minimise.learn(task, seeds, checkpoint=where, **how)
    for one in learned:
        _level(one.model, task)
    history = history_of([one.records for one in learned])
    return Fit(
        model=learned[best_member(history)].model.requires_grad_(False),
        ensemble=LSEICNN.stack([one.model for one in learned]).requires_grad_(False),
        history=history,
        restarts=restarts_of([one.screened for one in learned]),
        scan=scan,
        data=data,
        match=weights,
        outcomes=tuple(one.outcome for one in learned),
        seed=dataset.seed_text(sequence),
        elapsed=time.perf_counter() - began,
        settings=settings | {"optimiser": repr(minimise), "init": repr(init), "warm_start": warm_start},
    )


def _checked_optimiser(
    optimiser: Any, init: Any, weights: Mapping[str, float], *, modes: Any, warm_start: bool, bootstrap: bool
) -> LevenbergMarquardt | Adam:
    """Return the optimiser; refuse settings of the wrong type, and those that have no meaning together."""
    if not isinstance(init, Initialisation):
        raise ValueError(f"init is Initialisation(...), got {init!r}")
    if not isinstance(optimiser, LevenbergMarquardt | Adam):
        raise ValueError(f"optimiser is LevenbergMarquardt(...) or Adam(...) of workbench, got {optimiser!r}")
    if modes not in (None, "auto"):
        raise ValueError(f"modes is 'auto', or left out for the number that the model has, got {modes!r}")
    second_order = isinstance(optimiser, LevenbergMarquardt)
    check_together(weights, second_order=second_order, modes=modes, warm_start=warm_start)
    if (warm_start or bootstrap) and not second_order:
        raise ValueError("warm_start and bootstrap belong to the optimiser LevenbergMarquardt")
    return optimiser


def _checkpoint(checkpoint: str | Path | None, seed: Any) -> Path | None:
    """Return the path of the checkpoint, which can be written and belongs to a stated seed."""
    if checkpoint is None:
        return None
    if seed is None:
        raise ValueError("a checkpoint needs a seed: a fresh one each time would never be the fit that it belongs to")
    return check_target(checkpoint, overwrite=True)


def _check_warm_start(model: LSEICNN, members: int, restarts: int | None, modes: Any) -> None:
    """Refuse to go on from a model that has not been fitted, or with settings that would start anew."""
    if modes is not None or restarts not in (None, 1) or members != (model.members or 1):
        raise ValueError(
            f"warm_start=True goes on from the {model.members or 1} members of the model given, once each: leave "
            "modes, restarts and members out"
        )
    if not torch.isfinite(model.x_low).all():
        raise ValueError("warm_start=True goes on from a fitted model; this one has not seen data yet")


def _level(model: LSEICNN, task: Task) -> None:
    """Choose the constant that the match leaves free: Z = 1 for a density, 0 at the lowest sample for slopes."""
    if DENSITY in task.match:
        normalise(model)
    elif "potential" not in task.match:
        x = torch.tensor(task.parts["train"]["x"].values).to(model.u)
        with torch.no_grad():
            model.offset -= model.value(x).min()


def _check_material(model: Any, match: Any, optimiser: Any, **others: Any) -> None:
    if not isinstance(model, Material) or match != "stress":
        raise ValueError(
            "stress is matched by a material (GeneralisedPlay, StateNODE), and a material by match='stress'; "
            f"got {type(model).__name__} and match={match!r}"
        )
    if not isinstance(optimiser, PathTraining | None):
        raise ValueError(f"the optimiser of a material is PathTraining(...), got {optimiser!r}")
    for name, value in others.items():
        if value:
            raise ValueError(f"{name} is no setting of a material's fit, got {value!r}")
