"""How many modes does a landscape need? Model selection by held-out loss, over 1, 2, … modes.

The published way, a penalty on the gates α, cannot tell: a mode's output bias absorbs log ς(α)/ρ, so α is free to go
anywhere without any change of Ψ. Here every number of modes K is fitted, with ρ bounded below so that modes cannot
blend into more wells than modes, and the smallest K is taken whose held-out loss is within one standard error of the
lowest, or below a floor: a ten-thousandth of what a flat landscape leaves. A K whose landscape has more wells than
modes is passed over, for its modes have blended after all: steep walls around shallow wells make such a fit look good
enough. The scan ends below the floor, or where two more modes brought nothing.
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from workbench.errors import FitError
from workbench.objectives import LeastSquares, Observations
from workbench.parallel import Report
from workbench.potentials.initialisation import Start
from workbench.potentials.lse_icnn import LSEICNN
from workbench.prominence import wells
from workbench.task import Learned, Task

if TYPE_CHECKING:
    from workbench.adam import Adam
    from workbench.levenberg_marquardt import LevenbergMarquardt

__all__ = ["choose", "smallest"]

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
    start: Start,
    optimiser: "LevenbergMarquardt | Adam",
    seed: np.random.SeedSequence,
    **how: Any,
) -> tuple[LSEICNN, xr.Dataset]:
    """Return the model with the number of modes that the data ask for, at most its own, and the scan over `modes`."""
    tried: list[Tried] = []
    progress = how.get("progress")
    for modes in range(1, model.modes + 1):
        task = Task.of(candidate(model, modes), data, match, start)
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
