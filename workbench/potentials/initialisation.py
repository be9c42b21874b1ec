"""Where a fit starts: sharpness, gates, the law of the weights, and anchors spread over the data."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.cluster.vq import kmeans2

__all__ = ["Initialisation", "local_gradients", "spread_samples"]


@dataclass(frozen=True)
class Initialisation:
    """Where a fit starts; the scale of the first weights decides how well it ends (see `LSEICNN.initialise`).

    `rho` holds sharpnesses above the lower bound, for the starts in turn; `gate` is ς(α) of every mode.
    `weights` is "spread" (many small, a few large, each mode tangent to the data) or "uniform" (what networks usually
    start from). With `scaled` the model works in the scales of the data; without, in their own units, and ρ is in
    units of 1/Ψ.

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
            raise ValueError(f"rho at the start must be positive and finite, got {self.rho!r}")
        if not 0 < self.gate < 1:
            raise ValueError(f"gate at the start must lie between 0 and 1, both excluded, got {self.gate!r}")
        if self.weights not in ("spread", "uniform"):
            raise ValueError(f"weights start 'spread' or 'uniform', got {self.weights!r}")
        object.__setattr__(self, "rho", rho)


def spread_samples(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` indices into x, shape (sample, dim): the samples nearest to the centres of k-means clusters.

    Centres divide the data among the modes evenly; samples that are as far apart as possible would sit at the edges of
    the box, where no well is. With fewer places than `count` some are taken twice.

    >>> sorted(spread_samples(np.arange(9.0)[:, None], 3, np.random.default_rng(1)).tolist())
    [1, 4, 7]
    """
    places, first = np.unique(x, axis=0, return_index=True)
    if len(places) <= count:
        return np.resize(rng.permutation(first), count)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centres, _ = kmeans2(places, count, minit="++", rng=rng)
    return ((x[:, None] - centres) ** 2).sum(-1).argmin(0)


def local_gradients(x: np.ndarray, y: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the slope of y, shape (sample,), at the anchors by least squares over the nearest samples.

    The result has shape (anchor, dim); directions in which the neighbours do not vary get slope 0.
    """
    nearby = min(len(x), 2 * x.shape[1] + 3)
    slopes = np.zeros((len(anchors), x.shape[1]))
    for row, anchor in enumerate(anchors):
        near = np.argsort(((x - x[anchor]) ** 2).sum(-1))[:nearby]
        slopes[row] = np.linalg.lstsq(x[near] - x[near].mean(0), y[near] - y[near].mean(), rcond=1e-6)[0]
    return slopes
