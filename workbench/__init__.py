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
        "dynamics": ["simulate"],
        "files": ["FileError", "load", "save"],
        "fitting": ["Fit", "FitError", "fit"],
        "landscape": ["splitting", "stationary_points"],
        "levenberg_marquardt": ["LevenbergMarquardt"],
        "lse_icnn": ["LSEICNN"],
        "prominence": ["counts", "wells"],
        "start": ["Start"],
        "scores": ["predict", "score"],
        "potentials": ["Blend", "Potential", "WeightedSum"],
        "support": ["Support"],
        "symmetry": ["Symmetrised", "images"],
        "schedules": ["Logistic", "Ramp", "Step", "Table"],
    },
)
