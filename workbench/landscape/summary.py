"""The stationary points of an ensemble, matched: one point, with mean and spread over the members that have it."""

from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

__all__ = ["summary"]

SPREAD = {
    "x": "stationary point",
    "potential": "potential",
    "above": "potential above the lowest minimum that all members have",
    "eigenvalue": "eigenvalue of the Hessian, in ascending order along state",
}


def summary(points: xr.Dataset, *, distance: float | None = None) -> xr.Dataset:
    """Return the points that the members of an ensemble share, from `stationary_points` of that ensemble.

    Member by member, points of equal index are assigned to those found before (the assignment of least squared
    distances to their means); one further than `distance` from all of them begins a new group, so that no point is
    lost. `distance` is by default a quarter of the median distance between nearest points of one index in one member,
    infinite where no member has two of an index; x is compared as it is, so states should be of like size.

    A dataset over `point`, sorted as the points are: mean and standard deviation over the members that have it of
    x(point, state), potential, above and eigenvalue(point, state) (`x`, `x_std`, …; NaN deviation for a single
    member), index, count (how many members have it), and which(point, member), the place of the member's point in
    `points`, −1 where it has none. The potential of members that were fitted to slopes is known up to a constant only:
    `above` is free of it, NaN where no minimum is common to all.

    >>> import systems, workbench as wb
    >>> circuits = [systems.get("gene_circuit", b=b) for b in (0.9, 1.0)]
    >>> from workbench.potentials.ensembles import joined_members
    >>> found = joined_members([wb.stationary_points(one, one.box) for one in circuits])
    >>> both = wb.summary(found)
    >>> both["count"].values.tolist(), both.x.values[0].round(3).tolist(), both.x_std.values[0].round(3).tolist()
    ([2, 2, 2], [0.418, 1.515], [0.017, 0.041])
    """
    if "member" not in points.coords or "point" not in points["member"].dims:
        raise ValueError(
            "matched takes the points of an ensemble, which have the coordinate member along point; "
            "get them with stationary_points(fit.ensemble, …)"
        )
    members = np.unique(points["member"])
    near = _nearest_quarter(points) if distance is None else distance
    if not near > 0:
        raise ValueError(f"distance must be positive, got {distance!r}")
    groups: list[list[int]] = []
    for member in members:
        mine = np.flatnonzero(points["member"] == member)
        for index in np.unique(points["index"].values[mine]):
            _assign(points, groups, [int(p) for p in mine if points["index"].values[p] == index], near)
    return _summary(points, groups, members)


def _nearest_quarter(points: xr.Dataset) -> float:
    """Return a quarter of the median distance of a point to the nearest of its member and index."""
    x, member, index = (points[name].values for name in ("x", "member", "index"))
    apart = np.linalg.norm(x[:, None] - x, axis=-1)
    same = (member[:, None] == member) & (index[:, None] == index) & ~np.eye(len(x), dtype=bool)
    nearest = np.where(same, apart, np.inf).min(-1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.median(nearest)) / 4 if len(nearest) else np.inf


def _assign(points: xr.Dataset, groups: list[list[int]], mine: list[int], near: float) -> None:
    """Put each of a member's points of one index into the group it belongs to, or into a new one."""
    x, index = points["x"].values, points["index"].values
    alike = [group for group in groups if index[group[0]] == index[mine[0]]]
    centres = np.array([x[group].mean(0) for group in alike]).reshape(len(alike), x.shape[1])
    apart = np.linalg.norm(x[mine][:, None] - centres, axis=-1)
    rows, columns = linear_sum_assignment(np.minimum(apart, near) ** 2)
    taken = {r: c for r, c in zip(rows, columns, strict=True) if apart[r, c] <= near}
    for row, point in enumerate(mine):
        if row in taken:
            alike[taken[row]].append(point)
        else:
            groups.append([point])


def _summary(points: xr.Dataset, groups: list[list[int]], members: np.ndarray) -> xr.Dataset:
    member, index = points["member"].values, points["index"].values
    level = points["potential"].values
    which = np.full((len(groups), len(members)), -1)
    for row, group in enumerate(groups):
        which[row, np.searchsorted(members, member[group])] = group
    everywhere = which[(which >= 0).all(-1) & (index[which[:, 0]] == 0)]
    lowest = everywhere[level[everywhere].mean(-1).argmin()] if len(everywhere) else None
    floor = np.full(len(members), np.nan) if lowest is None else level[lowest]
    values = {
        "x": points["x"].values,
        "potential": level,
        "above": level - floor[np.searchsorted(members, member)],
        "eigenvalue": points["eigenvalue"].values,
    }
    mean = {name: np.array([v[g].mean(0) for g in groups]).reshape(-1, *v.shape[1:]) for name, v in values.items()}
    std = {
        name: np.array([v[g].std(0, ddof=1) if len(g) > 1 else np.full(v.shape[1:], np.nan) for g in groups])
        for name, v in values.items()
    }
    kind = np.array([index[g[0]] for g in groups], dtype=int)
    order = np.lexsort((*mean["x"].T[::-1], mean["potential"].round(9), kind))
    variables: dict[str, Any] = {}
    for name, text in SPREAD.items():
        dims = ("point", "state") if values[name].ndim == 2 else ("point",)
        deviation = std[name].reshape(mean[name].shape)
        variables[name] = (dims, mean[name][order], {"long_name": f"{text}, mean of the members", "units": "1"})
        variables[f"{name}_std"] = (
            dims,
            deviation[order],
            {"long_name": f"{text}, standard deviation over the members", "units": "1"},
        )
    counts = (which >= 0).sum(-1)
    variables["index"] = ("point", kind[order], {"long_name": "number of negative eigenvalues", "units": "1"})
    variables["count"] = ("point", counts[order], {"long_name": "members that have the point", "units": "1"})
    variables["which"] = (
        ("point", "member"),
        which[order],
        {"long_name": "place among the points given", "units": "1"},
    )
    coords = {"point": np.arange(len(order)), "member": members, "state": points["state"].values}
    return xr.Dataset(variables, coords=coords)
