"""Metrics of the gene-circuit study: comparisons with the exact circuit, with their bounds."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from studies.gene_circuit.questions import first_split
from studies.metrics import Metric
from studies.points import select
from workbench.dataset.variables import Units

__all__ = ["of_basins", "of_branches", "of_ends", "of_fields", "of_paths", "of_points", "of_split"]

LEARNED = {"fit": "the fit", "symmetrised": "the symmetrised fit", "long": "the fit to long trajectories"}
CLEAR_GAP = 0.03  # |x1 − x2| of a true trajectory at the splitting time above which its final basin is clear


def of_fields(
    truth: Mapping[str, Any], fits: Mapping[str, Any], symmetrised: Mapping[str, Any], grid: np.ndarray
) -> Iterator[Metric]:
    """Yield relative errors of the velocity field, on a grid of shape (…, 2) and along test trajectories."""
    box = "velocity field on the box, RMSE/RMS"
    for case, circuit in truth.items():
        field = circuit.gradient(grid)
        error = _relative(fits[case].model.gradient(grid), field)
        yield Metric(f"field_error_{case}", error, f"{box}, covering data", 0.002, unit="1")
        error = _relative(symmetrised[case].gradient(grid), field)
        yield Metric(f"field_error_{case}_symmetrised", error, f"{box}, symmetrised", unit="1")
    for case, circuit in truth.items():
        fit = fits[f"{case}_long"]
        x = fit.data["x"].values[fit.data["split"].values == "test"]
        along = _relative(fit.model.gradient(x), circuit.gradient(x))
        text = "velocity along test trajectories, fit to long trajectories"
        yield Metric(f"path_error_{case}_long", along, text, 0.005, unit="1")
        error = _relative(fit.model.gradient(grid), circuit.gradient(grid))
        text = f"{box}, fit to long trajectories, extrapolated at the edges"
        yield Metric(f"field_error_{case}_long", error, text, unit="1")


def of_points(points: xr.Dataset) -> Iterator[Metric]:
    """Yield numbers, position errors and barriers of the learned stationary points."""
    unit = Units.read(points).of("state")
    for source in ("fit", "symmetrised"):
        for case, (minima, saddles) in {"psi_1": (1, 0), "psi_2": (2, 1)}.items():
            found, true = select(points, source=source, case=case), select(points, source="truth", case=case)
            for kind, count in {"minimum": minima, "saddle": saddles}.items():
                number, text = int((found["kind"] == kind).sum()), f"number of points of this kind (truth: {count})"
                yield Metric(f"{kind}_count_{case}_{source}", number, text, count, count, unit="1")
            error, text = _position_error(found, true), "largest distance of a stationary point from the true one"
            yield Metric(f"position_error_{case}_{source}", error, text, 0.002, unit=unit)
        error = abs(_barrier(points, source) / _barrier(points, "truth") - 1)
        yield Metric(f"barrier_error_{source}", error, "relative error of the barrier of Ψ₂", 0.02, unit="1")


def of_split(split: xr.Dataset) -> Iterator[Metric]:
    """Yield the splitting times of Ψ_b of truth, fit, symmetrised fit and fit to long trajectories."""
    true, unit = float(split["time"].sel(source="truth")), Units.read(split).time
    yield Metric("split_time_truth", true, "time at which the true Ψ_b acquires a second minimum", unit=unit)
    for source, bound in {"fit": 0.2, "symmetrised": 0.05, "long": np.nan}.items():
        time = float(split["time"].sel(source=source))
        text = f"time at which Ψ_b of {LEARNED[source]} acquires a second minimum"
        yield Metric(f"split_time_{source}", time, text, true + bound, true - bound, unit=unit)


def of_ends(simulation: xr.Dataset) -> Iterator[Metric]:
    """Yield the fraction of held-out trajectories that end in the true basin, for clear cases and for the others."""
    true, unit = simulation["x_true"], Units.read(simulation).of("state")
    gap = true.diff("state").squeeze("state")
    clear = abs(gap.sel(time=simulation.attrs["split_time_true"], method="nearest")) >= CLEAR_GAP
    text = f"fraction of trajectories with true |x1 − x2| ≥ {CLEAR_GAP} at splitting"
    yield Metric("clear_share", float(clear.mean()), text, unit="1")
    for source, name in {"fit": "x", "symmetrised": "x_symmetrised"}.items():
        x = simulation[name]
        same = np.sign(x.diff("state").squeeze("state").isel(time=-1)) == np.sign(gap.isel(time=-1))
        distance = (((x - true).isel(time=-1) ** 2).sum("state", skipna=False) ** 0.5).fillna(np.inf)
        text = "fraction of clear cases that end in the true basin"
        yield Metric(f"basin_share_{source}", float(same[clear].mean()), text, at_least=1, unit="1")
        farthest = float(distance[clear].max()) if clear.any() else np.nan
        text = "largest distance of a final state from the true one, clear cases"
        yield Metric(f"end_error_{source}", farthest, text, 0.02, unit=unit)
        unclear = float(same[~clear].mean()) if (~clear).any() else np.nan
        text = "fraction of the other cases that end in the true basin"
        yield Metric(f"basin_share_{source}_unclear", unclear, text, unit="1")


def of_paths(results: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield barriers on the minimum-energy paths between the wells of Ψ₂, their spread, and errors of the saddles."""
    true = results["paths/truth"]
    units, barrier, exact = Units.read(true), float(true["barrier"][0]), 0.1547105627
    height = units.of("potential")
    yield Metric("path_barrier_truth", barrier, "barrier on the true path", exact + 1e-8, exact - 1e-8, unit=height)
    crest = true["x"].values[int(true["potential"].values.argmax())]
    apart = float(np.linalg.norm(crest - true["saddle"].values))
    text = "distance of the highest point of the true path from its saddle"
    yield Metric("path_crest_truth", apart, text, 1e-6, unit=units.of("state"))
    for source in ("fit", "symmetrised"):
        found = results[f"paths/{source}"]
        heights = found["barrier"].values if "barrier" in found else np.full((1, 2), np.nan)
        worst = float(np.abs(heights / barrier - 1).max())
        text = "relative error of the barrier, worst direction and member"
        yield Metric(f"path_barrier_error_{source}", worst, text, 0.02, unit="1")
        yield from _spread("path_barrier", source, heights[:, 0], barrier, "barrier between the wells", height)
        mismatch = float(found["mismatch"].max()) if "mismatch" in found else np.nan
        text = "distance of the saddle on the path from the one found by direct search"
        yield Metric(f"path_mismatch_{source}", mismatch, text, 1e-6, unit=units.of("state"))


def of_branches(results: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield the b at which Ψ_b splits: at a pitchfork, or at a fold where the symmetry is broken."""
    true = results["branches/truth"]
    pitchfork = (0.359530158 - 0.1) / 0.9
    exact = float(first_split(true)[0])
    yield Metric("branch_split_truth", exact, "b at the true pitchfork", pitchfork + 1e-6, pitchfork - 1e-6, unit="1")
    fold, pitchforks = (first_split(results[f"branches/{source}"]) for source in ("fit", "symmetrised"))
    late = float(np.abs(fold / exact - 1).max())
    yield Metric("branch_split_error_fit", late, "relative error of b at the fold, best member", 0.05, unit="1")
    worst, text = float(np.abs(pitchforks / exact - 1).max()), "relative error of b at the pitchfork, worst member"
    yield Metric("branch_split_error_symmetrised", worst, text, 0.05, unit="1")
    yield from _spread("branch_split", "symmetrised", pitchforks, exact, "b at the pitchfork", "1")


def of_basins(results: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield the agreement of the basins of Ψ₂ with the true ones, and of the separatrix with the diagonal."""
    true = results["basins/truth"]["label"].values
    for source in ("fit", "symmetrised"):
        found = results[f"basins/{source}"]
        decided = (true >= 0) & (found["label"].values >= 0)
        same = float((found["label"].values == true)[decided].mean())
        text = "fraction of grid points in the true basin of Ψ₂"
        yield Metric(f"basin_grid_share_{source}", same, text, at_least=0.99, unit="1")
        line, unit = found["separatrix"].values, found["separatrix"].attrs.get("units")
        error = float(np.abs(line[:, 0] - line[:, 1]).max() / np.sqrt(2)) if len(line) else np.nan
        text = "largest distance of the separatrix of Ψ₂ from the true one"
        yield Metric(f"separatrix_error_{source}", error, text, 0.02, unit=unit)


def _spread(name: str, source: str, values: np.ndarray, truth: float, text: str, unit: str | None) -> Iterator[Metric]:
    """Yield the mean and standard deviation over the members, and the error of the mean in standard deviations."""
    mean, deviation = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else np.nan
    yield Metric(f"{name}_{source}", mean, f"{text}, mean over members", unit=unit)
    yield Metric(f"{name}_spread_{source}", deviation, f"{text}, standard deviation over members", unit=unit)
    error = abs(mean - truth) / deviation
    yield Metric(f"{name}_off_{source}", error, f"{text}, error of the mean over the standard deviation", unit="1")


def _relative(value: np.ndarray, truth: np.ndarray) -> float:
    """Return RMSE/RMS of arrays of equal shape."""
    return float(np.sqrt(((value - truth) ** 2).mean() / (truth**2).mean()))


def _position_error(found: xr.Dataset, true: xr.Dataset) -> float:
    """Return the largest distance of a true point from the nearest one found of its kind, infinite if there is none."""
    worst = 0.0
    for k in range(true.sizes["point"]):
        rivals = found["x"].values[(found["kind"] == true["kind"][k]).values]
        distance = np.linalg.norm(rivals - true["x"].values[k], axis=-1)
        worst = max(worst, float(distance.min()) if len(distance) else np.inf)
    return worst


def _barrier(points: xr.Dataset, source: str) -> float:
    """Return the difference of Ψ₂ between its lowest saddle and its lowest minimum, NaN if one is missing."""
    found = select(points, source=source, case="psi_2")
    level = found["potential"]
    lowest = {kind: level.values[(found["kind"] == kind).values] for kind in ("saddle", "minimum")}
    both = len(lowest["saddle"]) and len(lowest["minimum"])
    return float(lowest["saddle"].min() - lowest["minimum"].min()) if both else float("nan")
