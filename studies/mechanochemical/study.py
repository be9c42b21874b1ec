r"""An energy of six strains and a concentration, learned from stress and chemical potential alone (Figs 5–7).

A thousand random states, four fifths to learn from (a tenth of those validates) and one fifth to judge by. Nothing but
∂Ψ/∂E and ∂Ψ/∂c is matched, each component in units of its own spread (Eq 15); the energy itself is inferred, up to a
constant. Asked of the result: the energy and its gradient at unseen states, its wells and saddles in seven dimensions,
and a path that leaves the sampled strains half way,

    E(t) = 0.4 t (e₁⊗e₁ − 0.3 (I − e₁⊗e₁)),   c(t) = t                                                      (Eq 16).

The spread of the ensemble is the error bar, and is itself judged.

The crystal is cubic, and a fit does not know it. Two remedies are compared with the plain fit over the number of
samples: averaging the learned energy over the group (`Symmetrised`), and learning from the images of every sample too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import Field

import systems
import workbench as wb
from studies.base import RunOptions, Study, register
from studies.mechanochemical import metrics, points
from studies.metrics import metrics_dataset
from studies.points import concat_labelled
from systems import parameter
from workbench.parallel import Report

__all__ = ["MechanochemicalStudy", "path"]

WAYS = ("plain", "symmetrised", "augmented")
Size = Annotated[int, Field(ge=10)]


@register("mechanochemical")
class MechanochemicalStudy(Study):
    """The energy of a cubic–tetragonal crystal from stress and chemical potential (Figs 5–7)."""

    title: ClassVar[str] = "Mechanochemical energy, learned from stress and chemical potential"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            "members": 5,
            "steps": 200,
            "curve": (100, 200, 400, 800, 1600, 3200),
            "augmented": 3200,
            "starts": 512,
            "level": 0.002,
        },
    }

    samples: int = parameter(800, "random states to learn from, a tenth of them to choose by", ge=10)
    test: int = parameter(200, "random states to judge by", ge=1)
    members: int = parameter(3, "independent fits", ge=1)
    modes: int = parameter(5, "convex modes", ge=1)
    hidden: tuple[int, ...] = parameter((10, 10), "widths of the hidden layers", min_length=1)
    steps: int = parameter(80, "steps of Levenberg–Marquardt", ge=1)
    restarts: int = parameter(1, "starts screened per fit", ge=1)
    screening: int = parameter(15, "steps of the screening", ge=1)
    curve: tuple[Size, ...] = parameter((100,), "numbers of samples for the learning curve, beside `samples`")
    augmented: int = parameter(800, "samples to learn from at most, augmented by symmetry", ge=1)
    level: float = parameter(0.005, "bound on the error of energy differences between wells", gt=0)
    starts: int = parameter(128, "starts of each search for stationary points", ge=1)
    grid: int = parameter(61, "points per side of the planes on which energies are saved", ge=3)

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, fits, planes, stationary points, path, learning curve and numbers."""
        for_data, for_fits, for_curve = seed.spawn(3)
        crystal = systems.get("mechanochemical")
        data = self.data(crystal, self.samples, for_data)
        jobs = [(self, data, 1, child) for child in for_fits.spawn(self.members)]
        labels = [f"fit {k + 1} to {self.samples} samples" for k in range(self.members)]
        extra = []
        for size, child in zip(self.curve, for_curve.spawn(len(self.curve)), strict=True):
            fewer, (one, two) = self.data(crystal, size, child, test=data), child.spawn(2)
            count = max(1, min(24, self.augmented // size))
            extra += [(size, "augmented", (self, fewer, count, one)), (size, "plain", (self, fewer, 1, two))]
        labels += [f"fit to {size} samples, {way}" for size, way, _ in extra]
        done = options.parallel(learn, jobs + [job for _, _, job in extra], labels)
        mine, others = done[: self.members], dict(zip([e[:2] for e in extra], done[self.members :], strict=True))
        fit = wb.Fit.joined([one for one, _, _ in mine])
        true = points.exact(crystal)
        found = {
            source: concat_labelled((one[at], {"member": k}) for k, one in enumerate(mine))
            for at, source in ((1, "fit"), (2, "symmetrised"))
        }
        stationary = points.by_family({"truth": true, **found}, true)
        extrapolation = self._along_path(crystal, fit)
        curve = self._curve(others | {(self.samples, "plain"): mine[fit.best]}, crystal, true)
        told = list(metrics.of_accuracy(fit, wb.Symmetrised(fit.ensemble, crystal.symmetry)))
        told += [*metrics.of_points(stationary, fit.best, self.level)]
        told += [*metrics.of_path(extrapolation), *metrics.of_spread(fit, extrapolation), *metrics.of_curve(curve)]
        analysis = {
            "stationary_points": stationary,
            "extrapolation": extrapolation,
            "learning_curve": curve,
            "metrics": metrics_dataset(told),
        }
        landscape = self._planes(crystal, fit)
        return {"data": {"points": data}, "fits": {"fit": fit}, "landscape": landscape, "analysis": analysis}

    def data(self, crystal: Any, size: int, seed: np.random.SeedSequence, test: xr.Dataset | None = None) -> xr.Dataset:
        """Return `size` states to learn from, of which a tenth validates, and states to judge by: new, or of `test`."""
        drawn = crystal.points(size + (self.test if test is None else 0), seed=seed)
        held_out = max(1, round(size / 10))
        split = ["train"] * (size - held_out) + ["validation"] * held_out
        split += ["test"] * (drawn.sizes["sample"] - size)
        drawn = drawn.assign_coords(split=("sample", split, {"long_name": "role of the sample in the fit"}))
        if test is not None:
            drawn = xr.concat([drawn, test.isel(sample=(test["split"] == "test").values)], "sample")
        return drawn.assign_coords(sample=np.arange(drawn.sizes["sample"]))

    def _curve(self, done: Mapping[tuple[int, str], Any], crystal: Any, true: xr.Dataset) -> xr.Dataset:
        """Return test errors and wells found, over the number of samples and the way they were used (NaN: not done)."""
        columns = {
            "error": "largest test error of a gradient component, RMSE over standard deviation",
            "potential_error": "test error of the potential, RMSE over standard deviation",
            "wells": "wells of the true energy that were found, of four",
            "saddles": "index-1 saddles of the true energy that were found, of six",
            "spurious": "minima that are no wells of the true energy",
        }
        sizes = sorted({size for size, _ in done})
        values = np.full((len(columns), len(sizes), len(WAYS)), np.nan)
        for (size, learned), (fit, plain, fair) in done.items():
            symmetrised = wb.Symmetrised(fit.model, crystal.symmetry)
            ways = {"augmented": (symmetrised, fair)}
            if learned == "plain":
                ways = {"plain": (fit.model, plain), "symmetrised": (symmetrised, fair)}
            for way, (model, found) in ways.items():
                score = wb.score(model, fit.data, offset="remove").sel(part="test")
                errors = [float(score["gradient_relative_rmse"].max()), float(score["potential_relative_rmse"])]
                values[:, sizes.index(size), WAYS.index(way)] = [*errors, *points.counted(found, true)]
        variables: dict[str, Any] = {
            name: (("size", "way"), values[k], {"long_name": text, "units": "1"})
            for k, (name, text) in enumerate(columns.items())
        }
        result = xr.Dataset(variables, coords={"size": sizes, "way": list(WAYS)})
        result["size"].attrs = {"long_name": "samples to learn and choose from", "units": "1"}
        result["way"].attrs = {"long_name": "plain, averaged over the group, or learned from images and averaged"}
        return result

    def _along_path(self, crystal: Any, fit: wb.Fit) -> xr.Dataset:
        """Return energy and gradient along the path, of every member, symmetrised, and true; offsets removed."""
        time = np.linspace(0, 1, 101)
        x = path(time)
        fair, offset = wb.Symmetrised(fit.ensemble, crystal.symmetry), metrics.offset(fit)[:, None]
        both = ("time", "state")
        columns = {
            "x": (both, x, "state"),
            "potential": (("member", "time"), fit.ensemble.value(x) - offset, "potential, less its offset"),
            "potential_symmetrised": (
                ("member", "time"),
                fair.value(x) - offset,
                "symmetrised potential, less its offset",
            ),
            "potential_true": (("time",), crystal.value(x), "potential, true"),
            "gradient": (("member", *both), fit.ensemble.gradient(x), "gradient of the potential"),
            "gradient_symmetrised": (("member", *both), fair.gradient(x), "gradient of the symmetrised potential"),
            "gradient_true": (both, crystal.gradient(x), "gradient of the potential, true"),
            "inside_data": (("time",), fit.model.inside_data(x).astype(np.int8), "inside the box of the data"),
        }
        variables: dict[str, Any] = {
            n: (d, v, {"long_name": text, "units": "1"}) for n, (d, v, text) in columns.items()
        }
        coords = {"time": ("time", time, {"long_name": "t", "units": "1"}), "state": list(crystal.states)}
        return xr.Dataset(variables, coords={**coords, "member": np.arange(fit.ensemble.members or 1)})

    def _planes(self, crystal: Any, fit: wb.Fit) -> xr.Dataset:
        """Return energies and gradients on four planes of the invariants, of the best member and true."""
        planes = points.planes(self.grid)
        x = planes["x"].values
        rows, lead = x.reshape(-1, crystal.dim), ("plane", "first", "second")
        offset = metrics.offset(fit)[fit.best]
        fair = wb.Symmetrised(fit.model, crystal.symmetry)
        for name, model, shift in (("", fit.model, offset), ("_symmetrised", fair, offset), ("_true", crystal, 0.0)):
            text = name.replace("_", ", ")
            label = {"long_name": f"potential{text}", "units": "1"}
            planes[f"potential{name}"] = (lead, model.value(rows).reshape(x.shape[:-1]) - shift, label)
            label = {"long_name": f"gradient of the potential{text}", "units": "1"}
            planes[f"gradient{name}"] = ((*lead, "state"), model.gradient(rows).reshape(x.shape), label)
        return planes


def path(time: np.ndarray) -> np.ndarray:
    """Return the states of Eq 16, shape (time, 7).

    >>> path(np.array([0.5])).round(3) + 0.0
    array([[ 0.2 , -0.06, -0.06,  0.  ,  0.  ,  0.  ,  0.5 ]])
    """
    return time[:, None] * np.array([0.4, -0.12, -0.12, 0, 0, 0, 1])


def learn(
    study: MechanochemicalStudy, data: xr.Dataset, copies: int, seed: np.random.SeedSequence, report: Report
) -> tuple[wb.Fit, xr.Dataset, xr.Dataset]:
    """Return one fit, with the stationary points of its energy, plain and symmetrised, in a worker process."""
    crystal = systems.get("mechanochemical")
    model = wb.LSEICNN(dim=crystal.dim, modes=study.modes, hidden=study.hidden, states=crystal.states)
    steps, screening = study.steps, min(study.screening, study.steps)
    optimiser = wb.LevenbergMarquardt(steps=steps, screening=screening)
    for_copies, for_fit = seed.spawn(2)
    if copies > 1:
        data = wb.augmented(data, crystal.symmetry, count=copies, seed=for_copies)
    how: dict[str, Any] = {"restarts": study.restarts, "optimiser": optimiser, "progress": report}
    fit = wb.fit(model, data, match="gradient", seed=for_fit, **how)
    fair = wb.Symmetrised(fit.model, crystal.symmetry)
    return fit, points.search(fit.model, study.starts), points.search(fair, study.starts)
