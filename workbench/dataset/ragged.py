"""Trajectories of unequal lengths or times, as samples in a row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.dataset.assembly import assemble, filled
from workbench.errors import DatasetError

__all__ = ["ragged"]


def ragged(
    x: Sequence[Any],
    time: Any,
    given: Mapping[str, Any],
    noise: Mapping[str, Any],
    states: Sequence[str] | None,
    split: Sequence[str] | None,
) -> xr.Dataset:
    """Return trajectories of unequal lengths or times as samples in a row; on one grid where all times are equal."""
    lengths = [len(each) for each in x]
    if len(time) != len(x) or [np.size(t) for t in time] != lengths:
        raise DatasetError(
            f"x has trajectories of {lengths} samples; expected the times of each, a list of as many arrays, got "
            f"{[np.size(t) for t in time]}"
        )
    if all(np.array_equal(t, time[0]) for t in time):
        stacked = {name: v if v is None else np.stack([filled(a) for a in v]) for name, v in given.items()}
        grid = {"time": np.asarray(time[0])}
        return assemble("trajectories", np.stack([filled(a) for a in x]), stacked, noise, states, split, grid)

    def row(name: str, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: row(f"{name} of {key}", value) for key, value in values.items()}
        if values is None or np.isscalar(values):
            return values
        if [len(each) for each in values] != lengths:
            raise DatasetError(f"{name} has {[len(each) for each in values]} samples, x has {lengths}")
        return np.ma.concatenate([np.ma.asanyarray(filled(each)) for each in values])

    if split is not None and len(split) != len(x):
        raise DatasetError(f"split marks {len(split)} trajectories, there are {len(x)}")
    coords = {
        "trajectory": ("sample", np.repeat(np.arange(len(x)), lengths), {"long_name": "trajectory", "units": "1"}),
        "time": ("sample", np.concatenate([np.asarray(t, dtype=np.float64) for t in time])),
    }
    rows = {name: row(name, values) for name, values in given.items()}
    extra = {name: row(name, values) for name, values in noise.items()}
    marks = None if split is None else np.repeat(np.asarray(split, dtype=str), lengths).tolist()
    return assemble("points", row("x", x), rows, extra, states, marks, coords)
