"""Fit a material to the stress along strain paths: ``workbench.fit(material, data, match="stress")``.

    L(θ) = ⟨‖S(θ) − S‖²⟩ / ⟨‖S − S̄‖²⟩,        ‖S‖² = S:S,

with ⟨·⟩ the mean over the samples of the paths and S̄ the mean stress. The denominator is that of the training paths,
or ⟨‖S‖²⟩ if their stress is constant, so that √L is the error relative to the spread of the stress in any
coordinates. If the data state a noise level `sigma`, L is the mean of ((S(θ) − S)/σ)² over samples and components
instead. A `weight` multiplies the squares of its sample, relative to the mean weight.

Adam comes first, on mini-batches of whole trajectories, with clipped gradients and a learning rate that falls to 0
along a cosine; L-BFGS on all training trajectories follows. Several starting points take the first steps, and the best
of them is continued. The validation trajectories decide between starting points and between steps: the weights with
the lowest validation loss are kept.
"""

import itertools
import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr

from workbench import dataset, parallel
from workbench.checks import require_integer
from workbench.errors import DatasetError, FitError
from workbench.fitting.history import path_history, path_restarts
from workbench.fitting.outcome import Outcome
from workbench.fitting.path_training import PathTraining, Training
from workbench.fitting.result import PathFit
from workbench.materials.material import Material
from workbench.parallel import Report

__all__ = ["fit_paths"]


def fit_paths(
    model: Material,
    data: xr.Dataset,
    *,
    seed: Any = None,
    restarts: int | None = None,
    validation_fraction: float = 0.2,
    warm_start: bool = False,
    optimiser: PathTraining | None = None,
    progress: bool | Report | None = None,
) -> PathFit:
    """Fit a material to the stress along paths.

    Parameters
    ----------
    model : Material
        The material whose architecture is fitted; it is not modified.
    data : xarray.Dataset
        Paths with stress, as built by `workbench.dataset.paths`. A `split` of whole trajectories is respected.
    seed : int, numpy.random.SeedSequence or None, optional
        Source of all random numbers; None draws a fresh seed, which the result records.
    restarts : int, optional
        Number of starting points that are screened. Default: 2, and 1 with `warm_start`.
    validation_fraction : float, optional
        Fraction of the trajectories that becomes the validation set if the data have no `split`. Default: 0.2.
    warm_start : bool, optional
        Continue from the weights of the model instead of drawing starting points.
    optimiser : PathTraining, optional
        Settings of the optimiser. Default: ``PathTraining()``.
    progress : bool, callable or None, optional
        Progress display, as for `workbench.fit`.

    Returns
    -------
    PathFit
        The fitted material, its history and its errors.

    Raises
    ------
    DatasetError
        If the data are not valid paths with stress, or have no validation trajectories.
    ValueError
        If a setting is invalid.
    FitError
        If no starting point is finite, or the fit cannot be kept finite.
    """
    began = time.perf_counter()
    settings = optimiser or PathTraining()
    if warm_start and restarts not in (None, 1):
        raise ValueError(f"warm_start=True allows no restarts, got restarts={restarts!r}: omit it")
    restarts = (1 if warm_start else 2) if restarts is None else restarts
    require_integer(restarts=restarts)
    sequence = dataset.seed_sequence(seed)
    fresh = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key)
    shuffle, *seeds = fresh.spawn(1 + restarts)
    if "strain" not in data:
        raise DatasetError("match='stress' needs paths with strain: build them with workbench.dataset.paths(...)")
    data = dataset.check(data, ["stress"])
    data = dataset.assign_split(data, shuffle, validation_fraction)
    if data["split"].dims != ("trajectory",):
        raise DatasetError(
            "the split of paths must mark whole trajectories, because stress depends on the history; it has the "
            f"dimensions {data['split'].dims}, expected ('trajectory',)"
        )
    job = (model, data, seeds, settings, warm_start)
    [(learned, records, screened, outcome)] = parallel.run(_learn, [job], labels=["fit"], workers=1, progress=progress)
    return PathFit(
        model=learned.requires_grad_(False),
        history=path_history(records),
        restarts=path_restarts(screened),
        data=data,
        match={"stress": 1.0},
        outcome=outcome,
        seed=dataset.seed_text(sequence),
        elapsed=time.perf_counter() - began,
        settings={
            "restarts": restarts,
            "validation_fraction": validation_fraction,
            "warm_start": warm_start,
            "optimiser": asdict(settings),
        },
    )


def _learn(
    model: Material,
    data: xr.Dataset,
    seeds: list[np.random.SeedSequence],
    settings: PathTraining,
    warm_start: bool,
    report: Report,
) -> tuple[Material, list[dict[str, Any]], list[float], Outcome]:
    """Screen the starting points and continue the one with the lowest validation loss."""
    screening = min(settings.screening, settings.steps) if len(seeds) > 1 else 0
    total = screening * (len(seeds) - 1) + settings.steps + settings.polish
    done = itertools.count(1)

    def report_step(training: Training) -> None:
        report(min(next(done), total - 1), total, f"error {math.sqrt(training.lowest):.1e}")

    starts: list[Training] = []
    screened, failure = [], None
    for seed in seeds:
        try:
            training = Training(model, data, settings, seed, warm_start=warm_start)
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
    return best.model, best.records, screened, outcome
