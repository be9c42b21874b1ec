r"""Velocities estimated from observed trajectories by smoothing splines, with standard errors.

Each component of the state is observed with independent noise, y_k = x(t_k) + σ ε_k. The curve x(t) is a quintic
smoothing spline, written as a Gaussian process with a diffuse prior on its polynomial part (Wahba 1990),

    x(t) = β₀ + β₁ t + β₂ t² + s ∫ (t − u)²₊/2 dW(u).

Its posterior mean minimises Σ (y_k − x(t_k))² + (σ/s)² ∫ (x‴)² dt. Let R be the covariance matrix of the integral at
the sampling times, Q an orthonormal basis of the complement of the quadratic polynomials, and QᵀRQ = U diag(d) Uᵀ. Then
the components of z = UᵀQᵀy are independent with variances s²dₖ + σ², and their restricted likelihood determines the
roughness s of each trajectory and state and, if the noise level is unknown, one σ per state. The estimate is linear in
the data, ẋ(t_i) ≈ Σ D_ik y_k, and `sigma_velocity` is the square root of its variance

    s² (R″ − 2 D R′ᵀ + D R Dᵀ)_ii + σ² (D Dᵀ)_ii,

the sum of the interpolation error between samples and the propagated noise. Because one s applies to a whole
trajectory, the error is underestimated in parts that are much rougher than the rest, such as the onset of a relaxation.
Fits with match="trajectory" need no derivatives.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench import dataset
from workbench.dataset.labelling import labelled
from workbench.dataset.spread import filled, spread
from workbench.dataset.variables import Units, variable
from workbench.errors import DatasetError

__all__ = ["velocities"]

PENALISED_ORDER = 3  # order of the penalised derivative
FEWEST_SAMPLES = 5  # per trajectory
LONGEST_PIECE = 200  # samples smoothed together; the eigenvalues d decay with the sixth power of their index
NOISE_LEVELS = np.geomspace(1e-8, 1.0, 65)  # candidates for σ, relative to the standard deviation of the state
ROUGHNESS_LEVELS = np.geomspace(1e-6, 1e6, 97)  # candidates for s √(max d), in the same unit
VELOCITY_FLOOR = 1e-3  # smallest standard error, relative to the root mean square velocity


def velocities(data: xr.Dataset, *, noise: ArrayLike | None = None, floor: float = VELOCITY_FLOOR) -> xr.Dataset:
    """Estimate the velocities of observed trajectories, with standard errors, by quintic smoothing splines.

    Parameters
    ----------
    data : xarray.Dataset
        Trajectories on a common time grid, or each with its own times; at least five samples per trajectory.
    noise : float or array_like of shape (dim,), optional
        Standard deviation of the measurement noise, in the units of the states. If omitted, `sigma_x` or `sigma` of the
        data is used; without these, one level per state is estimated from all trajectories. Noise-free data need none.
    floor : float
        Smallest `sigma_velocity`, relative to the root mean square velocity of the state. It prevents a fit from
        neglecting the samples that are harder to differentiate.

    Returns
    -------
    xarray.Dataset
        The data with the same sampling dimensions: ``velocity`` and its standard error ``sigma_velocity``, the smoothed
        states ``x`` and their standard error ``sigma_x``, and the observations as ``x_observed``, all of dims
        (trajectory, time, state) or (sample, state). The velocity has the unit of the states over that of time, if both
        are known. The attributes record the method, the noise levels (`noise_json`) and the floor.

    Raises
    ------
    DatasetError
        If the data have no times, have already been smoothed, or have fewer than five samples in a trajectory.
    ValueError
        If `noise` or `floor` is not positive and finite.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> time = np.linspace(0, 2, 21)
    >>> found = wb.velocities(wb.dataset.trajectories(np.exp(-time)[None, :, None], time))
    >>> bool(abs(found.velocity + found.x_observed).max() < 0.005)
    True

    References
    ----------
    G. Wahba, Spline Models for Observational Data, SIAM (1990), doi:10.1137/1.9781611970128
    """
    data = dataset.check(data)
    if not (np.isfinite(floor) and floor > 0):
        raise ValueError(f"floor must be positive and finite, got {floor!r}")
    rows = _rows(data)
    group, time, y = dataset.groups(rows), rows["time"].values.astype(np.float64), rows["x"].values
    pieces = [at for k in range(group.max() + 1) for at in _pieces(np.flatnonzero(group == k), k)]
    centre, scale = y[0], filled(spread(y))
    curves = [_Curve(_spline(tuple((time[at] - time[at[0]]).tolist())), (y[at] - centre) / scale) for at in pieces]
    level, source = _noise(rows, noise, scale, curves)
    arrays = {name: np.empty_like(y) for name in ("x", "velocity", "sigma_x", "sigma_velocity")}
    for at, curve in zip(pieces, curves, strict=True):
        sigma = np.broadcast_to(level, y.shape)[at].mean(0) / scale
        for name, values in zip(arrays, curve.estimate(sigma), strict=True):
            arrays[name][at] = values * scale
    arrays["x"] += centre
    smallest, slow = np.sqrt((arrays["velocity"] ** 2).mean(0)), scale / max(curve.spline.span for curve in curves)
    arrays["sigma_velocity"] = np.maximum(arrays["sigma_velocity"], floor * np.where(smallest > 0, smallest, slow))
    arrays["sigma_x"] = np.maximum(arrays["sigma_x"], 1e-12 * scale)
    mean_level = level.reshape(-1, y.shape[1]).mean(0)
    levels = {str(s): float(v) for s, v in zip(rows["state"].values, mean_level, strict=True)}
    attrs = {
        "velocity_method": "quintic smoothing spline, roughness by restricted likelihood for each trajectory and state",
        "noise_json": dataset.storable({"source": source, "level": levels}),
        "velocity_floor": floor,
    }
    return _described(data, arrays, attrs)


def _rows(data: xr.Dataset) -> xr.Dataset:
    """Return the trajectories as rows over `sample`."""
    if dataset.kind_of(data) == "points" and not {"trajectory", "time"} <= set(data.coords):
        raise DatasetError("points have no times to differentiate by; give trajectories, or points with their velocity")
    if "x_observed" in data:
        raise DatasetError(
            "these trajectories are already smoothed; differentiate the observations, x_observed, instead"
        )
    return dataset.flat(data)


def _pieces(at: np.ndarray, trajectory: int) -> list[np.ndarray]:
    """Split the rows `at` of a trajectory into pieces of at most `LONGEST_PIECE` samples."""
    if len(at) < FEWEST_SAMPLES:
        raise DatasetError(
            f"trajectory {trajectory} has {len(at)} sample{'s' * (len(at) != 1)}; {FEWEST_SAMPLES} or more are needed "
            "to differentiate it"
        )
    return np.array_split(at, -(-len(at) // LONGEST_PIECE))


def _described(data: xr.Dataset, arrays: dict[str, np.ndarray], attrs: dict) -> xr.Dataset:
    """Return the data with the estimates, in the layout of the input."""
    texts = {
        "x": "state, smoothed",
        "velocity": "rate of change of the state, estimated",
        "sigma_x": "standard error of the smoothed state",
        "sigma_velocity": "standard error of the estimated velocity",
    }
    found = data.drop_vars(("sigma", "sigma_x"), errors="ignore").assign(x_observed=data["x"])
    for name, values in arrays.items():
        found[name] = variable(data["x"].dims, values.reshape(data["x"].shape), texts[name])
    return dataset.check(labelled(found.assign_attrs(attrs), Units.read(data)))


def _noise(rows: xr.Dataset, noise: Any, scale: np.ndarray, curves: list["_Curve"]) -> tuple[np.ndarray, str]:
    """Return the noise levels, shape (sample or 1, dim), and their source."""
    if noise is not None:
        given = np.broadcast_to(np.asarray(noise, dtype=np.float64), scale.shape)[None]
        if not (np.isfinite(given).all() and (given > 0).all()):
            raise ValueError(f"noise must be positive and finite, one number or one per state, got {noise!r}")
        return given, "given"
    for name in ("sigma_x", "sigma"):
        if name in rows:
            values = rows[name].values.reshape(rows.sizes["sample"], -1)
            return np.broadcast_to(values, (len(values), len(scale))), f"{name} of the data"
    table = np.sum([curve.table() for curve in curves], axis=0)
    return scale * np.array([_peak(column) for column in table.T])[None], "estimated"


def _peak(log_likelihood: np.ndarray) -> float:
    """Return the σ of maximum likelihood, from a parabola through the best candidate and its two neighbours."""
    k = int(np.argmax(log_likelihood))
    if k in (0, len(NOISE_LEVELS) - 1):
        return float(NOISE_LEVELS[k])
    left, top, right = log_likelihood[k - 1 : k + 2]
    shift = (left - right) / (2 * (left - 2 * top + right))
    return float(NOISE_LEVELS[k] * (NOISE_LEVELS[1] / NOISE_LEVELS[0]) ** shift)


@dataclass(frozen=True)
class _Spline:
    """Matrices that depend on the sampling times alone; time is in units of the duration of the piece."""

    span: float
    d: np.ndarray  # (n − 3,)
    modes: np.ndarray  # QU, (n, n − 3)
    T: np.ndarray  # polynomials at the samples, (n, 3)
    T1: np.ndarray  # their derivatives, (n, 3)
    R: np.ndarray  # covariance of the integral, (n, n)
    R1: np.ndarray  # its derivative with respect to the first time, (n, n)
    R2: np.ndarray  # its derivative with respect to both times, on the diagonal, (n,)


@lru_cache(maxsize=256)
def _spline(time: tuple[float, ...]) -> _Spline:
    """Return the matrices for sampling times that start at 0."""
    span = time[-1]
    t = np.array(time) / span
    T = np.vander(t, PENALISED_ORDER, increasing=True)
    T1 = np.zeros_like(T)
    T1[:, 1:] = T[:, :-1] * np.arange(1, PENALISED_ORDER)
    R = _covariance(t, 0, 0)
    Q = np.linalg.qr(T, mode="complete")[0][:, PENALISED_ORDER:]
    d, U = np.linalg.eigh(Q.T @ R @ Q)
    return _Spline(span, d.clip(0), Q @ U, T, T1, R, _covariance(t, 1, 0), _covariance(t, 1, 1).diagonal())


def _covariance(t: np.ndarray, i: int, j: int) -> np.ndarray:
    """Return the covariance of the i-th and j-th derivatives of ∫ (t − u)²₊/2 dW(u), shape (n, n).

    Gauss quadrature is exact for these polynomials.
    """
    node, weight = np.polynomial.legendre.leggauss(PENALISED_ORDER)
    low = np.minimum(t[:, None], t)
    u = low[..., None] * (node + 1) / 2
    left, right = (
        (a[..., None] - u) ** (2 - k) / (2 - k) for a, k in ((t[:, None], i), (t[None], j))
    )  # (t − u)²/2, and t − u
    return (left * right * weight).sum(-1) * low / 2


class _Curve:
    """One trajectory, or a piece of one: y with shape (n, dim), in units of the standard deviation of each state."""

    def __init__(self, spline: _Spline, y: np.ndarray) -> None:
        self.spline, self.y = spline, y
        self.z = (spline.modes.T @ y) ** 2

    def table(self) -> np.ndarray:
        """Return the largest log-likelihood at each candidate noise level, shape (noise, dim)."""
        return np.stack([self._likelihood(np.full(self.y.shape[1], sigma)).max(0) for sigma in NOISE_LEVELS])

    def estimate(self, sigma: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the smooth curve, its derivative and the standard errors of both, each of shape (n, dim)."""
        roughness = ROUGHNESS_LEVELS[self._likelihood(sigma).argmax(0)] / np.sqrt(self.spline.d.max())
        columns = [self._state(k, s, noise) for k, (s, noise) in enumerate(zip(roughness, sigma, strict=True))]
        return tuple(np.stack(parts, -1) for parts in zip(*columns, strict=True))

    def _likelihood(self, sigma: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each candidate roughness at noise σ, shape (roughness, dim)."""
        d = self.spline.d / self.spline.d.max()
        variance = ROUGHNESS_LEVELS[:, None, None] ** 2 * d[:, None] + sigma**2
        return -(np.log(variance) + self.z / variance).sum(1) / 2

    def _state(self, k: int, s: float, sigma: float) -> tuple[np.ndarray, ...]:
        """Return curve, derivative and their standard errors for state k, each of shape (n,)."""
        p = self.spline
        ratio = (sigma / s) ** 2
        A = (p.modes / (p.d + ratio)) @ p.modes.T
        D = p.T1 @ np.linalg.pinv(p.T) @ (np.eye(len(A)) - p.R @ A - ratio * A) + p.R1 @ A
        S = np.eye(len(A)) - ratio * A
        interpolation = p.R2 - 2 * (D * p.R1).sum(-1) + ((D @ p.R) * D).sum(-1)
        error = s**2 * interpolation.clip(0) + sigma**2 * (D**2).sum(-1)
        y = self.y[:, k]
        return S @ y, D @ y / p.span, sigma * np.sqrt(S.diagonal().clip(0)), np.sqrt(error) / p.span
