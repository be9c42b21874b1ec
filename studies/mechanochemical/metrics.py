"""The numbers the mechanochemical study reports, each against the exact energy, with the bounds it is held to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

import workbench as wb
from studies.mechanochemical.points import FAMILIES
from studies.metrics import Metric
from studies.points import select

__all__ = ["of_accuracy", "of_curve", "of_path", "of_points", "of_spread", "offset"]


def offset(fit: wb.Fit) -> np.ndarray:
    """Return the constant by which the inferred potential of every member exceeds the true one, on test states."""
    scores = wb.score(fit.ensemble, fit.data, offset="remove")
    return np.atleast_1d(scores["potential_offset"].sel(part="test").values)


def of_accuracy(fit: wb.Fit, fair: wb.Potential) -> Iterator[Metric]:
    """Yield R² on test states of gradient components and potential: the worst member's, plain and symmetrised."""
    for name, model in (("", fit.ensemble), ("_symmetrised", fair)):
        test = wb.score(model, fit.data, offset="remove").sel(part="test")
        text = f"on test states, worst of {fit.ensemble.members} members{name.replace('_', ', ')}"
        gradient, potential = float(test["gradient_r2"].min()), float(test["potential_r2"].min())
        error = float(test["gradient_relative_rmse"].max())
        yield Metric(f"r2_gradient{name}", gradient, f"R² of a component, {text}", at_least=0.9995)
        yield Metric(f"r2_potential{name}", potential, f"R² of Ψ, offset removed, {text}", at_least=0.9999)
        yield Metric(f"error_gradient{name}", error, f"RMSE over standard deviation of a component, {text}")
    yield Metric("potential_offset", float(offset(fit)[fit.best]), "constant removed from the best member's Ψ")


def of_points(points: xr.Dataset, best: int, level: float) -> Iterator[Metric]:
    """Yield wells and saddles found, by family, and their errors; levels of the best member, and over all members."""
    true = select(points, source="truth")
    members = int(points["member"].max()) + 1
    for source in ("fit", "symmetrised"):
        mine = select(points, source=source)
        told = f"worst of {members} members, {source}"
        wells = select(mine, index=0)
        for family in ("cubic well", "tetragonal well"):
            count = min(int(((wells["family"] == family) & (wells["member"] == k)).sum()) for k in range(members))
            bound = FAMILIES[family]
            yield Metric(f"{_name(family)}_{source}", count, f"wells found of {bound}, {told}", bound, bound)
        spurious = int((wells["family"] == "none").sum())
        yield Metric(f"spurious_wells_{source}", spurious, f"minima that are no true wells, all members, {source}", 0)
        text = "largest error of the place of a well,"
        yield Metric(f"well_strain_{source}", _worst(wells["strain_error"]), f"{text} strain, {told}", 0.005)
        yield Metric(f"well_c_{source}", _worst(wells["c_error"]), f"{text} concentration, {told}", 0.02)
        deep = select(wells, family="tetragonal well")
        error = deep["level"] - select(true, family="tetragonal well")["level"].values[0]
        means = error.groupby("member").mean() if error.size else error
        text = "error of Ψ(tetragonal) − Ψ(cubic),"
        own = _worst(abs(select(error, member=best)))
        yield Metric(f"level_{source}", own, f"{text} largest of the best member's, {source}", level)
        yield Metric(f"level_worst_{source}", _worst(abs(error)), f"{text} {told}")
        yield Metric(f"level_mean_{source}", float(abs(means.mean())), f"{text} of the members' mean, {source}")
        spread = float(means.std(ddof=1)) if means.size > 1 else np.nan
        yield Metric(f"level_spread_{source}", spread, f"{text} standard deviation over members, {source}")
        for family in ("saddle between variants", "saddle to cubic"):
            saddles = select(mine, family=family).sizes["point"] / members
            yield Metric(
                f"{_name(family)}_{source}", saddles, f"saddles found of 3, mean of {members} members, {source}"
            )


def of_path(extrapolation: xr.Dataset) -> Iterator[Metric]:
    """Yield errors of S11 along the path, inside and outside the data."""
    inside = extrapolation["inside_data"].values.astype(bool)
    true = extrapolation["gradient_true"]
    for name in ("gradient", "gradient_symmetrised"):
        stress, exact = (v.sel(state="E11") for v in (extrapolation[name], true))
        for where, at in (("inside", inside), ("outside", ~inside)):
            error = np.sqrt(((stress - exact)[..., at] ** 2).mean("time") / (exact[at] ** 2).mean())
            label = f"path_s11_{where}{name.removeprefix('gradient')}"
            limits: dict[str, Any] = {"at_most": 0.005} if where == "inside" else {}
            text = f"S11 along the path, RMSE over RMS, {where} the data, worst member"
            yield Metric(label, float(error.max()), text, **limits)


def of_spread(fit: wb.Fit, extrapolation: xr.Dataset) -> Iterator[Metric]:
    """Yield how often ±2 standard deviations of the ensemble hold the true gradient: test states, and along the path.

    A component along the path is one smooth curve, whose points miss together: S11 alone is one draw, not fifty.
    """
    inside = extrapolation["inside_data"].values.astype(bool)
    test = fit.data.isel(sample=(fit.data["split"] == "test").values)
    learned, true = extrapolation["gradient"].values, extrapolation["gradient_true"].values
    held = _held(learned, true)
    shares = {
        "test": (_held(fit.ensemble.gradient(test["x"].values), test["gradient"].values), "test states"),
        "inside": (held[inside], "points of the path inside the data"),
        "outside": (held[~inside], "points of the path outside the data"),
        "s11_inside": (held[inside][:, 0], "points of the path inside the data, S11 alone"),
        "s11_outside": (held[~inside][:, 0], "points of the path outside the data, S11 alone"),
    }
    for name, (share, where) in shares.items():
        limits: dict[str, Any] = {"at_least": 0.8} if name in ("test", "inside") else {}
        text = f"share of ∂Ψ within ±2 standard deviations of the members, {where}"
        yield Metric(f"coverage_{name}", float(share.mean()), text, **limits)


def _held(members: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return where the mean of the members, shape (member, …), is within two of their standard deviations of truth."""
    if len(members) < 2:
        return np.zeros(true.shape, dtype=bool)
    return np.abs(members.mean(0) - true) <= 2 * members.std(0, ddof=1)


def of_curve(curve: xr.Dataset) -> Iterator[Metric]:
    """Yield what every way makes of the samples it has."""
    for size in curve["size"].values:
        for way in curve["way"].values:
            here = curve.sel(size=size, way=way)
            if np.isfinite(here["error"]):
                text = f"of {size} samples, {way}"
                yield Metric(
                    f"error_{size}_{way}", float(here["error"]), f"largest RMSE over std of a component {text}"
                )
                yield Metric(f"wells_{size}_{way}", float(here["wells"]), f"wells found of 4 {text}")


def _name(family: str) -> str:
    return family.replace(" ", "_")


def _worst(errors: xr.DataArray) -> float:
    """Return the largest error, infinite where there is none to judge."""
    known = errors.values[np.isfinite(errors.values)]
    return float(known.max()) if len(known) else np.inf
