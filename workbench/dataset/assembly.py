"""Assembly of named arrays into a checked dataset, shared by `points`, `trajectories` and `paths`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.dataset.canonical import check
from workbench.dataset.vocabulary import LEADING, QUANTITIES, SAMPLING
from workbench.errors import DatasetError

__all__ = ["assemble", "filled"]


def assemble(
    kind: str,
    x: ArrayLike,
    given: Mapping[str, Any],
    noise: Mapping[str, Any],
    states: Sequence[str] | None,
    split: Sequence[str] | None,
    coords: dict,
) -> xr.Dataset:
    """Return a checked dataset of the leading array x, the `given` quantities, noise levels and weights (`noise`)."""
    sampling = SAMPLING[kind]
    lead, component = LEADING[kind]
    arrays = {lead: x, **{name: values for name, values in given.items() if values is not None}}
    for name, values in noise.items():
        if isinstance(values, Mapping):
            arrays |= {f"{name}_{quantity}": value for quantity, value in values.items()}
        elif values is not None:
            arrays[name] = values
    variables: dict[str, xr.Variable] = {}
    for name, values in arrays.items():
        extra, long_name = QUANTITIES.get(name, ((), name.replace("_", " of the ")))
        dims = (*sampling, *extra)
        values = filled(values)
        if name not in QUANTITIES:  # noise levels and weights: a number, one per sample or one per component
            values = np.full(variables[lead].shape[:-1], values) if values.ndim == 0 else values
            dims = (*sampling, component) if values.ndim > len(sampling) else dims
        if values.ndim != len(dims):
            axes = "1 axis" if len(dims) == 1 else f"{len(dims)} axes"
            raise DatasetError(f"{name} has shape {values.shape}; expected {axes}: ({', '.join(dims)})")
        variables[name] = xr.Variable(dims, values, {"long_name": long_name, "units": "1"})
    dim = variables[lead].sizes[component]
    labels = list(states) if states is not None else [f"x{i + 1}" for i in range(dim)]
    if len(labels) != dim:
        raise DatasetError(
            f"{lead} has {dim} components, but {len(labels)} name{'s' * (len(labels) != 1)} given: {labels}"
        )
    try:
        data = xr.Dataset(variables, coords={**coords, component: labels})
        data = data.assign_coords({sampling[0]: np.arange(data.sizes[sampling[0]])})
        data = data if split is None else data.assign_coords(split=(sampling[0], np.asarray(split, dtype=str)))
    except ValueError as error:
        raise DatasetError(f"the arrays do not fit together: {error}") from None
    if "time" in data.coords:
        data["time"].attrs = {"long_name": "time", "units": "1"}
    return check(data)


def filled(values: ArrayLike) -> np.ndarray:
    """Return a native float64 array; masked entries become NaN, which `check` reports."""
    return np.ma.filled(np.ma.asanyarray(values).astype(np.float64), np.nan)
