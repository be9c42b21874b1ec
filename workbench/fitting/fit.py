"""Fit a landscape or a material to data.

Each member of an ensemble is an independent fit. Several starting points are drawn, with the sharpnesses of
`Initialisation.rho` in turn, and each is improved by a few screening steps. The one with the lowest validation loss is
continued; the others are dropped. The loss is that of the match (`workbench.losses.match`), which also prepares the
data:

    potential, gradient, velocity    weighted least squares        `workbench.losses.quantities`
    trajectory                       multiple shooting             `workbench.losses.shooting`
    density                          negative log-likelihood       `workbench.losses.likelihood`
    stress                           error of a material's stress  `workbench.losses.stress`

Guarantees: every selection, between starting points, steps, members and numbers of modes, uses the validation samples
only. Samples marked "test" are never used. All random numbers derive from one `numpy.random.SeedSequence`, and the
result does not depend on the number of worker processes.

An optimiser is an immutable object that holds settings and has one method, `learn(task, seeds, …)`, which returns one
fitted member for each seed.
"""

import time
from collections.abc import Mapping, Sequence
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
from workbench.fitting.modes import choose
from workbench.fitting.path_training import PathTraining
from workbench.fitting.result import Fit, PathFit
from workbench.fitting.task import Task
from workbench.losses.match import Match, Stress, parsed
from workbench.materials.material import Material
from workbench.parallel import Report
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.stored import Stored, encoded
from workbench.potentials.trainable import TrainablePotential

__all__ = ["Fit", "fit"]

OPTIMISERS: dict[str, Any] = {"LevenbergMarquardt": LevenbergMarquardt, "Adam": Adam, "PathTraining": PathTraining}
Matched = str | Match | Mapping[Any, float] | Sequence[Any]


@overload
def fit(model: TrainablePotential, data: xr.Dataset, *, match: Matched, **settings: Any) -> Fit:  # noqa: D418
    """Fit a landscape."""


@overload
def fit(model: Material, data: xr.Dataset, *, match: Literal["stress"] | Stress, **settings: Any) -> PathFit:  # noqa: D418
    """Fit a material."""


def fit(  # type: ignore[misc]
    model: TrainablePotential | Material,
    data: xr.Dataset,
    *,
    match: Matched,
    seed: Any = None,
    modes: Literal["auto"] | None = None,
    members: int | None = None,
    restarts: int | None = None,
    validation_fraction: float = 0.2,
    init: Initialisation | None = None,
    warm_start: bool = False,
    bootstrap: bool = False,
    optimiser: LevenbergMarquardt | Adam | PathTraining | None = None,
    checkpoint: str | Path | None = None,
    workers: int = 1,
    progress: bool | Report | None = None,
) -> Fit | PathFit:
    """Fit a landscape or a material to data.

    A landscape is the soft minimum of convex modes of Jones et al. (2025), a material an energy with internal
    variables. A potential fitted to gradients, velocities or trajectories is determined up to a constant, which is
    chosen such that the lowest value at a training sample is 0. The weights of the fitted models are frozen.

    Parameters
    ----------
    model : LSEICNN, another TrainablePotential, or Material
        The model whose architecture is fitted; it is not modified.
    data : xarray.Dataset
        Points, trajectories or paths, as built by `workbench.dataset`. A `split` coordinate ("train", "validation",
        "test") is respected.
    match : str, Match, mapping or sequence
        What to match: a name, which is short for an object of `workbench.match` with default settings, or such an
        object. "potential", "gradient" or "velocity" (velocity = −gradient), or a mapping of several of these to
        relative weights, such as ``{"potential": 1, "gradient": 10}``. "trajectory" refines a model by multiple
        shooting and requires `warm_start`. ``wb.match.Density(support)`` maximises the likelihood of the samples.
        "stress" fits a material to paths. A match of one's own is a class derived from `workbench.match.Quantity`.
    seed : int, numpy.random.SeedSequence or None, optional
        Source of all random numbers. None draws a fresh seed, which the result records.
    modes : {"auto"} or None, optional
        "auto" fits 1, 2, … up to ``model.modes`` modes and selects the number by the validation loss (see
        `workbench.fitting.modes`); the result reports the scan. None keeps the number of modes of the model.
    members : int, optional
        Number of independent fits in the ensemble. Default: as many as the model has, or 1.
    restarts : int, optional
        Starting points screened for each member. Default: 4; 2 with ``modes="auto"`` and for materials; 1 with
        `Adam` and with `warm_start`, which allow no other number.
    validation_fraction : float, optional
        Fraction of the points, or of whole trajectories or paths, that becomes the validation set if the data have no
        `split`. Default: 0.2.
    init : Initialisation, optional
        Distribution of the starting points. Default: ``Initialisation()``.
    warm_start : bool, optional
        Continue from the weights of the model, member by member, instead of drawing starting points.
    bootstrap : bool, optional
        Reweight the training trajectories (or points) of every member by the Bayesian bootstrap (Rubin 1981). The
        spread of the members is then the standard error due to noise; otherwise it shows the effect of the starting
        points alone.
    optimiser : LevenbergMarquardt, Adam or PathTraining, optional
        Optimiser and its settings. Default: ``LevenbergMarquardt()``, and ``PathTraining()`` for materials, for which
        the others can be used, too.
    checkpoint : str or pathlib.Path, optional
        File from which an interrupted fit by `Adam` continues, with results equal to the last bit. It is written every
        20 s and at the end; a fit with more epochs can continue from it. It requires a seed.
    workers : int, optional
        Number of processes that share the members; `Adam` trains all members together in one process.
    progress : bool, callable or None, optional
        None shows progress bars if stderr is a terminal; a callable ``progress(done, total, text)`` receives the
        reports instead.

    Returns
    -------
    Fit or PathFit
        A `Fit` of a landscape. A `PathFit` of a material, for which only `seed`, `restarts`, `validation_fraction`,
        `warm_start`, `optimiser` and `progress` apply.

    Raises
    ------
    DatasetError
        If the data are invalid, lack a matched quantity, or do not fit the model.
    ValueError
        If a setting is invalid or settings contradict each other.
    FitError
        If no starting point is finite, or a fit cannot be kept finite.
    TypeError
        If a constructor argument of the model, a class of one's own, cannot be stored in a file.
    FileError
        If the checkpoint cannot be written, or belongs to another fit.

    Warns
    -----
    UserWarning
        If ``modes="auto"`` selects the largest number tried or has few validation samples, or if a checkpoint is
        damaged or was written by another version of torch.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> x = np.linspace(-2, 2, 60)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> quick = wb.LevenbergMarquardt(steps=30, screening=10)
    >>> fit = wb.fit(wb.LSEICNN(dim=1, modes=2), data, match="potential", seed=0, restarts=2, optimiser=quick)
    >>> fit.error < 0.01, fit.model.value(np.array([[1.0]])).shape
    (True, (1,))

    References
    ----------
    - R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
      locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242
    - D. B. Rubin, The Bayesian bootstrap, Ann. Stat. 9, 130–134 (1981), doi:10.1214/aos/1176345338
    """
    if isinstance(model, Stored):
        model.config()  # refuses arguments that no file can hold before the fit, not after it
    began = time.perf_counter()
    matched, inapplicable = parsed(match), {"members": members not in (None, 1), "bootstrap": bootstrap, "init": init}
    init = init or Initialisation()
    matched.check(model)
    minimiser = optimiser or OPTIMISERS[matched.optimiser]()
    _check(minimiser, init, matched, model, modes=modes, inapplicable=inapplicable)
    members = (_members(model) or 1) if members is None else members
    require_integer(members=members, restarts=1 if restarts is None else restarts)
    if warm_start:
        _check_warm_start(model, members, restarts, modes)
    elif matched.continues:
        raise ValueError(
            f"match={matched.name!r} refines a fitted model: first fit velocities (workbench.velocities estimates "
            f"them), then call fit(first.ensemble, data, match={matched.name!r}, warm_start=True)"
        )
    settings: dict[str, Any] = {"members": members, "restarts": restarts, "validation_fraction": validation_fraction}
    settings |= {"bootstrap": bootstrap, "warm_start": warm_start, "modes": modes}
    objects = {"match": matched, "optimiser": minimiser, "init": init}
    settings |= {name: encoded(each, name) for name, each in objects.items()}  # refused before the fit if it cannot be
    checkpoint_path = _checked_checkpoint(checkpoint, seed)
    sequence = dataset.seed_sequence(seed)
    shuffle, *seeds = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key).spawn(1 + members)
    model, data = matched.prepared(model, data, lambda data: dataset.assign_split(data, shuffle, validation_fraction))
    options: dict[str, Any] = {"restarts": restarts, "workers": workers, "progress": progress}
    scan = None
    if modes is not None:
        if restarts is None and isinstance(minimiser, LevenbergMarquardt):
            options["restarts"] = 2
        model, scan = choose(
            model,  # type: ignore[arg-type]
            data,
            matched,
            init,
            minimiser,
            seeds[0],
            **options,
        )
    task = Task.of(model, data, matched, init, given=model if warm_start else None, bootstrap=bootstrap)
    learned = minimiser.learn(task, seeds, checkpoint=checkpoint_path, **options)
    models = [member.model for member in learned]
    for each in models:
        matched.finish(each, task.parts["train"])
        _label(each, matched, data, task.parts["train"] if warm_start else None)
    history = history_of([member.records for member in learned], _recorded(models[0]), matched.loss_unit)
    history.attrs |= {"jacobian": learned[0].jacobian} if learned[0].jacobian else {}
    best = models[best_member(history)].requires_grad_(False)
    several = isinstance(best, TrainablePotential)
    return (Fit if several else PathFit)(
        model=best,
        ensemble=best.stack(models).requires_grad_(False) if several else best,
        history=history,
        restarts=restarts_of([member.screened for member in learned], matched.loss_unit),
        scan=scan,
        data=data,
        match=matched,
        outcomes=tuple(member.outcome for member in learned),
        seed=dataset.seed_text(sequence),
        elapsed=time.perf_counter() - began,
        settings=settings,
    )


def _check(optimiser: Any, init: Any, match: Match, model: Any, *, modes: Any, inapplicable: Any) -> None:
    """Raise `ValueError` for settings of the wrong type, and for those that the match or the model cannot have."""
    if not isinstance(init, Initialisation):
        raise ValueError(f"init must be an Initialisation, got {init!r}; use init=workbench.Initialisation(...)")
    if not isinstance(optimiser, tuple(OPTIMISERS.values())):
        known = ", ".join(f"workbench.{name}(...)" for name in OPTIMISERS)
        raise ValueError(f"optimiser must be one of {known}, got {optimiser!r}")
    if modes not in (None, "auto"):
        raise ValueError(f"modes must be 'auto', or None for the number of modes of the model; got {modes!r}")
    if modes is not None and not isinstance(model, LSEICNN):
        raise ValueError(
            f"modes='auto' selects the number of modes of an LSEICNN; {type(model).__name__} is none: omit it"
        )
    if modes is not None and not match.pointwise:
        raise ValueError(
            f"modes='auto' compares errors sample by sample, which match={match.name!r} does not give: compare "
            "fit.error for different numbers of modes"
        )
    if not isinstance(model, TrainablePotential):
        for name in (name for name, stated in inapplicable.items() if stated):
            raise ValueError(f"{name} does not apply to a material, which is fitted alone from its own starts: omit it")
    if isinstance(optimiser, PathTraining) and isinstance(model, TrainablePotential):
        raise ValueError(
            f"PathTraining fits materials, not {type(model).__name__}: use workbench.LevenbergMarquardt(...) or "
            "workbench.Adam(...)"
        )


def _checked_checkpoint(checkpoint: str | Path | None, seed: Any) -> Path | None:
    """Return the absolute path of the checkpoint, if it can be written and the seed is given."""
    if checkpoint is None:
        return None
    if seed is None:
        raise ValueError("a checkpoint needs a seed: with seed=None a later call could not continue the same fit")
    return check_target(checkpoint, overwrite=True)


def _check_warm_start(model: Any, members: int, restarts: int | None, modes: Any) -> None:
    """Reject a warm start from an unfitted model, and settings that draw new starting points."""
    if modes is not None or restarts not in (None, 1) or members != (_members(model) or 1):
        raise ValueError(
            "warm_start=True continues every member of the model once "
            f"(members: {_members(model) or 1}): omit modes, restarts and members"
        )
    if isinstance(model, TrainablePotential) and not model.fitted:
        raise ValueError("warm_start=True requires a fitted model, this one is not: fit it without warm_start first")


def _label(model: Any, match: Match, data: xr.Dataset, train: xr.Dataset | None) -> None:
    """Give a fitted potential the units that it or the data know and, if it was given, the box of the new data."""
    if not isinstance(model, TrainablePotential):
        return
    model.units = model.units.agreed(match.units(data), "the model", "the data")
    if train is not None and model.support is None:
        for name, corner in (("x_low", train["x"].values.min(0)), ("x_high", train["x"].values.max(0))):
            getattr(model, name).copy_(torch.tensor(corner).to(model.offset))


def _recorded(model: Any) -> Any:
    """Return the description of what a model records of itself."""
    return model.RECORDED if isinstance(model, TrainablePotential) else {}


def _members(model: Any) -> int | None:
    """Return the number of members of a potential; None for a plain one and for a material."""
    return model.members if isinstance(model, TrainablePotential) else None
