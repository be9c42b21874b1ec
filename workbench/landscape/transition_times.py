r"""Mean times between wells and committors of wells, from the saddle graph.

At low temperature the motion between wells is a Markov chain with the Eyring–Kramers rates k of the saddles that join
them (see `rates`). The mean time τ from well i to a target, and the committor c, the probability to reach one well
before another, solve

    Σⱼ kᵢⱼ (τⱼ − τᵢ) = −1,        Σⱼ kᵢⱼ (cⱼ − cᵢ) = 0,

with τ = 0 at the target and c = 0 and 1 at the two wells. Wells are eliminated one by one, with additions and
multiplications of positive numbers only (Grassmann, Taksar and Heyman, 1985), so that rates may differ by any number of
orders of magnitude.

References
----------
W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107-1116 (1985), doi:10.1287/opre.33.5.1107.

D. J. Wales, Int. Rev. Phys. Chem. 25, 237-282 (2006), doi:10.1080/01442350600676921.
"""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.checks import require_temperature
from workbench.dataset.variables import Units, state_labels, variable
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.graph import graph
from workbench.landscape.rates import log_rates, log_widths, warn_low_barriers
from workbench.potentials.ensembles import joined_members, points_of_member
from workbench.potentials.potential import Potential

__all__ = ["transition_times"]


def transition_times(
    landscape: Potential | xr.Dataset,
    temperature: float,
    *,
    within: Sequence[tuple[float, float]] | None = None,
    between: tuple[int, int] | None = None,
    starts: int = 256,
) -> xr.Dataset:
    """Compute the mean times from every well to every other at low temperature, and the committors of the wells.

    A time counts all ways, over any number of wells in between, and returns.

    Parameters
    ----------
    landscape : Potential or xarray.Dataset
        A potential, or its graph, the result of `graph`. The members of an ensemble are analysed one by one.
    temperature : float
        T in dx = −∇Ψ dt + √(2T) dW, in the unit of Ψ.
    within : sequence of (float, float), optional
        Box to search, one pair (low, high) per state, for a potential; by default its own `box`, if it has one.
    between : (int, int), optional
        The wells of the committor, which is 0 at the first and 1 at the second; by default the two lowest.
    starts : int
        Number of Sobol starting points, where the graph is computed.

    Returns
    -------
    xarray.Dataset
        Ensembles add a leading dimension ``member``. Wells are ordered from the lowest up, as in `graph`. Variables, in
        the units that the potential knows:

        - ``time(well, target)``, the mean time from a well to first reach another; infinite where no sequence of
          saddles leads there;
        - ``probability(well)``, the weights of the wells in equilibrium, harmonic about each minimum;
        - ``committor(well)``, the probability to reach the second of `between` before the first; NaN where neither is
          reached, and for a single well;
        - ``x(well, state)`` and ``potential(well)``, the minima.

        The attributes ``temperature`` and ``between_json`` hold the arguments.

    Raises
    ------
    ValueError
        If the temperature is not a positive number, `between` are not two different wells, a potential without a box
        needs `within`, or a dataset is not a graph.
    LandscapeError
        If there is no minimum in the box, or as `graph`.
    TypeError
        If `landscape` is neither a potential nor a dataset.

    Warns
    -----
    LandscapeWarning
        If a barrier is below 6 T, wells are joined to no other, saddles lead out of the box, or as `graph`.

    Examples
    --------
    >>> import systems
    >>> well = systems.get("asymmetric_quartic")
    >>> transition_times(well, 0.04).time.values.round(1).tolist()
    [[0.0, 8749624.3], [7033.1, 0.0]]
    """
    temperature = require_temperature(temperature)
    if isinstance(landscape, xr.Dataset):
        found = landscape
        if not {"joins", "barrier"} <= set(found.data_vars):
            raise ValueError("the dataset is not a graph: it needs joins and barrier, as the result of graph(…) has")
    else:
        box = getattr(landscape, "box", None) if within is None else within
        if box is None:
            raise ValueError("within=… is needed: the potential has no box of its own")
        found = graph(landscape, box, starts=starts)
    if "member" not in found.coords:
        return _times(found, temperature, between)
    members = np.unique(found["member"]).tolist()
    return joined_members([_times(_own(found, k), temperature, between) for k in members])


def _own(found: xr.Dataset, member: int) -> xr.Dataset:
    """Return the graph of one member, with its own numbers of points."""
    first = int(np.argmax(found["member"].values == member))
    own = points_of_member(found, member)
    own["joins"] = own["joins"].where(own["joins"] < 0, own["joins"] - first)
    return own


def _times(found: xr.Dataset, temperature: float, between: tuple[int, int] | None) -> xr.Dataset:
    """Return the times of one member, from its graph."""
    wells = np.flatnonzero(found["index"].values == 0)
    if not len(wells):
        raise LandscapeError("there is no minimum in the box: widen within=…, or check the potential with basins(…)")
    ends = _pair(between, len(wells))
    joins, log_rate = found["joins"].values, log_rates(found, temperature)
    _warn(found, joins, wells)
    warn_low_barriers(found, temperature, "the times")
    top = log_rate[np.isfinite(log_rate)].max(initial=-np.inf)
    rate = np.zeros((len(wells), len(wells)), dtype=np.longdouble)
    joined = (joins >= 0).all(-1) & (joins[:, 0] != joins[:, 1])
    for k, side in itertools.product(np.flatnonzero(joined), (0, 1)):
        rate[joins[k, side], joins[k, 1 - side]] += np.exp(np.longdouble(log_rate[k, side] - top))
    units, count = Units.read(found), len(wells)
    with np.errstate(all="ignore"):
        time = np.stack([_mean_times(rate, target) for target in range(count)], -1)
        time = (time * np.exp(-np.longdouble(top))).astype(float) if np.isfinite(top) else time.astype(float)
    committor = np.full(count, np.nan) if ends is None else _committors(rate, *ends)
    weight = log_widths(found)[wells] - found["potential"].values[wells] / temperature
    weight = np.exp(weight - weight.max())
    variables = {
        "time": variable(("well", "target"), time, "mean time from the well to the target", units.of("time")),
        "probability": variable("well", weight / weight.sum(), "weight of the well in equilibrium", "1"),
        "committor": variable("well", committor, "probability to reach the second well before the first", "1"),
        "x": variable(("well", "state"), found["x"].values[wells], "minimum", units.of("state")),
        "potential": variable("well", found["potential"].values[wells], "potential", units.of("potential")),
    }
    coords: dict[str, Any] = {"well": np.arange(count), "target": np.arange(count)}
    coords |= state_labels(found["state"].values.tolist(), units)
    attrs = {k: v for k, v in found.attrs.items() if k != "starts" and not k.startswith("missing")}
    attrs |= {"temperature": temperature, "between_json": str(list(ends)) if ends else "null", **units.motion()}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _pair(between: tuple[int, int] | None, count: int) -> tuple[int, int] | None:
    """Return the two wells of the committor; None if there is one well only."""
    if between is None:
        return (0, 1) if count > 1 else None
    first, second = (int(k) for k in between)
    if first == second or not (0 <= first < count and 0 <= second < count):
        raise ValueError(f"between must be two different wells, from 0 to {count - 1}; got {between}")
    return first, second


def _warn(found: xr.Dataset, joins: np.ndarray, wells: np.ndarray) -> None:
    """Warn of wells that no saddle joins to another, and of saddles that lead out of the box."""
    two = (joins >= 0).all(-1) & (joins[:, 0] != joins[:, 1])
    alone = np.setdiff1d(wells, joins[two])
    if len(wells) > 1 and len(alone):
        at = found["x"].values[alone[0]].tolist()
        warnings.warn(
            f"{len(alone)} of {len(wells)} wells are joined to no other, such as well {alone[0]} at {at}: their times "
            "are infinite; widen within=…, or increase starts=…",
            LandscapeWarning,
            stacklevel=4,
        )
    out = int(((joins >= 0).sum(-1) == 1).sum())
    if out:
        warnings.warn(
            f"{out} saddles lead from a well to none in the box: what crosses them is not counted; widen within=…",
            LandscapeWarning,
            stacklevel=4,
        )


def _mean_times(rate: np.ndarray, target: int) -> np.ndarray:
    """Return the mean times to a target, shape (well,), given the rates from well to well, shape (well, well)."""
    order = [k for k in range(len(rate)) if k != target]
    return _eliminated(rate, order, np.ones(len(rate), dtype=rate.dtype), np.zeros(len(rate), dtype=rate.dtype))


def _committors(rate: np.ndarray, first: int, second: int) -> np.ndarray:
    """Return the probability to reach the second well before the first, shape (well,)."""
    known = np.zeros(len(rate), dtype=rate.dtype)
    known[second] = 1
    order = [k for k in range(len(rate)) if k not in (first, second)]
    with np.errstate(all="ignore"):
        return _eliminated(rate, order, 0 * known, known).astype(float)


def _eliminated(rate: np.ndarray, order: Sequence[int], source: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return u with Σⱼ kᵢⱼ (uⱼ − uᵢ) = −sourceᵢ for the wells in `order`, and u = known at the others."""
    q, r, u = rate.copy(), source.copy(), known.copy()
    np.fill_diagonal(q, 0)
    fixed = [k for k in range(len(q)) if k not in order]
    out: dict[int, np.ndarray] = {}
    for place, k in enumerate(order):
        later = [*order[place + 1 :], *fixed]
        total = q[k, later].sum()
        out[k] = total
        if total > 0:
            part = q[k, later] / total
            for i in order[place + 1 :]:
                q[i, later] += q[i, k] * part
                r[i] += q[i, k] * r[k] / total
            np.fill_diagonal(q, 0)
    for place in reversed(range(len(order))):
        k = order[place]
        later = [*order[place + 1 :], *fixed]
        reached = q[k, later] > 0
        u[k] = (r[k] + (q[k, later][reached] * u[later][reached]).sum()) / out[k]
    return u
