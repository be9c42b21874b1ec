"""Landscapes of a gene circuit at weak and strong inhibition, and a time-varying blend of them (Sec 4.4).

Ψ₁ and Ψ₂ are learned from velocities at inhibition 0.1 and 1. The blend Ψ_b = (1 − b) Ψ₁ + b Ψ₂ with ḃ = k (1 − b) b is
a landscape whose single well splits in time. The true potential is affine in the inhibition, so the true Ψ_b is that of
the circuit at inhibition 0.1 + 0.9 b, and every result can be compared with an exact one.

There are two designs of data. `cover` consists of many short trajectories, with a few early samples each. `long`
consists of forty long trajectories, which soon reach the attractors, so that only their first samples lie near the
edges of the box. The field learned from long trajectories alone is compared with the true one along other trajectories
from uniform initial states ("test"), and on the whole box, which requires extrapolation at the edges. In both designs,
the density of initial states increases towards the edges (arcsine distribution), because trajectories leave the edges
quickly and a fit is least certain there. Validation samples of the long design are drawn along all trajectories, so
that the region around every initial state contributes to training.

Equations, sections and figures are those of Jones et al. (2025), doi:10.48550/arXiv.2506.17242.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import xarray as xr

import systems
import workbench as wb
from studies.base import Study
from studies.gene_circuit import metrics, questions
from studies.gene_circuit.questions import BOX
from studies.landscapes import beside_truth
from studies.metrics import metrics_dataset
from studies.points import concat_labelled
from studies.registry import register
from studies.run_options import RunOptions
from systems import parameter
from workbench import dataset
from workbench.dataset.variables import variable
from workbench.parallel import Report

__all__ = ["GeneCircuitStudy"]

CASES = {"psi_1": 0.1, "psi_2": 1.0}  # inhibition of Ψ₁ and Ψ₂
QUESTIONS = {
    "paths": "Minimum-energy paths between the wells of Ψ₂",
    "basins": "Basins of attraction of Ψ₂",
    "branches": "Branches of stationary points of Ψ_b over b, with their bifurcations",
    "split": "Smallest b with two minima of Ψ_b, and its time",
}
LANDSCAPES = {
    "truth": "exact circuit",
    "fit": "fit",
    "symmetrised": "symmetrised fit",
    "long": "fit to long trajectories",
}
DESIGNS = {
    "cover": "States and velocities on many short trajectories, a few early samples each.",
    "long": "States and velocities on a few long trajectories; those of the test split are held out.",
}


@register("gene_circuit")
class GeneCircuitStudy(Study):
    """Learned landscapes of the gene circuit, and the splitting of a well in time (Figs 12 and 13)."""

    title: ClassVar[str] = "Gene circuit: two learned landscapes and the splitting of the well of their blend"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"members": 5, "steps": 400, "restarts": 4},
    }

    modes: int = parameter(3, "modes of each landscape", ge=1)
    hidden: tuple[int, ...] = parameter((8, 8, 8), "widths of the hidden layers", min_length=1)
    starts: int = parameter(200, "number of short trajectories that cover the box", ge=4)
    early: tuple[float, ...] = parameter((0.0, 0.25, 0.75), "times of the samples on short trajectories", min_length=1)
    trajectories: int = parameter(40, "number of long trajectories", ge=4)
    samples: int = parameter(11, "samples on a long trajectory, denser at early times", ge=2)
    duration: float = parameter(10.0, "duration of a long trajectory", symbol="t", gt=0)
    steps: int = parameter(150, "Levenberg–Marquardt steps", ge=1)
    restarts: int = parameter(4, "initialisations screened per fit", ge=1)
    members: int = parameter(3, "independent fits of each landscape to the covering design, for error bars", ge=1)
    rate: float = parameter(0.7, "rate of the blend parameter", symbol="k_b", gt=0)
    first: float = parameter(0.01, "blend parameter at t = 0", symbol="b(0)", gt=0, lt=1)
    held_out: int = parameter(200, "held-out initial states on the time-varying landscape", ge=1)
    final: float = parameter(15.0, "time at which final states are compared", symbol="t", gt=0)
    moments: int = parameter(61, "times at which states on the time-varying landscape are saved", ge=2)
    resolution: int = parameter(41, "grid points per side for basins of attraction", ge=2)
    grid: int = parameter(101, "grid points per side for landscapes", ge=3)

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, fits, landscapes, stationary points, splittings, a simulation and metrics."""
        for_data, for_fits, for_starts = seed.spawn(3)
        truth = {case: systems.get("gene_circuit", b=b) for case, b in CASES.items()}
        data = self._data(truth, for_data)
        fits = self._fit(data, for_fits, options)
        learned = {case: fits[case].model for case in CASES}
        symmetrised = {case: wb.Symmetrised(psi, truth[case].symmetry) for case, psi in learned.items()}
        sources = {"truth": truth, "fit": learned, "symmetrised": symmetrised}
        landscape = self._landscape(truth, fits)
        points = self._stationary_points(sources)
        blends = {name: self._blend(psi) for name, psi in sources.items()}
        blends["long"] = self._blend({case: fits[f"{case}_long"].model for case in CASES})
        ensemble = {case: fits[case].ensemble for case in CASES}
        symmetric = {case: wb.Symmetrised(psi, truth[case].symmetry) for case, psi in ensemble.items()}
        ensembles = {"truth": blends["truth"], "fit": self._blend(ensemble), "symmetrised": self._blend(symmetric)}
        results = self._analyses(blends, ensembles, options)
        splits = {name: results.pop(f"split/{name}") for name in blends}
        split = xr.concat(list(splits.values()), "source", combine_attrs="drop_conflicts")
        split = split.assign_coords(source=variable("source", list(splits), "landscape analysed"))
        split = split.assign_attrs(description=f"{QUESTIONS['split']}, of the exact circuit and of the fits.")
        simulation = self._simulate(blends, float(splits["truth"].time), for_starts)
        reported = [
            *metrics.of_fields(truth, fits, symmetrised, landscape["x"].values),
            *metrics.of_points(points),
            *metrics.of_split(split),
            *metrics.of_ends(simulation),
            *metrics.of_paths(results),
            *metrics.of_branches(results),
            *metrics.of_basins(results),
        ]
        analysis = {"stationary_points": points, "split": split, **results, "metrics": metrics_dataset(reported)}
        return {"data": data, "fits": fits, "landscape": landscape, "analysis": analysis, "simulation": simulation}

    def _data(self, truth: Mapping[str, Any], seed: np.random.SeedSequence) -> dict[str, xr.Dataset]:
        """Return both designs over `case`; held-out trajectories of the long design form the test split."""
        cover, long, test, shuffle = seed.spawn(4)
        late = self.duration * np.linspace(0, 1, self.samples) ** 2

        def covering(circuit: Any) -> xr.Dataset:
            short = circuit.trajectories(self.starts, time=self.early, seed=cover, spread="edges")
            return dataset.assign_split(short, shuffle)

        def relaxing(circuit: Any) -> xr.Dataset:
            seen = circuit.trajectories(self.trajectories, time=late, seed=long, spread="edges")
            seen = dataset.assign_split(seen, shuffle, 0.15, whole=False)
            unseen = circuit.trajectories(self.trajectories // 2, time=late, seed=test)
            unseen = unseen.assign_coords(
                split=xr.full_like(unseen["x"].isel(state=0, drop=True), "test", dtype="<U10")
            )
            both = xr.concat([seen, unseen], "trajectory", combine_attrs="override")
            return both.assign_coords(trajectory=np.arange(both.sizes["trajectory"]))

        made = {name: _over_cases(make, truth) for name, make in {"cover": covering, "long": relaxing}.items()}
        return {name: data.assign_attrs(description=DESIGNS[name]) for name, data in made.items()}

    def _fit(
        self, data: Mapping[str, xr.Dataset], seed: np.random.SeedSequence, options: RunOptions
    ) -> dict[str, wb.Fit]:
        """Return the fits of both cases to both designs ("psi_1", …, "psi_2_long"), computed in parallel."""
        model = wb.LSEICNN(dim=2, modes=self.modes, hidden=self.hidden)
        optimiser = wb.LevenbergMarquardt(steps=self.steps)
        settings = {"restarts": self.restarts, "optimiser": optimiser}
        parts = {
            f"{case}{suffix}": (data[name].sel(case=case, drop=True), members)
            for name, suffix, members in (("cover", "", self.members), ("long", "_long", 1))
            for case in CASES
        }
        labels = [name for name, (_, members) in parts.items() for _ in range(members)]
        seeds = seed.spawn(len(labels))
        jobs = [(model, parts[name][0], {"seed": own, **settings}) for name, own in zip(labels, seeds, strict=True)]
        fits = options.parallel(fit_velocities, jobs, labels=labels)
        done = list(zip(labels, fits, strict=True))
        return {name: wb.Fit.joined([fit for label, fit in done if label == name]) for name in parts}

    def _analyses(
        self, blends: Mapping[str, wb.Blend], ensembles: Mapping[str, wb.Blend], options: RunOptions
    ) -> dict[str, xr.Dataset]:
        """Return the analyses by name, such as "paths/truth".

        Paths are those of all members, branches those of all members for symmetrised fits, and of the best member
        otherwise: an imperfect pitchfork always splits late, so members agree on a wrong b and give no error bar.
        """
        wanted = {f"branches/{name}": blends[name] for name in ("fit", "truth")}
        wanted["branches/symmetrised"] = ensembles["symmetrised"]
        wanted |= {f"paths/{name}": blend for name, blend in ensembles.items()}
        wanted |= {f"basins/{name}": blends[name] for name in ensembles}
        wanted |= {f"split/{name}": blend for name, blend in blends.items()}
        jobs = [(name.split("/")[0], blend, self.resolution) for name, blend in wanted.items()]
        found = dict(zip(wanted, options.parallel(questions.ask, jobs, labels=list(wanted)), strict=True))
        return {
            name: result.assign_attrs(description=f"{QUESTIONS[question]}, of the {LANDSCAPES[source]}.")
            for name, result in found.items()
            for question, source in [name.split("/")]
        }

    def _landscape(self, truth: Mapping[str, Any], fits: Mapping[str, wb.Fit]) -> xr.Dataset:
        """Return potential and gradient, learned with the spread of the members and true, on a grid of the box."""
        parts = [beside_truth(fits[case].model, truth[case], BOX, self.grid, fit=fits[case]) for case in CASES]
        grid, units = xr.concat(parts, "case", data_vars="all", combine_attrs="drop_conflicts"), truth["psi_1"].units
        member = variable("case", [fits[case].best for case in CASES], "member of the fit that is shown")
        grid = grid.assign_coords(_cases(truth) | {"member": member})
        grid.attrs.pop("member", None)
        for gene, (name, unit) in enumerate(zip(("x1", "x2"), units.states, strict=True), 1):
            axis = variable(name, grid[name].values, f"expression of gene {gene}", unit)
            grid = grid.assign_coords({name: axis})
        x = np.stack(np.meshgrid(grid["x1"], grid["x2"], indexing="ij"), -1)
        grid["x"] = variable(("x1", "x2", "state"), x, "state", units.of("state"))
        sentence = "Potentials and gradients of the best members and of the exact circuit on a grid of the box."
        return grid.assign_attrs(description=sentence)

    def _stationary_points(self, sources: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
        """Return the stationary points of truth, fit and symmetrised fit, and whether they are inside the data."""
        learned = sources["fit"]
        found: list[tuple[xr.Dataset, dict[str, str]]] = []
        for source, potentials in sources.items():
            for case, potential in potentials.items():
                points = wb.stationary_points(potential, within=BOX)
                inside = learned[case].inside_data(points["x"].values)
                points["inside_data"] = variable("point", inside, "inside the box of the data")
                found.append((points, {"source": source, "case": case}))
        return concat_labelled(found).assign_attrs(
            description="Stationary points of Ψ₁ and Ψ₂, of the exact circuit, the fit and the symmetrised fit.",
            gauge="; ".join(f"of the {LANDSCAPES[name]}: {psi['psi_1'].gauge}" for name, psi in sources.items()),
        )

    def _blend(self, potentials: Mapping[str, Any]) -> wb.Blend:
        """Return Ψ_b of two potentials."""
        return wb.Blend(potentials["psi_1"], potentials["psi_2"], wb.Logistic(rate=self.rate, start=self.first))

    def _simulate(self, blends: Mapping[str, wb.Blend], split: float, seed: np.random.SeedSequence) -> xr.Dataset:
        """Return trajectories from held-out initial states on the learned, the symmetrised and the true Ψ_b.

        The true splitting time is among the times.
        """
        starts = np.random.default_rng(seed).uniform(*BOX[0], size=(self.held_out, 2))
        time = np.union1d(np.linspace(0, self.final, self.moments), [split] if 0 < split < self.final else [])
        runs = {name: wb.simulate(blends[name], starts, time) for name in ("fit", "symmetrised", "truth")}
        joined = runs["fit"]
        joined["x_symmetrised"] = runs["symmetrised"]["x"].assign_attrs(long_name="state on the symmetrised landscape")
        joined["x_true"] = runs["truth"]["x"].assign_attrs(long_name="state on the true landscape")
        joined["potential_true"] = runs["truth"]["potential"].assign_attrs(long_name="potential, true")
        return joined.assign_attrs(
            split_time_true=split,
            description="Trajectories from held-out states on the time-varying Ψ_b, learned, symmetrised and true.",
            gauge=f"of Ψ₁ and Ψ₂ each; potential: {blends['fit'].gauge}; potential_true: {blends['truth'].gauge}",
        )


def fit_velocities(model: wb.LSEICNN, data: xr.Dataset, settings: Mapping[str, Any], report: Report) -> wb.Fit:
    """Return the fit of a landscape to the velocities of one design and case."""
    return wb.fit(model, data, match="velocity", progress=report, **settings)


def _over_cases(make: Callable[[Any], xr.Dataset], truth: Mapping[str, Any]) -> xr.Dataset:
    """Return the data of all cases over `case`."""
    parts = [make(circuit) for circuit in truth.values()]
    return xr.concat(parts, "case", combine_attrs="drop_conflicts").assign_coords(_cases(truth))


def _cases(truth: Mapping[str, Any]) -> dict[str, xr.Variable]:
    """Return the coordinates along `case`: its name, and the inhibition of the circuit."""
    declared = next(iter(truth.values())).declared()["b"]
    inhibition = [circuit.b for circuit in truth.values()]
    return {
        "case": variable("case", list(truth), "landscape"),
        "inhibition": variable("case", inhibition, declared["meaning"], declared["unit"]),
    }
