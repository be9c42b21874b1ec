"""The landscape of a fit beside the true one, on a grid and with a common zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

import workbench as wb
from workbench.dataset.variables import variable

__all__ = ["beside_truth"]


def beside_truth(
    learned: Any,
    true: Any,
    within: Sequence[tuple[float, float]],
    points: int,
    near: Callable[[np.ndarray], np.ndarray] | None = None,
    fit: wb.Fit | None = None,
) -> xr.Dataset:
    """Return a fit of gradients or velocities and the true landscape on a grid, with the zero of the fit.

    Such a fit leaves the constant of the potential undetermined. The mean of fit − truth is `potential_offset`; it is
    added to `potential_true`.

    Parameters
    ----------
    learned, true : Potential
        The potentials, of the same states and without members.
    within : sequence of (float, float)
        Box of the grid, one pair (low, high) per state.
    points : int
        Number of grid points along each state.
    near : callable, optional
        Whether states, shape (row, dim), are near the data, shape (row,): the mean is over these points alone, and they
        are marked by `near_data`. Default: over all points.
    fit : Fit, optional
        The fit whose best member `learned` is: the spread of its members is added.

    Returns
    -------
    xarray.Dataset
        ``potential`` and ``potential_true`` over one dimension per state, ``gradient`` and ``gradient_true`` over these
        and ``state``, ``potential_offset`` without dimensions, and ``near_data`` and the spread of the members,
        ``potential_std`` and ``gradient_std``, if asked for.

    Examples
    --------
    >>> import systems
    >>> well = systems.get("asymmetric_quartic")
    >>> grid = beside_truth(wb.WeightedSum([well], [2.0]), well, well.box, 5)
    >>> bool(abs((grid.potential - grid.potential_true).mean()) < 1e-12)
    True
    """
    members = {} if fit is None else {"ensemble": fit.ensemble, "member": fit.best}
    parts = [wb.grid(learned, within, points, **members), wb.grid({"true": true}, within, points)]
    grid = xr.merge(parts, join="exact", compat="equals", combine_attrs="drop_conflicts")
    truth, gap = grid["potential_true"], grid["potential"] - grid["potential_true"]
    if near is not None:
        x = np.stack(np.meshgrid(*(grid[name] for name in gap.dims), indexing="ij"), -1)
        grid["near_data"] = variable(gap.dims, near(x.reshape(-1, gap.ndim)).reshape(gap.shape), "near a sample")
        gap = gap.where(grid["near_data"])
    offset, unit = float(gap.mean()), truth.attrs.get("units")
    text = "undetermined constant of the potential: mean of fit − truth" + (" near samples" if near else "")
    grid["potential_true"] = truth.copy(data=truth.values + offset)
    grid["potential_offset"] = variable((), offset, text, unit)
    shared = "shared by truth and fit: potential_offset is added to the true potential"
    return grid.assign_attrs(gauge=f"{parts[0].attrs['gauge']}, {shared}")
