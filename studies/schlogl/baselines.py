r"""Baselines for density estimation: kernel density estimates and a mixture of normal distributions.

Kernel estimates are p(k) ∝ Σᵢ exp(−(k − xᵢ)²/(2h²)) on the integers, with Scott's bandwidth h = σ n^{−1/5} or the one
of the highest cross-validated likelihood. The mixture is fitted by expectation maximisation with m = 1 … 6 components;
the number with the lowest BIC = −2 log L + (3m − 1) log n is selected. Cross-validation and mixture are those of
scikit-learn, the extra `baselines` of this package.

Reference: D. W. Scott, Multivariate Density Estimation, Wiley (2015), doi:10.1002/9781118575574.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["best_width", "kernels", "mixture", "scikit_learn_found"]

RELATIVE_WIDTHS = np.geomspace(0.05, 1.5, 25)  # bandwidths tried, over Scott's
SMALLEST_DEVIATION = 2.0  # of a component, in molecules: prevents components on single samples


def scikit_learn_found() -> bool:
    """Return whether scikit-learn is installed, which `best_width` and `mixture` need."""
    return find_spec("sklearn") is not None


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


def best_width(x: np.ndarray, folds: int = 5) -> float:
    """Return the bandwidth of the highest cross-validated likelihood of samples x, shape (sample,)."""
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.neighbors import KernelDensity

    widths = {"bandwidth": _scott(x) * RELATIVE_WIDTHS}
    parts = PredefinedSplit(np.arange(len(x)) % folds)
    search = GridSearchCV(KernelDensity(rtol=1e-4), widths, cv=parts, refit=False)
    return float(search.fit(x[:, None].astype(float)).best_params_["bandwidth"])


def mixture(x: np.ndarray, at: np.ndarray, most: int = 6) -> np.ndarray:
    """Return the normal mixture of lowest BIC of samples x, shape (sample,), at integers, shape (number,)."""
    samples = x[:, None].astype(float)
    fits = [_start(x, m).fit(samples) for m in range(1, most + 1)]
    chosen = min(fits, key=lambda fit: fit.bic(samples))
    p = np.exp(chosen.score_samples(at[:, None].astype(float)))  # of integers, scikit-learn 1.9 rounds log p
    return p / p.sum()


def _scott(x: np.ndarray) -> float:
    """Return Scott's bandwidth, at least half a molecule."""
    return max(float(x.std(ddof=1)) * len(x) ** -0.2, 0.5)


def _start(x: np.ndarray, count: int) -> Any:
    """Return a mixture before expectation maximisation, with components at equal quantiles: nothing is random."""
    from sklearn.mixture import GaussianMixture

    deviation = max(x.std() / count, SMALLEST_DEVIATION)
    return GaussianMixture(
        count,
        weights_init=np.full(count, 1 / count),
        means_init=np.quantile(x, (np.arange(count) + 0.5) / count)[:, None],
        precisions_init=np.full((count, 1, 1), deviation**-2),
        reg_covar=SMALLEST_DEVIATION**2,
        tol=1e-6,
        max_iter=5000,
    )
