"""How many modes does a landscape need? Model selection by held-out loss, over 1, 2, … modes.

The published way, a penalty on the gates α, cannot tell: a mode's output bias absorbs log ς(α)/ρ, so α is free to go
anywhere without any change of Ψ. Here every number of modes K is fitted, with ρ bounded below so that modes cannot
blend into more wells than modes, and the smallest K is taken whose held-out loss is within one standard error of the
lowest, or below a floor: a ten-thousandth of what a flat landscape leaves. A K whose landscape has more wells than
modes is passed over, for its modes have blended after all: steep walls around shallow wells make such a fit look good
enough. The scan ends below the floor, or where two more modes brought nothing.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.errors import FitError
from workbench.fitting.outcome import ACTIVE, Learned
from workbench.fitting.result import Fit
from workbench.fitting.scores import predict
from workbench.fitting.task import Task
from workbench.landscape.wells import wells
from workbench.losses.least_squares import LeastSquares, Observations
from workbench.parallel import Report
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.lse_icnn import LSEICNN

if TYPE_CHECKING:
    from workbench.fitting.adam import Adam
    from workbench.fitting.levenberg_marquardt import LevenbergMarquardt

__all__ = ["choose", "mode_counts", "smallest"]

RHO_LO = 2.0  # in scaled units, where the model itself has no bound: what it costs and buys is drawn by a study
FLOOR = 1e-4  # of the loss of a flat landscape
FEW = 10  # held-out samples, below which nothing can be chosen by them
PATIENCE = 2  # larger numbers of modes that bring nothing before the scan ends


class Tried(NamedTuple):
    """What one number of modes reached: held-out loss and its standard error, training loss, wells in the box."""

    loss: float
    error: float
    training: float
    wells: int


def choose(
    model: LSEICNN,
    data: xr.Dataset,
    match: Mapping[str, float],
    init: Initialisation,
    optimiser: "LevenbergMarquardt | Adam",
    seed: np.random.SeedSequence,
    **how: Any,
) -> tuple[LSEICNN, xr.Dataset]:
    """Return the model with the number of modes that the data ask for, at most its own, and the scan over `modes`."""
    tried: list[Tried] = []
    progress = how.get("progress")
    for modes in range(1, model.modes + 1):
        task = Task.of(candidate(model, modes), data, match, init)
        if callable(progress):
            how["progress"] = _share_of(progress, modes, model.modes)
        fresh = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
        seen, kept = task.observations()
        flat = _flat(kept, match)
        floor = FLOOR * flat
        try:
            learned = optimiser.learn(task, [fresh], checkpoint=None, **how)[0]
        except FitError:  # a number of modes that cannot be fitted is none to choose
            tried.append(Tried(np.inf, np.inf, np.inf, 0))
        else:
            tried.append(_judged(learned, seen, kept, match, flat))
        best = int(np.argmin([one.loss for one in tried]))
        if (tried[-1].loss <= floor and tried[-1].wells <= modes) or modes - 1 - best >= PATIENCE:
            break
    loss, error, training, found = (np.array(column) for column in zip(*tried, strict=True))
    if not np.isfinite(loss).any():
        raise FitError(f"no number of modes up to {model.modes} could be fitted; look for outliers in the data")
    counts = np.arange(1, len(loss) + 1)
    honest = np.where(found <= counts, loss, np.inf)
    chosen = 1 + smallest(honest if np.isfinite(honest).any() else loss, error, floor)
    _warn(model.modes, chosen, loss, floor, len(kept.x))
    columns = {
        "validation_loss": (loss, "held-out loss"),
        "standard_error": (error, "standard error of the held-out loss"),
        "loss": (training, "training loss"),
        "wells": (found, "number of wells in the box of the data"),
        "chosen": ((counts == chosen).astype(np.int8), "whether this number of modes was chosen"),
    }
    variables: dict[str, Any] = {
        name: ("modes", values, {"long_name": text, "units": "1"}) for name, (values, text) in columns.items()
    }
    variables["floor"] = ((), floor, {"long_name": "held-out loss that is small enough", "units": "1"})
    modes_axis = ("modes", counts, {"long_name": "number of modes", "units": "1"})
    return candidate(model, chosen), xr.Dataset(variables, coords={"modes": modes_axis})


def _share_of(report: Report, modes: int, most: int) -> Report:
    """Return a report on the fit of one number of modes, as a share of the scan."""
    whole = 100 * (most + 1)
    return lambda done, total, text: report(int(100 * (modes - 1 + done / total)), whole, f"{modes} modes, {text}")


def _judged(learned: Learned, seen: Observations, kept: Observations, match: Mapping[str, float], flat: float) -> Tried:
    """Return what a fit reached, where a flat landscape would leave the loss `flat`."""
    squares = _squares(learned, kept, match)
    loss, many = squares.sum(), len(squares) > 1
    return Tried(
        loss=loss,
        error=squares.std(ddof=1) * len(squares) ** 0.5 if many else np.inf,
        training=_squares(learned, seen, match).sum(),
        wells=_wells(learned, seen, (loss / flat) ** 0.5 if flat else 1.0),
    )


def _warn(most: int, chosen: int, loss: np.ndarray, floor: float, held_out: int) -> None:
    """Say where the choice stands on weak grounds."""
    if chosen == most > 1 and floor < loss[-1] < min(loss[:-1]):
        text = f"{chosen} modes are the most that were allowed, and were still an improvement: allow more"
        warnings.warn(text, stacklevel=4)
    if held_out < FEW:
        warnings.warn(f"only {held_out} held-out samples chose the number of modes: do not rely on it", stacklevel=4)


def candidate(model: LSEICNN, modes: int) -> LSEICNN:
    """Return the model with that many modes, and ρ bounded below."""
    return model.like(members=model.members, modes=modes, rho_lo=model.rho_lo or RHO_LO)


def smallest(loss: np.ndarray, error: np.ndarray, floor: float) -> int:
    """Return the first index whose loss is within one standard error of the lowest, or below the floor.

    >>> smallest(np.array([1.0, 0.11, 0.10, 0.12]), np.array([0.1, 0.02, 0.02, 0.02]), floor=0.0)
    1
    """
    best = int(np.argmin(loss))
    return int(np.argmax(loss <= max(loss[best] + error[best], floor)))


def _wells(learned: Learned, seen: Observations, relative: float) -> int:
    """Return how many wells are deeper than the error, a share of the spread of Ψ over the samples."""
    model = learned.model
    spread = float(model.value(seen.x).detach().std()) if len(seen.x) > 1 else 0.0
    try:
        return int((wells(model, model.box, starts=64)["prominence"] >= relative * spread).sum())
    except ValueError:  # flat, or of data without extent
        return 0


def _squares(learned: Learned, observations: Observations, match: Mapping[str, float]) -> np.ndarray:
    """Return every sample's share of the loss, shape (sample,)."""
    problem = LeastSquares(learned.model, observations, match)
    return problem.residuals(problem.vector()).square().sum(-1).cpu().numpy()


def _flat(observations: Observations, match: Mapping[str, float]) -> float:
    """Return the loss of a flat landscape: the best constant potential, and no slope."""
    total = 0.0
    for name, at in observations.entries.items():
        target, factor = observations.target[:, at], observations.factor[:, at]
        centre = target.mean() if name == "potential" else 0.0
        total += float(((target - centre) * factor).square().sum())
    return total


def mode_counts(
    fit: "Fit",
    within: Sequence[tuple[float, float]] | None = None,
    *,
    gate: float = ACTIVE,
    found: xr.Dataset | None = None,
) -> xr.Dataset:
    """Return three counts over `member` for any fit: open gates, dominant modes, and wells.

    `gates`: gates ς(α) above the threshold, the published count. It cannot see wells: a mode's output bias absorbs
    log ς(α)/ρ exactly, and the published penalty moves α to 0, where ς = 4.5e-5 is above the threshold of 1e-6.
    `dominant`: modes that hold more than half of the softmax weight somewhere on the data.
    `wells`: minima of Ψ in the box `within` (default: that of the data) at least as prominent as the member's error in
    Ψ, `resolution`: the RMSE on held-out data, of slopes relative to them and times the spread of Ψ. `found` gives the
    wells of the ensemble where they are known already.
    """
    ensemble = getattr(fit, "ensemble", None)
    if ensemble is None:
        raise TypeError(f"mode_counts takes a whole fit, because it needs its data; got {type(fit).__name__}")
    x = dataset.flat(fit.data)["x"].values
    resolution = _resolution(fit)
    found = wells(ensemble, ensemble.box if within is None else within) if found is None else found
    deep = [(found["prominence"].values >= error) & (found["member"].values == k) for k, error in enumerate(resolution)]
    columns: dict[str, Any] = {
        "gates": ((ensemble.gate > gate).sum(-1).numpy(force=True), f"gates above {gate:g}"),
        "dominant": ((ensemble.mode_weights(x) > 0.5).any(-2).sum(-1), "modes that dominate somewhere on the data"),
        "wells": (np.sum(deep, -1), "minima at least as prominent as the error of the fit"),
        "resolution": (resolution, "error of the potential"),
    }
    variables: dict[str, Any] = {
        name: ("member", values, {"long_name": text, "units": "1"}) for name, (values, text) in columns.items()
    }
    return xr.Dataset(variables, coords={"member": np.arange(len(resolution))})


def _resolution(fit: "Fit") -> np.ndarray:
    """Return each member's error in Ψ on the held-out samples, shape (member,)."""
    held_out = dataset.flat(fit.data)
    held_out = held_out.isel(sample=(held_out["split"] == "validation").values)
    residuals = predict(fit.ensemble, held_out)
    if "potential" in fit.match:
        return np.sqrt((residuals["potential_residual"].values ** 2).mean(-1))
    name = next(iter(fit.match))
    relative = np.sqrt((residuals[f"{name}_residual"].values ** 2).mean((-2, -1)) / (held_out[name].values ** 2).mean())
    return relative * np.asarray(fit.ensemble.value(dataset.flat(fit.data)["x"].values)).std(-1)
