"""Stationary points matched over the members of an ensemble, with their mean and spread.

Member by member, the points of each index are assigned one-to-one to the groups found so far. The assignment minimises
the sum of the squared distances to the group means, each capped at a cutoff distance (the linear assignment problem). A
point without a group within the cutoff starts a new one; every point therefore belongs to exactly one group.

References
----------
H. W. Kuhn, Nav. Res. Logist. Q. 2, 83-97 (1955), doi:10.1002/nav.3800020109.
"""

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from workbench.dataset.variables import Units, state_labels, variable
from workbench.landscape.answers import eigenvalues

__all__ = ["summary"]

DESCRIBED = {  # name: (long name, quantity that determines the unit)
    "x": ("stationary point", "state"),
    "potential": ("potential", "potential"),
    "above": ("potential above the lowest minimum that all members have", "potential"),
    "eigenvalue": ("eigenvalue of the Hessian, in ascending order along state", "hessian"),
}


def summary(points: xr.Dataset, *, distance: float | None = None) -> xr.Dataset:
    """Match the stationary points of the members of an ensemble, and compute their mean and spread.

    Parameters
    ----------
    points : xarray.Dataset
        Result of `stationary_points` for an ensemble, with the coordinate ``member(point)``.
    distance : float, optional
        Largest distance in x at which a point is matched to a group. By default distances are in units of the range of
        each state over all points, so that states may have unlike units, and the largest is a quarter of the median
        distance between nearest points of the same index and member, or infinite where no member has two points of the
        same index.

    Returns
    -------
    xarray.Dataset
        The matched points along ``point``, sorted by index, then by potential, in the units of `points`:

        - ``x(point, state)``, ``potential(point)``, ``above(point)`` and ``eigenvalue(point, state)``, means over the
          members that have the point, and ``x_std``, ``potential_std``, ``above_std`` and ``eigenvalue_std``, their
          standard deviations (NaN for a single member). ``above`` is the potential relative to the lowest minimum that
          all members have, NaN where there is none. Unlike ``potential``, it does not depend on the arbitrary constant
          of a potential fitted to gradients;
        - ``index(point)``, the number of negative eigenvalues;
        - ``count(point)``, the number of members that have the point;
        - ``which(point, member)``, the position of the point of the member in `points`, −1 where it has none.

        The attributes are those of `points`, such as ``gauge``.

    Raises
    ------
    ValueError
        If `points` has no coordinate ``member(point)``, or `distance` is not positive.

    Examples
    --------
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
            "summary needs the stationary points of an ensemble, with the coordinate member along point; compute them "
            "with stationary_points(fit.ensemble, …)"
        )
    members = np.unique(points["member"])
    x = points["x"].values
    place = x if distance is not None or not len(x) else x / np.where(np.ptp(x, 0) > 0, np.ptp(x, 0), 1.0)
    cutoff = _default_distance(points, place) if distance is None else distance
    if not cutoff > 0:
        raise ValueError(f"distance must be positive, got {distance!r}")
    groups: list[list[int]] = []
    for member in members:
        own = np.flatnonzero(points["member"] == member)
        for index in np.unique(points["index"].values[own]):
            _assign(points, place, groups, [int(p) for p in own if points["index"].values[p] == index], cutoff)
    return _summary(points, groups, members)


def _default_distance(points: xr.Dataset, x: np.ndarray) -> float:
    """Return a quarter of the median distance of a point to the nearest one of the same member and index."""
    member, index = (points[name].values for name in ("member", "index"))
    distances = np.linalg.norm(x[:, None] - x, axis=-1)
    same = (member[:, None] == member) & (index[:, None] == index) & ~np.eye(len(x), dtype=bool)
    nearest = np.where(same, distances, np.inf).min(-1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.median(nearest)) / 4 if len(nearest) else np.inf


def _assign(points: xr.Dataset, x: np.ndarray, groups: list[list[int]], own: list[int], cutoff: float) -> None:
    """Append each point x of one member and index to the group that it is assigned to, or to a new group."""
    index = points["index"].values
    candidates = [group for group in groups if index[group[0]] == index[own[0]]]
    centres = np.array([x[group].mean(0) for group in candidates]).reshape(len(candidates), x.shape[1])
    distances = np.linalg.norm(x[own][:, None] - centres, axis=-1)
    rows, columns = linear_sum_assignment(np.minimum(distances, cutoff) ** 2)
    matched = {r: c for r, c in zip(rows, columns, strict=True) if distances[r, c] <= cutoff}
    for row, point in enumerate(own):
        if row in matched:
            candidates[matched[row]].append(point)
        else:
            groups.append([point])


def _summary(points: xr.Dataset, groups: list[list[int]], members: np.ndarray) -> xr.Dataset:
    """Return the dataset of the groups, each a list of rows of `points`, for the members, shape (member,)."""
    member, index = np.searchsorted(members, points["member"].values), points["index"].values
    which = np.full((len(groups), len(members)), -1)
    for row, group in enumerate(groups):
        which[row, member[group]] = group
    values = {name: points[name].values for name in ("x", "potential", "eigenvalue")}
    values["above"] = values["potential"] - _reference(values["potential"], which, index)[member]
    mean = {name: np.array([v[g].mean(0) for g in groups]).reshape(-1, *v.shape[1:]) for name, v in values.items()}
    kind = np.array([index[g[0]] for g in groups], dtype=int)
    order = np.lexsort((*mean["x"].T[::-1], mean["potential"].round(9), kind))
    units, variables = Units.read(points), {}
    for name in DESCRIBED:
        spread = [values[name][g].std(0, ddof=1) if len(g) > 1 else np.nan * values[name][g[0]] for g in groups]
        deviation = np.array(spread).reshape(mean[name].shape)
        variables[name] = _described(name, mean[name][order], units, "mean")
        variables[f"{name}_std"] = _described(name, deviation[order], units, "standard deviation")
    counts = (which >= 0).sum(-1)
    variables["index"] = variable("point", kind[order], "number of negative eigenvalues", "1")
    variables["count"] = variable("point", counts[order], "number of members that have the point", "1")
    variables["which"] = variable(("point", "member"), which[order], "position among the points of the ensemble", "1")
    coords = {"point": np.arange(len(order)), "member": members, **state_labels(points["state"].values.tolist(), units)}
    return xr.Dataset(variables, coords=coords, attrs=points.attrs)


def _reference(level: np.ndarray, which: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return Ψ of each member at the lowest minimum that all members have, shape (member,); NaN without one."""
    common = which[(which >= 0).all(-1) & (index[which[:, 0]] == 0)]
    return level[common[level[common].mean(-1).argmin()]] if len(common) else np.full(which.shape[1], np.nan)


def _described(name: str, values: np.ndarray, units: Units, statistic: str) -> xr.Variable:
    """Return a statistic of a quantity over the members as a variable over points, and states if it has them."""
    (text, quantity), dims = DESCRIBED[name], ("point", "state")[: values.ndim]
    text = f"{text}, {statistic} over the members"
    if name == "eigenvalue":
        return eigenvalues(dims, values, units, text)
    return variable(dims, values, text, units.of(quantity))
