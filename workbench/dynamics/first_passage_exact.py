r"""Mean first-passage times of overdamped Langevin dynamics without a simulation.

In one dimension they are two integrals (`workbench.dynamics.passage_quadrature`). In two and three, the motion becomes
jumps on a grid (`workbench.dynamics.generator`), the mean time τ until they reach a ball solves −Lτ = 1
(`workbench.dynamics.hitting`), and two grids yield a value, by Richardson's extrapolation of ln τ, and its error.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import label

from workbench.checks import require_temperature
from workbench.dynamics.generator import OUTSIDE, Generator, Heights, Level, balls, require_nodes, require_resolved
from workbench.dynamics.hitting import Hitting, interpolated
from workbench.dynamics.passage_quadrature import log_passage_time
from workbench.dynamics.two_grids import box_with, extrapolated, heights_in, warn_of_error
from workbench.errors import LandscapeError
from workbench.potentials.bridge import require_potential
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential

__all__ = ["barrier", "first_passage_exact", "passage_on_grid"]

LOG_LARGEST = float(np.log(np.finfo(np.float64).max))


def first_passage_exact(
    potential: Potential,
    start: ArrayLike,
    target: ArrayLike,
    temperature: float,
    radius: float | None = None,
    within: Sequence[tuple[float, float]] | None = None,
    *,
    nodes: int | None = None,
) -> float:
    r"""Compute the mean first-passage time from a state to another, or to a ball around it, without a simulation.

    In one dimension, from a to b > a, it is

        τ = (1/T) ∫ₐᵇ dy e^{Ψ(y)/T} ∫₋∞ʸ dz e^{−Ψ(z)/T},

    with b the near edge of the ball if there is a radius. The quadrature is refined until τ changes by less than 1e-9
    relative. The lower limit −∞ is replaced by a reflecting wall, which is the side of the box `within`, or where Ψ has
    risen by 40 T.

    In two and three dimensions the time is computed on a grid over the box `within`, whose sides reflect, to second
    order in the spacing; two grids remove the leading error. Barriers may be of any height; 241² nodes take a second or
    two.

    Parameters
    ----------
    potential : Potential
        Landscape of one to three states, without members.
    start, target : array_like
        Starting point and target, shape (dim,); numbers in one dimension.
    temperature : float
        Temperature T > 0, in the units of Ψ.
    radius : float, optional
        Radius of the ball around `target` at which the motion ends, in the units of x, as in `first_passage`. Required
        in two and three dimensions.
    within : sequence of (float, float), optional
        Box with reflecting sides, one pair (low, high) per state. Required in two and three dimensions; it should reach
        to where Ψ is some 15 T above what matters.
    nodes : int, optional
        Odd number of nodes of the grid along each state; by default 241 in two and 33 in three dimensions. The
        quadrature in one dimension needs none.

    Returns
    -------
    float
        Mean first-passage time, shape (), in the unit of time of the potential.

    Raises
    ------
    TypeError
        If `potential` is not a potential, or changes in time.
    ValueError
        If `potential` has members, `temperature` or `radius` is not positive, `start` and `target` are not two
        different finite states in the box, `start` is in the ball, `radius` or `within` is missing, or `nodes` is even,
        below 9, or too large.
    LandscapeError
        If the time is beyond the largest float, where the message states its logarithm; Ψ is not finite; in one
        dimension, if Ψ does not rise by 40 T on the side away from `target` or the quadrature does not converge; on a
        grid, if it does not resolve the ball, there are more than three states, or Ψ is not finite all the way round
        the start.

    Warns
    -----
    LandscapeWarning
        If the error estimated from two grids exceeds 1 %, or the potential is not finite at nodes of the grid, which
        are then walls.

    References
    ----------
    H. Risken, The Fokker–Planck Equation, Springer (1996), doi:10.1007/978-3-642-61544-3.

    D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron Devices 16, 64-77 (1969), doi:10.1109/T-ED.1969.16566.

    J. C. Latorre, P. Metzner, C. Hartmann, C. Schütte, Commun. Math. Sci. 9, 1051-1072 (2011),
    doi:10.4310/CMS.2011.v9.n4.a6.

    Examples
    --------
    >>> import systems
    >>> round(first_passage_exact(systems.get("asymmetric_quartic"), 1.239, -1.614, 0.05), 3)
    1835.456
    >>> circuit = systems.get("gene_circuit")
    >>> box = [(-0.5, 2.5), (-0.5, 2.5)]
    >>> time = first_passage_exact(circuit, (0.4, 1.5), (1.5, 0.4), 0.05, radius=0.2, within=box, nodes=61)
    """
    states = np.atleast_1d(np.asarray(start, dtype=np.float64)).shape[-1]
    potential = require_potential(potential, states)
    temperature = require_temperature(temperature)
    dim = len(potential.states)
    if potential.members is not None or (dim > 1 and (radius is None or within is None)):
        members = potential.members or "no"
        raise ValueError(
            f"the quadrature needs one state and no members, got {dim} state(s) and {members} members; with radius=… "
            "and within=… a grid takes up to three states; of an ensemble, ask one member, ensemble.member(k), at a "
            "time; or use first_passage(…)"
        )
    if radius is not None and not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be a finite number > 0, got {radius!r}")
    a, b = _two_states(potential, start, target)
    if radius is not None and np.linalg.norm(b - a) <= radius:
        raise ValueError(
            f"start lies within radius = {radius:g} of target: no time passes; reduce radius or move start"
        )
    if dim == 1:
        return _time(_quadrature(potential, a, b, temperature, radius or 0.0, within))
    assert radius is not None
    nodes = require_nodes(nodes, potential.states)
    natural = Natural(potential, box_with(potential, within, {"start": a[None], "target": b[None]}), isotropic=True)
    require_resolved(natural, radius, nodes)
    unit = float(natural.unit[0])
    heights = heights_in(natural, temperature, nodes)
    log_time, error = passage_on_grid(heights, balls(natural.y(b)[None], radius / unit), natural.y(a))
    warn_of_error("the mean first-passage time", error, nodes)
    return _time(log_time + 2 * np.log(unit) - np.log(natural.spread))


def passage_on_grid(heights: Heights, level: Level, start: np.ndarray) -> tuple[float, float]:
    """Return the logarithm of the mean time to reach a set on a grid, and its error, in natural units.

    Parameters
    ----------
    heights : Heights
        Ψ/T on the finer of two grids.
    level : Level
        The set.
    start : numpy.ndarray
        Starting point, shape (dim,).

    Raises
    ------
    LandscapeError
        If no way leads from the start to the set, or the rates of all ways underflow.
    """
    logs, rounding = [], 0.0
    for one in (heights, heights.coarser()):
        generator = Generator(one, [level])
        usable = np.zeros(len(one.rows), dtype=bool)
        usable[generator.nodes] = True
        if not usable[one.nearest(start)]:
            raise LandscapeError(
                "no way leads from start to target on the grid: the potential is not finite at the nodes around one of "
                "them, or between them, or a spacing of the grid does not separate them"
            )
        found = Hitting(generator)
        with np.errstate(invalid="ignore", over="ignore"):  # times beyond all numbers
            time = interpolated(one, found.time, start, usable)
        if not np.isfinite(time):
            raise _beyond(barrier(one, start, generator.inside != OUTSIDE), "about ")
        logs.append(float(np.log(time)))
        rounding = max(rounding, found.rounding)
    log_time, error = extrapolated(*logs)
    return log_time, error + rounding


def barrier(heights: Heights, start: np.ndarray, target: np.ndarray) -> float:
    """Return by how many T one must climb on the way to a set of nodes, boolean, shape (node,), from the lowest state.

    The lowest state is that which can be reached from the start on lower ways.
    """
    value = np.where(np.isfinite(heights.value), heights.value, np.inf).reshape(heights.shape)
    at = np.unravel_index(heights.nearest(start), heights.shape)
    low, high = float(value[at]), float(value[np.isfinite(value)].max())
    for _ in range(40):
        middle = (low + high) / 2
        parts, _ = label(value <= middle)
        met = (parts[target.reshape(heights.shape)] == parts[at]).any()
        low, high = (low, middle) if met else (middle, high)
    parts, _ = label(value <= low)
    return high - float(value[parts == parts[at]].min()) if parts[at] else 0.0


def _quadrature(
    potential: Landscape, start: np.ndarray, target: np.ndarray, temperature: float, radius: float, within: Any
) -> float:
    """Return the logarithm of the mean time in one dimension."""
    a, b = float(start[0]), float(target[0])
    wall = None
    if within is not None:
        box = box_with(potential, within, {"start": start[None], "target": target[None]})
        wall = float((box.low if b > a else box.high)[0])
    edge = b - radius if b > a else b + radius

    def height(x: np.ndarray) -> np.ndarray:
        return np.asarray(potential.value(x[:, None]), dtype=np.float64) / temperature

    return log_passage_time(height, temperature, a, edge, wall)


def _time(log_time: float) -> float:
    """Return a time from its logarithm."""
    if log_time > LOG_LARGEST:
        raise _beyond(log_time)
    return float(np.exp(log_time))


def _beyond(log_time: float, about: str = "") -> LandscapeError:
    """Return the error for a time that is beyond the largest float."""
    return LandscapeError(
        f"the mean first-passage time is {about}10^{log_time / np.log(10):.1f}, beyond the largest float: raise the "
        "temperature, or take barriers from graph(…), whose ratio to T is what rates(…) exponentiates"
    )


def _two_states(potential: Landscape, start: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return start and target, shape (dim,), in double precision."""
    found = []
    for name, one in {"start": start, "target": target}.items():
        row = np.asarray(one, dtype=np.float64).reshape(-1)
        if row.shape != (len(potential.states),) or not np.isfinite(row).all():
            raise ValueError(f"{name} must be one finite state of shape ({len(potential.states)},), got {one!r}")
        found.append(row)
    if (found[0] == found[1]).all():
        raise ValueError(f"start and target must be two different finite states, got {start!r} and {target!r}")
    return found[0], found[1]
