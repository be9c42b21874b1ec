r"""Baselines for density estimation: kernel density estimates and a mixture of normal distributions.

Kernel estimates are p(k) ∝ Σᵢ exp(−(k − xᵢ)²/(2h²)) on the integers, with Scott's bandwidth h = σ n^{−1/5} or the one
of the highest cross-validated likelihood. The mixture is fitted by expectation maximisation with m = 1 … 6 components;
the number with the lowest BIC = −2 log L + (3m − 1) log n is selected.

Reference: D. W. Scott, Multivariate Density Estimation, Wiley (2015), doi:10.1002/9781118575574.
"""

import numpy as np

__all__ = ["best_width", "kernels", "mixture"]

RELATIVE_WIDTHS = np.geomspace(0.05, 1.5, 25)  # bandwidths tried, over Scott's
SMALLEST_DEVIATION = 2.0  # of a component, in molecules: prevents components on single samples


def kernels(x: np.ndarray, at: np.ndarray, width: float | None = None) -> np.ndarray:
    """Return the kernel density estimate of samples x, shape (sample,), at integers, shape (number,); it sums to 1.

    Examples
    --------
    >>> float(kernels(np.array([3.0, 4.0]), np.arange(9)).sum().round(12))
    1.0
    """
    h = _scott(x) if width is None else width
    places, count = np.unique(x, return_counts=True)
    p = count @ np.exp(-0.5 * ((at - places[:, None]) / h) ** 2)
    return p / p.sum()


def best_width(x: np.ndarray, at: np.ndarray, folds: int = 5) -> float:
    """Return the bandwidth of the highest cross-validated likelihood of samples x, shape (sample,)."""
    part = np.arange(len(x)) % folds
    index = np.searchsorted(at, x)

    def likelihood(h: float) -> float:
        terms = [np.log(kernels(x[part != k], at, h)[index[part == k]] + 1e-300).sum() for k in range(folds)]
        return float(sum(terms))

    widths = _scott(x) * RELATIVE_WIDTHS
    return float(widths[np.argmax([likelihood(h) for h in widths])])


def mixture(x: np.ndarray, at: np.ndarray, most: int = 6) -> np.ndarray:
    """Return the normal mixture of lowest BIC of samples x, shape (sample,), at integers, shape (number,)."""
    fits = [_maximised(x, m) for m in range(1, most + 1)]
    bic = [-2 * fit[0] + (3 * m - 1) * np.log(len(x)) for m, fit in enumerate(fits, 1)]
    _, weight, mean, deviation = fits[int(np.argmin(bic))]
    p = weight @ _normal(at, mean, deviation)
    return p / p.sum()


def _scott(x: np.ndarray) -> float:
    """Return Scott's bandwidth, at least half a molecule."""
    return max(float(x.std(ddof=1)) * len(x) ** -0.2, 0.5)


def _normal(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return normal densities, shape (component, sample)."""
    z = (x - mean[:, None]) / deviation[:, None]
    return np.exp(-0.5 * z**2) / (deviation[:, None] * np.sqrt(2 * np.pi))


def _maximised(x: np.ndarray, count: int, rounds: int = 500) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return log-likelihood, weights, means and standard deviations by EM, from components at equal quantiles."""
    mean = np.quantile(x, (np.arange(count) + 0.5) / count)
    deviation, weight = np.full(count, max(x.std() / count, SMALLEST_DEVIATION)), np.full(count, 1 / count)
    previous = -np.inf
    for _ in range(rounds):
        joint = weight[:, None] * _normal(x, mean, deviation) + 1e-300
        level = float(np.log(joint.sum(0)).sum())
        if level - previous < 1e-8 * abs(level):
            break
        previous, posterior = level, joint / joint.sum(0)
        total = posterior.sum(1) + 1e-12
        weight, mean = total / len(x), posterior @ x / total
        deviation = np.maximum(np.sqrt((posterior * (x - mean[:, None]) ** 2).sum(1) / total), SMALLEST_DEVIATION)
    return level, weight, mean, deviation
