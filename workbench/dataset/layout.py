"""Rearranged data: stacked trajectories, time as a state, states in a given order."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from workbench.dataset.canonical import kind_of
from workbench.dataset.labelling import labelled
from workbench.dataset.variables import Units, state_labels, variable
from workbench.errors import DatasetError

__all__ = ["flat", "timed", "with_states"]


def flat(data: xr.Dataset) -> xr.Dataset:
    """Return trajectories as points, one row per sample.

    Parameters
    ----------
    data : xarray.Dataset
        Trajectories, or points, which are returned unchanged.

    Returns
    -------
    xarray.Dataset
        The data with the dimensions (trajectory, time) stacked into ``sample``, the samples of each trajectory being
        contiguous, and the coordinates ``trajectory(sample)`` and ``time(sample)``.

    Raises
    ------
    DatasetError
        If the data are paths, whose samples depend on their history.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> runs = wb.dataset.trajectories(np.ones((2, 5, 1)), np.arange(5.0))
    >>> dict(wb.dataset.flat(runs).sizes)
    {'sample': 10, 'state': 1}
    """
    if kind_of(data) == "points":
        return data
    if kind_of(data) == "paths":
        raise DatasetError("samples of a path depend on its history and cannot be used as points; use match='stress'")
    if "split" in data.coords:
        data = data.assign_coords(split=data["split"].broadcast_like(data["x"].isel(state=0, drop=True)))
    stacked = data.stack(sample=("trajectory", "time"), create_index=False).transpose("sample", ...)
    return stacked.assign_coords(sample=variable("sample", np.arange(stacked.sizes["sample"]), "sample", "1"))


def timed(data: xr.Dataset) -> xr.Dataset:
    """Return trajectories as points whose last state is the time.

    Parameters
    ----------
    data : xarray.Dataset
        Trajectories on a common time grid.

    Returns
    -------
    xarray.Dataset
        ``x(sample, state)`` with the states (…, "time"), and ``weight(sample)`` if there is one. The state "time" has
        the unit of time; where states have unlike units, the coordinate ``unit(state)`` says which.

    Raises
    ------
    DatasetError
        If the data are points or paths.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> runs = wb.dataset.trajectories(np.ones((2, 3, 1)), np.arange(3.0))
    >>> wb.dataset.timed(runs).x.values[:3].tolist()
    [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
    """
    if kind_of(data) == "points":
        raise DatasetError("points have no time; give trajectories, or points whose last state is the time")
    samples, units = flat(data).transpose("sample", "state", ...), Units.read(data)
    values = np.column_stack([samples["x"].values, samples["time"].values.astype(np.float64)])
    names = [*map(str, data["state"].values), "time"]
    units = Units((*units.states, units.time), units.potential, units.time)
    kept = samples[["x", *(name for name in ("weight",) if name in samples)]]
    kept = kept.drop_vars(("x", "state", "unit", "time", "trajectory"), errors="ignore")
    result = kept.assign(x=variable(("sample", "state"), values, "state")).assign_coords(state_labels(names, units))
    return labelled(result, units)


def with_states(data: xr.Dataset, states: Sequence[str]) -> xr.Dataset:
    """Return the data with the states in a given order, matched by name.

    Parameters
    ----------
    data : xarray.Dataset
        Points or trajectories. States with default names (x1, x2, …) are matched by position.
    states : sequence of str
        Names of the states, in order.

    Returns
    -------
    xarray.Dataset
        The data with the coordinate ``state`` equal to `states`.

    Raises
    ------
    DatasetError
        If the names differ.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.dataset.points([[1.0, 2.0]], states=["b", "a"])
    >>> wb.dataset.with_states(data, ["a", "b"]).x.values.tolist()
    [[2.0, 1.0]]
    """
    if "state" not in data.coords or list(data["state"].values) == list(states):
        return data
    if list(data["state"].values) == [f"x{k + 1}" for k in range(len(states))]:
        return data.assign_coords(state=variable("state", list(states), "component of the state"))
    if set(map(str, data["state"].values)) != set(states):
        raise DatasetError(f"the data have the states {list(map(str, data['state'].values))}, the model {list(states)}")
    return data.sel(state=list(states))
