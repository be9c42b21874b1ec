r"""Mean first-passage times in one dimension, by quadrature.

From a to b > a, the mean first-passage time of dx = −Ψ′ dt + √(2T) dW is

    τ = (1/T) ∫ₐᵇ dy e^{Ψ(y)/T} ∫_wʸ dz e^{−Ψ(z)/T},

with w a reflecting wall, or −∞. Both integrals are computed in logarithms, by Simpson's rule with the inner one on half
the spacing of the outer one, so that no barrier is too high.

References
----------
H. Risken, The Fokker–Planck Equation, Springer (1996), doi:10.1007/978-3-642-61544-3.
"""

from collections.abc import Callable

import numpy as np

from workbench.errors import LandscapeError

__all__ = ["log_passage_time"]

CUTOFF_HEIGHT = 40.0  # in units of T: Boltzmann weights beyond such a height are negligible
MOST_INTERVALS = 2**20
TOLERANCE = 1e-9  # relative change of τ from one refinement to the next
LARGE = 1e3  # logarithm of τ beyond which rounding of Ψ/T shows


def log_passage_time(
    height: Callable[[np.ndarray], np.ndarray], temperature: float, start: float, target: float, wall: float | None
) -> float:
    """Return the logarithm of the mean first-passage time in one dimension.

    Parameters
    ----------
    height : callable
        Ψ/T of states, shape (row,).
    temperature : float
        T.
    start, target : float
        Starting point and the point at which the motion ends.
    wall : float or None
        Reflecting wall on the side of the start that is away from the target; None for a wall where Ψ has risen by
        40 T.

    Returns
    -------
    float
        ln τ.

    Raises
    ------
    LandscapeError
        If Ψ is not finite, does not rise by 40 T on the side away from `target`, or the quadrature does not converge.

    Examples
    --------
    >>> round(np.exp(log_passage_time(lambda x: 0 * x, 1.0, 0.0, 2.0, 0.0)), 9)  # of free diffusion: 2²/2
    np.float64(2.0)
    """
    sign = 1.0 if target > start else -1.0
    a, b = sign * start, sign * target

    def psi(z: np.ndarray) -> np.ndarray:
        values = np.asarray(height(sign * z), dtype=np.float64)
        if not np.isfinite(values).all():
            raise LandscapeError(
                f"the potential is not finite everywhere between {sign * z[0]:g} and {sign * z[-1]:g}; choose start "
                "and target where it is defined"
            )
        return values

    w = _wall(psi, a, b) if wall is None else sign * wall
    previous, intervals = np.nan, 1024
    while intervals <= MOST_INTERVALS:
        tail, inner = np.linspace(w, a, intervals + 1), np.linspace(a, b, intervals + 1)
        low, high = psi(tail), psi(inner)
        before = _simpson(-low, tail)[-1] if w < a else -np.inf
        weight = np.logaddexp(before, _simpson(-high, inner))
        tau = _simpson(high[::2] + weight, inner[::2])[-1] - np.log(temperature)
        if abs(tau - previous) <= TOLERANCE * max(1.0, abs(tau) / LARGE):
            return float(tau)
        previous, intervals = tau, 2 * intervals
    raise LandscapeError(
        f"the quadrature does not converge, τ = 10^{previous / np.log(10):.3f} with {MOST_INTERVALS} intervals; check "
        "the potential for discontinuities"
    )


def _wall(psi: Callable[[np.ndarray], np.ndarray], a: float, b: float) -> float:
    """Return a point before a < b where Ψ has risen by 40 T above its minimum between that point and b."""
    level = psi(np.linspace(a, b, 513)).min()
    for k in range(60):
        beyond = np.linspace(a - (b - a) * 1.5**k / 8, a, 513)
        heights = psi(beyond)
        if heights[0] - min(heights.min(), level) > CUTOFF_HEIGHT:
            return float(beyond[0])
    raise LandscapeError(
        f"the potential does not rise by {CUTOFF_HEIGHT:g} T on the side away from target: it is unbounded below there"
    )


def _simpson(exponent: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the logarithms of ∫ eᶠ dx from the first point to every other one, for exponents f at equidistant points.

    >>> np.exp(_simpson(np.zeros(5), np.linspace(0, 1, 5))).round(12).tolist()
    [0.0, 0.5, 1.0]
    """
    parts = np.logaddexp(np.logaddexp(exponent[:-1:2], exponent[2::2]), exponent[1::2] + np.log(4))
    sums = np.logaddexp.accumulate(parts + np.log((x[-1] - x[0]) / (len(x) - 1) / 3))
    return np.concatenate([[-np.inf], sums])
