"""Data from netCDF files of any origin: plain ones, and those that `workbench generate`, `fit` and studies wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.atomic import is_sealed
from workbench.errors import DatasetError, FileError
from workbench.files import results

__all__ = ["read_data"]


def read_data(
    path: str | Path,
    *,
    name: str | None = None,
    states: Sequence[str] | None = None,
    drop_missing: bool = False,
) -> xr.Dataset:
    """Return the data of a netCDF file, checked (see `workbench.dataset` for names and dimensions).

    A plain file, netCDF-3 or netCDF-4, is taken as it is; `states` names variables to be stacked into `x`, where the
    file has one for each component. Of a file of this package it is the group /data, or /data/<name>. With
    `drop_missing` samples that are not finite are left out, as where shorter trajectories are padded: the rest stand in
    a row, and the attribute `dropped_samples` counts them.

    >>> import tempfile, numpy as np, xarray as xr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = ("trajectory", "time")
    ...     plain = xr.Dataset({"a": (size, np.ones((2, 3))), "b": (size, np.zeros((2, 3)))}, {"time": [0.0, 1.0, 2.0]})
    ...     _ = plain.to_netcdf(f"{folder}/plain.nc")
    ...     read_data(f"{folder}/plain.nc", states=["a", "b"]).x.dims
    ('trajectory', 'time', 'state')
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise FileError(f"{source} does not exist" if not source.exists() else f"{source} is a directory, not a file")
    data = _of_result(source, name) if is_sealed(source) else _plain(source, name)
    if states is None and not {"x", "strain"} & set(data.data_vars):
        _name_states(data, source)
    if states is not None:
        data = _stacked(data, list(states), source)
    try:
        if drop_missing and "x" in data:
            data = _finite(data)
        return dataset.check(data)
    except DatasetError as error:
        raise DatasetError(f"{source}: {error}") from None


def _of_result(source: Path, name: str | None) -> xr.Dataset:
    tree = results.read(source)
    if "data" not in tree.children:
        raise DatasetError(f"{source} holds no data; its groups are {', '.join(tree.children) or 'none'}")
    node = tree.children["data"]
    known = list(node.children)
    if name is None and known:
        raise DatasetError(f"{source} holds several data: choose one, name={known[0]!r} …; it has {', '.join(known)}")
    if name is not None and name not in known:
        raise DatasetError(f"{source} has no data {name!r}{dataset.nearest(name, known) or ';'} it has {known}")
    return (node if name is None else node.children[name]).to_dataset()


def _plain(source: Path, name: str | None) -> xr.Dataset:
    try:
        return xr.load_dataset(source, group=name)
    except Exception as error:  # noqa: BLE001 - the libraries below raise anything on what is no netCDF
        text = str(error).partition("\n")[0]
        raise FileError(f"{source} is no netCDF file that can be read: {type(error).__name__}: {text}") from None


def _name_states(data: xr.Dataset, source: Path) -> None:
    """Raise `DatasetError` that names the variables which may be the states: those over the most dimensions."""
    known = {str(name): array for name, array in data.data_vars.items()}
    mine = {name: array for name, array in known.items() if array.dtype.kind in "iuf" and array.ndim}
    most = max((array.ndim for array in mine.values()), default=0)
    own = [name for name, array in mine.items() if array.ndim == most and name not in dataset.QUANTITIES]
    if own:
        raise DatasetError(
            f"{source}: the data hold no 'x'. They hold: {', '.join(sorted(known))}; name its states: states={own}"
        )


def _stacked(data: xr.Dataset, states: list[str], source: Path) -> xr.Dataset:
    missing = [name for name in states if name not in data.data_vars]
    if missing:
        known = ", ".join(map(str, data.data_vars)) or "nothing"
        raise DatasetError(
            f"{source} holds no {missing[0]!r}{dataset.nearest(missing[0], map(str, data.data_vars)) or ';'} {known}"
        )
    how: dict[str, Any] = {"coords": "minimal", "compat": "override", "combine_attrs": "drop_conflicts"}
    x = xr.concat([data[name] for name in states], xr.Variable("state", states), **how)
    return data.drop_vars(states).assign(x=x.rename("x"))


def _finite(data: xr.Dataset) -> xr.Dataset:
    if dataset.kind_of(data) == "trajectories" and "trajectory" not in data.coords:
        data = data.assign_coords(trajectory=np.arange(data.sizes["trajectory"]))
    rows = dataset.flat(data)
    keep = np.ones(rows.sizes["sample"], dtype=bool)
    for variable in rows.data_vars.values():
        if variable.dtype.kind == "f" and variable.dims[:1] == ("sample",):
            keep &= np.isfinite(variable.values).reshape(len(keep), -1).all(-1)
    kept = rows.isel(sample=keep)
    return kept.assign_coords(sample=np.arange(kept.sizes["sample"])).assign_attrs(dropped_samples=int((~keep).sum()))
