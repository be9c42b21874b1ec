r"""Fitting materials to stress along strain paths, `workbench.fit(material, data, match="stress")`.

    L(θ) = Σ ‖S(θ) − S‖² / Σ ‖S − S̄‖²                over the samples of the training paths, ‖S‖² = S:S,

so that √L is the error relative to the spread of the stress, in any coordinates. Where the data give the noise `sigma`
L is the mean of ((S(θ) − S)/σ)² instead; a `weight` multiplies the squares of its sample, relative to the mean weight.

First Adam on mini-batches of whole trajectories, its rate falling along a cosine and its gradient clipped; then L-BFGS
on all of them. Several starts go the first steps, the best goes on. Held-out trajectories decide between starts and
steps: the weights with the lowest held-out loss are kept, those of the end or not.
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
    """Fit a material to the stress of paths and return the result; the model given is left as it is.

    `data` are paths (`workbench.dataset.paths`) with stress; where they have no `split`, the share
    `validation_fraction` of the trajectories validates. The best of `restarts` starts (default 2) is carried on;
    `warm_start=True` goes on from the material as it is. All randomness comes from `seed`.

    Raises `DatasetError` for data that do not fit, `FitError` where the model cannot be kept finite.
    """
    began = time.perf_counter()
    settings = optimiser or PathTraining()
    if warm_start and restarts not in (None, 1):
        raise ValueError(f"warm_start=True leaves nothing to restart, got restarts={restarts!r}")
    restarts = (1 if warm_start else 2) if restarts is None else restarts
    require_integer(restarts=restarts)
    sequence = dataset.seed_sequence(seed)
    fresh = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key)
    shuffle, *seeds = fresh.spawn(1 + restarts)
    if "strain" not in data:
        raise DatasetError("match='stress' needs paths: build them with workbench.dataset.paths(...)")
    data = dataset.check(data, ["stress"])
    data = dataset.assign_split(data, shuffle, validation_fraction)
    if data["split"].dims != ("trajectory",):
        raise DatasetError(
            "split of paths marks whole trajectories, which depend on what came before; "
            f"it has dimensions {data['split'].dims}"
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
    given: bool,
    report: Report,
) -> tuple[Material, list[dict[str, Any]], list[float], Outcome]:
    """Screen the starts, and carry on the one with the lowest held-out loss."""
    screening = min(settings.screening, settings.steps) if len(seeds) > 1 else 0
    total = screening * (len(seeds) - 1) + settings.steps + settings.polish
    done = itertools.count(1)

    def tell(training: "Training") -> None:
        report(min(next(done), total - 1), total, f"error {math.sqrt(training.lowest):.1e}")

    starts: list[Training] = []
    screened, failure = [], None
    for seed in seeds:
        try:
            training = Training(model, data, settings, seed, given=given)
            training.adam(screening, tell)
        except FitError as error:
            failure = error
            screened.append(float("nan"))
        else:
            starts.append(training)
            screened.append(training.lowest)
    if not starts:
        raise failure or FitError("no start is finite")
    best = min(starts, key=lambda start: start.lowest)
    best.adam(settings.steps - screening, tell)
    outcome = best.polish(tell)
    best.model.load_state_dict(best.kept)
    report(total, total, f"validation error {math.sqrt(best.lowest):.1e}")
    return best.model, best.records, screened, outcome
