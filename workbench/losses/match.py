"""The argument `match` of a fit: which quantities of the data are matched, with which weights, and whether they can be.

Three kinds of loss exist. The quantities in `OBJECTIVES` are matched by least squares (`losses.least_squares`), alone
or jointly; "density" by maximum likelihood (`losses.likelihood`) and "trajectory" by multiple shooting
(`losses.shooting`), each alone.
"""

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
    "OPPOSITE_QUANTITY",
    "Objective",
    "TRAJECTORY",
    "check_matched",
    "check_together",
    "noise_of",
    "parse_match",
]


@dataclass(frozen=True)
class Objective:
    """A quantity of the data as a method of the potential times a sign: velocity = −gradient."""

    quantity: str
    sign: float


OBJECTIVES = {
    "potential": Objective("value", 1.0),
    "gradient": Objective("gradient", 1.0),
    "velocity": Objective("gradient", -1.0),
}
DENSITY = "density"  # matched by maximum likelihood (see `likelihood`)
TRAJECTORY = "trajectory"  # matched by multiple shooting (see `shooting`)
OPPOSITE_QUANTITY = {"velocity": "gradient", "gradient": "velocity"}  # equal up to the sign


def parse_match(match: str | Mapping[str, float]) -> dict[str, float]:
    """Return the weight of every matched quantity, or raise `ValueError`; a name alone has weight 1.

    Examples
    --------
    >>> parse_match("velocity"), parse_match({"potential": 1, "gradient": 10})
    ({'velocity': 1.0}, {'potential': 1.0, 'gradient': 10.0})
    """
    weights = {match: 1.0} if isinstance(match, str) else {name: float(weight) for name, weight in dict(match).items()}
    known = (*OBJECTIVES, DENSITY, TRAJECTORY)
    for name, weight in weights.items():
        if name not in known:
            raise ValueError(f"cannot match {name!r}{nearest(name, known) or '.'} Known: {', '.join(known)}")
        if not (np.isfinite(weight) and weight > 0):
            raise ValueError(f"the weight of {name!r} must be positive and finite, got {weight!r}")
    if DENSITY in weights and len(weights) > 1:
        raise ValueError("a density must be matched alone: its loss is in nats, the other losses are mean squares")
    if TRAJECTORY in weights and len(weights) > 1:
        raise ValueError("trajectories must be matched alone, starting from a model already fitted to velocities")
    if not weights:
        raise ValueError(f"match is empty; name at least one of {', '.join(OBJECTIVES)}")
    return weights


def noise_of(samples: xr.Dataset, kind: str, name: str) -> np.ndarray | None:
    """Return the noise levels or weights of a quantity, shape (sample, 1) or (sample, component); None without them.

    `kind` is "sigma" or "weight". A level given for the quantity comes before one given for the same quantity with the
    opposite sign, which comes before one given for all quantities.
    """
    for label in (f"{kind}_{name}", f"{kind}_{OPPOSITE_QUANTITY.get(name)}", kind):
        if label in samples:
            values = samples[label].values.reshape(samples.sizes["sample"], -1)
            if values.shape[1] > 1 and "state" not in samples[name].dims:
                raise DatasetError(f"{label} is given per component, but {name} is a scalar: give one value per sample")
            return values
    return None


def check_matched(samples: xr.Dataset, match: Mapping[str, float], dim: int) -> None:
    """Raise `DatasetError` if the data lack a matched quantity or their dimension differs from that of the model."""
    if "state" not in samples.dims:
        raise DatasetError("the data are strain paths: fit a material to them with match='stress'")
    samples = flat(samples)
    if samples.sizes["state"] != dim:
        raise DatasetError(f"the data have {samples.sizes['state']}-dimensional states, but the model has dim = {dim}")
    for name in match:
        opposite = OPPOSITE_QUANTITY.get(name)
        if name not in samples and opposite in samples:
            raise DatasetError(
                f"the data hold {opposite!r} but no {name!r}: use match={opposite!r} (velocity = −gradient)"
            )
        if name == "velocity" and name not in samples:
            raise DatasetError(
                "the data hold no 'velocity': estimate it from trajectories with workbench.velocities(data) or "
                "learn(..., differentiate=True), or supply it together with x"
            )
    noisy = [name for name in match if name in samples and noise_of(samples, "sigma", name) is not None]
    if len(match) > 1 and ("sigma" in samples or 0 < len(noisy) < len(match)):
        raise DatasetError(
            "a joint match needs the noise level of every quantity by name, sigma={'potential': …, 'gradient': …}, "
            "or none at all"
        )


def check_together(match: Mapping[str, float], *, second_order: bool, modes: Any, warm_start: bool) -> None:
    """Raise `ValueError` for settings of a fit that are incompatible with the match.

    `second_order` says whether the optimiser takes Gauss–Newton steps; `modes` is not None if their number is scanned.
    """
    if DENSITY in match and not second_order:
        raise ValueError(
            "match='density' is fitted by natural-gradient steps: use the optimiser LevenbergMarquardt, the default"
        )
    if DENSITY in match and modes is not None:
        raise ValueError(
            "modes='auto' compares least-squares errors; for a density, compare fit.error for different numbers of "
            "modes"
        )
    if TRAJECTORY in match and not warm_start:
        raise ValueError(
            "match='trajectory' refines a fitted model: first fit velocities (workbench.velocities estimates them), "
            "then call fit(first.ensemble, data, match='trajectory', warm_start=True)"
        )
