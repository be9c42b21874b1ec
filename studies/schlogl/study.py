"""The evolving probability density of a bistable reaction network, learned from trajectories (Fig 8).

The data are two hundred exactly simulated trajectories of the Schlögl reactions. Two approaches are compared:

    joint         one landscape Ψ(X, t) with q(X | t) = exp(−Ψ)/Z(t), which shares information between times
    slice         a separate landscape Ψ(X) for each time, as published

Each is fitted to folds of the trajectories, with a different part held out in each fold, and the densities of the
members are averaged. The baselines are kernel density estimates with Scott's bandwidth and with a cross-validated one,
and a normal mixture whose number of components is selected by BIC; the last two need scikit-learn (the extra
`baselines`) and are left out without it. All are compared with the exact distribution, the solution of the master
equation. Fig 8 is that of Jones et al. (2025), doi:10.48550/arXiv.2506.17242.
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
from studies.registry import register
from studies.run_options import RunOptions
from studies.schlogl import baselines
from systems import parameter
from workbench.dataset.variables import Units, variable
from workbench.parallel import Report

__all__ = ["SchloglStudy"]

LARGEST_COUNT = 1000  # molecules
SUPPORT = wb.Support({"X": (0, LARGEST_COUNT)}, integer=True)
ANTIMODE = 256  # of the stationary distribution; counts below it belong to the lower steady state
SMALLEST_PROBABILITY = 1e-300  # lower bound in logarithms
SOURCES = {
    "exact": "exact distribution",
    "joint": "LSE-ICNN in (X, t)",
    "slice": "LSE-ICNN for each time",
    "kde_scott": "KDE, Scott's bandwidth",
    "kde_cv": "KDE, cross-validated bandwidth",
    "mixture": "normal mixture, BIC",
}
NEED_SCIKIT_LEARN = ("kde_cv", "mixture")
LEFT_OUT = (
    f"scikit-learn is not installed; the baselines {' and '.join(NEED_SCIKIT_LEARN)} are left out "
    "(pip install 'multiwell-workbench[baselines]' adds them)"
)


@register("schlogl")
class SchloglStudy(Study):
    """The evolving density of the Schlögl reactions, learned from trajectories, against the exact one (Fig 8)."""

    title: ClassVar[str] = "Evolving density of the Schlögl reactions, learned from trajectories"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"trajectories": 10_000, "steps": 150, "bound": 0.006, "folds": 5},
    }

    trajectories: int = parameter(200, "number of simulated trajectories", ge=10)
    times: int = parameter(40, "number of sampling times", ge=4)
    final: float = parameter(20.0, "last sampling time", symbol="t", gt=0)
    judged: tuple[Annotated[float, Field(gt=0)], ...] = parameter(
        (5.0, 10.0, 20.0), "times at which densities are compared", min_length=1
    )
    folds: int = parameter(3, "cross-validation folds (members) of the joint density", ge=2)
    slice_folds: int = parameter(5, "cross-validation folds (members) of the density of a single time", ge=2)
    modes: int = parameter(5, "convex modes", ge=1)
    hidden: tuple[int, ...] = parameter((10, 10), "widths of the hidden layers", min_length=1)
    steps: int = parameter(60, "natural-gradient steps", ge=1)
    prior: float = parameter(0.0, "weight of the divergence from the uniform density", symbol="β", ge=0)
    bound: float = parameter(
        0.035, "bound on the mean divergence of the joint density from the exact distribution", gt=0
    )

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, fits, densities, their modes, and metrics."""
        if not baselines.scikit_learn_found():
            options.say(LEFT_OUT)
        for_data, for_folds, for_fits = seed.spawn(3)
        network = systems.get("schlogl")
        time = np.linspace(self.final / self.times, self.final, self.times)
        runs = network.trajectories(self.trajectories, time=time, seed=for_data)
        judged = [float(runs["time"].sel(time=t, method="nearest")) for t in self.judged]
        parts = {"joint": (runs, ["X", "time"], self.folds)}
        for t in judged:
            here = wb.dataset.points(runs["x"].sel(time=t).values, states=["X"])
            parts[_label(t)] = (here, ["X"], self.slice_folds)
        jobs, owner = [], []
        seeds = zip(for_folds.spawn(len(parts)), for_fits.spawn(len(parts)), strict=True)
        for (name, (data, states, count)), (one, two) in zip(parts.items(), seeds, strict=True):
            folds = wb.dataset.folds(data, count, one)
            jobs += [(self, fold, states, child) for fold, child in zip(folds, two.spawn(count), strict=True)]
            owner += [name] * count
        labels = [f"{name}, fold {owner[:k].count(name) + 1}" for k, name in enumerate(owner)]
        done = options.parallel(learn, jobs, labels)
        fits = {n: wb.Fit.joined([f for f, o in zip(done, owner, strict=True) if o == n]) for n in parts}
        exact = network.law(time)["probability"].transpose("time", "X").values
        densities = self._densities(runs, fits, exact, judged)
        analysis = {
            "densities": densities,
            "modes": _modes(densities),
            "metrics": metrics_dataset(self._metrics(densities, judged)),
        }
        split = variable("trajectory", np.full(self.trajectories, "train"), "role of the trajectory in the fit")
        runs = runs.assign_coords(split=split).assign_attrs(
            description="Trajectories of the reactions, simulated exactly and recorded at the sampling times."
        )
        return {
            "data": {"trajectories": runs},
            "fits": fits,
            "landscape": _landscape(densities),
            "analysis": analysis,
        }

    def _densities(
        self, runs: xr.Dataset, fits: Mapping[str, wb.Fit], distribution: np.ndarray, judged: list[float]
    ) -> xr.Dataset:
        """Return the probability of every count by every source, compared with the exact one.

        Probabilities are NaN where a source was not evaluated.
        """
        complete = baselines.scikit_learn_found()
        sources = [source for source in SOURCES if complete or source not in NEED_SCIKIT_LEARN]
        X, time = np.arange(LARGEST_COUNT + 1), runs["time"].values
        joint, p = wb.Density(fits["joint"].ensemble), np.full((len(sources), len(time), len(X)), np.nan)
        for k, t in enumerate(time):
            rows = {"exact": distribution[k], "joint": joint.table(time=float(t))}
            rows |= _of_samples(runs["x"].values[:, k, 0], X, fits[_label(t)] if t in judged else None)
            for source, row in rows.items():
                p[sources.index(source), k] = row
        coords = {
            "source": variable("source", sources, "distribution"),
            "time": variable("time", time, "time", Units.read(runs).time),
            "X": variable("X", X, "number of molecules", "1"),
        }
        result = xr.Dataset({"probability": variable(list(coords), p, "probability", "1")}, coords)
        result = result.assign(_judged(result["probability"]))
        fraction, text = (runs["x"].values[..., 0] < ANTIMODE).mean(0), "fraction of trajectories with fewer than 256"
        result["below_data"] = variable("time", fraction, f"{text} molecules", "1")
        sentence = "Probability of every number of molecules, by every source, and its distance from the exact one."
        return result.assign_attrs({"description": sentence} | ({} if complete else {"note": LEFT_OUT}))

    def _metrics(self, densities: xr.Dataset, judged: list[float]) -> list[Metric]:
        """Return the metrics: divergences, normalisation, P(X < 256), and times of the second mode."""
        here = densities.sel(time=judged)
        context = f"{self.trajectories} trajectories, mean over t = {', '.join(f'{t:g}' for t in judged)}"
        metrics = []
        for source in densities["source"].values[1:]:
            limits: dict[str, Any] = {"at_most": self.bound} if source == "joint" else {}
            kl = float(here["divergence"].sel(source=source).mean())
            text = f"KL(exact ‖ {SOURCES[source]}), {context}"
            metrics.append(Metric(f"kl_{source}", kl, text, unit="nats", **limits))
        joint = f"KL(exact ‖ {SOURCES['joint']})"
        for t in judged:
            kl = float(here["divergence"].sel(source="joint", time=t))
            metrics.append(Metric(f"kl_joint_t{t:g}", kl, f"{joint} at t = {t:g}", unit="nats"))
        everywhere = float(densities["divergence"].sel(source="joint").mean())
        metrics.append(Metric("kl_joint_all", everywhere, f"{joint}, mean over all {self.times} times", unit="nats"))
        error = float(abs(densities["total"].sel(source="joint") - 1).max())
        text = "largest |Σq − 1| of the joint density"
        metrics.append(Metric("normalisation", error, text, at_most=1e-6, unit="1"))
        exact = densities["below"].sel(source="exact", time=judged)
        errors = abs(densities["below"].sel(source="joint", time=judged) - exact)
        sampling = np.sqrt(exact * (1 - exact) / self.trajectories)
        text = "largest error of P(X < 256), joint density, in standard errors of the same number of trajectories"
        metrics.append(Metric("below_joint", float((errors / sampling).max()), text, at_most=3.0, unit="1"))
        for source in ("exact", "joint", "kde_scott"):
            time = _second_mode(densities["probability"].sel(source=source))
            text = f"time of the second mode, {SOURCES[source]}"
            metrics.append(Metric(f"second_mode_{source}", time, text, unit=Units.read(densities).time))
        return metrics


def learn(
    study: SchloglStudy, data: xr.Dataset, states: list[str], seed: np.random.SeedSequence, report: Report
) -> wb.Fit:
    """Return the fit of the density to one fold."""
    model = wb.LSEICNN(dim=len(states), modes=study.modes, hidden=study.hidden, states=states)
    steps = wb.LevenbergMarquardt(steps=study.steps, screening=min(10, study.steps), patience=15)
    match = wb.match.Density(SUPPORT, prior=study.prior)
    return wb.fit(model, data, match=match, seed=seed, restarts=1, optimiser=steps, progress=report)


def peaks(p: np.ndarray, above: float = 0.02) -> np.ndarray:
    """Return the positions of the modes of p, shape (mode,), whose prominence exceeds `above` times the maximum.

    The prominence of a mode is its height above the lowest point between it and a higher mode.
    """
    from scipy.signal import find_peaks

    return find_peaks(np.concatenate([[0.0], p, [0.0]]), prominence=above * p.max())[0] - 1


def _of_samples(x: np.ndarray, X: np.ndarray, single: wb.Fit | None) -> dict[str, np.ndarray]:
    """Return the densities estimated from samples x at one time; Scott's alone unless there is a fit to this time."""
    found = {"kde_scott": baselines.kernels(x, X)}
    if single is not None:
        found["slice"] = wb.Density(single.ensemble).table()
        if baselines.scikit_learn_found():
            found["kde_cv"] = baselines.kernels(x, X, width=baselines.best_width(x))
            found["mixture"] = baselines.mixture(x, X)
    return found


def _judged(probability: xr.DataArray) -> dict[str, xr.Variable]:
    """Return the divergence from the exact distribution, P(X < 256), and the sum over X, of every source."""
    exact = probability.sel(source="exact")
    log_exact, log_p = (np.log(np.maximum(v, SMALLEST_PROBABILITY)) for v in (exact, probability))
    divergence = (exact * (log_exact - log_p)).sum("X", skipna=False)
    below = probability.sel(X=slice(0, ANTIMODE - 1)).sum("X", skipna=False)
    total = probability.sum("X", skipna=False)
    return {
        "divergence": variable(divergence.dims, divergence.values, "divergence from the exact distribution", "nats"),
        "below": variable(below.dims, below.values, "probability of fewer than 256 molecules", "1"),
        "total": variable(total.dims, total.values, "sum of all probabilities", "1"),
    }


def _second_mode(p: xr.DataArray) -> float:
    """Return the time from which on there are at least two modes, NaN if the last time has fewer."""
    two = [len(peaks(row)) >= 2 for row in p.values]
    first = len(two)
    while first > 0 and two[first - 1]:
        first -= 1
    return float(p["time"].values[first]) if first < len(two) else float("nan")


def _modes(densities: xr.Dataset) -> xr.Dataset:
    """Return the positions of the modes over (source, time, rank), from the left, NaN where there are fewer."""
    p = densities["probability"].sel(source=["exact", "joint", "kde_scott"])
    positions = np.full((p.sizes["source"], p.sizes["time"], 3), np.nan)
    for s, k in np.ndindex(*positions.shape[:2]):
        found = peaks(p.values[s, k])[:3]
        positions[s, k, : len(found)] = densities["X"].values[found]
    coords = {
        "source": densities["source"].sel(source=p["source"]),
        "time": densities["time"],
        "rank": variable("rank", np.arange(3), "position among the modes, from the left", "1"),
    }
    places = variable(list(coords), positions, "mode of the density, number of molecules", "1")
    return xr.Dataset({"mode_place": places}, coords, {"description": "Modes of the densities over time."})


def _landscape(densities: xr.Dataset) -> xr.Dataset:
    """Return −log q over (time, X), learned and exact; the exact probability is bounded below by 1e-12."""
    p = densities["probability"]
    lowest = {"potential": ("joint", SMALLEST_PROBABILITY), "potential_true": ("exact", 1e-12)}
    grid = xr.Dataset(coords={"time": densities["time"], "X": densities["X"]})
    for name, (source, least) in lowest.items():
        text = "potential, −log of the probability" + (", true" if source == "exact" else "")
        values = -np.log(np.maximum(p.sel(source=source).values, least))
        grid[name] = variable(("time", "X"), values, text, "1")
    return grid.assign_attrs(
        description="−log of the probability over time and number of molecules, for the joint density (mean of its "
        "members) and the exact distribution.",
        gauge="the sum of exp(−potential) over X is 1 at every time, for the learned and the true potential alike",
    )


def _label(t: float) -> str:
    """Return the name of the fit for a single time."""
    return f"slice_{t:g}".replace(".", "p")
