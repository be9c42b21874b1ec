"""Paths, barriers and rates of a surface learned from gradients, and first passages over a barrier.

The Müller–Brown surface rises by thousands outside its wells, a region that is never visited. Samples are spread evenly
over the box and kept where Ψ is below a level above all wells and saddles. There are 500 of them, one fifth for
validation, and further ones for testing. Only ∇Ψ is matched. For truth and fit, the study computes the wells and
saddles, matched over the ensemble, the graph that they form, the minimum-energy path, and the Eyring–Kramers rates at a
temperature T of one seventh of the lowest barrier.

Crossings of barriers above a few T are too rare to simulate. For the one-dimensional asymmetric double well (Eq 8 of
Jones et al. 2025), simulated first-passage times are compared with exact quadrature, and the latter with Kramers'
formula. Halving the time step shows the weak order of the integrator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import Field

import systems
import workbench as wb
from studies.base import Study
from studies.crossings import first_passages, metrics
from studies.landscapes import beside_truth
from studies.metrics import metrics_dataset
from studies.points import concat_labelled
from studies.registry import register
from studies.run_options import RunOptions
from systems import parameter
from workbench import dataset
from workbench.dataset.variables import variable
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.parallel import Report

__all__ = ["CrossingsStudy"]

PATH_ENDS = [(-0.558, 1.442), (0.623, 0.028)]  # near the deepest and the second deepest well
NEAR_SAMPLE = 0.15  # distance to the nearest sample beyond which the landscape is extrapolated
Height = Annotated[float, Field(gt=0)]


@register("crossings")
class CrossingsStudy(Study):
    """Wells, saddles, paths and rates of the Müller–Brown surface, learned from gradients; first passages in 1-D."""

    title: ClassVar[str] = (
        "Crossings: paths, barriers and rates of a surface learned from gradients, and first passages"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"members": 5, "steps": 400, "restarts": 2, "heights": (2.0, 3.0, 4.0, 5.0), "count": 2000},
    }

    samples: int = parameter(500, "gradients to learn from, one fifth of them for validation", ge=10)
    test: int = parameter(200, "gradients for testing", ge=1)
    level: float = parameter(20.0, "level of the potential below which samples are kept")
    members: int = parameter(3, "independent fits", ge=1)
    modes: int = parameter(4, "convex modes", ge=1)
    hidden: tuple[int, ...] = parameter((8, 8, 8), "widths of the hidden layers", min_length=1)
    steps: int = parameter(150, "Levenberg–Marquardt steps", ge=1)
    restarts: int = parameter(1, "initialisations screened per fit", ge=1)
    temperature: float = parameter(1.2, "temperature for the rates on the surface", symbol="T", gt=0)
    heights: tuple[Height, ...] = parameter(
        (2.0, 3.0, 4.0), "barriers of simulated first passages, in units of T", min_length=1
    )
    count: int = parameter(500, "trajectories for each barrier", ge=8)
    end: float = parameter(300.0, "time at which trajectories that have not arrived are censored", gt=0)
    halvings: int = parameter(5, "halvings of the time step in the refinement", ge=2)
    starts: int = parameter(128, "starting points of each search for stationary points", ge=1)
    grid: int = parameter(101, "grid points per side for landscapes", ge=3)

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, fit, landscape, stationary points, crossings, paths, first passages, refinement and metrics."""
        for_data, for_fits, for_noise = seed.spawn(3)
        surface = systems.get("muller_brown")
        data = self._data(surface, for_data)
        model = wb.LSEICNN(dim=2, modes=self.modes, hidden=self.hidden, states=surface.states)
        settings = {"restarts": self.restarts, "optimiser": wb.LevenbergMarquardt(steps=self.steps)}
        fits = [(learn, (model, data, {"seed": own, **settings})) for own in for_fits.spawn(self.members)]
        seeds = for_noise.spawn(len(self.heights))
        runs = [
            (first_passages.passage, (h, self.count, self.end, s)) for h, s in zip(self.heights, seeds, strict=True)
        ]
        jobs = [*fits, *runs, (first_passages.refinement, (self.halvings,))]
        labels = [f"fit {k + 1}" for k in range(self.members)] + [f"passages over {h:g} T" for h in self.heights]
        done = options.parallel(call, jobs, [*labels, "refinement"])
        fit = wb.Fit.joined(done[: self.members])
        learned = [fit.ensemble.member(k) for k in range(self.members)]
        jobs = [(explore, (psi, data, self.starts, self.temperature)) for psi in (surface, *learned)]
        found = options.parallel(call, jobs, ["truth", *(f"member {k}" for k in range(self.members))])
        true, fitted = found[0], {k: one for k, one in enumerate(found[1:])}
        crossings = metrics.crossings(true["rates"], {k: one.get("rates") for k, one in fitted.items()})
        points, summary = _points(found)
        analysis = {
            "stationary_points": points,
            "ensemble_points": summary,
            "crossings": crossings,
            **_paths(true, fitted),
            "passages": self._passages(done[self.members : -1]),
            "kramers": first_passages.laws(),
            "refinement": done[-1],
        }
        reported = [*metrics.of_field(fit, surface), *metrics.of_points(points), *metrics.of_crossings(crossings)]
        reported += [*metrics.of_paths(analysis), *metrics.of_noise(analysis)]
        landscape = self._landscape(surface, fit)
        analysis["metrics"] = metrics_dataset(reported)
        return {"data": {"surface": fit.data}, "fits": {"fit": fit}, "landscape": landscape, "analysis": analysis}

    def _data(self, surface: Any, seed: np.random.SeedSequence) -> xr.Dataset:
        """Return samples below the level, split into train, validation and test."""
        for_points, for_split = seed.spawn(2)
        wanted = self.samples + self.test
        drawn = surface.points(8 * wanted, seed=for_points, spread="sobol")
        low = np.flatnonzero(drawn["potential"].values < self.level)[:wanted]
        if len(low) < wanted:
            raise ValueError(
                f"level = {self.level:g} keeps {len(low)} of {8 * wanted} samples, fewer than {wanted}; raise it"
            )
        kept = drawn.isel(sample=low).assign_coords(sample=np.arange(wanted))
        sentence = f"Gradients of the true surface at states where its potential is below {self.level:g}."
        kept = kept.assign_attrs(description=sentence)
        fitted = dataset.assign_split(kept.isel(sample=slice(0, self.samples)), for_split)
        split = np.concatenate([fitted["split"].values, np.full(self.test, "test", dtype="<U10")])
        return kept.assign_coords(split=variable("sample", split, "role of the sample in the fit"))

    def _landscape(self, surface: Any, fit: wb.Fit) -> xr.Dataset:
        """Return potential and gradient on a grid, of the best member and true, and their offset near the samples."""
        result = beside_truth(fit.model, surface, surface.box, self.grid, lambda x: near_data(x, fit.data), fit)
        texts = ("first coordinate", "second coordinate")
        for name, text, unit in zip(surface.states, texts, surface.units.states, strict=True):
            result = result.assign_coords({name: variable(name, result[name].values, f"{name}, {text}", unit)})
        sentence = "Potential and gradient of the best member and of the true surface on a grid of the box."
        return result.assign_attrs(description=sentence)

    def _passages(self, runs: list[xr.Dataset]) -> xr.Dataset:
        """Return the first passages over all barriers."""
        heights = variable("height", list(self.heights), "barrier over temperature", "1")
        joined = xr.concat(runs, "height", combine_attrs="drop_conflicts").assign_coords(height=heights)
        sentence = (
            "Mean first-passage time from the shallow to the deep well of the double well (Eq 8), over the barrier"
        )
        return joined.assign_attrs(description=f"{sentence}: simulated, and by quadrature.")


def _points(found: list[dict[str, xr.Dataset]]) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the stationary points of the truth and of every member, and those of the members matched."""
    parts = ((one["points"], {"source": "fit" if k else "truth", "member": k - 1}) for k, one in enumerate(found))
    of_truth, of_member = (one["points"].attrs["gauge"] for one in found[:2])
    points = concat_labelled(parts).assign_attrs(
        description="Stationary points of the true surface and of every member, near the samples.",
        gauge=f"of the truth: {of_truth}; of every member: {of_member}",
    )
    members = points.isel(point=(points["source"] == "fit").values).drop_vars("source")
    summary = wb.summary(members).assign_attrs(
        description="Stationary points of the members, matched: mean and standard deviation over the members.",
        gauge=f"of every member: {of_member}; `above` is free of it",
    )
    return points, summary


def _paths(true: Mapping[str, xr.Dataset], fitted: Mapping[int, Mapping[str, xr.Dataset]]) -> dict[str, xr.Dataset]:
    """Return the minimum-energy path of the truth and those of the members that have one."""
    paths = {k: one["path"] for k, one in fitted.items() if "path" in one}
    number = variable("member", list(paths), "independent fit")
    joined = xr.concat(paths.values(), "member", join="outer").assign_coords(member=number) if paths else xr.Dataset()
    sentence = "Minimum-energy path between the two deepest wells"
    return {
        "paths/truth": true["path"].assign_attrs(description=f"{sentence}, true surface."),
        "paths/fit": joined.assign_attrs(description=f"{sentence}, every member."),
    }


def call(function: Callable[..., Any], arguments: tuple, report: Report) -> Any:
    """Return `function(*arguments, report)`, so that jobs of several kinds run in parallel."""
    return function(*arguments, report)


def learn(model: wb.LSEICNN, data: xr.Dataset, settings: Mapping[str, Any], report: Report) -> wb.Fit:
    """Return one fit to the gradients."""
    return wb.fit(model, data, match="gradient", progress=report, **settings)


def explore(psi: Any, data: xr.Dataset, starts: int, temperature: float, report: Report) -> dict[str, xr.Dataset]:
    """Return the stationary points of a landscape near the data, and its rates and path if they exist."""
    box = systems.get("muller_brown").box
    points = wb.stationary_points(psi, box, starts=starts)
    points = points.isel(point=near_data(points["x"].values, data)).drop_vars("inside_data", errors="ignore")
    points = points.assign_coords(point=np.arange(points.sizes["point"]))
    found = {"points": points}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LandscapeWarning)  # barriers are checked by the metrics
            found["rates"] = wb.rates(psi, box, temperature, points=points)
        found["path"] = wb.minimum_energy_path(psi, *PATH_ENDS, images=201, within=box, points=points)
    except LandscapeError as error:
        report(1, 1, f"no result: {error}")
    report(1, 1, f"{points.sizes['point']} stationary point(s)")
    return found


def near_data(x: np.ndarray, data: xr.Dataset) -> np.ndarray:
    """Return whether states x, shape (row, 2), are near a training or validation sample, shape (row,)."""
    samples = data["x"].values[data["split"].values != "test"]
    return np.linalg.norm(x[:, None] - samples, axis=-1).min(-1) < NEAR_SAMPLE
