"""Free energy of six strain components and a concentration, learned from stress and chemical potential (Figs 5–7).

Of a thousand random states, four fifths are used for fitting (one tenth of them for validation) and one fifth for
testing. Only ∂Ψ/∂E and ∂Ψ/∂c are matched, each component in units of its standard deviation (Eq 15); the energy is
inferred up to a constant. The study evaluates the energy and its gradient at test states, finds wells and saddles in
seven dimensions, and follows a path that leaves the range of sampled strains halfway,

    E(t) = 0.4 t (e₁⊗e₁ − 0.3 (I − e₁⊗e₁)),   c(t) = t                                                      (Eq 16).

The standard deviation over the ensemble serves as error bar, whose coverage is checked.

The crystal is cubic, but a plain fit does not know the symmetry. Two uses of it are compared with the plain fit over
the number of samples: averaging the learned energy over the group (`Symmetrised`), and augmenting the data by
symmetry-equivalent samples.

Equations and figures are those of Jones et al. (2025), doi:10.48550/arXiv.2506.17242.
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
from studies.mechanochemical import metrics, points
from studies.metrics import metrics_dataset
from studies.points import concat_labelled
from studies.registry import register
from studies.run_options import RunOptions
from systems import parameter
from workbench.dataset.variables import state_labels, variable
from workbench.parallel import Report

__all__ = ["MechanochemicalStudy", "path"]

SHARED = (
    "shared by truth and fit: the mean difference of a member from the truth on test states is removed from its "
    "potential, plain and symmetrised"
)
TREATMENTS = ("plain", "symmetrised", "augmented")  # of the symmetry
Size = Annotated[int, Field(ge=10)]


@register("mechanochemical")
class MechanochemicalStudy(Study):
    """The free energy of a cubic–tetragonal crystal, learned from stress and chemical potential (Figs 5–7)."""

    title: ClassVar[str] = "Mechanochemical free energy, learned from stress and chemical potential"
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

    samples: int = parameter(800, "random states to learn from, one tenth of them for validation", ge=10)
    test: int = parameter(200, "random states for testing", ge=1)
    members: int = parameter(3, "independent fits", ge=1)
    modes: int = parameter(5, "convex modes", ge=1)
    hidden: tuple[int, ...] = parameter((10, 10), "widths of the hidden layers", min_length=1)
    steps: int = parameter(80, "Levenberg–Marquardt steps", ge=1)
    restarts: int = parameter(1, "initialisations screened per fit", ge=1)
    screening: int = parameter(15, "steps of screening", ge=1)
    curve: tuple[Size, ...] = parameter((100,), "numbers of samples for the learning curve, in addition to `samples`")
    augmented: int = parameter(800, "largest number of samples after augmentation by symmetry", ge=1)
    level: float = parameter(0.005, "bound on the error of energy differences between wells", gt=0)
    starts: int = parameter(128, "starting points of each search for stationary points", ge=1)
    grid: int = parameter(61, "grid points per side of the planes of energies", ge=3)

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, fits, planes, stationary points, path, learning curve and metrics."""
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
        labels += [f"fit to {size} samples, {treatment}" for size, treatment, _ in extra]
        done = options.parallel(learn, jobs + [job for _, _, job in extra], labels)
        members, others = done[: self.members], dict(zip([e[:2] for e in extra], done[self.members :], strict=True))
        fit = wb.Fit.joined([one for one, _, _ in members])
        true = points.exact(crystal)
        found = {
            source: concat_labelled((one[at], {"member": k}) for k, one in enumerate(members))
            for at, source in ((1, "fit"), (2, "symmetrised"))
        }
        stationary = points.by_family({"truth": true, **found}, true).assign_attrs(
            description="Stationary points of the true energy, of every member, and of every member symmetrised.",
            gauge=f"of the truth: {crystal.gauge}; of every member: {fit.ensemble.gauge}, before averaging "
            "over the group; `level` is free of it",
        )
        data = data.assign_attrs(description="Energy and its gradient at random states.")
        extrapolation = self._along_path(crystal, fit)
        curve = self._curve(others | {(self.samples, "plain"): members[fit.best]}, crystal, true)
        reported = list(metrics.of_accuracy(fit, wb.Symmetrised(fit.ensemble, crystal.symmetry)))
        reported += [*metrics.of_points(stationary, fit.best, self.level)]
        reported += [*metrics.of_path(extrapolation), *metrics.of_spread(fit, extrapolation), *metrics.of_curve(curve)]
        analysis = {
            "stationary_points": stationary,
            "extrapolation": extrapolation,
            "learning_curve": curve,
            "metrics": metrics_dataset(reported),
        }
        landscape = self._planes(crystal, fit)
        return {"data": {"points": data}, "fits": {"fit": fit}, "landscape": landscape, "analysis": analysis}

    def data(self, crystal: Any, size: int, seed: np.random.SeedSequence, test: xr.Dataset | None = None) -> xr.Dataset:
        """Return `size` states, one tenth of them for validation, and test states: new ones, or those of `test`."""
        drawn = crystal.points(size + (self.test if test is None else 0), seed=seed)
        held_out = max(1, round(size / 10))
        split = ["train"] * (size - held_out) + ["validation"] * held_out
        split += ["test"] * (drawn.sizes["sample"] - size)
        drawn = drawn.assign_coords(split=variable("sample", split, "role of the sample in the fit"))
        if test is not None:
            drawn = xr.concat([drawn, test.isel(sample=(test["split"] == "test").values)], "sample")
        return drawn.assign_coords(sample=np.arange(drawn.sizes["sample"]))

    def _curve(self, done: Mapping[tuple[int, str], Any], crystal: Any, true: xr.Dataset) -> xr.Dataset:
        """Return test errors and numbers of points found, over samples and use of symmetry (NaN if not computed)."""
        columns = {
            "error": "largest test error of a gradient component, RMSE/s.d.",
            "potential_error": "test error of the potential, RMSE/s.d.",
            "wells": "number of true wells found, of four",
            "saddles": "number of true index-1 saddles found, of six",
            "spurious": "number of minima that are not wells of the true energy",
        }
        sizes = sorted({size for size, _ in done})
        values = np.full((len(columns), len(sizes), len(TREATMENTS)), np.nan)
        for (size, training), (fit, plain_points, symmetrised_points) in done.items():
            symmetrised = wb.Symmetrised(fit.model, crystal.symmetry)
            treatments = {"augmented": (symmetrised, symmetrised_points)}
            if training == "plain":
                treatments = {"plain": (fit.model, plain_points), "symmetrised": (symmetrised, symmetrised_points)}
            for treatment, (model, found) in treatments.items():
                score = wb.score(model, fit.data, offset="remove").sel(part="test")
                errors = [float(score["gradient_relative_rmse"].max()), float(score["potential_relative_rmse"])]
                values[:, sizes.index(size), TREATMENTS.index(treatment)] = [*errors, *points.counted(found, true)]
        variables = {
            name: variable(("size", "way"), values[k], text, "1") for k, (name, text) in enumerate(columns.items())
        }
        ways = "plain fit, averaged over the group, or fitted to augmented data and averaged"
        coords = {
            "size": variable("size", sizes, "training and validation samples", "1"),
            "way": variable("way", list(TREATMENTS), ways),
        }
        sentence = "Test errors and points found, over the number of samples and the use of the symmetry."
        return xr.Dataset(variables, coords, {"description": sentence})

    def _along_path(self, crystal: Any, fit: wb.Fit) -> xr.Dataset:
        """Return energy and gradient along the path, of every member, symmetrised, and true, without offsets."""
        time = np.linspace(0, 1, 101)
        x, units = path(time), crystal.units
        symmetrised, offset = wb.Symmetrised(fit.ensemble, crystal.symmetry), metrics.offset(fit)[:, None]
        members, both = ("member", "time"), ("time", "state")
        columns = {
            "x": (both, x, "state", "state"),
            "potential": (members, fit.ensemble.value(x) - offset, "potential, offset removed", "potential"),
            "potential_symmetrised": (
                members,
                symmetrised.value(x) - offset,
                "symmetrised potential, offset removed",
                "potential",
            ),
            "potential_true": (("time",), crystal.value(x), "potential, true", "potential"),
            "gradient": (("member", *both), fit.ensemble.gradient(x), "gradient of the potential", "gradient"),
            "gradient_symmetrised": (
                ("member", *both),
                symmetrised.gradient(x),
                "gradient of the symmetrised potential",
                "gradient",
            ),
            "gradient_true": (both, crystal.gradient(x), "gradient of the potential, true", "gradient"),
        }
        variables = {
            name: variable(dims, values, text, units.of(quantity))
            for name, (dims, values, text, quantity) in columns.items()
        }
        variables["inside_data"] = variable("time", fit.model.inside_data(x), "inside the box of the data")
        coords = {
            "time": variable("time", time, "t", "1"),
            **state_labels(crystal.states, units),
            "member": variable("member", np.arange(fit.ensemble.members or 1), "independent fit"),
        }
        attrs = {
            "description": "Energies and gradients along the path of Eq 16, of every member, symmetrised, and true.",
            "gauge": f"{crystal.gauge}, {SHARED}",
            **units.attrs(),
        }
        return xr.Dataset(variables, coords, attrs)

    def _planes(self, crystal: Any, fit: wb.Fit) -> xr.Dataset:
        """Return energies and gradients on four planes of invariants, of the best member, symmetrised, and true."""
        planes, units = points.planes(self.grid), crystal.units
        x = planes["x"].values
        rows, lead = x.reshape(-1, crystal.dim), ("plane", "first", "second")
        offset = metrics.offset(fit)[fit.best]
        symmetrised = wb.Symmetrised(fit.model, crystal.symmetry)
        cases = (("", fit.model, offset), ("_symmetrised", symmetrised, offset), ("_true", crystal, 0.0))
        for name, model, shift in cases:
            text, value = name.replace("_", ", "), model.value(rows).reshape(x.shape[:-1]) - shift
            slope = model.gradient(rows).reshape(x.shape)
            planes[f"potential{name}"] = variable(lead, value, f"potential{text}", units.of("potential"))
            planes[f"gradient{name}"] = variable(
                (*lead, "state"), slope, f"gradient of the potential{text}", units.of("gradient")
            )
        return planes.assign_attrs(
            description="Energies and gradients on planes of invariants, of the best member, symmetrised, and true.",
            gauge=f"{crystal.gauge}, {SHARED}",
            **units.attrs(),
        )


def path(time: np.ndarray) -> np.ndarray:
    """Return the states of Eq 16, shape (time, 7), at given times, shape (time,).

    Examples
    --------
    >>> path(np.array([0.5])).round(3) + 0.0
    array([[ 0.2 , -0.06, -0.06,  0.  ,  0.  ,  0.  ,  0.5 ]])
    """
    return time[:, None] * np.array([0.4, -0.12, -0.12, 0, 0, 0, 1])


def learn(
    study: MechanochemicalStudy, data: xr.Dataset, copies: int, seed: np.random.SeedSequence, report: Report
) -> tuple[wb.Fit, xr.Dataset, xr.Dataset]:
    """Return one fit, with the stationary points of its energy, plain and symmetrised."""
    crystal = systems.get("mechanochemical")
    model = wb.LSEICNN(dim=crystal.dim, modes=study.modes, hidden=study.hidden, states=crystal.states)
    steps, screening = study.steps, min(study.screening, study.steps)
    optimiser = wb.LevenbergMarquardt(steps=steps, screening=screening)
    for_copies, for_fit = seed.spawn(2)
    if copies > 1:
        data = wb.augmented(data, crystal.symmetry, count=copies, seed=for_copies)
    settings: dict[str, Any] = {"restarts": study.restarts, "optimiser": optimiser, "progress": report}
    fit = wb.fit(model, data, match="gradient", seed=for_fit, **settings)
    symmetrised = wb.Symmetrised(fit.model, crystal.symmetry)
    return fit, points.search(fit.model, study.starts), points.search(symmetrised, study.starts)
