"""Ensembles: the members of a potential, one at a time, and their answers joined."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.potentials.potential import Potential

__all__ = ["each_member", "joined_members", "member_of", "members_of"]


def member_of(potential: Any, index: int) -> Any:
    """Return a member of a potential, or the potential itself where it has none."""
    return potential if potential.members is None else potential.member(index)


def members_of(potentials: Sequence[Potential]) -> int | None:
    """Return the number of members that all potentials with members share, None where none has any."""
    counts = {p.members for p in potentials} - {None}
    if len(counts) > 1:
        raise ValueError(f"the potentials have different numbers of members: {sorted(counts)}")  # type: ignore[type-var]
    return counts.pop() if counts else None


def each_member(potential: Potential) -> list[Any]:
    """Return the members of an ensemble as plain potentials."""
    return [potential.member(k) for k in range(potential.members or 0)]  # type: ignore[attr-defined]


def joined_members(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the points found on each member of an ensemble over one dimension `point`, labelled by `member`."""
    labelled = [one.assign_coords(member=("point", np.full(one.sizes["point"], k))) for k, one in enumerate(found)]
    joined = xr.concat(labelled, "point")
    return joined.assign_coords(point=np.arange(joined.sizes["point"]))
