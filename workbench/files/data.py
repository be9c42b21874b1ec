"""Data from netCDF files: plain files of any origin and result files of this package."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.atomic import is_sealed
from workbench.dataset.labelling import given_units, labelled, stated_units
from workbench.dataset.variables import Units, state_labels, text_unit, variable
from workbench.errors import DatasetError, FileError
from workbench.files import results

__all__ = ["read_data"]


def read_data(
    path: str | Path,
    *,
    name: str | None = None,
    states: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    drop_missing: bool = False,
) -> xr.Dataset:
    """Read the data of a netCDF file and check them; see `workbench.dataset` for names and dimensions.

    Parameters
    ----------
    path : str or pathlib.Path
        A plain file, netCDF-3 or netCDF-4, or a result file of this package.
    name : str, optional
        In a result file with several datasets, the one to read, /data/<name>; in a plain file, the group to read.
    states : sequence of str, optional
        Variables to stack into `x`, if the file has one variable per state.
    units : mapping of str to str, optional
        Units that the file does not state, by name: of states, of all states ("x"), of the "potential", and of "time";
        of paths those of "stress", which is that of the "potential", and of "time".
    drop_missing : bool
        Whether to drop samples that are not finite, such as the padding of shorter trajectories. The remaining samples
        are stored as rows over ``sample``, and the attribute `dropped_samples` counts those dropped.

    Returns
    -------
    xarray.Dataset
        The data in canonical form, as returned by `workbench.dataset.check`: points ``x(sample, state)``, trajectories
        ``x(trajectory, time, state)`` or paths ``strain(trajectory, time, component)``. Units are those of the file and
        those given (see `workbench.dataset`).

    Raises
    ------
    FileError
        If the file is missing, damaged or no netCDF file.
    DatasetError
        If the data do not follow the data format, `name` or `states` is required or unknown, or a unit is not text,
        belongs to no state or quantity, or contradicts that of the file.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray as xr, workbench as wb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = ("trajectory", "time")
    ...     plain = xr.Dataset({"a": (size, np.ones((2, 3))), "b": (size, np.zeros((2, 3)))}, {"time": [0.0, 1.0, 2.0]})
    ...     _ = plain.to_netcdf(f"{folder}/plain.nc")
    ...     data = wb.read_data(f"{folder}/plain.nc", states=["a", "b"], units={"x": "nM", "time": "h"})
    >>> data.x.dims, data.x.units
    (('trajectory', 'time', 'state'), 'nM')
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise FileError(f"{source} does not exist" if not source.exists() else f"{source} is a directory, not a file")
    data = _of_result(source, name) if is_sealed(source) else _plain(source, name)
    if states is None and not {"x", "strain"} & set(data.data_vars):
        _name_states(data, source)
    try:
        if states is not None:
            data = _stacked(data, list(states))
        if drop_missing and "x" in data:
            data = _finite(data)
        return _with_units(dataset.check(data), units)
    except DatasetError as error:
        raise DatasetError(f"{source}: {error}") from None


def _of_result(source: Path, name: str | None) -> xr.Dataset:
    """Return the group /data or /data/<name> of a result file."""
    tree = results.read(source)
    if "data" not in tree.children:
        raise DatasetError(f"{source} holds no data; its groups are {', '.join(tree.children) or 'none'}")
    node = tree.children["data"]
    known = list(node.children)
    if name is None and known:
        raise DatasetError(
            f"{source} holds several datasets; choose one, such as name={known[0]!r}, of {', '.join(known)}"
        )
    if name is not None and name not in known:
        raise DatasetError(f"{source} has no dataset {name!r}{dataset.nearest(name, known) or ';'} it has {known}")
    return (node if name is None else node.children[name]).to_dataset()


def _plain(source: Path, name: str | None) -> xr.Dataset:
    """Return the root group, or the group `name`, of a plain netCDF file."""
    try:
        return xr.load_dataset(source, group=name, decode_timedelta=False)  # times in seconds remain numbers
    except Exception as error:  # noqa: BLE001 - the libraries raise arbitrary errors on other formats
        text = str(error).partition("\n")[0]
        raise FileError(f"{source} is no readable netCDF file: {type(error).__name__}: {text}") from None


def _name_states(data: xr.Dataset, source: Path) -> None:
    """Raise `DatasetError` naming the candidates for states, the variables with the most dimensions."""
    known = {str(name): array for name, array in data.data_vars.items()}
    arrays = {name: array for name, array in known.items() if array.dtype.kind in "iuf" and array.ndim}
    most = max((array.ndim for array in arrays.values()), default=0)
    candidates = [name for name, array in arrays.items() if array.ndim == most and name not in dataset.QUANTITIES]
    if candidates:
        raise DatasetError(
            f"{source}: the data hold no 'x'. They hold: {', '.join(sorted(known))}; "
            f"name its states: states={candidates}"
        )


def _stacked(data: xr.Dataset, states: list[str]) -> xr.Dataset:
    """Return the data with the variables `states` stacked into x(…, state)."""
    missing = [name for name in states if name not in data.data_vars]
    if missing:
        known = list(map(str, data.data_vars))
        hint = dataset.nearest(missing[0], known) or "."
        raise DatasetError(f"the file holds no {missing[0]!r}{hint} It holds: {', '.join(known) or 'nothing'}")
    units = Units([text_unit(name, data[name].attrs.get("units")) for name in states])
    x = xr.concat([data[name] for name in states], "state", coords="minimal", compat="override", combine_attrs="drop")
    found = data.drop_vars(states).assign(x=variable(x.dims, x.values, "state", units.of("state")))
    return found.assign_coords(state_labels(states, units))


def _with_units(data: xr.Dataset, units: Mapping[str, str] | None) -> xr.Dataset:
    """Return checked data with the units given by name, unless they contradict those that the data state."""
    kind = dataset.kind_of(data)
    names = list(map(str, data[dataset.LEADING[kind][1]].values))
    agreed = stated_units(data).agreed(given_units(units, names, kind), "the file", "units")
    return labelled(data, agreed)


def _finite(data: xr.Dataset) -> xr.Dataset:
    """Return the finite samples as rows over `sample`."""
    if dataset.kind_of(data) == "trajectories" and "trajectory" not in data.coords:
        number = variable("trajectory", np.arange(data.sizes["trajectory"]), "trajectory", "1")
        data = data.assign_coords(trajectory=number)
    rows = dataset.flat(data)
    keep = np.ones(rows.sizes["sample"], dtype=bool)
    for array in rows.data_vars.values():
        if array.dtype.kind == "f" and array.dims[:1] == ("sample",):
            keep &= np.isfinite(array.values).reshape(len(keep), -1).all(-1)
    kept = rows.isel(sample=keep)
    number = variable("sample", np.arange(kept.sizes["sample"]), "sample", "1")
    return kept.assign_coords(sample=number).assign_attrs(dropped_samples=int((~keep).sum()))
