"""The data format: `xarray.Dataset` objects with named dimensions and float64 values, checked on entry.

    points         x(sample, state)             potential(sample)   gradient(sample, state)   velocity(sample, state)
    trajectories   x(trajectory, time, state)   velocity(trajectory, time, state)             …
    paths          strain(trajectory, time, component)   stress(trajectory, time, component)
                   phase_fraction(trajectory, time)      dissipation(trajectory, time)         …

Trajectories of unequal lengths or sampling times are stored as points with the coordinates trajectory(sample) and
time(sample), the samples of each trajectory being contiguous. `flat` converts trajectories on a common time grid to
this layout, the indexed ragged array of the CF conventions.

Paths are histories: a prescribed strain and the response of a material. Components are those of symmetric tensors in
the order "11", "22", "33", "12", "13", "23"; shear entries are tensor components (E12, not 2 E12), and the order is not
that of Voigt. A path is piecewise linear between its samples, so a turning point between two samples is not resolved.
Shorter paths are continued by their last sample, and the boolean coordinate `valid(trajectory, time)` marks the samples
that each path contains.

Optional variables are `sigma` (standard deviation of the measurement noise) and `weight` along the sampling dimensions,
or one of each per quantity (`sigma_potential`, …). An optional coordinate `split` ("train", "validation", "test") runs
along one or both sampling dimensions. Other variables over the samples, such as quantities of your own, are kept.

Variables carry the attributes `long_name` and, where it is known, `units`; "1" means dimensionless. The units of the
states, the potential and time determine those of gradient, velocity and noise (see `Units`). States of unlike units
have a coordinate `unit(state)`. The dataset has the attributes `potential_unit` and `time_unit`, if known, and `gauge`,
which says where its potential is zero.
"""

from workbench.dataset.canonical import check, kind_of, valid
from workbench.dataset.construction import paths, points, trajectories
from workbench.dataset.layout import flat, timed, with_states
from workbench.dataset.seeds import seed_sequence, seed_text
from workbench.dataset.splits import assign_split, folds, groups
from workbench.dataset.tensors import COMPONENTS
from workbench.dataset.variables import Units, state_labels, variable
from workbench.dataset.vocabulary import LEADING, QUANTITIES, SAMPLING, SPLITS, nearest, storable

__all__ = [
    "COMPONENTS",
    "LEADING",
    "QUANTITIES",
    "SAMPLING",
    "SPLITS",
    "Units",
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
    "state_labels",
    "storable",
    "timed",
    "trajectories",
    "valid",
    "variable",
    "with_states",
]
