"""Learn multi-well energy landscapes from data, then question them and simulate on them.

Public names load on first use, so that `import workbench` is cheap: see `dir(workbench)`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["dataset", "plot"],
    submod_attrs={
        "adam": ["Adam"],
        "attraction": ["basins"],
        "continuation": ["branches"],
        "dataset.velocities": ["differentiated"],
        "dynamics": ["simulate"],
        "errors": [
            "DatasetError",
            "FileError",
            "FitError",
            "LandscapeError",
            "LandscapeWarning",
            "SimulationError",
            "SimulationWarning",
        ],
        "files": ["load", "save"],
        "fitting": ["Fit", "fit"],
        "invariants": ["Invariants"],
        "kramers": ["rates"],
        "landscape": ["splitting", "stationary_points"],
        "levenberg_marquardt": ["LevenbergMarquardt"],
        "matching": ["matched"],
        "materials": ["Material", "Response"],
        "node": ["StateNODE"],
        "passages": ["first_passage", "first_passage_exact"],
        "passes": ["graph"],
        "path_fitting": ["PathFit", "PathTraining"],
        "paths": ["minimum_energy_path"],
        "play": ["GeneralisedPlay"],
        "potentials.blend": ["Blend", "WeightedSum"],
        "potentials.density": ["Density"],
        "potentials.initialisation": ["Start"],
        "potentials.lse_icnn": ["LSEICNN"],
        "potentials.potential": ["Potential"],
        "potentials.schedules": ["Logistic", "Ramp", "Step", "Table"],
        "potentials.support": ["Support"],
        "potentials.symmetry": ["Symmetrised", "images"],
        "prominence": ["counts", "wells"],
        "scores": ["predict", "score"],
        "version": ["__version__"],
    },
)
