"""Initial values of a fit: sharpness, gates, distribution of the weights, and anchors spread over the data."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.cluster.vq import kmeans2

from workbench.potentials.stored import storable_value

__all__ = ["Initialisation", "local_gradients", "spread_samples"]


@storable_value
@dataclass(frozen=True)
class Initialisation:
    """Initial values of a fit of an `LSEICNN`.

    A small initial ρ lets all modes see all data; a large one divides the data among the modes at once, which suits
    kinks but can trap smooth fields in poor minima. Successive restarts therefore use the values of `rho` in turn. The
    distribution of the initial weights strongly affects the final error (see `LSEICNN.initialise`).

    Parameters
    ----------
    rho : float or tuple of float, optional
        Initial sharpnesses above the lower bound `rho_lo` of the model, used cyclically over the restarts.
    gate : float, optional
        Initial gate ς(α) of every mode, strictly between 0 and 1.
    weights : {"spread", "uniform"}, optional
        "spread" draws many small and a few large weights and makes each mode tangent to the data; "uniform" draws
        from ±1/√width, as is usual for neural networks.
    scaled : bool, optional
        Whether the model works in variables scaled by the data. Otherwise it keeps the units of the data, and ρ has
        the unit of 1/Ψ.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> Initialisation().rho, Initialisation(rho=(2.0,), weights="uniform", scaled=False).rho
    ((0.15, 1.5), (2.0,))
    """

    rho: tuple[float, ...] = (0.15, 1.5)
    gate: float = 0.99
    weights: Literal["spread", "uniform"] = "spread"
    scaled: bool = True

    def __post_init__(self) -> None:
        rho = tuple(np.atleast_1d(self.rho).astype(float).tolist())
        if not rho or not all(0 < value < np.inf for value in rho):
            raise ValueError(f"the initial rho must be positive and finite, got {self.rho!r}")
        if not 0 < self.gate < 1:
            raise ValueError(f"the initial gate must lie strictly between 0 and 1, got {self.gate!r}")
        if self.weights not in ("spread", "uniform"):
            raise ValueError(f"the initial weights must be 'spread' or 'uniform', got {self.weights!r}")
        object.__setattr__(self, "rho", rho)


def spread_samples(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the indices, shape (count,), of the samples nearest to the centres of k-means clusters of x (sample, dim).

    Cluster centres distribute the modes evenly over the data; samples as far apart as possible would lie at the edges
    of the box, where there are no wells. With fewer distinct samples than `count`, some are repeated.

    >>> sorted(spread_samples(np.arange(9.0)[:, None], 3, np.random.default_rng(1)).tolist())
    [1, 4, 7]
    """
    distinct, first = np.unique(x, axis=0, return_index=True)
    if len(distinct) <= count:
        return np.resize(rng.permutation(first), count)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centres, _ = kmeans2(distinct, count, minit="++", rng=rng)
    return ((x[:, None] - centres) ** 2).sum(-1).argmin(0)


def local_gradients(x: np.ndarray, y: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Estimate gradients, shape (anchor, dim), of y (sample,) at anchors by least squares over the nearest samples.

    `x` has shape (sample, dim), `anchors`, indices into it, (anchor,). The gradient is 0 in directions in which the
    neighbours do not vary.
    """
    count = min(len(x), 2 * x.shape[1] + 3)
    gradients = np.zeros((len(anchors), x.shape[1]))
    for row, anchor in enumerate(anchors):
        near = np.argsort(((x - x[anchor]) ** 2).sum(-1))[:count]
        gradients[row] = np.linalg.lstsq(x[near] - x[near].mean(0), y[near] - y[near].mean(), rcond=1e-6)[0]
    return gradients
