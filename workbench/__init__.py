"""Learn multi-well energy landscapes from data, then question them and simulate on them.

Public names load on first use, so that `import workbench` is cheap: see `dir(workbench)`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["dataset", "plot"],
    submod_attrs={
        "dataset.velocities": ["velocities"],
        "dynamics.first_passage": ["first_passage", "first_passage_exact"],
        "dynamics.simulation": ["simulate"],
        "errors": [
            "DatasetError",
            "FileError",
            "FitError",
            "LandscapeError",
            "LandscapeWarning",
            "SimulationError",
            "SimulationWarning",
        ],
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
        "fitting.scores": ["predict", "score"],
        "landscape.basins": ["basins"],
        "landscape.branches": ["branches"],
        "landscape.graph": ["graph"],
        "landscape.grid": ["grid"],
        "landscape.minimum_energy_path": ["minimum_energy_path"],
        "landscape.rates": ["rates"],
        "landscape.splitting": ["splitting"],
        "landscape.stationary_points": ["stationary_points"],
        "landscape.summary": ["summary"],
        "landscape.wells": ["wells"],
        "materials.generalised_play": ["GeneralisedPlay"],
        "materials.invariants": ["Invariants"],
        "materials.material": ["Material", "Response"],
        "materials.state_node": ["StateNODE"],
        "potentials.blend": ["Blend", "WeightedSum"],
        "potentials.density": ["Density"],
        "potentials.initialisation": ["Initialisation"],
        "potentials.lse_icnn": ["LSEICNN"],
        "potentials.potential": ["Potential"],
        "potentials.schedules": ["Logistic", "Ramp", "Step", "Table"],
        "potentials.support": ["Support"],
        "potentials.symmetry": ["Symmetrised", "augmented"],
        "version": ["__version__"],
    },
)
