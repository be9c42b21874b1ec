"""The one data format: named dimensions, float64, checked where data enter.

    points         x(sample, state)             potential(sample)   gradient(sample, state)   velocity(sample, state)
    trajectories   x(trajectory, time, state)   velocity(trajectory, time, state)             …
    paths          strain(trajectory, time, component)   stress(trajectory, time, component)
                   phase_fraction(trajectory, time)      dissipation(trajectory, time)         …

Trajectories of unequal lengths or times are points with the coordinates trajectory(sample) and time(sample), those of
one trajectory in a row: what `flat` makes of trajectories on one grid (CF's indexed ragged array).

Paths have a history: a prescribed strain and what the material answered. Components are those of symmetric tensors,
"11", "22", "33", "12", "13", "23" (E12, not 2 E12; not Voigt order). Samples joined by straight lines are the path, so
that a turning point between two samples is not seen. Shorter paths are held at their last sample, and a coordinate
`valid(trajectory, time)` says how far each goes.

Beside them may stand `sigma` (standard deviation of the noise) and `weight` over the sampling dimensions, or one of
each for one quantity (`sigma_potential`, …), and a coordinate `split` ("train", "validation", "test") along one or
both of the sampling dimensions. Everything is an `xarray.Dataset`; variables carry units and long names.
"""

from workbench.dataset.arrays import paths, points, trajectories
from workbench.dataset.canonical import check, kind_of, valid
from workbench.dataset.rows import flat, timed, with_states
from workbench.dataset.seeds import seed_sequence, seed_text
from workbench.dataset.splits import assign_split, folds, groups
from workbench.dataset.tensors import COMPONENTS
from workbench.dataset.vocabulary import LEADING, QUANTITIES, SAMPLING, SPLITS, nearest, storable

__all__ = [
    "COMPONENTS",
    "LEADING",
    "QUANTITIES",
    "SAMPLING",
    "SPLITS",
    "assign_split",
    "check",
    "flat",
    "folds",
    "groups",
    "kind_of",
    "nearest",
    "paths",
    "points",
    "seed_sequence",
    "seed_text",
    "storable",
    "timed",
    "trajectories",
    "valid",
    "with_states",
]
