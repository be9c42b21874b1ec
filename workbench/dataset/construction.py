"""Constructors of checked datasets from arrays: points, trajectories and paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.dataset.canonical import check
from workbench.dataset.labelling import given_units, labelled
from workbench.dataset.tensors import COLUMNS, COMPONENTS, ROWS
from workbench.dataset.variables import state_labels, variable
from workbench.dataset.vocabulary import LEADING, QUANTITIES, SAMPLING
from workbench.errors import DatasetError

__all__ = ["paths", "points", "trajectories"]

ASYMMETRY_TOLERANCE = 1e-10  # largest difference of E12 and E21, relative to the largest entry


def points(
    x: ArrayLike,
    *,
    potential: ArrayLike | None = None,
    gradient: ArrayLike | None = None,
    velocity: ArrayLike | None = None,
    sigma: ArrayLike | Mapping[str, ArrayLike] | None = None,
    weight: ArrayLike | Mapping[str, ArrayLike] | None = None,
    split: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Build a checked dataset of scattered samples of a landscape.

    Parameters
    ----------
    x : array_like
        States, shape (sample, dim), or (sample,) in one dimension.
    potential : array_like, optional
        Values of Ψ, shape (sample,).
    gradient, velocity : array_like, optional
        Values of ∇Ψ and of ẋ, of the same shape as `x`.
    sigma, weight : float, array_like or mapping, optional
        Standard deviations of the measurement noise and weights of the samples: a number, or an array of shape
        (sample,) or, per component, (sample, dim). A mapping from names of quantities gives such values for each.
    split : sequence of str, optional
        The split of each sample: "train", "validation" or "test". Default: a fit assigns the splits.
    states : sequence of str, optional
        Names of the states. Default: x1, x2, …
    units : mapping of str to str, optional
        Units that are known: of states by name, of all states ("x"), of the "potential", and of "time", such as
        ``{"x": "nm", "potential": "kJ/mol", "time": "ps"}``; "1" if dimensionless.

    Returns
    -------
    xarray.Dataset
        ``x(sample, state)``, ``potential(sample)``, ``gradient(sample, state)`` and ``velocity(sample, state)`` as far
        as given, with ``sigma``, ``weight`` and the coordinate ``split``. Units of gradient, velocity and noise follow
        from those given; a variable of unknown unit has no attribute `units`. States of unlike units have a coordinate
        ``unit(state)``. The attributes `potential_unit` and `time_unit` keep the units of potential and time.

    Raises
    ------
    DatasetError
        If shapes or names are inconsistent, values are not finite, noise levels or weights are not positive, or a unit
        is not text or belongs to no state or quantity.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.dataset.points([[0.0, 0.0], [1.0, 2.0], [0.5, 1.0]], potential=[0.0, 5.0, 1.25])
    >>> dict(data.sizes)
    {'sample': 3, 'state': 2}
    >>> units = {"x1": "nm", "x2": "degree", "time": "ps"}
    >>> wb.dataset.points([[0.0, 90.0]], velocity=[[1.0, 2.0]], units=units).unit.values.tolist()
    ['nm', 'degree']
    """
    x = _column(x)
    given = {"potential": potential, "gradient": _column(gradient), "velocity": _column(velocity)}
    return _assembled("points", x, given, {"sigma": sigma, "weight": weight}, _Labels(states, split, units), {})


def trajectories(
    x: Any,
    time: Any,
    *,
    velocity: ArrayLike | Sequence[ArrayLike] | None = None,
    potential: ArrayLike | Sequence[ArrayLike] | None = None,
    sigma: ArrayLike | Sequence[ArrayLike] | Mapping[str, Any] | None = None,
    weight: ArrayLike | Sequence[ArrayLike] | Mapping[str, Any] | None = None,
    split: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Build a checked dataset of trajectories, on a common time grid or each with its own times.

    Parameters
    ----------
    x : array_like or sequence of array_like
        States, shape (trajectory, time, dim), or a list with one array of shape (time, dim) per trajectory.
    time : array_like or sequence of array_like
        Increasing times, shape (time,), or a list with the times of each trajectory.
    velocity : array_like or sequence of array_like, optional
        Values of ẋ, of the same shapes as `x`.
    potential : array_like or sequence of array_like, optional
        Values of Ψ, shape (trajectory, time) or a list of arrays of shape (time,).
    sigma, weight : float, array_like or mapping, optional
        Standard deviations of the measurement noise and weights of the samples, as for `points` but along (trajectory,
        time). The noise of the states themselves is ``sigma={"x": …}``.
    split : sequence of str, optional
        The split of each trajectory: "train", "validation" or "test". Default: a fit assigns the splits.
    states : sequence of str, optional
        Names of the states. Default: x1, x2, …
    units : mapping of str to str, optional
        Units that are known: of states by name, of all states ("x"), of the "potential", and of "time", such as
        ``{"x": "nm", "potential": "kJ/mol", "time": "ps"}``; "1" if dimensionless.

    Returns
    -------
    xarray.Dataset
        ``x(trajectory, time, state)`` with the other quantities along the same dimensions. If the times differ between
        trajectories, ``x(sample, state)`` with the coordinates ``trajectory(sample)`` and ``time(sample)``. Units as
        for `points`.

    Raises
    ------
    DatasetError
        If shapes or names are inconsistent, values are not finite, times do not increase strictly, noise levels or
        weights are not positive, or a unit is not text or belongs to no state or quantity.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> time = np.linspace(0, 1, 5)
    >>> x = np.exp(-time)[None, :, None] * np.array([1.0, 2.0])[:, None, None]
    >>> dict(wb.dataset.trajectories(x, time, velocity=-x).sizes)
    {'trajectory': 2, 'time': 5, 'state': 1}
    >>> unequal = wb.dataset.trajectories([np.ones((3, 1)), np.ones((2, 1))], [[0, 1, 2], [0.5, 0.7]])
    >>> dict(unequal.sizes), unequal.trajectory.values.tolist()
    ({'sample': 5, 'state': 1}, [0, 0, 0, 1, 1])
    """
    given = {"velocity": velocity, "potential": potential}
    noise = {"sigma": sigma, "weight": weight}
    if isinstance(x, Sequence) and (_lengths(x) is None or np.ndim(time[0]) == 1):
        return _ragged(x, time, given, noise, _Labels(states, split, units))
    return _assembled("trajectories", x, given, noise, _Labels(states, split, units), {"time": np.asarray(time)})


def paths(
    strain: ArrayLike | Sequence[ArrayLike],
    time: ArrayLike | None = None,
    *,
    stress: ArrayLike | Sequence[ArrayLike] | None = None,
    potential: ArrayLike | Sequence[ArrayLike] | None = None,
    phase_fraction: ArrayLike | Sequence[ArrayLike] | None = None,
    dissipation: ArrayLike | Sequence[ArrayLike] | None = None,
    sigma: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    split: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Build a checked dataset of strain paths and the response of a material along them.

    Parameters
    ----------
    strain : array_like or sequence of array_like
        Strain tensors, shape (trajectory, time, 6) in the order 11, 22, 33, 12, 13, 23, or symmetric matrices of shape
        (trajectory, time, 3, 3). A list of arrays of shape (time, 6) may contain paths of unequal lengths: shorter ones
        are continued by their last sample and marked by ``valid``.
    time : array_like, optional
        Increasing times of the longest path, shape (time,). Default: equally spaced on [0, 1].
    stress : array_like or sequence of array_like, optional
        Stress tensors, of the same shapes as `strain`.
    potential, phase_fraction, dissipation : array_like or sequence of array_like, optional
        Stored energy, phase fraction, and energy dissipated in the step that ends at each sample, shape (trajectory,
        time).
    sigma, weight : float or array_like, optional
        Standard deviation of the measurement noise and weight of the stress: a number or shape (trajectory, time).
    split : sequence of str, optional
        The split of each path: "train", "validation" or "test". Default: a fit assigns the splits.
    units : mapping of str to str, optional
        Units that are known: of "stress", which is that of the "potential", an energy density, and of "time".

    Returns
    -------
    xarray.Dataset
        ``strain(trajectory, time, component)``, ``stress(trajectory, time, component)`` and the scalar quantities along
        (trajectory, time), as far as given; for paths of unequal lengths also the coordinate ``valid(trajectory,
        time)``. Strain and phase fraction are dimensionless; stress, potential and dissipation have one unit.

    Raises
    ------
    DatasetError
        If shapes are inconsistent, a tensor is not symmetric, a path has fewer than two samples, values are not finite,
        times do not increase strictly, noise levels or weights are not positive, or units are not text, belong to no
        quantity, or differ between stress and potential.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> data = wb.dataset.paths([np.zeros((5, 6)), np.zeros((3, 6))], stress=[np.ones((5, 6)), np.ones((3, 6))])
    >>> dict(data.sizes), data.valid.values.sum(1).tolist()
    ({'trajectory': 2, 'time': 5, 'component': 6}, [5, 3])
    """
    given = {"stress": stress, "potential": potential, "phase_fraction": phase_fraction, "dissipation": dissipation}
    lengths = [np.shape(path)[0] for path in strain] if isinstance(strain, Sequence) else []
    E = _components("strain", strain, lengths)
    longest = E.shape[1] if E.ndim > 1 else 0
    coords: dict[str, Any] = {"time": np.linspace(0, 1, longest) if time is None else np.asarray(time)}
    if len(set(lengths)) > 1:
        known = np.arange(longest) < np.array(lengths)[:, None]
        coords["valid"] = variable(("trajectory", "time"), known, "whether the path contains the sample")
    values = {name: None if v is None else _components(name, v, lengths) for name, v in given.items()}
    labels = _Labels(COMPONENTS, split, units)
    data = _assembled("paths", E, values, {"sigma": sigma, "weight": weight}, labels, coords)
    for name in ("strain", "stress"):
        if name in data:
            data[name].attrs["description"] = "tensor components: entries 12, 13, 23 are not doubled"
    return data


def _column(values: ArrayLike | None) -> Any:
    """Return values of shape (sample,) with shape (sample, 1), all others unchanged."""
    if values is None or np.ndim(values) != 1:
        return values
    return np.ma.asanyarray(values)[:, None]


def _lengths(values: Any) -> int | None:
    """Return the common length of all arrays of a sequence, or None if the lengths differ."""
    lengths = {len(each) if np.ndim(each) else 0 for each in values}
    return lengths.pop() if len(lengths) == 1 else None


def _components(name: str, values: Any, lengths: Sequence[int]) -> np.ndarray:
    """Return paths as one array (trajectory, time, …), continued by their last samples; 3 × 3 tensors as components."""
    if len(set(lengths)) > 1:
        arrays = [_filled(path) for path in values]
        if [len(path) for path in arrays] != list(lengths):
            raise DatasetError(
                f"{name} has paths of {[len(path) for path in arrays]} samples, but strain has {lengths}"
            )
        if min(lengths) == 0 or len({path.shape[1:] for path in arrays}) > 1:
            raise DatasetError(
                f"{name}: all paths must have samples, and all samples the same shape; got {[p.shape for p in arrays]}"
            )
        array = np.stack([path[np.minimum(np.arange(max(lengths)), len(path) - 1)] for path in arrays])
    else:
        array = _filled(values)
    if name not in ("strain", "stress") or array.shape[2:] != (3, 3):
        return array
    gap = np.abs(array - np.swapaxes(array, -1, -2))
    if gap.max(initial=0) > ASYMMETRY_TOLERANCE * np.abs(array).max(initial=0):
        trajectory, time, row, column = (int(k) for k in np.argwhere(gap == gap.max())[0])
        raise DatasetError(
            f"{name} must be symmetric, but at trajectory {trajectory}, time {time} entries {row + 1}{column + 1} "
            f"and {column + 1}{row + 1} differ by {gap.max():.2g}"
        )
    return np.stack([array[..., i, j] for i, j in zip(ROWS, COLUMNS, strict=True)], -1)


@dataclass(frozen=True)
class _Labels:
    """Names of the states, split of the trajectories or samples, and units by name, as far as given."""

    states: Sequence[str] | None
    split: Sequence[str] | None
    units: Mapping[str, str] | None


def _assembled(
    kind: str, x: ArrayLike, given: Mapping[str, Any], noise: Mapping[str, Any], labels: _Labels, coords: dict
) -> xr.Dataset:
    """Return a checked dataset of the leading array x, the `given` quantities, noise levels and weights (`noise`)."""
    lead, component = LEADING[kind]
    arrays = {lead: x, **{name: values for name, values in given.items() if values is not None}}
    for name, values in noise.items():
        if isinstance(values, Mapping):
            arrays |= {f"{name}_{quantity}": value for quantity, value in values.items()}
        elif values is not None:
            arrays[name] = values
    variables: dict[str, xr.Variable] = {}
    for name, values in arrays.items():
        variables[name] = _variable(kind, name, values, variables.get(lead))
    names = _names(lead, variables[lead].sizes[component], labels.states)
    units = given_units(labels.units, names, kind)
    coords = {**coords, component: state_labels(names, units, component)[component]}
    return check(labelled(_joined(SAMPLING[kind][0], variables, coords, labels.split), units))


def _joined(
    first: str, variables: Mapping[str, xr.Variable], coords: Mapping[str, Any], split: Sequence[str] | None
) -> xr.Dataset:
    """Return the dataset of variables and coordinates, with those of the `first` sampling dimension."""
    try:
        data = xr.Dataset(variables, coords=coords)
        data = data.assign_coords({first: variable(first, np.arange(data.sizes[first]), first)})
        if split is not None:
            roles = variable(first, np.asarray(split, dtype=str), "role of the sample in the fit")
            data = data.assign_coords(split=roles)
    except ValueError as error:
        raise DatasetError(f"the arrays do not fit together: {error}") from None
    if "time" in data.coords:
        data["time"].attrs["long_name"] = "time"
    return data


def _variable(kind: str, name: str, values: ArrayLike, lead: xr.Variable | None) -> xr.Variable:
    """Return a quantity, noise level or weight as a variable; a number is repeated for all samples of `lead`."""
    sampling, array = SAMPLING[kind], _filled(values)
    extra, long_name = QUANTITIES.get(name, ((), name.replace("_", " of the ")))
    if name not in QUANTITIES and lead is not None:  # a number, one per sample or one per component
        array = np.full(lead.shape[:-1], array) if array.ndim == 0 else array
        extra = (LEADING[kind][1],) if array.ndim > len(sampling) else ()
    dims = (*sampling, *extra)
    if array.ndim != len(dims):
        axes = "1 axis" if len(dims) == 1 else f"{len(dims)} axes"
        raise DatasetError(f"{name} has shape {array.shape}; expected {axes}: ({', '.join(dims)})")
    return variable(dims, array, long_name)


def _names(lead: str, count: int, states: Sequence[str] | None) -> list[str]:
    """Return the names of the components, which are x1, x2, … by default."""
    names = list(states) if states is not None else [f"x{k + 1}" for k in range(count)]
    if len(names) != count:
        raise DatasetError(
            f"{lead} has {count} components, but {len(names)} name{'s' * (len(names) != 1)} given: {names}"
        )
    return names


def _ragged(
    x: Sequence[Any],
    time: Any,
    given: Mapping[str, Any],
    noise: Mapping[str, Any],
    labels: _Labels,
) -> xr.Dataset:
    """Return trajectories of unequal lengths or times as rows of samples, or on one grid if all times are equal."""
    lengths = [len(each) for each in x]
    if len(time) != len(x) or [np.size(t) for t in time] != lengths:
        raise DatasetError(
            f"x has trajectories of {lengths} samples; expected the times of each, a list of arrays of these lengths, "
            f"got {[np.size(t) for t in time]}"
        )
    if all(np.array_equal(t, time[0]) for t in time):
        stacked = {name: v if v is None else np.stack([_filled(a) for a in v]) for name, v in given.items()}
        grid = {"time": np.asarray(time[0])}
        return _assembled("trajectories", np.stack([_filled(a) for a in x]), stacked, noise, labels, grid)

    def row(name: str, values: Any) -> Any:
        """Concatenate the arrays of all trajectories."""
        if isinstance(values, Mapping):
            return {key: row(f"{name} of {key}", value) for key, value in values.items()}
        if values is None or np.isscalar(values):
            return values
        if [len(each) for each in values] != lengths:
            raise DatasetError(f"{name} has {[len(each) for each in values]} samples, but x has {lengths}")
        return np.ma.concatenate([np.ma.asanyarray(_filled(each)) for each in values])

    split = labels.split
    if split is not None:
        if len(split) != len(x):
            raise DatasetError(f"split must have one entry per trajectory: expected {len(x)}, got {len(split)}")
        labels = replace(labels, split=np.repeat(np.asarray(split, dtype=str), lengths).tolist())
    coords = {
        "trajectory": variable("sample", np.repeat(np.arange(len(x)), lengths), "trajectory"),
        "time": variable("sample", np.concatenate([np.asarray(t, dtype=np.float64) for t in time]), "time"),
    }
    rows = {name: row(name, values) for name, values in given.items()}
    extra = {name: row(name, values) for name, values in noise.items()}
    return _assembled("points", row("x", x), rows, extra, labels, coords)


def _filled(values: ArrayLike) -> np.ndarray:
    """Return a native float64 array; masked entries become NaN, which `check` reports."""
    return np.ma.filled(np.ma.asanyarray(values).astype(np.float64), np.nan)
