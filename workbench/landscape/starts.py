r"""Where searches start, beside the Sobol points of a box: in the hollows of a sample, and between neighbouring minima.

Ψ and |∇Ψ| are taken at many points of the box. A sample that is lower than its nearest neighbours marks a hollow of Ψ,
which may be too narrow for the starting points themselves; one whose gradient is smaller marks a stationary point of
any index. For potentials with modes, the lowest sample of every mode is added, and the lowest sample beside the border
between two modes, near which a sharp soft minimum hides its curvature. Between neighbouring minima, the maxima of the
segment mark saddles, however close the minima are.

References
----------
A. H. G. Rinnooy Kan, G. T. Timmer, Math. Program. 39, 27-56 (1987), doi:10.1007/BF02592070.
"""

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from workbench.potentials.box import sobol
from workbench.potentials.bridge import evaluated
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Modal

__all__ = ["between_minima", "hollows"]

SAMPLES_PER_START = 4
MOST_SAMPLES = 1024
MOST_HOLLOWS = 32  # of either kind
NEIGHBOURS = 6  # of a sample or a minimum
SEGMENT_POINTS = 33


@torch.no_grad()
def hollows(natural: Natural, starts: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return states in the hollows of Ψ and in those of |∇Ψ|, with the states between modes, both (start, dim)."""
    y = sobol(natural.box, max(NEIGHBOURS + 2, min(MOST_SAMPLES, SAMPLES_PER_START * starts)), seed)
    value, gradient, _ = evaluated(natural, y, 1)
    level, slope, at = value.cpu().numpy(), gradient.norm(dim=-1).cpu().numpy(), y.cpu().numpy()
    near = cKDTree(at).query(at, NEIGHBOURS + 1)[1][:, 1:]
    low, even = (np.flatnonzero((one[:, None] < one[near]).all(-1)) for one in (level, slope))
    low, even = low[np.argsort(level[low])][:MOST_HOLLOWS], even[np.argsort(slope[even])][:MOST_HOLLOWS]
    if isinstance(natural.potential, Modal):
        weights = np.asarray(natural.potential.mode_weights(natural.x(at)))
        mode, count = weights.argmax(-1), weights.shape[-1]
        low = np.union1d(low, _lowest(mode, level))
        border = np.flatnonzero((mode[near] != mode[:, None]).any(-1))
        first, second = np.sort(np.argsort(weights[border], -1)[:, -2:], -1).T if len(border) else (border, border)
        even = np.union1d(even, border[_lowest(first * count + second, level[border])])
    return y[torch.as_tensor(low)], y[torch.as_tensor(even)]


def _lowest(group: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the row with the lowest level of each group, for groups and levels of shape (row,)."""
    order = np.lexsort((level, group))
    return order[np.unique(group[order], return_index=True)[1]]


@torch.no_grad()
def between_minima(natural: Natural, minima: Tensor) -> Tensor:
    """Return the maxima of Ψ on the segments between neighbouring minima, shape (start, dim).

    Parameters
    ----------
    natural : Natural
        The potential.
    minima : torch.Tensor
        Shape (well, dim).
    """
    at = minima.cpu().numpy()
    if len(at) < 2:
        return minima[:0]
    near = cKDTree(at).query(at, min(len(at), NEIGHBOURS + 1))[1][:, 1:]
    both = np.stack(np.broadcast_arrays(np.arange(len(at))[:, None], near), -1).reshape(-1, 2)
    pairs = torch.as_tensor(np.unique(np.sort(both), axis=0))
    first, second = minima[pairs[:, 0]], minima[pairs[:, 1]]
    fraction = torch.linspace(0, 1, SEGMENT_POINTS).to(minima)[:, None, None]
    y = first + fraction * (second - first)
    level = evaluated(natural, y.reshape(-1, y.shape[-1]), 0).value.reshape(SEGMENT_POINTS, -1)
    level = level.nan_to_num(nan=-torch.inf)
    peak = (level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])
    return y[1:-1][peak]
