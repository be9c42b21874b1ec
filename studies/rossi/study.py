"""Materials with hysteresis, learned from stress along strain paths (Figs 9–11).

There are four materials, all of them variants of ``systems.get("rossi")``:

    frozen       phase fraction fixed at c = 1/2, an elastic material that tests the invariants alone (Fig 10a)
    two_phase    evolving phase fraction (Figs 9, 10b, 11)
    hardening    bounds of the driving force that increase with c, which no model represents exactly
    general      as two_phase, with random strain in all six components

and four kinds of models, named as in the figures:

    a            the published ISV-NODE, with three isotropic invariants
    a_axis       the same, with the five invariants of a transversely isotropic material
    b            its rate-independent counterpart, with the axis
    c            generalised play, with the axis; c_isotropic without it, for comparison

Each fit is evaluated on held-out paths, on unseen loading programmes (reversals at random strains, alternating tension
and compression, random directions), and on the same paths with finer steps and at a lower rate. Its dissipation is
compared with the true one.

Stress alone does not determine the dissipation of a NODE. Ψ(E, h) + g(h) gives the same stress for any g, whereas the
dissipation −∂Ψ/∂h·ḣ changes by −ġ; the reported value is that of one of many models that fit equally well. Generalised
play has no such freedom, because the dissipative forces also determine when h changes: W − ΔΨ = D ≥ 0, so its D can be
compared.

The response of an isotropic material to strain along e₁, e₂ and e₃ is the same up to rotation. For a material with axis
e₁, an isotropic model can at best learn the mean of the three responses, rotated back. This limit is reported without
any fit. It depends on the strains: the smaller they are, the larger the contribution of the transformation strain,
which causes stress even in the unstrained state.

Figures are those of Jones et al. (2025), doi:10.48550/arXiv.2506.17242.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import xarray as xr

import systems
import workbench as wb
from studies.base import Study
from studies.metrics import metrics_dataset
from studies.registry import register
from studies.rossi import metrics
from studies.run_options import RunOptions
from systems import parameter
from workbench.dataset.variables import variable
from workbench.parallel import Report

__all__ = ["RossiStudy"]

AXIS = (1.0, 0.0, 0.0)
FROZEN_FRACTION = 0.5
CASES = {
    "frozen": "elastic material with the phase fraction fixed at 1/2",
    "two_phase": "two-phase material",
    "hardening": "two-phase material with bounds of the driving force that increase with the phase fraction",
    "general": "two-phase material under random strain in all six components",
}
PROGRAMMES = {
    "reversals": "reversals at random strains in the range of the data",
    "sawtooth": "alternating tension and compression, other amplitudes",
    "random": "random strain directions",
}
WIDE_AMPLITUDE = (0.05, 0.25)  # a range of strain amplitudes that extends below that of the training data
Node = Literal["a", "a_axis", "b"]


@register("rossi")
class RossiStudy(Study):
    """A two-phase material with hysteresis, learned by internal-variable NODEs and generalised play (Figs 9–11)."""

    title: ClassVar[str] = "Materials with hysteresis, learned from stress along strain paths"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            "paths": 320 + 80,
            "nodes": ("a", "a_axis", "b"),
            "seeds": 3,
            "steps": 400,
            "polish": 1500,
            "operators": 8,
            "node_steps": 1500,
            "node_polish": 200,
            "median": 0.001,
        },
    }

    loading: Literal["compression", "sawtooth"] = parameter(
        "compression", "loading programme of the training data, along e₁"
    )
    hardening: float = parameter(1.0, "increase of the bounds of the hardening material", symbol="η", gt=0)
    paths: int = parameter(120, "strain paths to learn from, one fifth of them for validation", ge=5)
    test: int = parameter(80, "strain paths for testing", ge=1)
    samples: int = parameter(100, "samples per path", ge=3)
    nodes: tuple[Node, ...] = parameter(("a",), "kinds of NODEs, in addition to generalised play")
    seeds: int = parameter(1, "fits of the two-phase material by generalised play", ge=1)
    modes: int = parameter(2, "convex modes of each energy", ge=1)
    hidden: tuple[int, ...] = parameter(
        (12, 12), "widths of the hidden layers of the energy, generalised play", min_length=1
    )
    operators: int = parameter(6, "play operators for the hardening material", ge=1)
    steps: int = parameter(240, "Adam steps, generalised play", ge=1)
    polish: int = parameter(300, "L-BFGS iterations, generalised play", ge=0)
    internal: int = parameter(6, "internal variables, NODEs", ge=1)
    node_hidden: tuple[int, ...] = parameter((19, 19), "widths of the hidden layers of the energy, NODEs", min_length=1)
    widths: tuple[int, ...] = parameter((15, 15), "widths of the hidden layers of the rate, NODEs", min_length=1)
    node_steps: int = parameter(600, "Adam steps, NODEs", ge=1)
    node_polish: int = parameter(0, "L-BFGS iterations, rate-independent NODE", ge=0)
    median: float = parameter(0.003, "bound on the median error of generalised play, two-phase material", gt=0)
    grid: int = parameter(101, "grid points of the strain for energies", ge=3)

    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return data, fits, energies, responses to unseen programmes, scores and metrics."""
        for_data, for_fits, for_programmes, for_limits = seed.spawn(4)
        data = {case: self._data(case, child) for case, child in zip(CASES, for_data.spawn(len(CASES)), strict=True)}
        wanted = list(self._wanted())
        seeds = for_fits.spawn(len(wanted))
        jobs = [(self, case, kind, data[case], child) for (_, case, kind), child in zip(wanted, seeds, strict=True)]
        order = sorted(range(len(jobs)), key=lambda k: (wanted[k][1] != "hardening", wanted[k][2][0] == "c"))
        labels = [wanted[k][0].replace("_", " ") for k in order]  # the long jobs first
        done = dict(zip(order, options.parallel(learn, [jobs[k] for k in order], labels), strict=True))
        fits = {name: done[k] for k, (name, _, _) in enumerate(wanted)}
        owners = {name: case for name, case, _ in wanted}
        runs = {
            case: self._unseen(case, {n: f for n, f in fits.items() if owners[n] == case}, child)
            for case, child in zip(list(CASES)[1:], for_programmes.spawn(len(CASES) - 1), strict=True)
        }
        table = metrics.table(fits, owners, runs)
        limits = {case: self._limit(case, for_limits) for case in ("frozen", "two_phase")}
        limits["frozen_wide"] = self._limit("frozen", for_limits, amplitude=WIDE_AMPLITUDE)
        reported = [*metrics.of_table(table, self.median), *metrics.of_limits(limits)]
        analysis = {"scores": table, "metrics": metrics_dataset(reported)}
        landscape = self._energies(fits["two_phase_c"].model)
        return {"data": data, "fits": fits, "landscape": landscape, "analysis": analysis, "simulation": runs}

    def material(self, case: str) -> Any:
        """Return the true material of a case."""
        options = {"frozen": {"frozen": FROZEN_FRACTION}, "hardening": {"hardening": self.hardening}}
        return systems.get("rossi", **options.get(case, {}))

    def model(self, case: str, kind: str) -> wb.Material:
        """Return the model of a kind for a case, before fitting."""
        axis = None if kind in ("a", "c_isotropic") else AXIS
        if kind[0] == "c":
            play = {"operators": 0 if case == "frozen" else 1, "hardening": case == "hardening"}
            return wb.GeneralisedPlay(wb.Invariants(axis), modes=self.modes, hidden=self.hidden, **play)  # type: ignore[arg-type]
        shape: dict[str, Any] = {"internal": self.internal, "modes": self.modes, "hidden": self.node_hidden}
        return wb.StateNODE(wb.Invariants(axis), rate_independent=kind == "b", widths=self.widths, **shape)

    def optimiser(self, kind: str) -> wb.PathTraining:
        """Return the optimiser for a kind of model."""
        if kind[0] == "c":
            return wb.PathTraining(steps=self.steps, polish=self.polish, patience=10)
        polish = self.node_polish if kind == "b" else 0
        return wb.PathTraining(steps=self.node_steps, polish=polish, batch=16, lr=0.04, patience=20)

    def _wanted(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, case and kind of every fit."""
        yield "frozen_c", "frozen", "c"
        yield "frozen_c_isotropic", "frozen", "c_isotropic"
        for case in ("two_phase", "hardening"):
            for kind in (*self.nodes, "c"):
                yield f"{case}_{kind}", case, kind
        for extra in range(1, self.seeds):
            yield f"two_phase_c_{extra + 1}", "two_phase", "c"
        yield "general_c", "general", "c"
        yield "general_c_isotropic", "general", "c_isotropic"

    def _data(self, case: str, seed: np.random.SeedSequence) -> xr.Dataset:
        """Return strain paths with responses, split into train, validation and test."""
        loading: Any = "random" if case == "general" else self.loading
        drawn = self.material(case).paths(self.paths + self.test, loading=loading, samples=self.samples, seed=seed)
        held_out = max(1, round(self.paths / 5))
        split = np.repeat(["train", "validation", "test"], [self.paths - held_out, held_out, self.test])
        return drawn.assign_coords(split=variable("trajectory", split, "role of the path in the fit")).assign_attrs(
            description=f"Strain paths and their responses, {CASES[case]}."
        )

    def _unseen(self, case: str, fits: Mapping[str, wb.PathFit], seed: np.random.SeedSequence) -> xr.Dataset:
        """Return the responses of the fits of a case, and of the material itself, to unseen programmes."""
        programmes = [name for name in PROGRAMMES if not (case == "general" and name == "random")]
        material, time = self.material(case), np.linspace(0, 1, self.samples)
        truths = []
        for name, child in zip(programmes, seed.spawn(len(programmes)), strict=True):
            options: dict[str, Any] = {"loading": name, "amplitude": (0.05, 0.2)}
            if name == "reversals":
                count, options = None, {"strain": _reversals(self.test, time, child), "time": time}
            else:
                count = self.test
            truths.append(material.paths(count, samples=self.samples, seed=child, **options))
        E = np.stack([truth["strain"].values for truth in truths])
        responses = [[fit.model.respond(strain, time) for strain in E] for fit in fits.values()]
        each, units = ("programme", "trajectory", "time"), material.units
        tensor, lost = (*each, "component"), "energy dissipated in the step that ends here"
        columns: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
            "strain": (tensor, E, "strain", "state"),
            "stress": (
                ("fit", *tensor),
                [[r.stress for r in row] for row in responses],
                "stress, predicted",
                "gradient",
            ),
            "dissipation": (
                ("fit", *each),
                [[r.dissipation for r in row] for row in responses],
                f"{lost}, predicted",
                "potential",
            ),
            "stress_true": (tensor, [truth["stress"].values for truth in truths], "stress, true", "gradient"),
            "dissipation_true": (each, [truth["dissipation"].values for truth in truths], f"{lost}, true", "potential"),
        }
        variables = {
            name: variable(dims, np.array(values), text, units.of(quantity))
            for name, (dims, values, text, quantity) in columns.items()
        }
        told = "; ".join(f"{name}: {PROGRAMMES[name]}" for name in programmes)
        coords = {
            "fit": variable("fit", list(fits), "case and kind of model"),
            "programme": variable("programme", programmes, "loading programme", description=told),
            "trajectory": variable("trajectory", np.arange(self.test), "strain path"),
            "time": variable("time", time, "time", units.time),
            "component": truths[0]["component"],
        }
        sentence = f"Responses to unseen loading programmes, learned and true, {CASES[case]}."
        return xr.Dataset(variables, coords, {"description": sentence, **units.attrs()})

    def _limit(self, case: str, seed: np.random.SeedSequence, **programme: Any) -> float:
        """Return the smallest possible error of an isotropic model on the same uniaxial paths along all three axes."""
        stresses, rotated = [], []
        for k, axis in enumerate(np.eye(3)):
            options: Any = {"loading": self.loading, "axis": axis.tolist(), **programme}
            response = self.material(case).paths(self.test, samples=self.samples, seed=seed, **options)
            stresses.append(response["stress"].values[..., :3])
            rotated.append(np.roll(stresses[-1], -k, axis=-1))  # the component along the strain first
        S = np.array(rotated)
        best = S.mean(0, keepdims=True)
        best[..., 1:] = best[..., 1:].mean(-1, keepdims=True)  # the two transverse components are equal
        return float(np.sqrt(((S - best) ** 2).mean() / np.var(stresses, axis=(0, 1, 2)).mean()))

    def _energies(self, model: wb.Material) -> xr.Dataset:
        """Return the phase energies along uniaxial strain, learned and true, relative to the unstrained first phase."""
        E11, phases = np.linspace(-0.25, 0, self.grid), np.array([0.0, 0.5, 1.0])
        E = E11[:, None, None] * np.eye(6)[:1] * np.ones((2, 1))
        ends = model.respond(E[::-1, 0]).internal[[0, -1]]  # h of the two phases: unstrained, and fully transformed
        starts = [(1 - c) * ends[0] + c * ends[1] + np.zeros((self.grid, 1)) for c in phases]
        learned = np.array([model.respond(E, start=start).potential[:, 0] for start in starts])
        exact = [systems.get("rossi", frozen=c).respond(E[:, 0])["potential"] for c in phases]
        units, text = self.material("two_phase").units, "energy relative to the unstrained first phase"
        energy, both = units.of("potential"), ("phase", "strain")
        variables = {
            "potential": variable(both, learned - learned[0, -1], text, energy),
            "potential_true": variable(both, np.array(exact), f"{text}, true", energy),
        }
        coords = {
            "phase": variable("phase", phases, "phase fraction", "1"),
            "strain": variable("strain", E11, "E11", units.of("state")),
        }
        attrs = {
            "description": "Energies of the phases of the two-phase material along uniaxial strain, learned by "
            "generalised play and true.",
            "gauge": f"{self.material('two_phase').gauge}, shared by truth and fit",
            **units.attrs(),
        }
        return xr.Dataset(variables, coords, attrs)


def learn(
    study: RossiStudy, case: str, kind: str, data: xr.Dataset, seed: np.random.SeedSequence, report: Report
) -> wb.PathFit:
    """Return one fit; for hardening by generalised play, with one operator first, which is then divided into many."""
    settings: dict[str, Any] = {"match": "stress", "seed": seed, "optimiser": study.optimiser(kind)}
    restarts = 2 if kind[0] == "c" else 1
    model = study.model(case, kind)
    if (case, kind) != ("hardening", "c"):
        return wb.fit(model, data, restarts=restarts, progress=report, **settings)

    def half(part: int) -> Report:
        return lambda done, total, note: report(part * total + done, 2 * total, note)

    single = wb.fit(model, data, restarts=restarts, progress=half(0), **settings)
    settings["optimiser"] = replace(settings["optimiser"], lr=settings["optimiser"].lr / 4)
    divided = single.model.divided(study.operators)  # type: ignore[attr-defined]
    return wb.fit(divided, data, warm_start=True, progress=half(1), **settings)


def _reversals(count: int, time: np.ndarray, seed: np.random.SeedSequence, turns: int = 8) -> np.ndarray:
    """Return uniaxial strain paths from 0 through random turning points in (−0.25, 0), shape (count, time, 6).

    Examples
    --------
    >>> E = _reversals(2, np.linspace(0, 1, 9), np.random.SeedSequence(0), turns=4)
    >>> E.shape, bool((E[:, 0] == 0).all()), bool((E <= 0).all())
    ((2, 9, 6), True, True)
    """
    at = np.random.default_rng(seed).uniform(-0.25, 0, (count, turns))
    E = np.zeros((count, len(time), 6))
    E[..., 0] = [np.interp(time, np.linspace(0, 1, turns + 1), [0, *row]) for row in at]
    return E
