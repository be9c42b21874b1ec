"""Learn multi-well energy landscapes from data, then question them and simulate on them.

Public names load on first use, so that `import workbench` is cheap: see `dir(workbench)`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["dataset", "plot"],
    submod_attrs={
        "adam": ["Adam"],
        "density": ["Density"],
        "derivatives": ["differentiated"],
        "attraction": ["basins"],
        "continuation": ["branches"],
        "dynamics": ["simulate"],
        "files": ["FileError", "load", "save"],
        "fitting": ["Fit", "FitError", "fit"],
        "kramers": ["rates"],
        "invariants": ["Invariants"],
        "landscape": ["splitting", "stationary_points"],
        "matching": ["matched"],
        "passes": ["graph"],
        "paths": ["minimum_energy_path"],
        "searches": ["LandscapeError", "LandscapeWarning"],
        "levenberg_marquardt": ["LevenbergMarquardt"],
        "lse_icnn": ["LSEICNN"],
        "passages": ["first_passage", "first_passage_exact"],
        "materials": ["Material", "Response"],
        "node": ["StateNODE"],
        "path_fitting": ["PathFit", "PathTraining"],
        "play": ["GeneralisedPlay"],
        "prominence": ["counts", "wells"],
        "start": ["Start"],
        "scores": ["predict", "score"],
        "potentials": ["Blend", "Potential", "WeightedSum"],
        "support": ["Support"],
        "version": ["__version__"],
        "symmetry": ["Symmetrised", "images"],
        "schedules": ["Logistic", "Ramp", "Step", "Table"],
    },
)
