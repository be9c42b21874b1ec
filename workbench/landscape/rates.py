r"""How often noise carries a state from well to well: the Eyring–Kramers law.

For dx = −∇Ψ dt + √(2T) dW, a well m and a saddle s of index 1 on its rim,

    k = |λ₁(s)|/(2π) · √(det ∇²Ψ(m) / |det ∇²Ψ(s)|) · exp(−(Ψ(s) − Ψ(m))/T),

with λ₁(s) the negative eigenvalue: the rate of crossings to the well beyond, whose inverse is the mean first-passage
time to that well where there is one way out. It is the limit of low noise; at a barrier of 6 T it is right to about a
tenth, and worse below.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from workbench.checks import require_temperature
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.graph import graph
from workbench.potentials.potential import Potential

__all__ = ["rates"]

HIGH = 6.0  # barriers, in units of T, from which on the law is trusted


def rates(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    temperature: float,
    *,
    points: xr.Dataset | None = None,
    starts: int = 256,
) -> xr.Dataset:
    """Return the rates of crossing every saddle from either side by Eyring and Kramers.

    The dataset is that of `graph`, with rate(point, side), from the minimum joins(point, side) over the saddle, and
    time(point, side), its inverse; NaN where there is no minimum. The rate of leaving a well is the sum over its
    saddles. `points`, as of `stationary_points` for the same potential, saves the search. A temperature that is not
    positive raises `ValueError`, a box without a saddle that has a minimum on a side `LandscapeError`; barriers below
    6 T are told by a `LandscapeWarning`.

    >>> import systems
    >>> well = systems.get("asymmetric_quartic")
    >>> found = rates(well, well.box, temperature=0.04)
    >>> found.time.sel(point=2).values.round(1).tolist()
    [7033.1, 8749624.3]
    """
    temperature = require_temperature(temperature)
    found = graph(potential, within, points=points, starts=starts)
    joins, barrier = found["joins"].values, found["barrier"].values
    if not (joins >= 0).any():
        raise LandscapeError(
            "no saddle in the box has a minimum at its foot: widen the box, raise starts=…, or ask basins(…) whether "
            "the potential is bounded below"
        )
    size = np.abs(found["eigenvalue"].values)
    prefactor = size[:, :1] / (2 * np.pi) * np.exp((np.log(size)[joins].sum(-1) - np.log(size).sum(-1)[:, None]) / 2)
    rate = np.where(joins >= 0, prefactor * np.exp(-barrier / temperature), np.nan)
    low = np.argwhere(barrier < HIGH * temperature)
    if len(low):
        point, side = low[np.argmin(barrier[tuple(low.T)])]
        warnings.warn(
            f"{len(low)} barriers are below {HIGH:g} T, the lowest {barrier[point, side] / temperature:.2g} T (saddle "
            f"{point}, side {side}): rates there are right to the order of magnitude only; ask first_passage(…)",
            LandscapeWarning,
            stacklevel=2,
        )
    found["rate"] = (("point", "side"), rate, {"long_name": "rate of crossing from that side", "units": "1"})
    found["time"] = (("point", "side"), 1 / rate, {"long_name": "mean time to cross from that side", "units": "1"})
    return found.assign_attrs(temperature=temperature)
