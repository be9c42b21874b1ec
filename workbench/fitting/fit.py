"""Fit a landscape or a material to data.

Each member of an ensemble is an independent fit. Several starting points are drawn, with the sharpnesses of
`Initialisation.rho` in turn, and each is improved by a few screening steps. The one with the lowest validation loss is
continued; the others are dropped. The loss depends on the match:

    potential, gradient, velocity    weighted least squares        `workbench.losses.least_squares`
    trajectory                       multiple shooting             `workbench.losses.shooting`
    density                          negative log-likelihood       `workbench.losses.likelihood`
    stress                           error of a material's stress  `workbench.fitting.materials`

Guarantees: every selection, between starting points, steps, members and numbers of modes, uses the validation samples
only. Samples marked "test" are never used. All random numbers derive from one `numpy.random.SeedSequence`, and the
result does not depend on the number of worker processes.

An optimiser of landscapes, `LevenbergMarquardt` or `Adam`, is an immutable object that holds settings and has one
method, `learn(task, seeds, …)`, which returns one fitted member for each seed.
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
from workbench.potentials.stored import Stored
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
    """Fit a landscape or a material to data.

    A landscape is the soft minimum of convex modes of Jones et al. (2025), a material an energy with internal
    variables. A potential fitted to gradients, velocities or trajectories is determined up to a constant, which is
    chosen such that the lowest value at a training sample is 0. The weights of the fitted models are frozen.

    Parameters
    ----------
    model : LSEICNN or Material
        The model whose architecture is fitted; it is not modified.
    data : xarray.Dataset
        Points, trajectories or paths, as built by `workbench.dataset`. A `split` coordinate ("train", "validation",
        "test") is respected.
    match : str or mapping of str to float
        Quantity to match: "potential", "gradient" or "velocity" (velocity = −gradient), or a mapping of several of
        these to relative weights, such as ``{"potential": 1, "gradient": 10}``. "trajectory" refines a model by
        multiple shooting and requires `warm_start`. "density" maximises the likelihood of the samples under
        q = exp(−Ψ)/Z on `support`, with Ψ in nats; states of the model outside the support are conditions, q(y | t).
        For trajectories, time is such a condition if the model has a state "time". "stress" fits a material to paths.
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
        Optimiser and its settings. Default: ``LevenbergMarquardt()``, and ``PathTraining()`` for materials.
    support : Support, optional
        Where the density lives; required by ``match="density"``, which alone uses it.
    prior : float, optional
        Weight β ≥ 0 of KL(q ‖ uniform) in the loss of ``match="density"``. Default: 0.
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
    if isinstance(model, Material) or match == "stress":
        inapplicable: dict[str, Any] = {"modes": modes, "members": members, "init": init, "bootstrap": bootstrap}
        inapplicable |= {"support": support, "prior": prior, "checkpoint": checkpoint}
        _check_material(model, match, optimiser, **inapplicable)
        options: dict[str, Any] = {
            "restarts": restarts,
            "validation_fraction": validation_fraction,
            "warm_start": warm_start,
            "progress": progress,
        }
        return fit_paths(model, data, seed=seed, optimiser=optimiser, **options)  # type: ignore[arg-type]
    began = time.perf_counter()
    init, weights = init or Initialisation(), parse_match(match)
    options = {"modes": modes, "warm_start": warm_start, "bootstrap": bootstrap}
    minimiser = _checked_optimiser(optimiser or LevenbergMarquardt(), init, weights, **options)
    members = (model.members or 1) if members is None else members
    require_integer(members=members, restarts=1 if restarts is None else restarts)
    if warm_start:
        _check_warm_start(model, members, restarts, modes)
    checkpoint_path = _checked_checkpoint(checkpoint, seed)
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
    options = {"restarts": restarts, "workers": workers, "progress": progress}
    scan = None
    if modes is not None:
        if restarts is None and isinstance(minimiser, LevenbergMarquardt):
            options["restarts"] = 2
        model, scan = choose(model, data, weights, init, minimiser, seeds[0], **options)
    task = Task.of(model, data, weights, init, prior, given=model if warm_start else None, bootstrap=bootstrap)
    learned = minimiser.learn(task, seeds, checkpoint=checkpoint_path, **options)
    for member in learned:
        _fix_constant(member.model, task)
    history = history_of([member.records for member in learned])
    return Fit(
        model=learned[best_member(history)].model.requires_grad_(False),
        ensemble=LSEICNN.stack([member.model for member in learned]).requires_grad_(False),
        history=history,
        restarts=restarts_of([member.screened for member in learned]),
        scan=scan,
        data=data,
        match=weights,
        outcomes=tuple(member.outcome for member in learned),
        seed=dataset.seed_text(sequence),
        elapsed=time.perf_counter() - began,
        settings=settings | {"optimiser": repr(minimiser), "init": repr(init), "warm_start": warm_start},
    )


def _checked_optimiser(
    optimiser: Any, init: Any, weights: Mapping[str, float], *, modes: Any, warm_start: bool, bootstrap: bool
) -> LevenbergMarquardt | Adam:
    """Return the optimiser; reject settings of the wrong type and contradictory combinations."""
    if not isinstance(init, Initialisation):
        raise ValueError(f"init must be an Initialisation, got {init!r}; use init=workbench.Initialisation(...)")
    if not isinstance(optimiser, LevenbergMarquardt | Adam):
        raise ValueError(
            f"optimiser must be a workbench.LevenbergMarquardt(...) or workbench.Adam(...), got {optimiser!r}"
        )
    if modes not in (None, "auto"):
        raise ValueError(f"modes must be 'auto', or None for the number of modes of the model; got {modes!r}")
    second_order = isinstance(optimiser, LevenbergMarquardt)
    check_together(weights, second_order=second_order, modes=modes, warm_start=warm_start)
    if (warm_start or bootstrap) and not second_order:
        raise ValueError("warm_start and bootstrap require the optimiser LevenbergMarquardt; got Adam")
    return optimiser


def _checked_checkpoint(checkpoint: str | Path | None, seed: Any) -> Path | None:
    """Return the absolute path of the checkpoint, if it can be written and the seed is given."""
    if checkpoint is None:
        return None
    if seed is None:
        raise ValueError("a checkpoint needs a seed: with seed=None a later call could not continue the same fit")
    return check_target(checkpoint, overwrite=True)


def _check_warm_start(model: LSEICNN, members: int, restarts: int | None, modes: Any) -> None:
    """Reject a warm start from an unfitted model, and settings that draw new starting points."""
    if modes is not None or restarts not in (None, 1) or members != (model.members or 1):
        raise ValueError(
            "warm_start=True continues every member of the model once "
            f"(members: {model.members or 1}): omit modes, restarts and members"
        )
    if not torch.isfinite(model.x_low).all():
        raise ValueError("warm_start=True requires a fitted model, this one is not: fit it without warm_start first")


def _fix_constant(model: LSEICNN, task: Task) -> None:
    """Fix the constant of Ψ if the match leaves it free: Z = 1 for a density, else 0 at the lowest sample."""
    if DENSITY in task.match:
        normalise(model)
    elif "potential" not in task.match:
        x = torch.tensor(task.parts["train"]["x"].values).to(model.u)
        with torch.no_grad():
            model.offset -= model.value(x).min()


def _check_material(model: Any, match: Any, optimiser: Any, **inapplicable: Any) -> None:
    """Reject settings that do not apply to materials, and a match that does not belong to the model."""
    if not isinstance(model, Material) or match != "stress":
        raise ValueError(
            "match='stress' requires a material (GeneralisedPlay or StateNODE), and a material requires "
            f"match='stress'; got {type(model).__name__} and match={match!r}"
        )
    if not isinstance(optimiser, PathTraining | None):
        raise ValueError(f"the optimiser of a material must be a workbench.PathTraining(...), got {optimiser!r}")
    for name, value in inapplicable.items():
        if value:
            raise ValueError(f"{name} does not apply to a material: omit it, got {value!r}")
