"""The numbers the gene-circuit study reports, each against the exact circuit, with the bounds it is held to."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from studies.gene_circuit.questions import first_split
from studies.metrics import Metric
from studies.points import select

__all__ = ["of_basins", "of_branches", "of_ends", "of_fields", "of_paths", "of_points", "of_split"]

LEARNED = {"fit": "as learned", "symmetrised": "as learned, symmetrised,", "long": "learned from long trajectories"}
CLEAR = 0.03  # |x1 − x2| of the true path when the landscape splits, above which its side is decided


def of_fields(
    truth: Mapping[str, Any], fits: Mapping[str, Any], fair: Mapping[str, Any], grid: np.ndarray
) -> Iterator[Metric]:
    """Yield relative L2 errors of the velocity field, on the grid (shape (…, 2)) and along test trajectories."""
    box = "velocity field on the box, RMSE over RMS"
    for case, circuit in truth.items():
        field = circuit.gradient(grid)
        yield Metric(
            f"field_error_{case}", _relative(fits[case].model.gradient(grid), field), f"{box}, covering data", 0.002
        )
        yield Metric(
            f"field_error_{case}_symmetrised", _relative(fair[case].gradient(grid), field), f"{box}, symmetrised"
        )
    for case, circuit in truth.items():
        fit = fits[f"{case}_long"]
        x = fit.data["x"].values[fit.data["split"].values == "test"]
        along = _relative(fit.model.gradient(x), circuit.gradient(x))
        yield Metric(f"path_error_{case}_long", along, "velocity along test trajectories, from long ones alone", 0.005)
        error = _relative(fit.model.gradient(grid), circuit.gradient(grid))
        yield Metric(f"field_error_{case}_long", error, f"{box}, long data, extrapolated at the edges")


def of_points(points: xr.Dataset) -> Iterator[Metric]:
    """Yield counts, position errors and barriers of the learned stationary points."""
    for source in ("fit", "symmetrised"):
        for case, (minima, saddles) in {"psi_1": (1, 0), "psi_2": (2, 1)}.items():
            found, true = select(points, source=source, case=case), select(points, source="truth", case=case)
            for kind, count in {"minimum": minima, "saddle": saddles}.items():
                number = int((found["kind"] == kind).sum())
                yield Metric(
                    f"{kind}_count_{case}_{source}", number, f"points of this kind, truth {count}", count, count
                )
            error = _position_error(found, true)
            yield Metric(
                f"position_error_{case}_{source}",
                error,
                "largest distance of a stationary point to the true one",
                0.002,
            )
        error = abs(_barrier(points, source) / _barrier(points, "truth") - 1)
        yield Metric(f"barrier_error_{source}", error, "barrier of Ψ₂, relative error", 0.02)


def of_split(split: xr.Dataset) -> Iterator[Metric]:
    """Yield when Ψ_b splits, on the truth, the fit, the symmetrised fit and the fit to long trajectories."""
    true = float(split["time"].sel(source="truth"))
    yield Metric("split_time_truth", true, "time at which the true Ψ_b gets its second minimum")
    for source, bound in {"fit": 0.2, "symmetrised": 0.05, "long": np.nan}.items():
        time = float(split["time"].sel(source=source))
        text = f"time at which Ψ_b {LEARNED[source]} does"
        yield Metric(f"split_time_{source}", time, text, true + bound, true - bound)


def of_ends(simulation: xr.Dataset) -> Iterator[Metric]:
    """Yield how many held-out starts end where the truth ends: those the truth decides clearly, and the others."""
    true = simulation["x_true"]
    gap = true.diff("state").squeeze("state")
    clear = abs(gap.sel(time=simulation.attrs["split_time_true"], method="nearest")) >= CLEAR
    yield Metric("clear_share", float(clear.mean()), f"held-out starts with true |x1 − x2| ≥ {CLEAR} at the split")
    for source, name in {"fit": "x", "symmetrised": "x_symmetrised"}.items():
        x = simulation[name]
        same = np.sign(x.diff("state").squeeze("state").isel(time=-1)) == np.sign(gap.isel(time=-1))
        distance = (((x - true).isel(time=-1) ** 2).sum("state", skipna=False) ** 0.5).fillna(np.inf)
        yield Metric(
            f"basin_share_{source}", float(same[clear].mean()), "clear starts that end in the true basin", at_least=1
        )
        yield Metric(
            f"end_error_{source}",
            float(distance[clear].max()) if clear.any() else np.nan,
            "largest distance of a clear end to the true one",
            0.02,
        )
        unclear = float(same[~clear].mean()) if (~clear).any() else np.nan
        yield Metric(f"basin_share_{source}_unclear", unclear, "the other starts that end in the true basin")


def of_paths(answers: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield barriers on the minimum-energy paths between the wells of Ψ₂, their spread, and how well paths agree."""
    true = answers["paths/truth"]
    barrier = float(true["barrier"][0])
    yield Metric("path_barrier_truth", barrier, "barrier on the true path", 0.1547105627 + 1e-8, 0.1547105627 - 1e-8)
    crest = true["x"].values[int(true["potential"].values.argmax())]
    apart = float(np.linalg.norm(crest - true["saddle"].values))
    yield Metric("path_crest_truth", apart, "distance of the highest state of the true path to its saddle", 1e-6)
    for source in ("fit", "symmetrised"):
        found = answers[f"paths/{source}"]
        heights = found["barrier"].values if "barrier" in found else np.full((1, 2), np.nan)
        worst = float(np.abs(heights / barrier - 1).max())
        yield Metric(f"path_barrier_error_{source}", worst, "barrier, either way, worst member, relative", 0.02)
        yield from _spread("path_barrier", source, heights[:, 0], barrier, "barrier from well to well")
        mismatch = float(found["mismatch"].max()) if "mismatch" in found else np.nan
        yield Metric(f"path_mismatch_{source}", mismatch, "distance of the path's saddle to that found alone", 1e-6)


def of_branches(answers: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield the b at which branches of Ψ_b split: exactly a pitchfork, at a fold where its symmetry is broken."""
    true = answers["branches/truth"]
    pitchfork = (0.359530158 - 0.1) / 0.9
    exact = float(first_split(true)[0])
    yield Metric("branch_split_truth", exact, "b of the true pitchfork", pitchfork + 1e-6, pitchfork - 1e-6)
    fold, pitchforks = (first_split(answers[f"branches/{source}"]) for source in ("fit", "symmetrised"))
    late = float(np.abs(fold / exact - 1).max())
    yield Metric("branch_split_error_fit", late, "b of the fold, best member, relative error", 0.05)
    worst = float(np.abs(pitchforks / exact - 1).max())
    yield Metric("branch_split_error_symmetrised", worst, "b of the pitchfork, worst member, relative error", 0.05)
    yield from _spread("branch_split", "symmetrised", pitchforks, exact, "b of the pitchfork")


def of_basins(answers: Mapping[str, xr.Dataset]) -> Iterator[Metric]:
    """Yield how far the learned basins of Ψ₂ agree with the true ones, and the separatrices, truly the diagonal."""
    true = answers["basins/truth"]["label"].values
    for source in ("fit", "symmetrised"):
        found = answers[f"basins/{source}"]
        decided = (true >= 0) & (found["label"].values >= 0)
        same = float((found["label"].values == true)[decided].mean())
        yield Metric(f"basin_grid_share_{source}", same, "grid of starts: share in the true well of Ψ₂", at_least=0.99)
        line = found["separatrix"].values
        away = float(np.abs(line[:, 0] - line[:, 1]).max() / np.sqrt(2)) if len(line) else np.nan
        yield Metric(f"separatrix_error_{source}", away, "largest distance of the separatrix of Ψ₂ to the true", 0.02)


def _spread(name: str, source: str, values: np.ndarray, truth: float, text: str) -> Iterator[Metric]:
    """Yield mean and standard deviation over the members, and how far off the mean is in units of that."""
    mean, deviation = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else np.nan
    yield Metric(f"{name}_{source}", mean, f"{text}, mean of the members")
    yield Metric(f"{name}_spread_{source}", deviation, f"{text}, standard deviation over the members")
    yield Metric(f"{name}_off_{source}", abs(mean - truth) / deviation, f"{text}, error of the mean in such deviations")


def _relative(value: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((value - truth) ** 2).mean() / (truth**2).mean()))


def _position_error(found: xr.Dataset, true: xr.Dataset) -> float:
    """Return the largest distance of a true point to the nearest found one of its kind, infinite if there is none."""
    worst = 0.0
    for k in range(true.sizes["point"]):
        rivals = found["x"].values[(found["kind"] == true["kind"][k]).values]
        distance = np.linalg.norm(rivals - true["x"].values[k], axis=-1)
        worst = max(worst, float(distance.min()) if len(distance) else np.inf)
    return worst


def _barrier(points: xr.Dataset, source: str) -> float:
    """Return Ψ₂ at its lowest saddle less Ψ₂ at its lowest minimum."""
    found = select(points, source=source, case="psi_2")
    level = found["potential"]
    lowest = {kind: level.values[(found["kind"] == kind).values] for kind in ("saddle", "minimum")}
    both = len(lowest["saddle"]) and len(lowest["minimum"])
    return float(lowest["saddle"].min() - lowest["minimum"].min()) if both else float("nan")
