"""Metrics of the mechanochemical study: comparisons with the exact energy, with their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

import workbench as wb
from studies.mechanochemical.points import FAMILIES
from studies.metrics import Metric
from studies.points import select
from workbench.dataset.variables import Units

__all__ = ["of_accuracy", "of_curve", "of_path", "of_points", "of_spread", "offset"]


def offset(fit: wb.Fit) -> np.ndarray:
    """Return the mean difference of the potential of every member from the true one on test states, shape (member,)."""
    scores = wb.score(fit.ensemble, fit.data, offset="remove")
    return np.atleast_1d(scores["potential_offset"].sel(part="test").values)


def of_accuracy(fit: wb.Fit, symmetrised: wb.Potential) -> Iterator[Metric]:
    """Yield R² of gradient components and potential on test states, worst member, plain and symmetrised."""
    for name, model in (("", fit.ensemble), ("_symmetrised", symmetrised)):
        test = wb.score(model, fit.data, offset="remove").sel(part="test")
        text = f"on test states, worst of {fit.ensemble.members} members{name.replace('_', ', ')}"
        gradient, potential = float(test["gradient_r2"].min()), float(test["potential_r2"].min())
        error = float(test["gradient_relative_rmse"].max())
        yield Metric(f"r2_gradient{name}", gradient, f"R² of a gradient component, {text}", at_least=0.9995, unit="1")
        yield Metric(f"r2_potential{name}", potential, f"R² of Ψ, offset removed, {text}", at_least=0.9999, unit="1")
        yield Metric(f"error_gradient{name}", error, f"RMSE/s.d. of a gradient component, {text}", unit="1")
    constant, unit = float(offset(fit)[fit.best]), Units.read(fit.data).of("potential")
    yield Metric("potential_offset", constant, "constant removed from Ψ of the best member", unit=unit)


def of_points(points: xr.Dataset, best: int, level: float) -> Iterator[Metric]:
    """Yield numbers of wells and saddles found by family, their errors, and levels of the wells."""
    true = select(points, source="truth")
    members, unit = int(points["member"].max()) + 1, Units.read(points).of("potential")
    for source in ("fit", "symmetrised"):
        found = select(points, source=source)
        context = f"worst of {members} members, {source}"
        wells = select(found, index=0)
        for family in ("cubic well", "tetragonal well"):
            count = min(int(((wells["family"] == family) & (wells["member"] == k)).sum()) for k in range(members))
            bound, text = FAMILIES[family], f"wells found of {FAMILIES[family]}, {context}"
            yield Metric(f"{_name(family)}_{source}", count, text, bound, bound, unit="1")
        spurious = int((wells["family"] == "none").sum())
        text = f"minima that are not true wells, all members, {source}"
        yield Metric(f"spurious_wells_{source}", spurious, text, 0, unit="1")
        text, strain = "largest position error of a well,", _worst(wells["strain_error"])
        yield Metric(f"well_strain_{source}", strain, f"{text} strain, {context}", 0.005, unit="1")
        yield Metric(f"well_c_{source}", _worst(wells["c_error"]), f"{text} concentration, {context}", 0.02, unit="1")
        deep = select(wells, family="tetragonal well")
        error = deep["level"] - select(true, family="tetragonal well")["level"].values[0]
        means = error.groupby("member").mean() if error.size else error
        text = "error of Ψ(tetragonal) − Ψ(cubic),"
        of_best = _worst(abs(select(error, member=best)))
        yield Metric(f"level_{source}", of_best, f"{text} largest of the best member, {source}", level, unit=unit)
        yield Metric(f"level_worst_{source}", _worst(abs(error)), f"{text} {context}", unit=unit)
        yield Metric(f"level_mean_{source}", float(abs(means.mean())), f"{text} mean over members, {source}", unit=unit)
        spread = float(means.std(ddof=1)) if means.size > 1 else np.nan
        yield Metric(f"level_spread_{source}", spread, f"{text} s.d. over members, {source}", unit=unit)
        for family in ("saddle between variants", "saddle to cubic"):
            saddles = select(found, family=family).sizes["point"] / members
            text = f"saddles found of 3, mean of {members} members, {source}"
            yield Metric(f"{_name(family)}_{source}", saddles, text, unit="1")


def of_path(extrapolation: xr.Dataset) -> Iterator[Metric]:
    """Yield the errors of S11 along the path, inside and outside the box of the data."""
    inside = extrapolation["inside_data"].values
    true = extrapolation["gradient_true"]
    for name in ("gradient", "gradient_symmetrised"):
        stress, exact = (v.sel(state="E11") for v in (extrapolation[name], true))
        for where, at in (("inside", inside), ("outside", ~inside)):
            error = np.sqrt(((stress - exact)[..., at] ** 2).mean("time") / (exact[at] ** 2).mean())
            label = f"path_s11_{where}{name.removeprefix('gradient')}"
            limits: dict[str, Any] = {"at_most": 0.005} if where == "inside" else {}
            text = f"S11 along the path, RMSE/RMS, {where} the data, worst member"
            yield Metric(label, float(error.max()), text, unit="1", **limits)


def of_spread(fit: wb.Fit, extrapolation: xr.Dataset) -> Iterator[Metric]:
    """Yield the coverage of the true gradient by mean ± 2 s.d. of the ensemble, on test states and along the path.

    A component along the path is a smooth curve with correlated errors, so S11 alone counts as one draw.
    """
    inside = extrapolation["inside_data"].values
    test = fit.data.isel(sample=(fit.data["split"] == "test").values)
    learned, true = extrapolation["gradient"].values, extrapolation["gradient_true"].values
    held = _held(learned, true)
    coverage = {
        "test": (_held(fit.ensemble.gradient(test["x"].values), test["gradient"].values), "test states"),
        "inside": (held[inside], "points of the path inside the data"),
        "outside": (held[~inside], "points of the path outside the data"),
        "s11_inside": (held[inside][:, 0], "points of the path inside the data, S11 alone"),
        "s11_outside": (held[~inside][:, 0], "points of the path outside the data, S11 alone"),
    }
    for name, (within, where) in coverage.items():
        limits: dict[str, Any] = {"at_least": 0.8} if name in ("test", "inside") else {}
        text = f"fraction of ∂Ψ within mean ± 2 s.d. of the members, {where}"
        yield Metric(f"coverage_{name}", float(within.mean()), text, unit="1", **limits)


def _held(members: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return where the truth, shape (…), is within mean ± 2 s.d. of the members, shape (member, …)."""
    if len(members) < 2:
        return np.zeros(true.shape, dtype=bool)
    return np.abs(members.mean(0) - true) <= 2 * members.std(0, ddof=1)


def of_curve(curve: xr.Dataset) -> Iterator[Metric]:
    """Yield errors and numbers of wells over the number of samples, for each use of the symmetry."""
    for size in curve["size"].values:
        for way in curve["way"].values:
            here = curve.sel(size=size, way=way)
            if np.isfinite(here["error"]):
                context = f"from {size} samples, {way}"
                text = f"largest RMSE/s.d. of a gradient component {context}"
                yield Metric(f"error_{size}_{way}", float(here["error"]), text, unit="1")
                yield Metric(f"wells_{size}_{way}", float(here["wells"]), f"wells found of 4 {context}", unit="1")


def _name(family: str) -> str:
    """Return a family as part of the name of a metric."""
    return family.replace(" ", "_")


def _worst(errors: xr.DataArray) -> float:
    """Return the largest finite error, infinite if there is none."""
    known = errors.values[np.isfinite(errors.values)]
    return float(known.max()) if len(known) else np.inf
