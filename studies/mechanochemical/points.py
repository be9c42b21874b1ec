"""Families of stationary points of the crystal's energy, and the planes on which the energy is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import workbench as wb
from studies.points import concat_labelled
from workbench.dataset.variables import Units, variable

__all__ = ["FAMILIES", "counted", "exact", "by_family", "planes", "search"]

FAMILIES = {  # number of points in each family
    "cubic well": 1,
    "tetragonal well": 3,
    "saddle between variants": 3,
    "saddle to cubic": 3,
    "higher": 2,
}
SEARCH_BOX = np.array([(-0.2, 0.2)] * 6 + [(-0.1, 1.1)])
FAMILY_DISTANCE = 0.1  # over the width of the box; a point farther from all true ones belongs to no family


def search(potential: wb.Potential, starts: int) -> xr.Dataset:
    """Return the stationary points for the sampled strains and −0.1 ≤ c ≤ 1.1 (wells lie just below c = 0)."""
    return wb.stationary_points(potential, within=[tuple(side) for side in SEARCH_BOX], starts=starts)


def exact(crystal: Any, starts: int = 128) -> xr.Dataset:
    """Return the true stationary points, labelled by family.

    The point at zero strain and c = 1/2 is degenerate: the curvature in the directions of e₂ and e₃ vanishes there. The
    exact positions of the nearby saddles to the cubic well are therefore sensitive to small perturbations.
    """
    found = search(crystal, starts)
    c, index = found["x"].values[:, -1], found["index"].values
    family = np.full(len(c), "higher", dtype="U24")
    family[index == 0] = np.where(c[index == 0] > 0.5, "cubic well", "tetragonal well")
    family[index == 1] = np.where(c[index == 1] > 0.25, "saddle to cubic", "saddle between variants")
    return found.assign_coords(family=variable("point", family, "family of stationary points"))


def by_family(found: Mapping[str, xr.Dataset], true: xr.Dataset) -> xr.Dataset:
    """Return all points over `point`, labelled by source, member and family, with their errors.

    `strain_error` and `c_error` are the largest differences from the true point, `level` is the potential above that of
    the cubic well of the same member; NaN if a point belongs to no family ("none") or the well was not found.
    """
    parts = []
    for source, points in found.items():
        count = points.sizes["point"]
        member = points["member"].values if "member" in points.coords else np.full(count, -1)
        nearest, known = _nearest(points, true)
        family = np.where(known, true["family"].values[nearest], "none")
        error = np.where(known[:, None], np.abs(points["x"].values - true["x"].values[nearest]), np.nan)
        ground = np.full(count, np.nan)
        for k in np.unique(member):
            own = member == k
            cubic = points["potential"].values[own & (family == "cubic well")]
            ground[own] = cubic[0] if len(cubic) else np.nan
        columns = {
            "strain_error": (error[:, :6].max(-1), "largest difference of a strain from the true point", "1"),
            "c_error": (error[:, 6], "difference of the concentration from the true point", "1"),
            "level": (
                points["potential"].values - ground,
                "potential above that of the cubic well",
                Units.read(points).of("potential"),
            ),
        }
        assigned = points.assign({name: variable("point", *column) for name, column in columns.items()})
        parts.append((assigned, {"source": source, "member": member, "family": family}))
    return concat_labelled(parts, join="outer", fill_value={"inside_data": True})


def counted(found: xr.Dataset, true: xr.Dataset) -> tuple[int, int, int]:
    """Return the numbers of true wells and true index-1 saddles found, and of spurious minima."""
    nearest, known = _nearest(found, true)
    matched, index = set(nearest[known]), true["index"].values
    spurious = int((~known & (found["index"].values == 0)).sum())
    return sum(int(index[k] == 0) for k in matched), sum(int(index[k] == 1) for k in matched), spurious


def _nearest(points: xr.Dataset, true: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest true point of the same index and whether it is close enough, shape (point,) each."""
    width = SEARCH_BOX[:, 1] - SEARCH_BOX[:, 0]
    distance = np.abs((points["x"].values[:, None] - true["x"].values) / width).max(-1)
    distance[points["index"].values[:, None] != true["index"].values] = np.inf
    return distance.argmin(-1), distance.min(-1) <= FAMILY_DISTANCE


def planes(count: int) -> xr.Dataset:
    """Return the states x(plane, first, second, state) over (e1, c), (e2, c), (e6, c), and (e2, e3) at c = 0.

    `horizontal` and `vertical` are the two coordinates of each plane; all other invariants vanish.
    """
    side, c = np.linspace(-1, 1, count), np.linspace(0, 1, count)
    directions = {  # unit vectors in (E11, E22, E33, E12, E13, E23, c), and the range along them
        "e1": (np.array([1, 1, 1, 0, 0, 0, 0]) / 3**0.5, 0.2 * 3**0.5),
        "e2": (np.array([1, -1, 0, 0, 0, 0, 0]) / 2**0.5, 0.2 * 2**0.5),
        "e3": (np.array([1, 1, -2, 0, 0, 0, 0]) / 6**0.5, 0.16),
        "e6": (np.array([0, 0, 0, 1, 0, 0, 0]) / 2**0.5, 0.2 * 2**0.5),
    }
    horizontal, vertical, x = [], [], []
    for first, second in (("e1", "c"), ("e2", "c"), ("e6", "c"), ("e2", "e3")):
        reach = 0.16 if second == "e3" else directions[first][1]
        across = reach * side
        up = c if second == "c" else reach * side
        other = np.eye(7)[6] if second == "c" else directions[second][0]
        x.append(across[:, None, None] * directions[first][0] + up[None, :, None] * other)
        horizontal.append(across)
        vertical.append(up)
    return xr.Dataset(
        {
            "x": variable(("plane", "first", "second", "state"), np.array(x), "state", "1"),
            "horizontal": variable(("plane", "first"), np.array(horizontal), "first coordinate", "1"),
            "vertical": variable(("plane", "second"), np.array(vertical), "second coordinate", "1"),
        },
        coords={
            "plane": variable("plane", ["e1_c", "e2_c", "e6_c", "e2_e3"], "plane of two invariants"),
            "first": variable("first", np.arange(count), "index of the grid point along the first coordinate"),
            "second": variable("second", np.arange(count), "index of the grid point along the second coordinate"),
            "state": variable("state", ["E11", "E22", "E33", "E12", "E13", "E23", "c"], "component of the state"),
        },
    )
