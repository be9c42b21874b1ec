r"""Committors: the probability that a motion reaches one set of states before another.

The committor q of overdamped Langevin dynamics solves Lq = 0 between two sets, with q = 0 on the first and 1 on the
second (`workbench.dynamics.generator`, `workbench.dynamics.hitting`). In a long motion at equilibrium, of weight
π ∝ e^{−Ψ/T}, the number of passages from the first set to the second per time is

    ν = T ∫ π |∇q|² dx,        and        k = ν / ∫ π (1 − q) dx

is the rate of passing to the second set while it was the first that was visited last. On a grid ν is the flow of q
through a surface around the first set, which is the same for all such surfaces.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.interpolate import RegularGridInterpolator

from workbench.checks import require_temperature
from workbench.dataset.variables import variable
from workbench.dynamics.generator import Generator, Heights, balls, require_nodes, require_resolved
from workbench.dynamics.hitting import Hitting
from workbench.dynamics.two_grids import box_with, extrapolated, heights_in, warn_of_error
from workbench.errors import LandscapeError
from workbench.potentials.box import landscape_in
from workbench.potentials.bridge import rows_of
from workbench.potentials.ensembles import over_members
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential, attributes_of, units_of

__all__ = ["committor"]


def committor(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    first: ArrayLike,
    second: ArrayLike,
    temperature: float,
    *,
    radius: float,
    nodes: int | None = None,
) -> xr.Dataset:
    """Compute the probability of reaching a second set of states before a first one, on a grid.

    Parameters
    ----------
    potential : Potential
        Landscape of one to three states. The members of an ensemble are asked one by one.
    within : sequence of (float, float)
        Box with reflecting sides, one pair (low, high) per state. It should reach to where Ψ is some 15 T above what
        matters.
    first, second : array_like
        Centres of the balls that make the two sets, shape (dim,) or (ball, dim), such as two minima.
    temperature : float
        T in dx = −∇Ψ dt + √(2T) dW, in the unit of Ψ.
    radius : float
        Radius of the balls, in the units of x.
    nodes : int, optional
        Odd number of nodes of the grid along each state; by default 2001, 241 and 33 in one, two and three dimensions.

    Returns
    -------
    xarray.Dataset
        With one dimension per state, named after it, and the positions of the nodes as coordinates:

        - ``committor(x1, x2, …)``, the probability of reaching the second set before the first; 0 and 1 in the sets,
          and NaN where no way leads to them;
        - ``committor_error(x1, x2, …)``, the difference from a grid of twice the spacing, divided by 3: the error
          before the extrapolation that the values underwent;
        - ``flux``, the number of passages from the first to the second set per time, in equilibrium;
        - ``rate``, that number per time during which the first set was the last to be visited;
        - ``rate_error``, the error of the rate, as estimated from the two grids.

        Rates have the inverse of the unit of time that the potential knows. The attributes ``temperature`` and
        ``radius`` record the arguments.

    Raises
    ------
    TypeError
        If `potential` is not a potential, or changes in time.
    ValueError
        If `temperature` or `radius` is not positive, `within` does not have one pair (low, high) with low < high per
        state, a centre lies outside it, balls of the two sets overlap, or `nodes` is even, below 9, or too large.
    LandscapeError
        If the grid does not resolve the balls, there are more than three states, no way leads from one set to the
        other, or the temperature is so low that rates underflow.

    Warns
    -----
    LandscapeWarning
        If the error of the rate is estimated to exceed 1 %, or the potential is not finite at nodes of the grid, which
        are then walls.

    References
    ----------
    W. E, E. Vanden-Eijnden, J. Stat. Phys. 123, 503-523 (2006), doi:10.1007/s10955-005-9003-9.

    J. C. Latorre, P. Metzner, C. Hartmann, C. Schütte, Commun. Math. Sci. 9, 1051-1072 (2011),
    doi:10.4310/CMS.2011.v9.n4.a6.

    Examples
    --------
    >>> import systems
    >>> circuit = systems.get("gene_circuit")
    >>> minima = [0.4, 1.5], [1.5, 0.4]
    >>> found = committor(circuit, [(-0.5, 2.5), (-0.5, 2.5)], *minima, 0.05, radius=0.25, nodes=61)
    >>> found.committor.dims, round(float(found.committor.sel(x1=1.0, x2=1.0)), 6)
    (('x1', 'x2'), 0.5)
    """
    potential, _ = landscape_in(potential, within)
    temperature = require_temperature(temperature)
    nodes = require_nodes(nodes, potential.states)
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be a finite number > 0, got {radius!r}")
    sets = [_centres(potential, one, name) for name, one in {"first": first, "second": second}.items()]
    box = box_with(potential, within, {"first": sets[0], "second": sets[1]})
    apart = np.linalg.norm(sets[0][:, None] - sets[1], axis=-1).min()
    if apart <= 2 * radius:
        raise ValueError(
            f"balls of radius = {radius:g} around first and second overlap: their centres are {apart:.4g} apart; "
            "reduce radius"
        )

    def answer(one: Landscape, member: int | None) -> xr.Dataset:
        natural = Natural(one, box, isotropic=True)
        require_resolved(natural, radius, nodes)
        return _committor(natural, within, sets, temperature, radius, nodes)

    found = over_members(potential, answer)
    warn_of_error("the rate", (found["rate_error"] / found["rate"]).values, nodes)
    units = units_of(potential)
    return found.assign_attrs(temperature=temperature, radius=radius, **attributes_of(potential), **units.motion())


def _centres(potential: Landscape, x: ArrayLike, name: str) -> np.ndarray:
    """Return centres of balls, shape (ball, dim), in double precision."""
    rows_of(potential, x, name)
    return np.atleast_2d(np.asarray(x, dtype=np.float64))


def _committor(
    natural: Natural, within: Any, sets: Sequence[np.ndarray], temperature: float, radius: float, nodes: int
) -> xr.Dataset:
    """Return the answer for a landscape without members."""
    unit = float(natural.unit[0])
    levels = [balls(natural.y(centres), radius / unit) for centres in sets]
    fine = heights_in(natural, temperature, nodes)
    probability, logs, rounding = [], [], 0.0
    for one in (fine, fine.coarser()):
        generator = Generator(one, levels)
        if not len(generator.nodes):
            raise LandscapeError("the potential is not finite around the two sets: choose another box or other sets")
        hitting = Hitting(generator)
        q = hitting.probability[:, 1]
        flux, share = _flux(generator, q)
        if not flux > 0:
            raise LandscapeError(
                "no motion from the first set to the second: Ψ is not finite all the way between them, or barriers are "
                "so high that rates underflow; raise the temperature, or use rates(…)"
            )
        probability.append(q.reshape(one.shape))
        logs.append(np.log([flux, flux / share]))
        rounding = max(rounding, hitting.rounding)
    (log_flux, log_rate), error = extrapolated(*logs)
    per_time = np.log(natural.spread) - 2 * np.log(unit)
    rate = np.exp(log_rate + per_time)
    value, change = _extrapolated(fine, *probability)
    units = units_of(natural.potential)
    coords = {
        name: variable(name, np.linspace(low, high, nodes), name, its)
        for name, (low, high), its in zip(natural.states, within, units.states, strict=True)
    }
    text = "probability of reaching the second set before the first"
    per = units.of("rate")
    variables = {
        "committor": variable(natural.states, value, text, "1"),
        "committor_error": variable(natural.states, change, "error before the extrapolation", "1"),
        "flux": variable((), np.exp(log_flux + per_time), "passages from the first set to the second per time", per),
        "rate": variable((), rate, "rate of passages while the first set was visited last", per),
        "rate_error": variable((), rate * (error[1] + rounding), "error of the rate, from two grids", per),
    }
    return xr.Dataset(variables, coords=coords)


def _flux(generator: Generator, q: np.ndarray) -> tuple[float, float]:
    """Return the flux of passages, and the share of time after a visit of the first set, in natural units.

    The surface lies between the nodes with a jump into the first set and the others, which have cells of full width.
    """
    weight, known = generator.weight, np.isfinite(q)
    whole = weight[known].sum()
    near = generator.exits[:, 0] > 0
    rates, at = generator.rates.tocoo(), generator.nodes
    across = ~near[rates.row] & near[rates.col]
    tail, head = at[rates.row[across]], at[rates.col[across]]
    flow = (weight[tail] * rates.data[across] * (q[tail] - q[head])).sum()
    return float(flow / whole), float((weight * (1 - q))[known].sum() / whole)


def _extrapolated(fine: Heights, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the committor at no spacing and the error of the finer grid; between common nodes both are interpolated.

    Parameters
    ----------
    fine : Heights
        The finer grid.
    one, other : numpy.ndarray
        Committors on the finer and the coarser grid, of their shapes.
    """
    common = one[(slice(None, None, 2),) * one.ndim]
    change, _ = extrapolated(common, other)
    step = np.where(np.isfinite(change), change - common, 0.0)
    between = RegularGridInterpolator([axis[::2] for axis in fine.axes], step)(fine.rows).reshape(one.shape)
    between = np.where((one == 0) | (one == 1), 0.0, between)
    return np.clip(one + between, 0.0, 1.0), np.where(np.isfinite(one), np.abs(between), np.nan)
