r"""What else one would do with samples of a density: kernels, and a mixture of normal densities.

Kernel estimates are p(k) ∝ Σᵢ exp(−(k − xᵢ)²/(2h²)) on the integers, with Scott's width h = σ n^{−1/5} or the one
of the highest cross-validated likelihood. The mixture is fitted by expectation maximisation for 1 … 6 components, and
the number with the lowest BIC = −2 log L + (3m − 1) log n is taken.
"""

import numpy as np

__all__ = ["best_width", "kernels", "mixture"]

WIDTHS = np.geomspace(0.05, 1.5, 25)  # of Scott's
NARROWEST = 2.0  # standard deviation of a component, in molecules: no component sits on a single sample


def kernels(x: np.ndarray, at: np.ndarray, width: float | None = None) -> np.ndarray:
    """Return the kernel estimate of samples x, shape (sample,), at integers, shape (number,); it sums to 1.

    >>> float(kernels(np.array([3.0, 4.0]), np.arange(9)).sum().round(12))
    1.0
    """
    h = _scott(x) if width is None else width
    places, count = np.unique(x, return_counts=True)
    p = count @ np.exp(-0.5 * ((at - places[:, None]) / h) ** 2)
    return p / p.sum()


def best_width(x: np.ndarray, at: np.ndarray, folds: int = 5) -> float:
    """Return the width of the highest likelihood of samples that were left out, a fifth at a time."""
    part = np.arange(len(x)) % folds
    index = np.searchsorted(at, x)

    def likelihood(h: float) -> float:
        terms = [np.log(kernels(x[part != k], at, h)[index[part == k]] + 1e-300).sum() for k in range(folds)]
        return float(sum(terms))

    widths = _scott(x) * WIDTHS
    return float(widths[np.argmax([likelihood(h) for h in widths])])


def mixture(x: np.ndarray, at: np.ndarray, most: int = 6) -> np.ndarray:
    """Return the normal mixture of the lowest BIC of samples x, shape (sample,), at integers; it sums to 1."""
    fits = [_maximised(x, m) for m in range(1, most + 1)]
    bic = [-2 * fit[0] + (3 * m - 1) * np.log(len(x)) for m, fit in enumerate(fits, 1)]
    _, weight, mean, deviation = fits[int(np.argmin(bic))]
    p = weight @ _normal(at, mean, deviation)
    return p / p.sum()


def _scott(x: np.ndarray) -> float:
    return max(float(x.std(ddof=1)) * len(x) ** -0.2, 0.5)


def _normal(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return the densities, shape (component, sample)."""
    z = (x - mean[:, None]) / deviation[:, None]
    return np.exp(-0.5 * z**2) / (deviation[:, None] * np.sqrt(2 * np.pi))


def _maximised(x: np.ndarray, count: int, rounds: int = 500) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return log-likelihood, weights, means and deviations, from components at even quantiles."""
    mean = np.quantile(x, (np.arange(count) + 0.5) / count)
    deviation, weight = np.full(count, max(x.std() / count, NARROWEST)), np.full(count, 1 / count)
    before = -np.inf
    for _ in range(rounds):
        joint = weight[:, None] * _normal(x, mean, deviation) + 1e-300
        level = float(np.log(joint.sum(0)).sum())
        if level - before < 1e-8 * abs(level):
            break
        before, share = level, joint / joint.sum(0)
        total = share.sum(1) + 1e-12
        weight, mean = total / len(x), share @ x / total
        deviation = np.maximum(np.sqrt((share * (x - mean[:, None]) ** 2).sum(1) / total), NARROWEST)
    return level, weight, mean, deviation
