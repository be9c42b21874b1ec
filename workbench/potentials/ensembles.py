"""Ensembles: access to the members of a potential, and questions that are put to every member.

A question is a function of a plain potential that returns a dataset. The answers of the members are joined in one of
two ways. Lists, whose length differs from member to member, are appended to one another along their dimension, `point`
or `bifurcation`; the coordinate `member(point)` or `bifurcation_member(bifurcation)` tells whose entry it is. All other
answers are stacked along a leading dimension `member`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.potentials.bridge import require_potential
from workbench.potentials.potential import Ensemble, Landscape, TimeVarying

__all__ = [
    "each_member",
    "joined_members",
    "listed",
    "member_of",
    "members_of",
    "over_members",
    "points_of_member",
    "stacked",
]

LISTS = {"point": "member", "bifurcation": "bifurcation_member"}  # dimension: coordinate of the member


def member_of(potential: Any, index: int) -> Any:
    """Return one member of an ensemble, or the potential itself if it is not an ensemble.

    A landscape that changes in time has members that change in time.
    """
    if potential.members is None:
        return potential
    states = potential.states
    if not isinstance(potential, Ensemble):
        raise TypeError(f"{type(potential).__name__} has {potential.members} members, but no method member(index)")
    one = potential.member(index)
    return one if isinstance(one, TimeVarying) else require_potential(one, states)


def members_of(potentials: Sequence[Landscape]) -> int | None:
    """Return the common number of members of all ensembles among the potentials; None if there is no ensemble."""
    counts = {p.members for p in potentials if p.members is not None}
    if len(counts) > 1:
        raise ValueError(f"the potentials have different numbers of members: {sorted(counts)}")
    return counts.pop() if counts else None


def each_member(potential: Any) -> list[Any]:
    """Return the members of an ensemble as plain potentials."""
    return [member_of(potential, k) for k in range(potential.members or 0)]


def over_members(
    potential: Any, question: Callable[[Any, int | None], xr.Dataset], fill: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Return the answer of a plain potential to a question, or the joined answers of all members of an ensemble.

    Parameters
    ----------
    potential : Landscape or TimeVarying
        A plain potential or an ensemble.
    question : callable
        Function of a plain potential and the index of the member, None for a potential that is not an ensemble.
    fill : mapping of str to Any, optional
        Values of variables where a member has no entry, by name; NaN by default.

    Returns
    -------
    xarray.Dataset
        The answer, with the member as described in the module.

    Examples
    --------
    >>> from workbench.potentials.lse_icnn import LSEICNN
    >>> model = LSEICNN(dim=1, modes=2, members=3)
    >>> dict(over_members(model, lambda one, k: xr.Dataset({"level": one.value([0.0])})).sizes)
    {'member': 3}
    """
    if potential.members is None:
        return question(potential, None)
    return joined_members([question(one, k) for k, one in enumerate(each_member(potential))], fill)


def joined_members(found: Sequence[xr.Dataset], fill: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Return the answers of all members in one dataset, listed or stacked as described in the module."""
    lists = [dim for dim in LISTS if dim in found[0].dims]
    if not lists:
        return stacked(found, "member", fill)
    parts = []
    for dim in lists:
        others = [other for other in lists if other != dim]
        parts.append(listed(((one.drop_dims(others), {LISTS[dim]: k}) for k, one in enumerate(found)), dim))
    return xr.merge(parts)


def points_of_member(points: xr.Dataset, index: int | None) -> xr.Dataset:
    """Return the points of one member of an ensemble; all points if they carry no member, or `index` is None."""
    if index is None or "member" not in points.coords:
        return points
    own = points.isel(point=(points["member"] == index).values).drop_vars("member")
    return own.assign_coords(point=np.arange(own.sizes["point"]))


def listed(parts: Iterable[tuple[xr.Dataset, Mapping[str, Any]]], dim: str = "point", **options: Any) -> xr.Dataset:
    """Return datasets appended to one another along a dimension, with the entries of each labelled by coordinates.

    A label is a single value for all entries of its part, or an array over them. `options` are those of
    `xarray.concat`.

    Examples
    --------
    >>> parts = [xr.Dataset({"potential": ("point", level)}) for level in ([0.1, 0.2], [0.3])]
    >>> both = listed((part, {"member": k}) for k, part in enumerate(parts))
    >>> both.member.values, both.point.values
    (array([0, 0, 1]), array([0, 1, 2]))
    """
    labelled = [
        part.assign_coords({name: (dim, np.broadcast_to(label, part.sizes[dim])) for name, label in labels.items()})
        for part, labels in parts
    ]
    joined = xr.concat(labelled, dim, **options)
    return joined.assign_coords({dim: np.arange(joined.sizes[dim])})


def stacked(parts: Sequence[xr.Dataset], dim: str, fill: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Return datasets stacked along a new leading dimension, numbered from 0.

    Labels of entries are stacked like values, those of states are common to all parts. Where parts differ in size, all
    are extended to the largest: with `fill`, by variable, or NaN.

    Examples
    --------
    >>> parts = [xr.Dataset({"level": ("image", level)}, {"image": range(len(level))}) for level in ([1.0, 2.0], [3.0])]
    >>> stacked(parts, "path").level.values
    array([[ 1.,  2.],
           [ 3., nan]])
    """
    labels = [name for name, label in parts[0].coords.items() if name not in parts[0].dims and label.dims != ("state",)]
    joined = xr.concat(parts, dim, coords=labels, join="outer", fill_value=dict(fill or {}))
    return joined.assign_coords({dim: np.arange(len(parts))})
