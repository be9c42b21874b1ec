"""Ensembles: access to the members of a potential, and concatenation of results obtained member by member."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.potentials.potential import Potential

__all__ = ["each_member", "joined_members", "member_of", "members_of"]


def member_of(potential: Any, index: int) -> Any:
    """Return one member of an ensemble, or the potential itself if it is not an ensemble."""
    return potential if potential.members is None else potential.member(index)


def members_of(potentials: Sequence[Potential]) -> int | None:
    """Return the common number of members of all ensembles among the potentials; None if there is no ensemble."""
    counts = {p.members for p in potentials} - {None}
    if len(counts) > 1:
        raise ValueError(f"the potentials have different numbers of members: {sorted(counts)}")  # type: ignore[type-var]
    return counts.pop() if counts else None


def each_member(potential: Potential) -> list[Any]:
    """Return the members of an ensemble as plain potentials."""
    return [potential.member(k) for k in range(potential.members or 0)]  # type: ignore[attr-defined]


def joined_members(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Concatenate the points found on each member along the dimension `point`, with the coordinate member(point)."""
    labelled = [one.assign_coords(member=("point", np.full(one.sizes["point"], k))) for k, one in enumerate(found)]
    joined = xr.concat(labelled, "point")
    return joined.assign_coords(point=np.arange(joined.sizes["point"]))
