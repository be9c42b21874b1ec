"""Metrics of the crossings study, compared with exact results, and the table of its crossings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

import workbench as wb
from studies.metrics import Metric
from workbench.dataset.variables import Units, variable

__all__ = ["crossings", "of_crossings", "of_field", "of_noise", "of_paths", "of_points"]


def crossings(true: xr.Dataset, learned: Mapping[int, xr.Dataset | None]) -> xr.Dataset:
    """Return barrier and rate of every crossing of the true graph, true and of each member (NaN if it has none).

    A crossing is labelled by the indices of its saddle and of the well it leaves among the true points. Points of a
    member are identified with the nearest true point.
    """
    exact = _crossings(true, true)
    names = list(exact)
    found = {k: {} if one is None else _crossings(one, true) for k, one in learned.items()}
    missing = (np.nan, np.nan)
    values = np.array([[found[k].get(name, missing) for name in names] for k in found])
    truth = np.array([exact[name] for name in names])
    units, variables = Units.read(true), {}
    columns = {"barrier": ("height of the saddle above the well", "potential"), "rate": ("rate of crossing", "rate")}
    for column, (name, (text, quantity)) in enumerate(columns.items()):
        unit = units.of(quantity)
        variables[name] = variable(("member", "crossing"), values[..., column], text, unit)
        variables[f"{name}_true"] = variable("crossing", truth[:, column], f"{text}, true", unit)
    extra = [len(set(found[k]) - set(names)) for k in found]
    variables["extra"] = variable("member", extra, "crossings that do not exist in the truth", "1")
    coords = {
        "member": variable("member", list(found), "independent fit"),
        "crossing": variable("crossing", np.arange(len(names)), "crossing"),
        "saddle": variable("crossing", [s for s, _ in names], "index of the saddle among the true points"),
        "well": variable("crossing", [w for _, w in names], "index of the well among the true points"),
    }
    sentence = "Barriers and rates of all crossings from well to well, of the true surface and of every member."
    attrs = {"description": sentence, "temperature": float(true.attrs["temperature"]), **units.attrs()}
    return xr.Dataset(variables, coords, attrs)


def _crossings(found: xr.Dataset, true: xr.Dataset) -> dict[tuple[int, int], tuple[float, float]]:
    """Return (saddle, well) → (barrier, rate)."""
    nearest = [_nearest(true, found["x"].values[k], int(found["index"][k])) for k in range(found.sizes["point"])]
    table = {}
    for saddle, side in np.argwhere(found["joins"].values >= 0):
        well = int(found["joins"].values[saddle, side])
        pair = float(found["barrier"][saddle, side]), float(found["rate"][saddle, side])
        table[nearest[saddle], nearest[well]] = pair
    return table


def _nearest(points: xr.Dataset, x: np.ndarray, index: int) -> int:
    """Return the number of the point nearest to x among those of a given index, −1 if there is none."""
    rivals = np.flatnonzero(points["index"].values == index)
    return int(rivals[np.linalg.norm(points["x"].values[rivals] - x, axis=-1).argmin()]) if len(rivals) else -1


def of_field(fit: wb.Fit, surface: Any) -> Iterator[Metric]:
    """Yield the error of the learned gradient at test samples."""
    test = fit.data["x"].values[fit.data["split"].values == "test"]
    gradient = surface.gradient(test)
    error = np.sqrt(((fit.model.gradient(test) - gradient) ** 2).mean() / (gradient**2).mean())
    yield Metric("field_error", float(error), "gradient at test samples, RMSE/RMS, best member", 0.02, unit="1")


def of_points(points: xr.Dataset) -> Iterator[Metric]:
    """Yield the numbers of wells and saddles of the worst members, and their position errors."""
    true = points.isel(point=(points["source"] == "truth").values)
    others = points.isel(point=(points["source"] == "fit").values)
    members = [others.isel(point=(others["member"] == k).values) for k in np.unique(others["member"])]
    unit = Units.read(points).of("state")
    for index, name, bound in ((0, "well", 0.02), (1, "saddle", 0.02)):
        exact = true["x"].values[(true["index"] == index).values]
        found = [one["x"].values[(one["index"] == index).values] for one in members]
        for extreme, value in (("fewest", min(map(len, found))), ("most", max(map(len, found)))):
            text = f"{name}s near the data, member with the {extreme} (truth: {len(exact)})"
            yield Metric(f"{name}s_{extreme}", value, text, len(exact), len(exact), unit="1")
        error = [np.linalg.norm(exact[:, None] - x, axis=-1).min(-1, initial=np.inf).max() for x in found]
        text = f"largest distance of a {name} from the true one, worst member"
        yield Metric(f"{name}_error", float(max(error)), text, bound, unit=unit)


def of_crossings(table: xr.Dataset) -> Iterator[Metric]:
    """Yield errors and spread of barriers and rates, for the worst crossing and member."""
    worst = float(np.abs((table["barrier"] / table["barrier_true"] - 1).values).max())
    yield Metric("barrier_error", worst, "relative error of a barrier, worst crossing and member", 0.03, unit="1")
    text = "crossings that do not exist in the truth, all members"
    yield Metric("extra_crossings", float(table["extra"].sum()), text, 0, unit="1")
    lowest = float(table["barrier_true"].min()) / table.attrs["temperature"]
    yield Metric("lowest_barrier", lowest, "lowest true barrier, in units of T", at_least=6, unit="1")
    factor = np.exp(np.abs(np.log((table["rate"] / table["rate_true"]).values)).max()) - 1
    yield Metric("rate_error", float(factor), "relative error of a rate, worst crossing and member", unit="1")
    if table.sizes["member"] > 1:
        spread = table["barrier"].std("member", ddof=1)
        covered = np.abs(table["barrier"].mean("member") - table["barrier_true"]) <= 2 * spread
        relative = float((spread / table["barrier_true"]).max())
        yield Metric("barrier_spread", relative, "largest relative s.d. over members", unit="1")
        text = "fraction of true barriers within mean ± 2 s.d."
        yield Metric("barriers_covered", float(covered.mean()), text, unit="1")


def of_paths(analysis: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield the distance of the learned paths from the true one, and of their highest points from the saddles."""
    true, found = analysis["paths/truth"], analysis["paths/fit"]
    text, unit = "largest distance of a learned path from the true one", Units.read(true).of("state")
    if "x" not in found:
        yield Metric("path_error", np.nan, text, 0.05, unit=unit)
        return
    line = true["x"].values
    error = np.linalg.norm(found["x"].values[:, :, None] - line, axis=-1).min(-1).max()
    yield Metric("path_error", float(error), text, 0.05, unit=unit)
    mismatch = max(float(true["mismatch"]), float(found["mismatch"].max()))
    text = "distance of the highest saddle on a path from the one found by direct search"
    yield Metric("path_mismatch", mismatch, text, 1e-6, unit=unit)


def of_noise(analysis: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield the agreement of simulation, quadrature and Kramers' formula, and the weak order of the integrator."""
    runs = analysis["passages"]
    error = np.log(runs["interval"].sel(bound="high") / runs["interval"].sel(bound="low")) / (2 * 1.96)
    deviation = float((np.abs(np.log(runs["mean"] / runs["exact"])) / error).max())
    text = "largest error of a simulated mean first-passage time, in standard errors"
    yield Metric("passage_deviation", deviation, text, 3.5, unit="1")
    laws = analysis["kramers"]
    high = laws.isel(height=(laws["height"] >= 6).values)
    ratio = float(np.abs(high["kramers"] / high["exact"] - 1).max())
    text = "relative error of Kramers' formula for barriers of at least 6 T"
    yield Metric("kramers_error", ratio, text, 0.1, unit="1")
    steps = analysis["refinement"]
    order = float(np.polyfit(np.log(steps["step"]), np.log(steps["error"]), 1)[0])
    yield Metric("weak_order", order, "exponent of the error as a function of the time step", 2.25, 1.75, unit="1")
