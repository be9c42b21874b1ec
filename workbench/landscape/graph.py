r"""The saddle graph: minima, index-1 saddles (transition states), and the two minima that each saddle connects.

An index-1 saddle s has one unstable direction. The two paths of steepest descent that leave s along it end in the
minima that s connects. The barrier over s, seen from the minimum m, is Ψ(s) − Ψ(m).
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from workbench.dataset.variables import variable
from workbench.errors import LandscapeWarning
from workbench.landscape.completeness import ENOUGH
from workbench.landscape.quadratic import eigh
from workbench.landscape.stationary_points import stationary_points
from workbench.landscape.steepest_descent import minima_reached
from workbench.potentials.box import Box, landscape_in
from workbench.potentials.bridge import evaluated
from workbench.potentials.ensembles import over_members, points_of_member
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential, units_of

__all__ = ["graph", "joined_minima", "unstable_directions", "warn_incomplete"]

SADDLE_OFFSET = 1e-3  # in units of the box: largest distance from a saddle at which its descents start


def graph(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    *,
    points: xr.Dataset | None = None,
    starts: int = 256,
) -> xr.Dataset:
    """Find the minima and index-1 saddles in a box, and the minima that each saddle connects.

    The two sides of a saddle are ordered by its unstable direction: side 0 is the one along which the largest
    component of that direction increases.

    Parameters
    ----------
    potential : Potential
        Any potential. The members of an ensemble have separate graphs.
    within : sequence of (float, float)
        Box to search, one pair (low, high) per state.
    points : xarray.Dataset, optional
        Result of `stationary_points` for the same potential; by default the points are computed.
    starts : int
        Number of Sobol starting points, where the points are computed.

    Returns
    -------
    xarray.Dataset
        The variables of `stationary_points`, without degenerate points and those of higher index, and in addition

        - ``joins(point, side)``, for a saddle the ``point`` of the minimum reached on either side; −1 where the descent
          leaves the box or ends in none of the minima found, and for minima;
        - ``barrier(point, side)``, the height of the saddle above that minimum, in the unit of Ψ, else NaN.

    Raises
    ------
    ValueError
        If `points` of an ensemble do not tell their member, or as `stationary_points`.
    LandscapeError, TypeError
        As `stationary_points`.

    Warns
    -----
    LandscapeWarning
        If degenerate stationary points are left out, or minima or saddles are probably missing.

    References
    ----------
    O. M. Becker, M. Karplus, J. Chem. Phys. 106, 1495-1517 (1997), doi:10.1063/1.473299.

    Examples
    --------
    >>> import systems
    >>> surface = systems.get("muller_brown")
    >>> found = graph(surface, surface.box)
    >>> found.joins.values[3:].tolist(), found.barrier.values[3:].round(2).tolist()
    ([[2, 1], [2, 0]], [[8.52, 35.92], [40.1, 106.03]])
    """
    potential, box = landscape_in(potential, within)
    found = stationary_points(potential, within, starts=starts) if points is None else points
    if potential.members is None:
        return _graph(potential, box, found)
    if "member" not in found.coords:
        raise ValueError("the points of an ensemble need the coordinate member(point); compute them for the ensemble")
    joined = over_members(potential, lambda one, k: _graph(one, box, points_of_member(found, k)))
    first = np.searchsorted(joined["member"].values, joined["member"].values)[:, None]  # row of each member's first
    joined["joins"] = joined["joins"].where(joined["joins"] < 0, joined["joins"] + first)
    return joined


def _graph(potential: Landscape, box: Box, found: xr.Dataset) -> xr.Dataset:
    """Return the graph of one member, from its stationary points."""
    warn_incomplete(found)
    degenerate = int((found["kind"] == "degenerate").sum())
    if degenerate:
        warnings.warn(
            f"{degenerate} of {found.sizes['point']} stationary points are degenerate (an eigenvalue of the Hessian is "
            "zero) and left out of the saddle graph",
            LandscapeWarning,
            stacklevel=3,
        )
    found = found.isel(point=((found["index"] <= 1) & (found["kind"] != "degenerate")).values)
    found = found.assign_coords(point=np.arange(found.sizes["point"]), side=[0, 1])
    minima, saddles = (np.flatnonzero(found["index"] == index) for index in (0, 1))
    joins, natural = np.full((found.sizes["point"], 2), -1), Natural(potential, box)
    at = natural.rows(found["x"].values)
    ends = joined_minima(natural, at[torch.as_tensor(saddles)], at[torch.as_tensor(minima)])
    joins[saddles] = np.where(ends >= 0, minima[ends] if len(minima) else -1, -1)
    psi = found["potential"].values
    barrier = np.where(joins >= 0, psi[:, None] - psi[joins], np.nan)
    sides, unit = ("point", "side"), units_of(potential).of("potential")
    found["joins"] = variable(sides, joins, "minimum reached on that side of the saddle", "1")
    found["barrier"] = variable(sides, barrier, "height above the minimum on that side", unit)
    return found


def warn_incomplete(points: xr.Dataset) -> None:
    """Warn if minima or index-1 saddles were probably missed by the search for stationary points."""
    lost = {
        "minima": points.attrs.get("missing_minima", 0.0),
        "index-1 saddles": points.attrs.get("missing_saddles", 0.0),
    }
    lost = {name: count for name, count in lost.items() if count >= ENOUGH}
    if lost:
        text = " and ".join(f"about {count:.0f} {name}" for name, count in lost.items())
        warnings.warn(
            f"{text} are probably missing: many of the {points.sizes['point']} points were found only once; increase "
            "starts=…, or narrow within=…",
            LandscapeWarning,
            stacklevel=4,
        )


def joined_minima(natural: Natural, saddles: Tensor, minima: Tensor) -> np.ndarray:
    """Return the minima that the two sides of each saddle lead to.

    Parameters
    ----------
    natural : Natural
        A potential in natural units. Descents are followed up to half a side outside the box.
    saddles, minima : torch.Tensor
        States in natural units, shapes (saddle, dim) and (well, dim).

    Returns
    -------
    numpy.ndarray
        Rows of `minima`, shape (saddle, 2); −1 where the descent ends in none of them.
    """
    if not (len(saddles) and len(minima)):
        return np.full((len(saddles), 2), -1)
    nearest = torch.cdist(saddles, minima).amin(-1)
    distance = (nearest / 10).clamp_max(SADDLE_OFFSET)
    label, _ = minima_reached(natural, unstable_directions(natural, saddles, distance), minima)
    label = torch.where(label < len(minima), label, -1).clamp_min(-1)
    return label.reshape(2, -1).T.cpu().numpy()


@torch.no_grad()
def unstable_directions(natural: Natural, saddles: Tensor, distance: Tensor) -> Tensor:
    """Return the points on both sides of index-1 saddles along their unstable directions.

    The sides are ordered by the sign of the largest component of the direction, so that they agree between the members
    of an ensemble.

    Parameters
    ----------
    natural : Natural
        A potential in natural units. The direction is that in which a descent of x leaves the saddle.
    saddles : torch.Tensor
        States in natural units, shape (saddle, dim).
    distance : torch.Tensor
        Distance of the points from their saddle, shape (saddle,).

    Returns
    -------
    torch.Tensor
        Shape (2 saddle, dim): first all points in the positive direction, then those in the negative one.
    """
    hessian = evaluated(natural, saddles, 2).hessian / torch.outer(natural.sides, natural.sides)
    direction = eigh(hessian, natural.sides)[1][..., 0]
    largest = direction.gather(-1, direction.abs().argmax(-1, keepdim=True))
    direction = direction / natural.sides
    offset = direction * (torch.sign(largest) * distance[:, None] / direction.norm(dim=-1, keepdim=True))
    return torch.cat([saddles + offset, saddles - offset])
