r"""Transition rates between wells under thermal noise, by the Eyring–Kramers formula.

For dx = −∇Ψ dt + √(2T) dW, a minimum m and an index-1 saddle s on the boundary of its basin,

    k = |λ₁(s)|/(2π) · √(det ∇²Ψ(m) / |det ∇²Ψ(s)|) · exp(−(Ψ(s) − Ψ(m))/T),

where λ₁(s) is the negative eigenvalue of ∇²Ψ(s). Zero eigenvalues of continuous symmetries are left out, and k is
multiplied by the ratio of the extents of the families of saddles and minima, where the potential declares them. k is
the rate of crossings over s to the well beyond; if s is the only way out of the well, 1/k is the mean first-passage
time to that well. The formula is the limit of low temperature. At a barrier of 6 T it is accurate to some per cent on
smooth surfaces, and less accurate where the saddle is strongly anharmonic and at lower barriers.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from workbench.checks import require_temperature
from workbench.dataset.variables import variable
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.graph import graph
from workbench.potentials.box import landscape_in
from workbench.potentials.potential import Potential, units_of

__all__ = ["rates"]

TRUSTED_BARRIER = 6.0  # in units of T: above it the formula is accurate to about 10 %


def rates(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    temperature: float,
    *,
    points: xr.Dataset | None = None,
    starts: int = 256,
) -> xr.Dataset:
    """Compute the Eyring–Kramers rate of crossing each saddle from either side.

    The escape rate of a well is the sum of the rates over its saddles.

    Parameters
    ----------
    potential : Potential
        Any potential. The members of an ensemble are analysed one by one.
    within : sequence of (float, float)
        Box to search, one pair (low, high) per state.
    temperature : float
        T in dx = −∇Ψ dt + √(2T) dW, in the unit of Ψ.
    points : xarray.Dataset, optional
        Result of `stationary_points` for the same potential; by default the points are computed.
    starts : int
        Number of Sobol starting points, where the points are computed.

    Returns
    -------
    xarray.Dataset
        The variables of `graph`, and in addition

        - ``rate(point, side)``, the rate of crossing the saddle from the minimum ``joins(point, side)``;
        - ``time(point, side)``, its inverse;

        both NaN where there is no such minimum, and in the unit of time that the potential knows. The attribute
        ``temperature`` holds T; ``mobility`` says in which units the mobility of the motion is 1.

    Raises
    ------
    ValueError
        If the temperature is not a positive number, or as `graph`.
    LandscapeError
        If no saddle in the box is connected to a minimum, or as `graph`.
    TypeError
        If `potential` is not a potential, or changes in time.

    Warns
    -----
    LandscapeWarning
        If a barrier is below 6 T, or as `graph`.

    References
    ----------
    H. Eyring, J. Chem. Phys. 3, 107-115 (1935), doi:10.1063/1.1749604.

    H. A. Kramers, Physica 7, 284-304 (1940), doi:10.1016/S0031-8914(40)90098-2.

    P. Hänggi, P. Talkner, M. Borkovec, Rev. Mod. Phys. 62, 251-341 (1990), doi:10.1103/RevModPhys.62.251.

    Examples
    --------
    >>> import systems
    >>> well = systems.get("asymmetric_quartic")
    >>> found = rates(well, well.box, temperature=0.04)
    >>> found.time.sel(point=2).values.round(1).tolist()
    [7033.1, 8749624.3]
    """
    temperature = require_temperature(temperature)
    potential, _ = landscape_in(potential, within)
    found = graph(potential, within, points=points, starts=starts)
    if not (found["joins"].values >= 0).any():
        raise LandscapeError(_nothing_to_cross(found))
    with np.errstate(over="ignore", under="ignore"):
        log_rate = log_rates(found, temperature)
        rate, time = np.exp(log_rate), np.exp(-log_rate)
    warn_low_barriers(found, temperature, "the rates over them")
    units = units_of(potential)
    found["rate"] = variable(("point", "side"), rate, "rate of crossing from that side", units.of("rate"))
    found["time"] = variable(("point", "side"), time, "mean time to cross from that side", units.of("time"))
    return found.assign_attrs(temperature=temperature, **units.motion())


def log_rates(found: xr.Dataset, temperature: float) -> np.ndarray:
    """Return the logarithms of the rates of crossing the saddles of a graph, (point, side); NaN where there is none.

    It is λ/2π times the ratio of the widths of the saddle and of the minimum (`log_widths`), times e^{−barrier/T}.
    """
    joins, barrier, width = found["joins"].values, found["barrier"].values, log_widths(found)
    unstable = np.abs(found["eigenvalue"].values[:, :1])
    with np.errstate(divide="ignore", invalid="ignore"):
        prefactor = np.log(unstable / (2 * np.pi)) + width[:, None] - width[joins]
        return np.where(joins >= 0, prefactor - barrier / temperature, np.nan)


def log_widths(found: xr.Dataset) -> np.ndarray:
    """Return ln of extent/√|det ∇²Ψ| at the points of a graph, shape (point,): their weights, but for e^{−Ψ/T}.

    Zero modes are left out of the determinants, and the extents of the families take their place. Without ``extent``
    these are taken to be equal, as they are under translations.
    """
    with np.errstate(divide="ignore"):
        log_size = np.sort(np.log(np.abs(found["eigenvalue"].values)), -1)
        extent = np.log(found["extent"].values) if "extent" in found else 0.0
    modes = found["zero_modes"].values if "zero_modes" in found else np.zeros(len(log_size), dtype=int)
    curved = np.arange(log_size.shape[-1]) >= modes[:, None]
    return extent - np.where(curved, log_size, 0.0).sum(-1) / 2


def warn_low_barriers(found: xr.Dataset, temperature: float, what: str) -> None:
    """Warn if barriers of a graph are too low for the formula."""
    barrier = found["barrier"].values
    low = np.argwhere(barrier < TRUSTED_BARRIER * temperature)
    if not len(low):
        return
    exact = "first_passage_exact(…) or relaxation_times(…)" if found.sizes["state"] <= 3 else "first_passage(…)"
    highest = np.nanmax(barrier)
    if highest < temperature:
        text = (
            f"T = {temperature:g} exceeds every barrier, of which the highest is {highest:.3g}: the wells hold nothing "
            f"at this temperature, and {what} have no meaning; lower T, or use {exact}"
        )
    else:
        point, side = low[np.argmin(barrier[tuple(low.T)])]
        text = (
            f"{len(low)} barrier(s) below {TRUSTED_BARRIER:g} T, the lowest {barrier[point, side] / temperature:.2g} T "
            f"(saddle {point}, side {side}): {what} are order-of-magnitude estimates; use {exact} instead"
        )
    warnings.warn(text, LandscapeWarning, stacklevel=3)


def _nothing_to_cross(found: xr.Dataset) -> str:
    """Return what is wrong with a graph in which no saddle is connected to a minimum."""
    minima, saddles = (int((found["index"] == k).sum()) for k in (0, 1))
    if not minima:
        text = "no minimum lies in the box: the valleys go on outside, or the potential has no bottom; widen within=…"
    elif not saddles:
        text = f"there is no index-1 saddle in the box, and {minima} minima: widen within=…, or increase starts=…"
    else:
        text = f"none of {saddles} index-1 saddles leads down to one of {minima} minima in the box: widen within=…"
    return f"no crossing has a rate: {text}"
