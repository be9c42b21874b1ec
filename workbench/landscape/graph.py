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
from workbench.landscape.stationary_points import stationary_points
from workbench.landscape.steepest_descent import minima_reached
from workbench.potentials.box import Box, landscape_in
from workbench.potentials.bridge import tensor_options
from workbench.potentials.ensembles import over_members, points_of_member
from workbench.potentials.potential import Landscape, Potential, units_of

__all__ = ["graph", "unstable_directions", "joined_minima"]

SADDLE_OFFSET = 1e-3  # in units of the box: distance from a saddle at which its descents start


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
        If degenerate stationary points are left out.

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
    potential, _ = landscape_in(potential, within)
    found = stationary_points(potential, within, starts=starts) if points is None else points
    if potential.members is None:
        return _graph(potential, within, found)
    if "member" not in found.coords:
        raise ValueError("the points of an ensemble need the coordinate member(point); compute them for the ensemble")
    joined = over_members(potential, lambda one, k: _graph(one, within, points_of_member(found, k)))
    first = np.searchsorted(joined["member"].values, joined["member"].values)[:, None]  # row of each member's first
    joined["joins"] = joined["joins"].where(joined["joins"] < 0, joined["joins"] + first)
    return joined


def _graph(potential: Landscape, within: Sequence[tuple[float, float]], found: xr.Dataset) -> xr.Dataset:
    """Return the graph of one member, from its stationary points."""
    degenerate = int((found["kind"] == "degenerate").sum())
    if degenerate:
        warnings.warn(
            f"{degenerate} of {found.sizes['point']} stationary point(s) are degenerate (zero Hessian eigenvalue) and "
            "left out of the saddle graph",
            LandscapeWarning,
            stacklevel=3,
        )
    found = found.isel(point=((found["index"] <= 1) & (found["kind"] != "degenerate")).values)
    found = found.assign_coords(point=np.arange(found.sizes["point"]), side=[0, 1])
    minima, saddles = (np.flatnonzero(found["index"] == index) for index in (0, 1))
    joins = np.full((found.sizes["point"], 2), -1)
    saddle, well = (torch.as_tensor(found["x"].values[at], **tensor_options(potential)) for at in (saddles, minima))
    ends = joined_minima(potential, saddle, well, within)
    joins[saddles] = np.where(ends >= 0, minima[ends] if len(minima) else -1, -1)
    psi = found["potential"].values
    barrier = np.where(joins >= 0, psi[:, None] - psi[joins], np.nan)
    sides, unit = ("point", "side"), units_of(potential).of("potential")
    found["joins"] = variable(sides, joins, "minimum reached on that side of the saddle", "1")
    found["barrier"] = variable(sides, barrier, "height above the minimum on that side", unit)
    return found


def joined_minima(
    potential: Landscape, saddles: Tensor, minima: Tensor, within: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Return the minima that the two sides of each saddle lead to.

    Parameters
    ----------
    potential : Landscape
        A potential without members.
    saddles, minima : torch.Tensor
        States, shapes (saddle, dim) and (well, dim).
    within : sequence of (float, float)
        Box in which the descents are followed, up to half a side outside it.

    Returns
    -------
    numpy.ndarray
        Rows of `minima`, shape (saddle, 2); −1 where the descent ends in none of them.
    """
    box = Box.of(potential, within)
    if not (len(saddles) and len(minima)):
        return np.full((len(saddles), 2), -1)
    label, _ = minima_reached(potential, unstable_directions(potential, saddles, box, SADDLE_OFFSET), box, minima)
    label = torch.where(label < len(minima), label, -1).clamp_min(-1)
    return label.reshape(2, -1).T.cpu().numpy()


@torch.no_grad()
def unstable_directions(potential: Landscape, saddles: Tensor, box: Box, distance: float) -> Tensor:
    """Return the points on both sides of index-1 saddles along their unstable directions.

    The sides are ordered by the sign of the largest component of the direction, so that they agree between the members
    of an ensemble.

    Parameters
    ----------
    potential : Landscape
        A potential without members.
    saddles : torch.Tensor
        States, shape (saddle, dim).
    box : Box
        Sets the unit of length.
    distance : float
        Distance of the points from their saddle, in units of the box.

    Returns
    -------
    torch.Tensor
        Shape (2 saddle, dim): first all points in the positive direction, then those in the negative one.
    """
    direction = torch.linalg.eigh(potential.hessian(saddles)).eigenvectors[..., 0]
    largest = direction.gather(-1, direction.abs().argmax(-1, keepdim=True))
    direction = direction * torch.sign(largest)
    offset = distance * direction / box.length(direction).unsqueeze(-1)
    return torch.cat([saddles + offset, saddles - offset])
