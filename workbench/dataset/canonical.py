"""Validation of datasets and their canonical form: float64, ordered dimensions, no missing values."""

import warnings
from collections.abc import Iterable

import numpy as np
import xarray as xr

from workbench.dataset.labelling import labelled, stated_units
from workbench.dataset.tensors import COMPONENTS
from workbench.dataset.variables import state_labels, variable
from workbench.dataset.vocabulary import LEADING, QUANTITIES, SAMPLING, SPLITS, nearest
from workbench.errors import DatasetError, DatasetWarning

__all__ = ["check", "kind_of", "valid"]

COARSEST = 1e-3  # distance of neighbouring single-precision numbers, relative to the range of a state


def check(data: xr.Dataset, needs: Iterable[str] = ()) -> xr.Dataset:
    """Validate a dataset and return it in canonical form: float64, with dimensions in order and units that agree.

    Other variables of floating-point numbers over the samples, such as quantities of your own, are kept, with the
    sampling dimensions first. Those in `needs`, or with a noise level or weight `sigma_<name>` or `weight_<name>`, must
    be finite.

    Parameters
    ----------
    data : xarray.Dataset
        Points, trajectories or paths; dimensions may be in any order.
    needs : iterable of str
        Names of required variables besides `x` (or `strain` for paths).

    Returns
    -------
    xarray.Dataset
        The data with transposed dimensions, coordinates for the states and the first sampling dimension, and ``split``,
        ``trajectory`` and ``time`` as coordinates. Units that follow from those of states, potential and time are
        added (see `workbench.dataset`). With a potential, the attribute `gauge` says where it is zero.

    Raises
    ------
    DatasetError
        If a variable is missing or has other dimensions, values are not finite, times do not increase strictly, labels
        are unknown or repeated, noise levels or weights are not positive, or a unit is not text or contradicts another.
        The message names the variable and the first offending index.

    Warns
    -----
    DatasetWarning
        If a state seems to have been rounded to single precision far from zero, where its numbers are coarse.

    Examples
    --------
    >>> import numpy as np, xarray as xr, workbench as wb
    >>> data = xr.Dataset({"x": (("state", "sample"), np.zeros((2, 5), dtype="float32"))})
    >>> checked = wb.dataset.check(data)
    >>> checked.x.dims, str(checked.x.dtype), checked.state.values.tolist()
    (('sample', 'state'), 'float64', ['x1', 'x2'])
    """
    if not isinstance(data, xr.Dataset):
        raise DatasetError(
            f"expected an xarray.Dataset, got {type(data).__name__}; "
            "build one with workbench.dataset.points(...), .trajectories(...) or .paths(...)"
        )
    needs = list(needs)
    _require(data, [*([] if "strain" in data else ["x"]), *needs])
    kind = kind_of(data)
    component, first = LEADING[kind][1], SAMPLING[kind][0]
    data = _ordered(data) if kind == "paths" else data.copy()
    units = stated_units(data)
    if component not in data.coords:
        names = [f"x{k + 1}" for k in range(data.sizes[component])]
        data = data.assign_coords({component: state_labels(names, units)[component]})
    along = [name for name in ("split", "trajectory", "time") if name in data.data_vars]
    data = _in_order(data.set_coords(along) if along else data, kind, needs)
    _check_labels(data, component)
    _check_extent(data, kind)
    _warn_coarse(data, LEADING[kind][0])
    if first not in data.coords:
        data = data.assign_coords({first: variable(first, np.arange(data.sizes[first]), first)})
    gauge = {"gauge": "that of the data"} if "potential" in data else {}
    return labelled(data.assign_attrs({**gauge, **data.attrs}), units)


def kind_of(data: xr.Dataset) -> str:
    """Return the kind of a dataset, derived from the dimensions of `x` or `strain`.

    Parameters
    ----------
    data : xarray.Dataset
        Data with a variable `x` or `strain`.

    Returns
    -------
    str
        "points", "trajectories" or "paths".

    Raises
    ------
    DatasetError
        If the dimensions are those of no kind; the message suggests how to rename or select them.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.dataset.kind_of(wb.dataset.points([0.0, 1.0]))
    'points'
    """
    if "strain" in data and "x" not in data:
        if set(data["strain"].dims) == {*SAMPLING["paths"], "component"}:
            return "paths"
        raise DatasetError(
            f"strain has dimensions {tuple(data['strain'].dims)}; expected (trajectory, time, component)"
        )
    for kind, sampling in SAMPLING.items():
        if set(data["x"].dims) == {*sampling, "state"}:
            return kind
    dims = tuple(map(str, data["x"].dims))
    raise DatasetError(
        f"x has dimensions {dims}; expected (sample, state) or (trajectory, time, state){_dimensions_hint(dims)}"
    )


def valid(data: xr.Dataset) -> np.ndarray:
    """Return which samples of the paths are data rather than continuation.

    Parameters
    ----------
    data : xarray.Dataset
        Paths or trajectories.

    Returns
    -------
    numpy.ndarray
        Booleans, shape (trajectory, time); all True without a coordinate ``valid``.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> wb.dataset.valid(wb.dataset.paths([np.zeros((3, 6)), np.zeros((2, 6))])).tolist()
    [[True, True, True], [True, True, False]]
    """
    if "valid" in data.coords:
        return data["valid"].transpose("trajectory", "time").values.astype(bool)
    return np.ones((data.sizes["trajectory"], data.sizes["time"]), dtype=bool)


def _dimensions_hint(dims: tuple[str, ...]) -> str:
    """Return a hint how to rename unknown dimensions, if as many are missing, or how to select along them."""
    layouts = [(*SAMPLING[kind], "state") for kind in ("points", "trajectories")]
    foreign = [dim for dim in dims if dim not in {name for layout in layouts for name in layout}]
    for layout in layouts:
        missing = [name for name in layout if name not in dims]
        if foreign and len(layout) == len(dims) and len(missing) == len(foreign):
            names = ", ".join(f"{old}={new!r}" for old, new in zip(foreign, missing, strict=True))
            return f"; rename them, such as data.rename({names})"
    return f"; choose one along {foreign[0]!r} with data.isel({foreign[0]}=0)" if foreign else ""


def _check_labels(data: xr.Dataset, component: str) -> None:
    """Check that the names of the components are unique and that all splits are known."""
    names = [str(name) for name in data[component].values] if component in data.coords else []
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise DatasetError(f"two components are named {repeated!r}: {', '.join(names)}; names must be unique")
    roles = np.unique(data["split"].values.astype(str)).tolist() if "split" in data.coords else []
    unknown = [role for role in roles if role not in SPLITS]
    if unknown:
        raise DatasetError(f"split holds {unknown[0]!r}{nearest(unknown[0], SPLITS) or ';'} known: {', '.join(SPLITS)}")


def _check_extent(data: xr.Dataset, kind: str) -> None:
    """Check that there are samples, and times that increase."""
    lead = LEADING[kind][0]
    if min(data.sizes[dim] for dim in data[lead].dims) == 0:
        raise DatasetError(f"{lead} is empty: its sizes are {dict(data[lead].sizes)}")
    if kind == "paths" and data.sizes["time"] < 2:
        raise DatasetError("a path needs at least two samples, that is one step; these paths have one sample")
    if "time" in data.coords:
        _check_numbers(data["time"].values)
    if kind == "points" and {"trajectory", "time"} <= set(data.coords):
        _check_rows(data["trajectory"].values, data["time"].values)
    if kind != "points" and "time" not in data.coords:
        raise DatasetError(f"{kind} need times: a coordinate time along the dimension time")
    if kind != "points" and not (np.diff(data["time"].astype(float)) > 0).all():
        raise DatasetError("time must increase strictly; sort the samples and drop repeated times")


def _warn_coarse(data: xr.Dataset, lead: str) -> None:
    """Warn if a component of the leading variable is so far from zero that single precision has lost its digits."""
    component, x = data[lead].dims[-1], data[lead].values
    rows = x.reshape(-1, x.shape[-1])
    extent, size = np.ptp(rows, axis=0), np.abs(rows).max(0)
    gap = np.finfo(np.float32).eps * size / 2  # the smallest distance of neighbouring numbers there
    for k in np.flatnonzero((extent > 0) & (gap > COARSEST * extent) & (size < np.finfo(np.float32).max)):
        column = rows[:, k]
        counts = (column == np.round(column)).all() and gap[k] < 1
        if not counts and (column == column.astype(np.float32)).all():
            warnings.warn(
                f"{data[component].values[k]} ranges over {extent[k]:.3g} at {size[k]:.6g} and was rounded to single "
                f"precision, where neighbouring numbers are {gap[k]:.1g} apart or more: subtract an origin near the "
                "data before they are stored in that precision",
                DatasetWarning,
                stacklevel=3,
            )
            return


def _check_numbers(time: np.ndarray) -> None:
    """Check that times are numbers, none of them infinite."""
    if time.dtype.kind not in "iuf":
        raise DatasetError(
            f"times must be numbers, got {time.dtype}; convert them to the time since the first sample, such as "
            "(time - time[0]) / np.timedelta64(1, 's')"
        )
    if np.isinf(time).any():
        raise DatasetError("times must be finite, but some are infinite")


def _check_rows(trajectory: np.ndarray, time: np.ndarray) -> None:
    """Check rows of samples: contiguous trajectories, each with increasing times."""
    same = trajectory[1:] == trajectory[:-1]
    if (~same).sum() + 1 != len(np.unique(trajectory)):
        raise DatasetError("the samples of each trajectory must be contiguous; sort them by trajectory, then by time")
    bad = same & ~(np.diff(time.astype(float)) > 0)
    if bad.any():
        at = int(np.flatnonzero(bad)[0]) + 1
        raise DatasetError(
            f"time must increase strictly along each trajectory, but sample {at}, of trajectory {trajectory[at]}, has "
            f"{time[at]} after {time[at - 1]}; sort the samples and drop repeated times"
        )


def _require(data: xr.Dataset, needs: Iterable[str]) -> None:
    """Check that all variables named in `needs` are there."""
    for name in needs:
        if name not in data.data_vars:
            known = sorted(map(str, data.data_vars))
            hint = nearest(name, known) or "."
            raise DatasetError(f"the data hold no {name!r}{hint} They hold: {', '.join(known) or 'nothing'}")


def _in_order(data: xr.Dataset, kind: str, needs: Iterable[str]) -> xr.Dataset:
    """Return the data with all variables over the samples as float64, with the sampling dimensions first."""
    matched = {*needs, *(_noisy(str(name)) for name in data.data_vars)}
    for name in map(str, data.data_vars):
        quantity = _noisy(name)
        if quantity is not None:
            data[name] = _canonical(data, name, _dims_of_noise(data, name, quantity, kind))
            if not (data[name] > 0).all():
                raise DatasetError(f"{name} must be positive, but its smallest value is {float(data[name].min()):g}")
        elif name in QUANTITIES:
            data[name] = _canonical(data, name, (*SAMPLING[kind], *QUANTITIES[name][0]))
        elif name in matched:
            data[name] = _canonical(data, name, _sampling_first(data, name, kind))
        elif data[name].dtype.kind == "f" and set(SAMPLING[kind]) <= set(data[name].dims):
            data[name] = data[name].transpose(*SAMPLING[kind], ...).astype(np.float64, keep_attrs=True)
    return data


def _dims_of_noise(data: xr.Dataset, name: str, quantity: str, kind: str) -> tuple[str, ...]:
    """Return the dimensions of a noise level or weight: the sampling ones, and those of its components that it has."""
    if quantity and quantity not in QUANTITIES and quantity not in data.data_vars:
        known = [*QUANTITIES, *(str(other) for other in data.data_vars if _noisy(str(other)) is None)]
        raise DatasetError(f"{name} refers to no known quantity{nearest(quantity, known) or '.'}")
    components = (LEADING[kind][1], *(_sampling_first(data, quantity, kind) if quantity in data.data_vars else ()))
    each = dict.fromkeys(dim for dim in components if dim in data[name].dims)
    return (*SAMPLING[kind], *(dim for dim in each if dim not in SAMPLING[kind]))


def _sampling_first(data: xr.Dataset, name: str, kind: str) -> tuple[str, ...]:
    """Return the sampling dimensions, and the others of a variable in their order."""
    return (*SAMPLING[kind], *(str(dim) for dim in data[name].dims if dim not in SAMPLING[kind]))


def _noisy(name: str) -> str | None:
    """Return the quantity that a noise level or weight belongs to, "" for all quantities; None for other variables."""
    kind, _, quantity = name.partition("_")
    return quantity if kind in ("sigma", "weight") else None


def _canonical(data: xr.Dataset, name: str, dims: tuple[str, ...]) -> xr.DataArray:
    """Return a variable as finite float64 values with the given dimensions."""
    array = data[name]
    if set(array.dims) != set(dims):
        raise DatasetError(f"{name} has dimensions {tuple(array.dims)}; expected {dims}")
    try:
        array = array.transpose(*dims).astype(np.float64, keep_attrs=True)
    except (TypeError, ValueError):
        raise DatasetError(f"{name} must hold numbers, got {array.dtype}") from None
    bad = ~np.isfinite(array.values)
    if bad.any():
        first: dict[str, int | str] = {dim: int(i) for dim, i in zip(dims, np.argwhere(bad)[0], strict=True)}
        if dims[-1] in ("state", "component") and dims[-1] in data.coords:
            first[dims[-1]] = str(data[dims[-1]].values[first[dims[-1]]])
        advice = "" if "strain" in data else "; when reading a file, drop_missing=True drops such samples"
        count = int(bad.sum())
        values = "1 value that is" if count == 1 else f"{count} values that are"
        raise DatasetError(
            f"{name} holds {values} not finite, the first at {first}; remove or repair such samples{advice}"
        )
    return array


def _ordered(data: xr.Dataset) -> xr.Dataset:
    """Return paths with ordered components and `valid` as a coordinate, True for the first samples of every path."""
    labels = [str(label) for label in data["component"].values] if "component" in data.coords else []
    if sorted(labels) != sorted(COMPONENTS):
        raise DatasetError(
            f"paths need the components {', '.join(COMPONENTS)} (tensor, not Voigt), got {', '.join(labels) or 'none'}"
        )
    data = data.sel(component=list(COMPONENTS)) if tuple(labels) != COMPONENTS else data.copy()
    data = data.set_coords("valid") if "valid" in data.data_vars else data
    if "valid" in data.coords:
        if set(data["valid"].dims) != set(SAMPLING["paths"]):
            raise DatasetError(f"valid has dimensions {tuple(data['valid'].dims)}; expected {SAMPLING['paths']}")
        known = valid(data)
        if not known[:, :2].all() or (np.diff(known.astype(int), axis=1) > 0).any():
            raise DatasetError(
                "valid must be true from the start of every path to its end, for at least two samples, and false beyond"
            )
    return data
