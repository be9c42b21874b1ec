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
from workbench.dataset.variables import product, variable
from workbench.parallel import Report

__all__ = ["DiscoveryStudy"]

NotNegative = Annotated[float, Field(ge=0)]
BOX = [(-3.0, 3.0)]
SHARED = "that of the formula, shared by truth and fits, which match its values"
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
    steps: int = parameter(150, "Levenberg–Marquardt steps", ge=1)
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
        scanned = _scanned([counts for _, counts, _ in done], labels, keys)
        wells = concat_labelled(
            (one.drop_vars("member"), {"fit": label}) for label, (_, _, one) in zip(labels, done, strict=True)
        ).assign_attrs(description="Wells of all fits with the selected number of modes.", gauge=SHARED)
        results = np.array(bounded).reshape(len(TRUE_WELLS), len(bounds), self.fits, 3)
        metrics = metrics_dataset(self._metrics(scanned))
        analysis = {"wells": wells, "scanned": scanned, "bound": self._bound(results, bounds), "metrics": metrics}
        data = {
            label: _described(fit.data, noise) for (label, fit), (_, noise, _) in zip(fits.items(), keys, strict=True)
        }
        return {"data": data, "fits": fits, "landscape": self._landscape(fits, keys), "analysis": analysis}

    def model(self, modes: int, bound: float = 0.0) -> wb.LSEICNN:
        """Return the architecture."""
        return wb.LSEICNN(dim=1, modes=modes, hidden=self.hidden, rho_lo=bound, states=["x"])

    def optimiser(self) -> wb.LevenbergMarquardt:
        """Return the optimiser of all fits."""
        return wb.LevenbergMarquardt(steps=self.steps, screening=min(20, self.steps))

    def _landscape(self, fits: Mapping[str, wb.Fit], keys: list[tuple[str, float, int]]) -> xr.Dataset:
        """Return the learned Ψ, its convex modes (in units of Ψ, NaN beyond their number) and the true Ψ on a grid."""
        x = np.linspace(*BOX[0], self.grid)
        potential, true = np.empty((len(keys), self.grid)), np.empty((len(keys), self.grid))
        modes = np.full((len(keys), max(fit.model.modes for fit in fits.values()), self.grid), np.nan)
        for row, (key, fit) in enumerate(zip(keys, fits.values(), strict=True)):
            potential[row] = fit.model.value(x[:, None])
            true[row] = systems.get(key[0]).value(x[:, None])
            modes[row, : fit.model.modes] = fit.model.modes_value(x[:, None]).T
        units = systems.get(keys[0][0]).units
        height = units.of("potential")
        variables = {
            "potential": variable(("fit", "x"), potential, "potential", height),
            "potential_true": variable(("fit", "x"), true, "potential, true", height),
            "convex_mode": variable(("fit", "mode", "x"), modes, "convex mode", height),
        }
        coords = {
            "fit": variable("fit", list(fits), "function, noise and number of the data set"),
            "mode": variable("mode", np.arange(modes.shape[1]), "convex mode"),
            "x": variable("x", x, "position", units.of("state")),
        }
        sentence = "Learned and true potentials, and the convex modes, on a grid of the box."
        return xr.Dataset(variables, coords, {"description": sentence, "gauge": SHARED, **units.attrs()})

    def _bound(self, results: np.ndarray, bounds: list[float]) -> xr.Dataset:
        """Return the test error, the weight of the dominant mode and the number of wells, over the bound."""
        names = {
            "mse": "test mean squared error over the variance of the potential",
            "mode_weight": "weight of the dominant mode, smallest over the wells; 0 without wells",
            "wells": "number of wells",
        }
        variables = {
            name: variable(("case", "bound", "repetition"), results[..., k], text, "1")
            for k, (name, text) in enumerate(names.items())
        }
        variables["wells"] = variables["wells"].astype(int)
        equations = [systems.get(name).reference.rpartition(", ")[2] for name in TRUE_WELLS]
        coords = {
            "case": variable("case", list(TRUE_WELLS), "landscape"),
            "bound": variable("bound", bounds, "lower bound on the sharpness, scaled units", "1"),
            "repetition": variable("repetition", np.arange(self.fits), "independent fit"),
            "case_title": variable("case", equations, "equation of the publication"),
        }
        sentence = "Accuracy and wells of fits with one mode per well, over the lower bound on the sharpness."
        return xr.Dataset(variables, coords, {"description": sentence})

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
                metrics.append(Metric(f"wells_{label}", correct, text, unit="1", **limits))
                if noise == 0:
                    modes, text = float((here["modes_chosen"] == wells).mean()), f"fraction of scans with {wells} modes"
                    metrics.append(Metric(f"modes_{label}", modes, f"{text}, {case}", at_least=0.9, unit="1"))
                    weight, text = float(here["mode_weight"].median()), "median weight of the dominant mode"
                    text = f"{text}, smallest over wells, {case}"
                    metrics.append(Metric(f"mode_weight_{label}", weight, text, at_least=0.9, unit="1"))
                    mse, unit = float(here["mse"].median()), here["mse"].attrs.get("units")
                    text = f"median test mean squared error, {case}"
                    metrics.append(Metric(f"mse_{label}", mse, text, at_most=5e-6, unit=unit))
        return metrics


def scan(
    study: DiscoveryStudy, name: str, noise: float, seed: np.random.SeedSequence, report: Report
) -> tuple[wb.Fit, xr.Dataset, xr.Dataset]:
    """Return the fit with the selected number of modes, its mode counts, and its wells."""
    for_data, for_noise, for_fit = seed.spawn(3)
    exact = systems.get(name)
    data = exact.points(study.samples, seed=for_data)
    spread = noise * float(data["potential"].std())
    noisy = data["potential"].values + np.random.default_rng(for_noise).normal(0, spread, study.samples)
    data["potential"] = data["potential"].copy(data=noisy)
    options: dict[str, Any] = {"restarts": study.restarts, "optimiser": study.optimiser(), "progress": report}
    fit = wb.fit(study.model(study.modes), data, match="potential", modes="auto", seed=for_fit, **options)
    wells = wb.wells(fit.ensemble, BOX)
    counts = wb.mode_counts(fit, found=wells).squeeze("member", drop=True)
    mse = float(((fit.model.value(TEST_POINTS) - exact.value(TEST_POINTS)) ** 2).mean())
    weakest = "weight of the dominant mode, smallest over the wells; 0 without wells"
    counts["modes_chosen"] = variable((), fit.model.modes, "number of modes selected", "1")
    counts["mse"] = variable((), mse, "test mean squared error", product((exact.units.of("potential"), 2)))
    counts["mode_weight"] = variable((), _weakest(wells), weakest, "1")
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


def _scanned(counts: list[xr.Dataset], labels: list[str], keys: list[tuple[str, float, int]]) -> xr.Dataset:
    """Return the mode counts over `fit`, with the function and the noise of each."""
    names, levels, _ = zip(*keys, strict=True)
    return (
        xr.concat(counts, "fit")
        .assign_coords(
            fit=variable("fit", labels, "function, noise and number of the data set"),
            case=variable("fit", list(names), "landscape"),
            noise=variable("fit", list(levels), "standard deviation of the noise over that of the potential", "1"),
        )
        .assign_attrs(description="Modes selected, wells found and test errors of all scans over the number of modes.")
    )


def _described(data: xr.Dataset, noise: float) -> xr.Dataset:
    """Return the data of a scan with a sentence of what they hold."""
    sentence = f"Values of the function at random points, with noise of {100 * noise:g} % of their standard deviation."
    return data.assign_attrs(description=sentence)
