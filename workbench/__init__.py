"""Learn multi-well energy landscapes from data, analyse them and simulate on them.

Public names are imported lazily, so that `import workbench` is fast; `dir(workbench)` lists them.
"""

import importlib
from typing import Any

import lazy_loader

PUBLIC = {  # module: the names it offers
    "dataset.velocities": ["velocities"],
    "dynamics.committor": ["committor"],
    "dynamics.first_passage": ["first_passage"],
    "dynamics.first_passage_exact": ["first_passage_exact"],
    "dynamics.relaxation_times": ["relaxation_times"],
    "dynamics.simulation": ["simulate"],
    "errors": [
        "DatasetError",
        "DatasetWarning",
        "FileError",
        "FitError",
        "LandscapeError",
        "LandscapeWarning",
        "SimulationError",
        "SimulationWarning",
    ],
    "evaluation": ["Evaluation"],
    "files.data": ["read_data"],
    "files.results": ["load", "save"],
    "fitting.adam": ["Adam"],
    "fitting.fit": ["fit"],
    "fitting.learn": ["learn"],
    "fitting.levenberg_marquardt": ["LevenbergMarquardt"],
    "fitting.modes": ["mode_counts"],
    "fitting.outcome": ["Outcome"],
    "fitting.path_training": ["PathTraining"],
    "fitting.result": ["Fit", "PathFit"],
    "fitting.predictions": ["predict"],
    "fitting.scores": ["score"],
    "landscape.basins": ["basins"],
    "landscape.branches": ["branches"],
    "landscape.graph": ["graph"],
    "landscape.grid": ["grid"],
    "landscape.minimum_energy_path": ["minimum_energy_path"],
    "landscape.rates": ["rates"],
    "landscape.splitting": ["splitting"],
    "landscape.stationary_points": ["stationary_points"],
    "landscape.summary": ["summary"],
    "landscape.transition_times": ["transition_times"],
    "landscape.wells": ["wells"],
    "materials.generalised_play": ["GeneralisedPlay"],
    "materials.invariants": ["Invariants"],
    "materials.material": ["Material", "Response"],
    "materials.state_node": ["StateNODE"],
    "overview": ["overview"],
    "potentials.blend": ["Blend"],
    "potentials.density": ["Density"],
    "potentials.initialisation": ["Initialisation"],
    "potentials.lse_icnn": ["LSEICNN"],
    "potentials.potential": ["Potential"],
    "potentials.schedules": ["Logistic", "Ramp", "Step", "Table"],
    "potentials.support": ["Support"],
    "losses.contract": ["Match"],
    "potentials.symmetry": ["Symmetrised", "augmented"],
    "potentials.trainable": ["TrainablePotential"],
    "potentials.weighted_sum": ["WeightedSum"],
    "version": ["__version__"],
}

_load, _names, _all = lazy_loader.attach(__name__, submodules=["dataset", "plot"], submod_attrs=PUBLIC)
__all__ = sorted([*_all, "match"])  # noqa: PLE0605


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__


def __getattr__(name: str) -> Any:
    """Import a public name on first use; the error for an unknown name suggests the closest match."""
    if name == "match":
        return importlib.import_module("workbench.losses.match")
    if name in __all__:
        return _load(name)
    import workbench.checks

    raise workbench.checks.no_attribute(
        __name__, name, {name: f"workbench.{module}" for module, names in PUBLIC.items() for name in names}
    )
