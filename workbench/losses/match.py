"""What is matched: names of quantities with weights, and whether the data can be matched so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from workbench.dataset import flat, nearest
from workbench.errors import DatasetError

__all__ = [
    "DENSITY",
    "OBJECTIVES",
    "Objective",
    "TRAJECTORY",
    "TWINS",
    "check_matched",
    "check_together",
    "noise_of",
    "parse_match",
]


@dataclass(frozen=True)
class Objective:
    """A quantity of the data, as a method of the potential and a sign: velocity = −gradient."""

    quantity: str
    sign: float


OBJECTIVES = {
    "potential": Objective("value", 1.0),
    "gradient": Objective("gradient", 1.0),
    "velocity": Objective("gradient", -1.0),
}
DENSITY = "density"  # matched by likelihood (see `likelihood`)
TRAJECTORY = "trajectory"  # matched by multiple shooting (see `shooting`)
TWINS = {"velocity": "gradient", "gradient": "velocity"}  # one is minus the other


def parse_match(match: str | Mapping[str, float]) -> dict[str, float]:
    """Return quantity → weight; a name alone has weight 1.

    >>> parse_match("velocity"), parse_match({"potential": 1, "gradient": 10})
    ({'velocity': 1.0}, {'potential': 1.0, 'gradient': 10.0})
    """
    weights = {match: 1.0} if isinstance(match, str) else {name: float(weight) for name, weight in dict(match).items()}
    known = (*OBJECTIVES, DENSITY, TRAJECTORY)
    for name, weight in weights.items():
        if name not in known:
            raise ValueError(f"cannot match {name!r}{nearest(name, known) or ';'} Known: {', '.join(known)}")
        if not (np.isfinite(weight) and weight > 0):
            raise ValueError(f"the weight of {name!r} must be positive and finite, got {weight!r}")
    if DENSITY in weights and len(weights) > 1:
        raise ValueError("a density is matched alone: its loss is in nats, that of the others in squares")
    if TRAJECTORY in weights and len(weights) > 1:
        raise ValueError("trajectories are matched alone, from a model fitted to velocities before")
    if not weights:
        raise ValueError(f"match names nothing; choose from {', '.join(OBJECTIVES)}")
    return weights


def noise_of(samples: xr.Dataset, kind: str, name: str) -> np.ndarray | None:
    """Return noise levels or weights of a quantity, shape (sample, 1) or (sample, component), if there are any."""
    for label in (f"{kind}_{name}", f"{kind}_{TWINS.get(name)}", kind):
        if label in samples:
            values = samples[label].values.reshape(samples.sizes["sample"], -1)
            if values.shape[1] > 1 and "state" not in samples[name].dims:
                raise DatasetError(f"{label} is given per component, but {name} has only one")
            return values
    return None


def check_matched(samples: xr.Dataset, match: Mapping[str, float], dim: int) -> None:
    """Raise `DatasetError` where the data lack a matched quantity or have another dimension than the model."""
    if "state" not in samples.dims:
        raise DatasetError("paths are matched by stress, with a material: match='stress'")
    samples = flat(samples)
    if samples.sizes["state"] != dim:
        raise DatasetError(f"the data have {samples.sizes['state']} states, the model dim = {dim}")
    for name in match:
        twin = TWINS.get(name)
        if name not in samples and twin in samples:
            raise DatasetError(f"the data hold no {name!r} but {twin!r}: use match={twin!r} (velocity = −gradient)")
        if name == "velocity" and name not in samples:
            raise DatasetError(
                "the data hold no 'velocity': estimate it from trajectories by workbench.velocities(data), in learn by "
                "differentiate=True, or give it beside x"
            )
    noisy = [name for name in match if name in samples and noise_of(samples, "sigma", name) is not None]
    if len(match) > 1 and ("sigma" in samples or 0 < len(noisy) < len(match)):
        raise DatasetError("a joint match takes noise levels by name, for every quantity: sigma={'potential': …, …}")


def check_together(match: Mapping[str, float], *, second_order: bool, modes: Any, warm_start: bool) -> None:
    """Raise `ValueError` for settings of a fit that a match cannot be asked with.

    `second_order` says whether the optimiser takes Gauss–Newton steps, `modes` whether their number is to be scanned.
    """
    if DENSITY in match and not second_order:
        raise ValueError("a density is fitted by natural-gradient steps: leave the optimiser at LevenbergMarquardt")
    if DENSITY in match and modes is not None:
        raise ValueError("modes='auto' scans errors of least squares; for a density compare fit.error of several fits")
    if TRAJECTORY in match and not warm_start:
        raise ValueError(
            "match='trajectory' polishes a model: fit velocities first (workbench.velocities estimates them), then "
            "fit(first.ensemble, data, match='trajectory', warm_start=True)"
        )
