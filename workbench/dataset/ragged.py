"""Trajectories of unequal lengths or sampling times, stored as rows of samples."""

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
    """Return trajectories of unequal lengths or times as rows of samples, or on one grid if all times are equal."""
    lengths = [len(each) for each in x]
    if len(time) != len(x) or [np.size(t) for t in time] != lengths:
        raise DatasetError(
            f"x has trajectories of {lengths} samples; expected the times of each, a list of arrays of these lengths, "
            f"got {[np.size(t) for t in time]}"
        )
    if all(np.array_equal(t, time[0]) for t in time):
        stacked = {name: v if v is None else np.stack([filled(a) for a in v]) for name, v in given.items()}
        grid = {"time": np.asarray(time[0])}
        return assemble("trajectories", np.stack([filled(a) for a in x]), stacked, noise, states, split, grid)

    def row(name: str, values: Any) -> Any:
        """Concatenate the arrays of all trajectories."""
        if isinstance(values, Mapping):
            return {key: row(f"{name} of {key}", value) for key, value in values.items()}
        if values is None or np.isscalar(values):
            return values
        if [len(each) for each in values] != lengths:
            raise DatasetError(f"{name} has {[len(each) for each in values]} samples, but x has {lengths}")
        return np.ma.concatenate([np.ma.asanyarray(filled(each)) for each in values])

    if split is not None and len(split) != len(x):
        raise DatasetError(f"split must have one entry per trajectory: expected {len(x)}, got {len(split)}")
    coords = {
        "trajectory": ("sample", np.repeat(np.arange(len(x)), lengths), {"long_name": "trajectory", "units": "1"}),
        "time": ("sample", np.concatenate([np.asarray(t, dtype=np.float64) for t in time])),
    }
    rows = {name: row(name, values) for name, values in given.items()}
    extra = {name: row(name, values) for name, values in noise.items()}
    labels = None if split is None else np.repeat(np.asarray(split, dtype=str), lengths).tolist()
    return assemble("points", row("x", x), rows, extra, states, labels, coords)
