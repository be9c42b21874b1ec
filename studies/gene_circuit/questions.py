"""Analyses of the gene-circuit study, for the truth and the fits: paths, basins, branches and splitting."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

import systems
import workbench as wb
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.parallel import Report

__all__ = ["BOX", "WELLS", "ask", "first_split"]

BOX = [(0.0, 2.0), (0.0, 2.0)]
WELLS = [(0.41, 1.54), (1.54, 0.41)]  # near the two stable states at b = 1


def ask(analysis: str, blend: wb.Blend, resolution: int, report: Report) -> xr.Dataset:
    """Return an analysis of a landscape or an ensemble Ψ_b: "paths", "basins", "branches" or "split".

    `resolution` is the number of grid points per side for "basins".
    """
    result = _basins(blend, resolution) if analysis == "basins" else ANALYSES[analysis](blend)
    report(1, 1, "done")
    return result


def first_split(branches: xr.Dataset) -> np.ndarray:
    """Return the lowest b of a fold or pitchfork of each member, shape (member,), NaN if it has none.

    On a learned landscape, whose pitchfork is imperfect, the second minimum appears at a fold.

    Examples
    --------
    >>> circuit = lambda b: systems.get("gene_circuit", b=b)
    >>> found = wb.branches(circuit, BOX, (0.2, 0.5), seeds=2, starts=16, step=0.1)
    >>> first_split(found).round(6)
    array([0.35953])
    """
    b, single = branches["bifurcation_b"], np.zeros(branches.sizes["bifurcation"], dtype=int)
    owner = branches["bifurcation_member"].values if "bifurcation_member" in branches.coords else single
    members = np.unique(branches["member"]) if "member" in branches.coords else [0]
    return np.array([b.values[owner == k].min() if (owner == k).any() else np.nan for k in members])


def _paths(blend: wb.Blend) -> xr.Dataset:
    """Return the minimum-energy path between the wells of Ψ₂; members without one are omitted, with a warning."""
    if blend.members is None:
        return _path(blend.second)
    found: dict[int, xr.Dataset] = {}
    for k in range(blend.members):
        try:
            found[k] = _path(blend.second.member(k))  # type: ignore[attr-defined]
        except LandscapeError as error:
            warnings.warn(f"member {k} has no path between the wells: {error}", LandscapeWarning, stacklevel=2)
    return xr.concat(found.values(), "member").assign_coords(member=list(found)) if found else xr.Dataset()


def _path(psi: Any) -> xr.Dataset:
    """Return the minimum-energy path between the wells of a landscape."""
    points = wb.stationary_points(psi, BOX, starts=64)
    return wb.minimum_energy_path(psi, *WELLS, within=BOX, points=points)


def _basins(blend: wb.Blend, resolution: int) -> xr.Dataset:
    """Return the basins of attraction of Ψ₂."""
    return wb.basins(blend.second, BOX, resolution=resolution, wells=WELLS)


def _branches(blend: wb.Blend) -> xr.Dataset:
    """Return the branches of stationary points of Ψ_b over b."""
    family: Any = blend
    first, second = blend.first, blend.second
    if isinstance(first, systems.System) and isinstance(
        second, systems.System
    ):  # the potential of the circuit is affine in b
        low, high = (part.model_dump()["b"] for part in (first, second))
        family = lambda b: systems.get("gene_circuit", b=low + b * (high - low))  # noqa: E731
    return wb.branches(family, BOX, seeds=2, starts=16, step=0.05)


def _split(blend: wb.Blend) -> xr.Dataset:
    """Return when the single well of Ψ_b splits."""
    return wb.splitting(blend, BOX)


ANALYSES: dict[str, Callable[[wb.Blend], xr.Dataset]] = {
    "paths": _paths,
    "branches": _branches,
    "split": _split,
}
