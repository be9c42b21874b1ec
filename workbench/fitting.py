"""`fit()`: the only way a landscape is learned.

Per member, several starts, soft and sharp in turn, are drawn and screened for a few steps; the one with the lowest
held-out loss is carried on and the rest are dropped. Every choice (between restarts, steps and members) looks at the
held-out part of the data only, and never at samples marked "test". All randomness descends from one `SeedSequence`.

An optimiser is a frozen value with settings (`LevenbergMarquardt`); another one is another value.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr

from workbench import dataset, parallel
from workbench.levenberg_marquardt import Descent, FitError, LevenbergMarquardt, Outcome
from workbench.lse_icnn import LSEICNN
from workbench.objectives import LeastSquares, Observations, check_matched, parse_match, scales_of
from workbench.parallel import Report

__all__ = ["Fit", "FitError", "fit"]

STARTS = (0.15, 1.5)  # sharpness of the restarts, in turn: soft, sharp


@dataclass(frozen=True)
class Fit:
    """What a fit returns.

    `model` is the member with the lowest held-out loss, a plain potential; `ensemble` holds all members. `history` is
    over (member, epoch), `restarts` over (member, restart); `data` are the samples as the fit saw them, with `split`.
    The weights are frozen (`requires_grad_(True)` thaws them), so that results are plain tensors.
    """

    model: LSEICNN
    ensemble: LSEICNN
    history: xr.Dataset
    restarts: xr.Dataset
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

    def __repr__(self) -> str:
        noisy = any(str(name).startswith("sigma") for name in self.data.data_vars)
        unit = "sigma" if noisy else "of the data's spread"
        errors = f"validation error {self.error:.2e}, training {self.training_error:.2e} ({unit})"
        return f"<Fit of {' + '.join(self.match)}: {errors}, {self.elapsed:.1f} s; {self.outcome}>"


def fit(
    model: LSEICNN,
    data: xr.Dataset,
    *,
    match: str | Mapping[str, float],
    seed: Any = None,
    members: int | None = None,
    restarts: int = 4,
    held_out: float = 0.2,
    optimiser: LevenbergMarquardt | None = None,
    workers: int = 1,
    progress: bool | Report | None = None,
) -> Fit:
    """Fit a landscape to data, and return the result; the model given says the architecture and is left as it is.

    `match` is "potential", "gradient" or "velocity", or several with weights, {"potential": 1, "gradient": 10} (see
    `objectives`). `data` are points or trajectories (`workbench.dataset`); where they have no `split`, the share
    `held_out` validates. `members` independent fits (default: as many as the model has, or 1) are kept, each the best
    of `restarts` starts. `workers` processes share the members. `seed` is a whole number, or None for a fresh one,
    which the result records.

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
    optimiser = optimiser or LevenbergMarquardt()
    weights = parse_match(match)
    members = (model.members or 1) if members is None else members
    _check_counts(members=members, restarts=restarts)
    sequence = dataset.seed_sequence(seed)
    shuffle, *seeds = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key).spawn(1 + members)
    data = dataset.check(data)
    check_matched(data, weights, model.dim)
    if model.states != tuple(f"x{i + 1}" for i in range(model.dim)):
        data = dataset.with_states(data, model.states)
    data = dataset.assign_split(dataset.check(data, weights), shuffle, held_out)
    template = _template(model, data, weights)
    jobs = [(template, _parts(data), weights, child, restarts, optimiser) for child in seeds]
    labels = [f"fit {k + 1}" if members > 1 else "fit" for k in range(members)]
    results = parallel.run(fit_member, jobs, labels=labels, workers=workers, progress=progress)
    models, records, screened, outcomes = zip(*results, strict=True)
    history = _history(records)
    return Fit(
        model=models[_best(history)].requires_grad_(False),
        ensemble=LSEICNN.stack(models).requires_grad_(False),
        history=history,
        restarts=_restarts(screened),
        data=data,
        match=weights,
        outcomes=outcomes,
        seed=dataset.seed_text(sequence),
        elapsed=time.perf_counter() - began,
        settings={"members": members, "restarts": restarts, "held_out": held_out, "optimiser": repr(optimiser)},
    )


def fit_member(
    template: LSEICNN,
    parts: Mapping[str, xr.Dataset],
    match: Mapping[str, float],
    seed: np.random.SeedSequence,
    restarts: int,
    optimiser: LevenbergMarquardt,
    report: Report,
) -> tuple[LSEICNN, list[dict[str, Any]], list[float], Outcome]:
    """Fit one member: screen the restarts, carry on the best. Returns model, history, screened losses, outcome."""
    train = parts["train"]
    scales = scales_of(train, match)
    seen, kept = (Observations.of(parts[name], match, scales, template.u) for name in ("train", "validation"))
    total = optimiser.screening * restarts + max(0, optimiser.steps - optimiser.screening)
    done = itertools.count(1)

    def advance(descent: Descent, until: float, text: str) -> Descent:
        while descent.outcome is Outcome.RUNNING and len(descent.records) <= until:
            descent.step()
            report(min(next(done), total - 1), total, f"{text}error {descent.loss**0.5:.1e}")
        return descent

    starts: list[Descent | FitError] = []
    for k, child in enumerate(seed.spawn(restarts)):
        model = template.like(members=None)
        model.load_state_dict(template.state_dict())
        x, rng = train["x"].values, np.random.default_rng(child)
        model.initialise(rng, x, rho=STARTS[k % len(STARTS)], **_targets(train, match))
        try:
            descent = Descent(LeastSquares(model, seen, match), kept, optimiser)
            starts.append(advance(descent, optimiser.screening, "screening, "))
        except FitError as error:
            starts.append(error)
    screened = [float("nan") if isinstance(start, FitError) else start.lowest for start in starts]
    chosen = _carry_on(starts, lambda start: advance(start, math.inf, ""))
    model = chosen.problem.model
    report(total, total, f"validation error {chosen.lowest**0.5:.1e}")
    if "potential" not in match:  # slopes leave the constant free: measure from the lowest sample
        with torch.no_grad():
            model.offset -= model.value(seen.x).min()
    return model, chosen.records, screened, chosen.outcome


def _carry_on(starts: Sequence[Descent | FitError], advance: Callable[[Descent], Descent]) -> Descent:
    """Return the start with the lowest held-out loss at its end, with its best weights; the next one where it fails."""
    failure = next((start for start in starts if isinstance(start, FitError)), None)
    model = None
    for start in sorted((s for s in starts if isinstance(s, Descent)), key=lambda start: start.lowest):
        try:
            advance(start)
        except FitError as error:
            failure, model = error, start.problem.model
        finally:
            start.problem.load(start.best)
        if start.outcome is not Outcome.RUNNING:
            return start
    stopped = FitError(f"none of {len(starts)} starts could be carried on; the last: {failure}")
    stopped.model = model
    raise stopped


def _template(model: LSEICNN, data: xr.Dataset, match: Mapping[str, float]) -> LSEICNN:
    template = model.like(members=None)
    template.states = tuple(map(str, data["state"].values))
    train = _parts(data)["train"]
    template.set_scaling(train["x"].values, **_targets(train, match))
    return template


def _parts(data: xr.Dataset) -> dict[str, xr.Dataset]:
    samples = dataset.flat(data)
    parts = {name: samples.isel(sample=(samples["split"] == name).values) for name in ("train", "validation")}
    if parts["validation"].sizes["sample"] == 0:
        raise dataset.DatasetError("split marks no 'validation' samples; the fit needs some to choose by")
    return parts


def _targets(train: xr.Dataset, match: Mapping[str, float]) -> dict[str, np.ndarray | None]:
    """Return what the data say of potential and gradient, for scaling and start; only what is matched is used."""
    gradient = train["gradient"].values if "gradient" in match else None
    if "velocity" in match:
        gradient = -train["velocity"].values
    return {"potential": train["potential"].values if "potential" in match else None, "gradient": gradient}


def _history(records: Sequence[list[dict[str, Any]]]) -> xr.Dataset:
    """Return the members' records over (member, epoch), NaN after a member's end."""
    length = max(map(len, records))
    variables = {}
    for name, first in records[0][0].items():
        shape = (len(records), length, *np.shape(first))
        values = np.full(shape, np.nan)
        for member, rows in enumerate(records):
            values[member, : len(rows)] = [row[name] for row in rows]
        dims = ("member", "epoch", "mode")[: len(shape)]
        variables[name] = (dims, values, {"long_name": _MEANING.get(name, name.replace("_", " of the ")), "units": "1"})
    coords = {
        "member": np.arange(len(records)),
        "epoch": np.arange(length),
        "mode": np.arange(len(records[0][0]["gate"])),
    }
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
    "loss": "training loss",
    "validation_loss": "held-out loss",
    "best": "lowest held-out loss so far",
    "damping": "damping of Levenberg–Marquardt",
    "rho": "sharpness of the soft minimum, scaled units",
    "gate": "gate of the mode",
    "active": "number of gates above 1e-6",
}
