"""Templates of systems and studies, which run unchanged and can be adapted."""

import keyword
from pathlib import Path

from workbench.atomic import check_target, replacing

__all__ = ["write_starter"]

RESERVED_NAMES = {"matplotlib", "numpy", "scipy", "studies", "systems", "torch", "torchdiffeq", "workbench", "xarray"}

SYSTEM = '''"""NAME: describe in one sentence what it models, and give the reference."""

import systems


@systems.register("NAME")
class CLASS(systems.PotentialSystem):
    """Two wells of different depths: replace the states, the parameters and the formula."""

    state_space = (systems.State("x", "position", box=(-2, 2)),)
    depth: float = systems.parameter(1.0, "depth of the wells", gt=0)
    tilt: float = systems.parameter(0.2, "gradient of the linear term")

    def potential(self, x):  # tensors: (…, dim) -> (…)
        return self.depth * ((x**2 - 1) ** 2).sum(-1) + self.tilt * x.sum(-1)


if __name__ == "__main__":
    from systems import contract

    contract.check(CLASS())
    print("the contract is satisfied")
'''

STUDY = '''"""NAME: describe in one sentence what is studied."""

from typing import ClassVar

import studies
import systems
import workbench as wb
from workbench import plot


@studies.register("NAME")
class CLASS(studies.Study):
    """Accuracy of the wells of a landscape learned from points."""

    title: ClassVar[str] = "NAME: the wells of a learned landscape"
    presets: ClassVar = {"quick": {}, "paper": {"samples": 400}}
    samples: int = systems.parameter(100, "number of training points", ge=10)
    modes: int = systems.parameter(2, "number of convex modes", ge=1)

    def compute(self, seed, options):
        """Return the contents of the file: data, a fit, its landscape, stationary points and metrics with bounds."""
        truth = systems.get("asymmetric_quartic")
        data_seed, fit_seed = seed.spawn(2)
        data = truth.points(self.samples, seed=data_seed)
        model = wb.LSEICNN(dim=truth.dim, modes=self.modes, hidden=(6, 6))
        fit = wb.fit(model, data, match="potential", seed=fit_seed, workers=options.workers,
                     progress=options.progress, optimiser=wb.LevenbergMarquardt(steps=60))
        landscape = wb.grid(fit.model, truth.box)
        x = landscape[truth.states[0]].values
        landscape["potential_true"] = landscape.potential.copy(data=truth.value(x[:, None]))
        found, true = (wb.stationary_points(psi, truth.box, index=0) for psi in (fit.model, truth))
        metrics = [studies.Metric("wells", found.sizes["point"], "number of wells", at_least=2, at_most=2)]
        if found.sizes["point"] == true.sizes["point"]:
            error = float(abs(found.x.values - true.x.values).max())
            metrics.append(studies.Metric("well_error", error, "largest error of a well position", at_most=0.05))
        analysis = {"stationary_points": found, "metrics": studies.metrics_dataset(metrics)}
        return {"data": data, "fits": fit, "landscape": landscape, "analysis": analysis}

    @staticmethod
    def figures(tree):
        """Draw the figures from the file alone."""
        figure, axes = plot.figure(1, 1, size=(4, 3))
        here, points = tree["landscape"].to_dataset(), tree["analysis/stationary_points"].to_dataset()
        x = here[here.potential.dims[0]]
        axes[0, 0].plot(x, here.potential, color="0.7", linewidth=3, label="learned")
        axes[0, 0].plot(x, here.potential_true, "k--", label="true")
        axes[0, 0].plot(points.x.values[:, 0], points.potential, "o", label="learned wells")
        axes[0, 0].set(xlabel="x", ylabel="potential")
        axes[0, 0].legend()
        return {"landscape": figure}
'''


def write_starter(kind: str, name: str, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a template that registers a "system" or "study" and return its path, by default NAME.py."""
    if not name.isidentifier() or keyword.iskeyword(name) or not name.islower():
        raise ValueError(f"a name must consist of lower-case letters, digits and _, such as double_well; got {name!r}")
    target = check_target(output or f"{name}.py", overwrite=overwrite)
    if target.stem in RESERVED_NAMES:
        raise ValueError(f"a file {target.name} would hide the package {target.stem}; choose another name")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    text = {"system": SYSTEM, "study": STUDY}[kind].replace("NAME", name).replace("CLASS", class_name)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target
