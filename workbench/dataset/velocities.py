r"""Velocities of observed trajectories: smoothing splines, with the error of every estimate.

A state is observed as y_k = x(t_k) + σ ε_k. The curve is a quintic smoothing spline in its Bayesian form,

    x(t) = β₀ + β₁ t + β₂ t² + s ∫ (t − u)²₊/2 dW(u),      β free,

whose posterior mean minimises Σ (y_k − x(t_k))² + (σ/s)² ∫ (x‴)² dt. With the covariance R of the integral at the
times, a basis Q of what is orthogonal to the polynomials, and QᵀRQ = U diag(d) Uᵀ, the data z = UᵀQᵀy are independent
with variances s²dₖ + σ²: their (restricted) likelihood gives s for every trajectory and state and, where the noise
level is not known, one σ for every state. The estimate is linear, ẋ(t_i) ≈ Σ D_ik y_k, and its variance then

    s² (R″_ii − 2 D R′ᵀ + D R Dᵀ)_ii + σ² (D Dᵀ)_ii

is what `sigma_velocity` reports: the noise that gets through, and what the spline cannot follow between samples. One s
stands for the whole trajectory, so the error is understated where it is much rougher than elsewhere, as in the first
moments of a relaxation; match="trajectory" does without derivatives.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench import dataset
from workbench.errors import DatasetError

__all__ = ["velocities"]

ORDER = 3  # derivative that is penalised
FEWEST = 5  # samples of a trajectory
LONGEST = 200  # samples treated at a time; the eigenvalues d fall with the sixth power of their number
NOISE = np.geomspace(1e-8, 1.0, 65)  # σ that are tried, in units of the state's spread
ROUGH = np.geomspace(1e-6, 1e6, 97)  # s√d₁ that are tried, in the same units
FLOOR = 1e-3  # of the root mean square velocity: errors are not called smaller


def velocities(data: xr.Dataset, *, noise: ArrayLike | None = None, floor: float = FLOOR) -> xr.Dataset:
    """Return trajectories with their `velocity` estimated, and its standard error `sigma_velocity`.

    `data` are trajectories on one grid or each at its own times, with five samples each or more. `noise`, the standard
    deviation of the states, is a number or has shape (dim,); without it `sigma_x` or `sigma` of the data are taken,
    else it is estimated from the roughness of all trajectories, one number for every state. Noise-free data need no
    setting.

    `x` becomes the smooth curve, with its standard error `sigma_x`, and what was observed stays as `x_observed`.
    Errors are called no smaller than `floor` times the root mean square velocity, so that a fit does not forget the
    samples that are harder to differentiate. Attributes record method and noise levels (`noise_json`).

    >>> import numpy as np, workbench as wb
    >>> time = np.linspace(0, 2, 21)
    >>> found = velocities(wb.dataset.trajectories(np.exp(-time)[None, :, None], time))
    >>> bool(abs(found.velocity + found.x_observed).max() < 0.005)
    True
    """
    data = dataset.check(data)
    if not (np.isfinite(floor) and floor > 0):
        raise ValueError(f"floor must be positive and finite, got {floor!r}")
    rows = _rows(data)
    group, time, y = dataset.groups(rows), rows["time"].values.astype(np.float64), rows["x"].values
    pieces = [at for k in range(group.max() + 1) for at in _pieces(np.flatnonzero(group == k), k)]
    spread = y.std(0)
    spread[~(spread > 1e-12 * np.abs(y).max(0))] = 1.0
    curves = [_Curve(_spline(tuple((time[at] - time[at[0]]).tolist())), y[at] / spread) for at in pieces]
    level, source = _noise(rows, noise, spread, curves)
    arrays = {name: np.empty_like(y) for name in ("x", "velocity", "sigma_x", "sigma_velocity")}
    for at, curve in zip(pieces, curves, strict=True):
        sigma = np.broadcast_to(level, y.shape)[at].mean(0) / spread
        for name, values in zip(arrays, curve.estimate(sigma), strict=True):
            arrays[name][at] = values * spread
    least = floor * np.sqrt((arrays["velocity"] ** 2).mean(0))
    arrays["sigma_velocity"] = np.maximum(arrays["sigma_velocity"], np.where(least > 0, least, floor))
    arrays["sigma_x"] = np.maximum(arrays["sigma_x"], 1e-12 * spread)
    told = {str(s): float(v) for s, v in zip(rows["state"].values, level.reshape(-1, y.shape[1]).mean(0), strict=True)}
    attrs = {
        "velocity_method": "quintic smoothing spline, roughness by restricted likelihood for each trajectory and state",
        "noise_json": dataset.storable({"source": source, "level": told}),
        "velocity_floor": floor,
    }
    return _described(data, rows, arrays, attrs)


def _rows(data: xr.Dataset) -> xr.Dataset:
    if dataset.kind_of(data) == "points" and not {"trajectory", "time"} <= set(data.coords):
        raise DatasetError("points have no times to differentiate by; give trajectories, or their velocity")
    if "x_observed" in data:
        raise DatasetError("these trajectories were differentiated before: x is smooth, x_observed is what was seen")
    return dataset.flat(data)


def _pieces(at: np.ndarray, trajectory: int) -> list[np.ndarray]:
    if len(at) < FEWEST:
        raise DatasetError(
            f"trajectory {trajectory} has {len(at)} samples; {FEWEST} or more are needed to differentiate it"
        )
    return np.array_split(at, -(-len(at) // LONGEST))


def _described(data: xr.Dataset, rows: xr.Dataset, arrays: dict[str, np.ndarray], attrs: dict) -> xr.Dataset:
    """Return the data with the estimates in the layout they came in."""
    texts = {
        "x": "state, smoothed",
        "velocity": "rate of change of the state, estimated",
        "sigma_x": "standard error of the smoothed state",
        "sigma_velocity": "standard error of the estimated velocity",
    }
    found = data.drop_vars(("sigma", "sigma_x"), errors="ignore").assign(x_observed=data["x"])
    unit, of_time = (data[name].attrs.get("units", "1") for name in ("x", "time"))
    rate = unit if of_time == "1" else f"{unit} {of_time}-1".removeprefix("1 ")
    dims = data["x"].dims
    for name, values in arrays.items():
        array = values.reshape(data["x"].transpose(*dims).shape)
        found[name] = (dims, array, {"long_name": texts[name], "units": rate if "velocity" in name else unit})
    return dataset.check(found.assign_attrs({**data.attrs, **attrs}))


def _noise(rows: xr.Dataset, noise: Any, spread: np.ndarray, curves: list["_Curve"]) -> tuple[np.ndarray, str]:
    """Return the noise levels, shape (sample or 1, dim), and where they come from."""
    if noise is not None:
        given = np.broadcast_to(np.asarray(noise, dtype=np.float64), spread.shape)[None]
        if not (np.isfinite(given).all() and (given > 0).all()):
            raise ValueError(f"noise must be positive and finite, a number or one for each state, got {noise!r}")
        return given, "given"
    for name in ("sigma_x", "sigma"):
        if name in rows:
            values = rows[name].values.reshape(rows.sizes["sample"], -1)
            return np.broadcast_to(values, (len(values), len(spread))), f"{name} of the data"
    table = np.sum([curve.table() for curve in curves], axis=0)
    return spread * np.array([_peak(column) for column in table.T])[None], "estimated"


def _peak(log_likelihood: np.ndarray) -> float:
    """Return the σ of the highest likelihood, by the parabola through the best of those tried and its neighbours."""
    k = int(np.argmax(log_likelihood))
    if k in (0, len(NOISE) - 1):
        return float(NOISE[k])
    before, top, after = log_likelihood[k - 1 : k + 2]
    shift = (before - after) / (2 * (before - 2 * top + after))
    return float(NOISE[k] * (NOISE[1] / NOISE[0]) ** shift)


@dataclass(frozen=True)
class _Spline:
    """What depends on the times alone, with time in units of the length of the piece."""

    span: float
    d: np.ndarray  # (n − 3,)
    modes: np.ndarray  # QU, (n, n − 3)
    T: np.ndarray  # polynomials, (n, 3)
    slope: np.ndarray  # their derivatives
    R: np.ndarray
    R1: np.ndarray  # derivative by the first time
    R2: np.ndarray  # by both, on the diagonal


@lru_cache(maxsize=256)
def _spline(time: tuple[float, ...]) -> _Spline:
    span = time[-1]
    t = np.array(time) / span
    T = np.vander(t, ORDER, increasing=True)
    slope = np.zeros_like(T)
    slope[:, 1:] = T[:, :-1] * np.arange(1, ORDER)
    R = _covariance(t, 0, 0)
    Q = np.linalg.qr(T, mode="complete")[0][:, ORDER:]
    d, U = np.linalg.eigh(Q.T @ R @ Q)
    return _Spline(span, d.clip(0), Q @ U, T, slope, R, _covariance(t, 1, 0), _covariance(t, 1, 1).diagonal())


def _covariance(t: np.ndarray, i: int, j: int) -> np.ndarray:
    """Return the covariance of the i-th and j-th derivatives of ∫ (t − u)²₊/2 dW(u), shape (n, n); Gauss is exact."""
    node, weight = np.polynomial.legendre.leggauss(ORDER)
    low = np.minimum(t[:, None], t)
    u = low[..., None] * (node + 1) / 2
    left, right = (
        (a[..., None] - u) ** (2 - k) / (2 - k) for a, k in ((t[:, None], i), (t[None], j))
    )  # (t − u)²/2, and t − u
    return (left * right * weight).sum(-1) * low / 2


class _Curve:
    """One trajectory, or a piece of it: y with shape (n, dim), in units of the spread of each state."""

    def __init__(self, spline: _Spline, y: np.ndarray) -> None:
        self.spline, self.y = spline, y
        self.z = (spline.modes.T @ y) ** 2

    def table(self) -> np.ndarray:
        """Return the highest log-likelihood at each noise level tried, shape (noise, dim)."""
        return np.stack([self._likelihood(np.full(self.y.shape[1], sigma)).max(0) for sigma in NOISE])

    def estimate(self, sigma: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the smooth curve, its derivative, and the standard errors of both, each with shape (n, dim)."""
        rough = ROUGH[self._likelihood(sigma).argmax(0)] / np.sqrt(self.spline.d.max())
        columns = [self._state(k, s, noise) for k, (s, noise) in enumerate(zip(rough, sigma, strict=True))]
        return tuple(np.stack(parts, -1) for parts in zip(*columns, strict=True))

    def _likelihood(self, sigma: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of every roughness tried at σ, shape (rough, dim)."""
        d = self.spline.d / self.spline.d.max()
        variance = ROUGH[:, None, None] ** 2 * d[:, None] + sigma**2
        return -(np.log(variance) + self.z / variance).sum(1) / 2

    def _state(self, k: int, s: float, sigma: float) -> tuple[np.ndarray, ...]:
        p = self.spline
        ratio = (sigma / s) ** 2
        A = (p.modes / (p.d + ratio)) @ p.modes.T
        D = p.slope @ np.linalg.pinv(p.T) @ (np.eye(len(A)) - p.R @ A - ratio * A) + p.R1 @ A
        S = np.eye(len(A)) - ratio * A
        missed = p.R2 - 2 * (D * p.R1).sum(-1) + ((D @ p.R) * D).sum(-1)
        error = s**2 * missed.clip(0) + sigma**2 * (D**2).sum(-1)
        y = self.y[:, k]
        return S @ y, D @ y / p.span, sigma * np.sqrt(S.diagonal().clip(0)), np.sqrt(error) / p.span
