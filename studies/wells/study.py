"""Three functions of one variable, learned from 200 points each: accuracy, cost, and number of wells (Figs 2–4).

Every function is fitted ten times by each of two optimisers: Levenberg–Marquardt, and Adam with the published protocol
(Eq 7 with ε = 1e-4, learning rates 1e-3 for the networks and 1e-4 for ρ and α, initial values ρ = 2 and ς = 0.99,
unscaled data, full batches). The preset "quick" runs Adam for a small fraction of its epochs, the preset "paper" for
all 150,000. For both optimisers the loss is the mean squared error in the units of the function. Fifty validation
points select the weights that are kept; two hundred equally spaced points form the test set.

The published count of active gates is compared with the numbers of dominant modes and of wells (see
`workbench.mode_counts`).

Equations and figures are those of Jones et al. (2025), doi:10.48550/arXiv.2506.17242.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import xarray as xr

import systems
import workbench as wb
from studies.base import Study
from studies.metrics import Metric, metrics_dataset
from studies.points import concat_labelled, select
from studies.registry import register
from studies.run_options import RunOptions
from systems import parameter
from workbench.dataset.variables import Units, product, variable
from workbench.parallel import Report

__all__ = ["WellsStudy"]

BOX = [(-3.0, 3.0)]
MATCH = "potential"
SHARED = "that of the formula, shared by truth and fits, which match its values"
OPTIMISERS = {"lm": "Levenberg–Marquardt", "adam": "Adam"}
FUNCTIONS = ("asymmetric_quartic", "cosine_quadratic", "min_mixture")
ERROR_BOUNDS = {"asymmetric_quartic": (2e-8, 0.01), "cosine_quadratic": (1e-8, 0.01), "min_mixture": (5e-7, 0.02)}


@register("wells")
class WellsStudy(Study):
    """Three 1-D functions with two, four and three wells, learned by Levenberg–Marquardt and by Adam (Figs 2–4)."""

    title: ClassVar[str] = "Wells of three functions of one variable, learned from random points"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {"epochs": 150_000}}

    variant: Literal["scaled", "printed"] = parameter("scaled", "min_mixture as intended (scaled), or as printed")
    samples: int = parameter(200, "random points for training", ge=2)
    validation: int = parameter(50, "random points for validation", ge=1)
    members: int = parameter(10, "independent fits per function and optimiser", ge=1)
    modes: int = parameter(10, "number of modes, a generous estimate", ge=1)
    hidden: tuple[int, ...] = parameter((10, 10), "widths of the hidden layers", min_length=1)
    steps: int = parameter(200, "largest number of Levenberg–Marquardt steps", ge=1)
    restarts: int = parameter(2, "initialisations screened per fit by Levenberg–Marquardt", ge=1)
    tolerance: float = parameter(0.0, "root-mean-square error at which Levenberg–Marquardt stops", ge=0)
    screening: int = parameter(20, "steps of screening", ge=1)
    sharp: float = parameter(1.5, "initial sharpness for Levenberg–Marquardt, scaled units", symbol="ρ", gt=0)
    epochs: int = parameter(600, "Adam epochs", ge=1)
    lr: float = parameter(1e-3, "Adam learning rate of the networks", gt=0)
    slow_rate: float = parameter(1e-4, "Adam learning rate of ρ and α", ge=0)
    penalty: float = parameter(1e-4, "penalty on |α|", symbol="ε", ge=0)
    rho: float = parameter(2.0, "initial sharpness for Adam", symbol="ρ", gt=0)
    gate: float = parameter(0.99, "initial gates for Adam", symbol="ς", gt=0, lt=1)
    every: int = parameter(50, "epochs between records of the history", ge=1)
    compiled: bool = parameter(False, "whether torch compiles the Adam step")
    grid: int = parameter(601, "grid points for landscapes", ge=3)

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, fits by both optimisers, landscapes, wells, mode counts and metrics."""
        for_data, *for_fits = seed.spawn(1 + len(FUNCTIONS))
        exact = {name: systems.get(name, **self._options(name)) for name in FUNCTIONS}
        seeds = for_data.spawn(len(FUNCTIONS))
        data = {name: self._data(exact[name], child) for name, child in zip(FUNCTIONS, seeds, strict=True)}
        self._announce(data, options)
        jobs, labels, names = [], [], []
        for name, own in zip(
            FUNCTIONS, for_fits, strict=True
        ):  # one job for all members by Adam, one for each by Levenberg–Marquardt
            jobs.append((self, data[name], "adam", own, options.checkpoint(name)))
            jobs += [(self, data[name], "lm", child, None) for child in own.spawn(self.members)]
            labels += [f"{name}, Adam", *(f"{name}, fit {k + 1} by Levenberg–Marquardt" for k in range(self.members))]
            names += [f"{name}_adam", *[f"{name}_lm"] * self.members]
        order = sorted(range(len(jobs)), key=lambda k: jobs[k][2])  # long jobs first
        done = dict(
            zip(order, options.parallel(learn, [jobs[k] for k in order], [labels[k] for k in order]), strict=True)
        )
        parts = {name: [done[k] for k, own in enumerate(names) if own == name] for name in dict.fromkeys(names)}
        fits = {name: wb.Fit.joined([fit for fit, _ in found]) for name, found in sorted(parts.items())}
        learned_wells = {name: [wells for _, wells in found] for name, found in sorted(parts.items())}
        wells = _all_wells({name: wb.wells(exact[name], BOX) for name in FUNCTIONS}, learned_wells)
        cases = {name: name.rsplit("_", 1) for name in fits}
        counted = {
            name: wb.mode_counts(fits[name], found=select(wells, case=case, source=source))
            for name, (case, source) in cases.items()
        }
        rows = [xr.concat([counted[f"{n}_{o}"] for n in FUNCTIONS], "case") for o in OPTIMISERS]
        counts = xr.concat(rows, "optimiser").assign_coords(
            case=variable("case", list(FUNCTIONS), "landscape"),
            optimiser=variable("optimiser", list(OPTIMISERS), "optimiser"),
        )
        counts = counts.assign_attrs(description="Open gates, dominant modes and wells of every fit.")
        analysis = {"wells": wells, "counts": counts, "metrics": metrics_dataset(self._metrics(fits, counts, wells))}
        return {"data": data, "fits": fits, "landscape": self._landscape(exact, fits), "analysis": analysis}

    def _options(self, name: str) -> dict[str, Any]:
        """Return the parameters of a function."""
        return {"variant": self.variant} if name == "min_mixture" else {}

    def _data(self, exact: Any, seed: np.random.SeedSequence) -> xr.Dataset:
        """Return random training and validation points, and equally spaced test points."""
        random = exact.points(self.samples + self.validation, seed=seed)
        x = np.concatenate([random["x"].values, np.linspace(*BOX[0], 200)[:, None]])
        split = np.repeat(["train", "validation", "test"], [self.samples, self.validation, 200])
        units = exact.units
        named = {"x": units.states[0], "potential": units.potential, "time": units.time}
        known = {name: unit for name, unit in named.items() if unit is not None}
        options: dict[str, Any] = {"split": split.tolist(), "states": ["x"], "units": known}
        sentence = (
            "Values of the function at random points for training and validation, and equally spaced for testing."
        )
        return wb.dataset.points(x, potential=exact.value(x), sigma=1.0, **options).assign_attrs(
            description=sentence, gauge=exact.gauge
        )

    def adam(self) -> wb.Adam:
        """Return the optimiser of the published protocol."""
        settings = ("epochs", "lr", "slow_rate", "penalty", "every", "compiled")
        return wb.Adam(**{name: getattr(self, name) for name in settings})

    def fit(self, data: xr.Dataset, optimiser: str, seed: np.random.SeedSequence, **options: Any) -> wb.Fit:
        """Return a fit of one function: all members by Adam, one member by Levenberg–Marquardt."""
        model = wb.LSEICNN(dim=1, modes=self.modes, hidden=self.hidden)
        if optimiser == "adam":
            options |= {"init": self._init(), "optimiser": self.adam(), "members": self.members}
        else:
            marquardt = wb.LevenbergMarquardt(
                steps=self.steps, screening=min(self.screening, self.steps), tolerance=self.tolerance
            )
            init = wb.Initialisation(rho=(self.sharp,))
            options |= {"init": init, "optimiser": marquardt, "restarts": self.restarts, "checkpoint": None}
        return wb.fit(model, data, match=MATCH, seed=seed, **options)

    def _init(self) -> wb.Initialisation:
        """Return the initialisation of the published protocol."""
        return wb.Initialisation(rho=(self.rho,), gate=self.gate, weights="uniform", scaled=False)

    def _announce(self, data: Mapping[str, xr.Dataset], options: RunOptions) -> None:
        """Print the estimated time for Adam before it starts."""
        if options.progress is False:
            return
        model = wb.LSEICNN(dim=1, modes=self.modes, hidden=self.hidden)
        from workbench.fitting.task import Task
        from workbench.losses.match import parsed

        task = Task.of(model, data[FUNCTIONS[0]], parsed(MATCH), self._init())
        each = self.adam().seconds(task, self.members)
        rounds = -(-len(FUNCTIONS) // options.workers)
        options.say(
            f"estimated Adam time, {self.epochs} epochs of {self.members} member(s): {_duration(each)} per function, "
            f"{_duration(rounds * each)} for all {len(FUNCTIONS)} with {options.workers} worker(s); "
            f"checkpoints in {options.checkpoints}"
        )

    def _landscape(self, exact: Mapping[str, Any], fits: Mapping[str, wb.Fit]) -> xr.Dataset:
        """Return the potentials of all members and the true one on a grid."""
        x = np.linspace(*BOX[0], self.grid)
        learned = np.stack([[fits[f"{n}_{o}"].ensemble.value(x[:, None]) for o in OPTIMISERS] for n in FUNCTIONS])
        true = np.stack([exact[name].value(x[:, None]) for name in FUNCTIONS])
        units, equations = exact[FUNCTIONS[0]].units, [one.reference.rpartition(", ")[2] for one in exact.values()]
        height = units.of("potential")
        variables = {
            "potential": variable(("case", "optimiser", "member", "x"), learned, "potential", height),
            "potential_true": variable(("case", "x"), true, "potential, true", height),
        }
        coords = {
            "case": variable("case", list(FUNCTIONS), "landscape"),
            "optimiser": variable("optimiser", list(OPTIMISERS), "optimiser"),
            "member": variable("member", np.arange(self.members), "independent fit"),
            "x": variable("x", x, "position", units.of("state")),
            "case_title": variable("case", equations, "equation of the publication"),
            "optimiser_title": variable("optimiser", list(OPTIMISERS.values()), "optimiser"),
        }
        attrs = {
            "description": "Potentials of all members and the true ones on a grid of the box.",
            "gauge": SHARED,
            **units.attrs(),
        }
        return xr.Dataset(variables, coords, attrs)

    def _metrics(self, fits: Mapping[str, wb.Fit], counts: xr.Dataset, wells: xr.Dataset) -> list[Metric]:
        """Return the metrics: test errors, numbers of wells, and position errors of the wells."""
        metrics = []
        for name in FUNCTIONS:
            largest_mse, largest_position_error = ERROR_BOUNDS[name]
            truth = select(wells, case=name, source="truth")
            units = Units.read(truth)
            squared = product((units.of("potential"), 2))
            expected = truth.sizes["point"]
            for optimiser, title in OPTIMISERS.items():
                fit = fits[f"{name}_{optimiser}"]
                mse = wb.score(fit.ensemble, fit.data)["potential_rmse"].sel(part="test").values ** 2
                correct = counts["wells"].sel(case=name, optimiser=optimiser).values == expected
                bounded = optimiser == "lm"
                limits: dict[str, Any] = {"at_most": largest_mse} if bounded else {}
                case = f"{self.members} fit(s) of {name} by {title}"
                worst, median = float(mse.max()), float(np.median(mse))
                text = f"largest test mean squared error, {case}"
                metrics.append(Metric(f"mse_worst_{name}_{optimiser}", worst, text, unit=squared, **limits))
                text = f"median test mean squared error, {case}"
                metrics.append(Metric(f"mse_median_{name}_{optimiser}", median, text, unit=squared))
                limits = {"at_least": 1.0} if bounded else {}
                text = f"fraction with {expected} wells, {case}"
                metrics.append(Metric(f"wells_{name}_{optimiser}", correct.mean(), text, unit="1", **limits))
                if bounded:
                    error = _position_error(wells, name, optimiser, truth["x"].values[:, 0], self.members)
                    text = f"largest position error of a well, {case}"
                    bound, unit = largest_position_error, units.of("state")
                    metrics.append(Metric(f"wells_off_{name}_lm", error, text, at_most=bound, unit=unit))
        return metrics


def learn(
    study: WellsStudy, data: xr.Dataset, optimiser: str, seed: np.random.SeedSequence, checkpoint: Any, report: Report
) -> tuple[wb.Fit, xr.Dataset]:
    """Return a fit and the wells of its members."""
    fit = study.fit(data, optimiser, seed, checkpoint=checkpoint, progress=report)
    return fit, wb.wells(fit.ensemble, BOX, starts=64)


def _all_wells(true: Mapping[str, xr.Dataset], found: Mapping[str, Sequence[xr.Dataset]]) -> xr.Dataset:
    """Return all wells over `point`, labelled by case, source ("truth" or optimiser) and member."""
    parts: list[tuple[xr.Dataset, dict[str, Any]]] = [
        (wells, {"case": name, "source": "truth", "member": -1}) for name, wells in true.items()
    ]
    for label, ensembles in found.items():
        case, _, source = label.rpartition("_")
        several = len(ensembles) > 1  # one ensemble for each member, or all members in one
        for k, wells in enumerate(ensembles):
            parts.append((wells, {"case": case, "source": source, "member": k if several else wells["member"].values}))
    return concat_labelled(parts, join="outer", fill_value={"inside_data": True}).assign_attrs(
        description="Wells of the true functions and of all fits.",
        gauge=SHARED,
    )


def _position_error(wells: xr.Dataset, case: str, source: str, truth: np.ndarray, members: int) -> float:
    """Return the largest distance of a true well from the nearest well of a member, over all members."""
    found = select(wells, case=case, source=source)
    errors = []
    for member in range(members):
        x = found["x"].values[(found["member"] == member).values, 0]
        errors.append(np.abs(truth[:, None] - x).min(-1).max() if len(x) else np.inf)
    return float(max(errors))


def _duration(seconds: float) -> str:
    """Return a duration as text.

    Examples
    --------
    >>> _duration(42.0), _duration(5000.0)
    ('42 s', '1 h 23 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
