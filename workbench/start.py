"""Where modes start: anchors spread over the data, and the slope of the data there."""

import numpy as np

__all__ = ["farthest_samples", "local_slopes"]


def farthest_samples(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` indices into x, shape (sample, dim): a random one, then each the farthest from those before it.

    >>> farthest_samples(np.array([[0.0], [1.0], [5.0]]), 2, np.random.default_rng(0))
    array([2, 0])
    """
    chosen = [int(rng.integers(len(x)))]
    distance = np.full(len(x), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(-1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def local_slopes(x: np.ndarray, y: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the slope of y, shape (sample,), at the anchors by least squares over the nearest samples.

    The result has shape (anchor, dim); directions in which the neighbours do not vary get slope 0.
    """
    nearby = min(len(x), 2 * x.shape[1] + 3)
    slopes = np.zeros((len(anchors), x.shape[1]))
    for row, anchor in enumerate(anchors):
        near = np.argsort(((x - x[anchor]) ** 2).sum(-1))[:nearby]
        slopes[row] = np.linalg.lstsq(x[near] - x[near].mean(0), y[near] - y[near].mean(), rcond=1e-6)[0]
    return slopes
