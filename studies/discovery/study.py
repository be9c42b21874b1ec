"""Number of wells by model selection, and the cost of one mode per well.

First, ``modes="auto"`` scans the number of modes on data of the three 1-D functions, with and without noise. It selects
the smallest number that held-out data cannot distinguish from the best (see `workbench.fit`). The expected result is 2,
4 and 3 modes and as many wells, with one dominant mode at each well.

Second, the number of modes is set to the number of wells. A lower bound on the sharpness ρ then keeps each mode
dominant at its own well, at the expense of accuracy on smooth functions. The bound is in scaled units, in which the
potential has unit standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import Field

import systems
import workbench as wb
from studies.base import Study
from studies.metrics import Metric, metrics_dataset
from studies.points import concat_labelled
from studies.registry import register
from studies.run_options import RunOptions
from systems import parameter
from workbench.parallel import Report

__all__ = ["DiscoveryStudy"]

NotNegative = Annotated[float, Field(ge=0)]
BOX = [(-3.0, 3.0)]
TRUE_WELLS = {"asymmetric_quartic": 2, "cosine_quadratic": 4, "min_mixture": 3}
TEST_POINTS = np.linspace(-3, 3, 200)[:, None]


@register("discovery")
class DiscoveryStudy(Study):
    """Number of wells by model selection, and a bound on the sharpness that keeps one mode per well."""

    title: ClassVar[str] = "Discovery of wells: model selection over the number of modes, and a bound on the sharpness"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {"datasets": 10, "fits": 6}}

    datasets: int = parameter(1, "data sets per function and noise level", ge=1)
    samples: int = parameter(200, "random points per data set, one fifth of them held out", ge=5)
    noise: tuple[NotNegative, ...] = parameter(
        (0.0, 0.05), "standard deviation of the noise over that of the potential", min_length=1
    )
    modes: int = parameter(10, "largest number of modes tried", ge=1)
    hidden: tuple[int, ...] = parameter((10, 10), "widths of the hidden layers", min_length=1)
    steps: int = parameter(300, "Levenberg–Marquardt steps", ge=1)
    restarts: int = parameter(2, "initialisations screened per fit", ge=1)
    bounds: tuple[NotNegative, ...] = parameter(
        (0.0, 0.5, 1.0, 2.0, 3.0, 5.0), "lower bounds on the sharpness, scaled units", min_length=1
    )
    fits: int = parameter(2, "fits per function and bound", ge=1)
    grid: int = parameter(301, "grid points for landscapes", ge=3)

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, selected fits with landscapes and mode counts, the effect of the bound, and metrics."""
        for_scans, for_bounds = seed.spawn(2)
        levels, bounds = sorted(set(self.noise)), sorted(set(self.bounds))
        keys = [(name, noise, k) for name in TRUE_WELLS for noise in levels for k in range(self.datasets)]
        labels = [f"{name}_noise{100 * noise:g}_{k}" for name, noise, k in keys]
        scans = [(self, *key[:2], child) for key, child in zip(keys, for_scans.spawn(len(keys)), strict=True)]
        pairs = [(name, bound, k) for name in TRUE_WELLS for bound in bounds for k in range(self.fits)]
        fixed = [(self, *pair[:2], child) for pair, child in zip(pairs, for_bounds.spawn(len(pairs)), strict=True)]
        bound_labels = [f"{name}, rho above {bound:g}, fit {k}" for name, bound, k in pairs]
        done = options.parallel(scan, scans, [f"scan of {label}" for label in labels])
        bounded = options.parallel(with_bound, fixed, bound_labels)
        fits = {label: fit for label, (fit, _, _) in zip(labels, done, strict=True)}
        scanned = xr.concat([counts for _, counts, _ in done], "fit").assign_coords(fit=labels)
        scanned = scanned.assign_coords(case=("fit", [key[0] for key in keys]), noise=("fit", [key[1] for key in keys]))
        wells = concat_labelled(
            (one.drop_vars("member"), {"fit": label}) for label, (_, _, one) in zip(labels, done, strict=True)
        )
        results = np.array(bounded).reshape(len(TRUE_WELLS), len(bounds), self.fits, 3)
        metrics = metrics_dataset(self._metrics(scanned))
        analysis = {"wells": wells, "scanned": scanned, "bound": self._bound(results, bounds), "metrics": metrics}
        data = {label: fit.data for label, fit in fits.items()}
        return {"data": data, "fits": fits, "landscape": self._landscape(fits, keys), "analysis": analysis}

    def model(self, modes: int, bound: float = 0.0) -> wb.LSEICNN:
        """Return the architecture."""
        return wb.LSEICNN(dim=1, modes=modes, hidden=self.hidden, rho_lo=bound, states=["x"])

    def optimiser(self) -> wb.LevenbergMarquardt:
        """Return the optimiser of all fits."""
        return wb.LevenbergMarquardt(steps=self.steps, screening=min(30, self.steps))

    def _landscape(self, fits: Mapping[str, wb.Fit], keys: list[tuple[str, float, int]]) -> xr.Dataset:
        """Return the learned Ψ, its convex modes (in units of Ψ, NaN beyond their number) and the true Ψ on a grid."""
        x = np.linspace(*BOX[0], self.grid)
        potential, true = np.empty((len(keys), self.grid)), np.empty((len(keys), self.grid))
        modes = np.full((len(keys), max(fit.model.modes for fit in fits.values()), self.grid), np.nan)
        for row, (key, fit) in enumerate(zip(keys, fits.values(), strict=True)):
            potential[row] = fit.model.value(x[:, None])
            true[row] = systems.get(key[0]).value(x[:, None])
            modes[row, : fit.model.modes] = fit.model.modes_value(x[:, None]).T
        columns = {"potential": potential, "potential_true": true}
        variables: dict[str, Any] = {
            name: (("fit", "x"), values, {"long_name": name.replace("_", ", "), "units": "1"})
            for name, values in columns.items()
        }
        variables["convex_mode"] = (("fit", "mode", "x"), modes, {"long_name": "convex mode", "units": "1"})
        coords = {"fit": list(fits), "mode": np.arange(modes.shape[1]), "x": ("x", x, {"long_name": "position"})}
        return xr.Dataset(variables, coords=coords)

    def _bound(self, results: np.ndarray, bounds: list[float]) -> xr.Dataset:
        """Return the test error, the weight of the dominant mode and the number of wells, over the bound."""
        names = {
            "mse": "test mean squared error over the variance of the potential",
            "mode_weight": "weight of the dominant mode, smallest over the wells; 0 without wells",
            "wells": "number of wells",
        }
        variables: dict[str, Any] = {
            name: (("case", "bound", "repetition"), results[..., k], {"long_name": text, "units": "1"})
            for k, (name, text) in enumerate(names.items())
        }
        bound = ("bound", bounds, {"long_name": "lower bound on the sharpness, scaled units", "units": "1"})
        equations = [systems.get(name).reference.rpartition(", ")[2] for name in TRUE_WELLS]
        coords = {"case": list(TRUE_WELLS), "bound": bound, "repetition": np.arange(self.fits)}
        title = ("case", equations, {"long_name": "equation of the publication"})
        return xr.Dataset(variables, coords=coords | {"case_title": title})

    def _metrics(self, scanned: xr.Dataset) -> list[Metric]:
        """Return the metrics of the fits by model selection."""
        metrics = []
        for noise in sorted(set(self.noise)):
            for name, wells in TRUE_WELLS.items():
                here = scanned.isel(fit=((scanned["case"] == name) & (scanned["noise"] == noise)).values)
                correct = float((here["wells"] == wells).mean())
                label, case = f"{name}_noise{100 * noise:g}", f"{name} with {100 * noise:g} % noise"
                limits: dict[str, Any] = {"at_least": 0.9} if noise <= 0.05 else {}
                text = f"fraction of scans with {wells} wells, {case}"
                metrics.append(Metric(f"wells_{label}", correct, text, **limits))
                if noise == 0:
                    modes = float((here["modes_chosen"] == wells).mean())
                    weight, mse = float(here["mode_weight"].median()), float(here["mse"].median())
                    text = f"median weight of the dominant mode, smallest over wells, {case}"
                    metrics += [
                        Metric(f"modes_{label}", modes, f"fraction of scans with {wells} modes, {case}", at_least=0.9),
                        Metric(f"mode_weight_{label}", weight, text, at_least=0.9),
                        Metric(f"mse_{label}", mse, f"median test mean squared error, {case}", at_most=5e-6),
                    ]
        return metrics


def scan(
    study: DiscoveryStudy, name: str, noise: float, seed: np.random.SeedSequence, report: Report
) -> tuple[wb.Fit, xr.Dataset, xr.Dataset]:
    """Return the fit with the selected number of modes, its mode counts, and its wells."""
    for_data, for_noise, for_fit = seed.spawn(3)
    exact = systems.get(name)
    data = exact.points(study.samples, seed=for_data)
    spread = noise * float(data["potential"].std())
    data["potential"] = data["potential"] + np.random.default_rng(for_noise).normal(0, spread, study.samples)
    options: dict[str, Any] = {"restarts": study.restarts, "optimiser": study.optimiser(), "progress": report}
    fit = wb.fit(study.model(study.modes), data, match="potential", modes="auto", seed=for_fit, **options)
    wells = wb.wells(fit.ensemble, BOX)
    counts = wb.mode_counts(fit, found=wells).squeeze("member", drop=True)
    mse = float(((fit.model.value(TEST_POINTS) - exact.value(TEST_POINTS)) ** 2).mean())
    extra = {"modes_chosen": (fit.model.modes, "number of modes selected"), "mse": (mse, "test mean squared error")}
    extra["mode_weight"] = (_weakest(wells), "weight of the dominant mode, smallest over the wells; 0 without wells")
    for key, (value, text) in extra.items():
        counts[key] = ((), value, {"long_name": text, "units": "1"})
    return fit, counts, wells


def with_bound(
    study: DiscoveryStudy, name: str, bound: float, seed: np.random.SeedSequence, report: Report
) -> tuple[float, float, float]:
    """Return the relative test error, the smallest weight of the dominant mode at a well, and the number of wells."""
    for_data, for_fit = seed.spawn(2)
    exact = systems.get(name)
    options: dict[str, Any] = {"restarts": study.restarts, "optimiser": study.optimiser(), "progress": report}
    fit = wb.fit(study.model(TRUE_WELLS[name], bound), exact.points(study.samples, seed=for_data), match="potential",
                 seed=for_fit, **options)  # fmt: skip
    wells, truth = wb.wells(fit.model, BOX), exact.value(TEST_POINTS)
    mse = float(((fit.model.value(TEST_POINTS) - truth) ** 2).mean() / truth.var())
    return mse, _weakest(wells), float(wells.sizes["point"])


def _weakest(wells: xr.Dataset) -> float:
    """Return the weight of the dominant mode, smallest over the wells; 0 without wells."""
    return float(wells["mode_weight"].min()) if wells.sizes["point"] else 0.0
