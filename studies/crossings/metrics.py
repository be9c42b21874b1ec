"""The numbers of the crossings study, each against the exact surface or law, and the table of its crossings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

import workbench as wb
from studies.metrics import Metric

__all__ = ["crossings", "of_crossings", "of_field", "of_noise", "of_paths", "of_points"]


def crossings(true: xr.Dataset, learned: Mapping[int, xr.Dataset | None]) -> xr.Dataset:
    """Return barrier and rate of every crossing of the true graph, true and of each member (NaN where it has none).

    Over `crossing`, labelled by the place of its saddle and of the well it leaves among the true points; a member's
    points are known by the true point nearest to them.
    """
    mine = _crossings(true, true)
    names = list(mine)
    theirs = {k: {} if one is None else _crossings(one, true) for k, one in learned.items()}
    missing = (np.nan, np.nan)
    values = np.array([[theirs[k].get(name, missing) for name in names] for k in theirs])
    truth = np.array([mine[name] for name in names])
    variables: dict[str, Any] = {}
    for column, (name, text) in enumerate((("barrier", "height of the saddle over the well"), ("rate", "rate of it"))):
        variables[name] = (("member", "crossing"), values[..., column], {"long_name": text, "units": "1"})
        variables[f"{name}_true"] = ("crossing", truth[:, column], {"long_name": f"{text}, true", "units": "1"})
    extra = [len(set(theirs[k]) - set(names)) for k in theirs]
    variables["extra"] = ("member", extra, {"long_name": "crossings that the truth does not have", "units": "1"})
    coords = {
        "member": list(theirs),
        "crossing": np.arange(len(names)),
        "saddle": ("crossing", [s for s, _ in names], {"long_name": "place of the saddle among the true points"}),
        "well": ("crossing", [w for _, w in names], {"long_name": "place of the well among the true points"}),
    }
    return xr.Dataset(variables, coords=coords, attrs={"temperature": float(true.attrs["temperature"])})


def _crossings(found: xr.Dataset, true: xr.Dataset) -> dict[tuple[int, int], tuple[float, float]]:
    """Return (saddle, well) → (barrier, rate)."""
    place = [_nearest(true, found["x"].values[k], int(found["index"][k])) for k in range(found.sizes["point"])]
    table = {}
    for saddle, side in np.argwhere(found["joins"].values >= 0):
        well = int(found["joins"].values[saddle, side])
        pair = float(found["barrier"][saddle, side]), float(found["rate"][saddle, side])
        table[place[saddle], place[well]] = pair
    return table


def _nearest(points: xr.Dataset, x: np.ndarray, index: int) -> int:
    """Return the place of the point of an index nearest to x, −1 if none is of that index."""
    rivals = np.flatnonzero(points["index"].values == index)
    return int(rivals[np.linalg.norm(points["x"].values[rivals] - x, axis=-1).argmin()]) if len(rivals) else -1


def of_field(fit: wb.Fit, surface: Any) -> Iterator[Metric]:
    """Yield the error of the learned slopes at unseen samples."""
    unseen = fit.data["x"].values[fit.data["split"].values == "test"]
    slope = surface.gradient(unseen)
    error = np.sqrt(((fit.model.gradient(unseen) - slope) ** 2).mean() / (slope**2).mean())
    yield Metric("field_error", float(error), "slopes at unseen samples, RMSE over RMS, best member", 0.02)


def of_points(points: xr.Dataset) -> Iterator[Metric]:
    """Yield how many wells and saddles the worst member has, and how far off they are."""
    true = points.isel(point=(points["source"] == "truth").values)
    others = points.isel(point=(points["source"] == "fit").values)
    members = [others.isel(point=(others["member"] == k).values) for k in np.unique(others["member"])]
    for index, name, bound in ((0, "well", 0.02), (1, "saddle", 0.02)):
        exact = true["x"].values[(true["index"] == index).values]
        found = [one["x"].values[(one["index"] == index).values] for one in members]
        for extreme, value in (("fewest", min(map(len, found))), ("most", max(map(len, found)))):
            text = f"{name}s near the data in the member with the {extreme}, truth {len(exact)}"
            yield Metric(f"{name}s_{extreme}", value, text, len(exact), len(exact))
        apart = [np.linalg.norm(exact[:, None] - x, axis=-1).min(-1, initial=np.inf).max() for x in found]
        yield Metric(f"{name}_error", float(max(apart)), f"largest distance to a true {name}, worst member", bound)


def of_crossings(table: xr.Dataset) -> Iterator[Metric]:
    """Yield errors and spread of barriers and rates, worst crossing and member."""
    worst = float(np.abs((table["barrier"] / table["barrier_true"] - 1).values).max())
    yield Metric("barrier_error", worst, "barriers, worst crossing and member, relative", 0.03)
    yield Metric("extra_crossings", float(table["extra"].sum()), "crossings the truth does not have, all members", 0)
    lowest = float(table["barrier_true"].min()) / table.attrs["temperature"]
    yield Metric("lowest_barrier", lowest, "lowest true barrier, in units of T", at_least=6)
    factor = np.exp(np.abs(np.log((table["rate"] / table["rate_true"]).values)).max()) - 1
    yield Metric("rate_error", float(factor), "rates, worst crossing and member, relative")
    if table.sizes["member"] > 1:
        spread = table["barrier"].std("member", ddof=1)
        inside = np.abs(table["barrier"].mean("member") - table["barrier_true"]) <= 2 * spread
        yield Metric("barrier_spread", float((spread / table["barrier_true"]).max()), "largest relative deviation")
        yield Metric("barriers_covered", float(inside.mean()), "share of true barriers within 2 deviations of the mean")


def of_paths(analysis: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield how far the learned paths stray from the true one, and that crests are the saddles found alone."""
    true, found = analysis["paths/truth"], analysis["paths/fit"]
    if "x" not in found:
        yield Metric("path_error", np.nan, "largest distance of a learned path to the true one", 0.05)
        return
    line = true["x"].values
    apart = np.linalg.norm(found["x"].values[:, :, None] - line, axis=-1).min(-1).max()
    yield Metric("path_error", float(apart), "largest distance of a learned path to the true one", 0.05)
    mismatch = max(float(true["mismatch"]), float(found["mismatch"].max()))
    yield Metric("path_mismatch", mismatch, "distance of highest saddles of paths to those found alone", 1e-6)


def of_noise(analysis: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield how simulation, quadrature and Kramers' law agree, and the weak order that the refinement shows."""
    runs = analysis["passages"]
    error = np.log(runs["interval"].sel(bound="high") / runs["interval"].sel(bound="low")) / (2 * 1.96)
    off = float((np.abs(np.log(runs["mean"] / runs["exact"])) / error).max())
    yield Metric("passage_deviation", off, "simulated mean first passages from the exact, in standard errors", 3.5)
    laws = analysis["kramers"]
    high = laws.isel(height=(laws["height"] >= 6).values)
    ratio = float(np.abs(high["kramers"] / high["exact"] - 1).max())
    yield Metric("kramers_error", ratio, "Kramers' time at barriers of 6 T and more, relative error", 0.1)
    steps = analysis["refinement"]
    order = float(np.polyfit(np.log(steps["step"]), np.log(steps["error"]), 1)[0])
    yield Metric("weak_order", order, "slope of the error over the time step", 2.25, 1.75)
