"""The one data format: named dimensions, float64, checked where data enter.

    points         x(sample, state)             potential(sample)   gradient(sample, state)   velocity(sample, state)
    trajectories   x(trajectory, time, state)   velocity(trajectory, time, state)             …
    paths          strain(trajectory, time, component)   stress(trajectory, time, component)
                   phase_fraction(trajectory, time)      dissipation(trajectory, time)         …

Trajectories of unequal lengths or times are points with the coordinates trajectory(sample) and time(sample), those of
one trajectory in a row: what `flat` makes of trajectories on one grid (CF's indexed ragged array).

Paths have a history: a prescribed strain and what the material answered. Components are those of symmetric tensors,
"11", "22", "33", "12", "13", "23" (E12, not 2 E12; not Voigt order). Samples joined by straight lines are the path, so
that a turning point between two samples is not seen. Shorter paths are held at their last sample, and a coordinate
`valid(trajectory, time)` says how far each goes.

Beside them may stand `sigma` (standard deviation of the noise) and `weight` over the sampling dimensions, or one of
each for one quantity (`sigma_potential`, …), and a coordinate `split` ("train", "validation", "test") along one or
both of the sampling dimensions. Everything is an `xarray.Dataset`; variables carry units and long names.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.checks import require_whole

__all__ = [
    "DatasetError",
    "assign_split",
    "check",
    "flat",
    "folds",
    "groups",
    "paths",
    "points",
    "seed_sequence",
    "seed_text",
    "timed",
    "trajectories",
    "valid",
    "with_states",
]

SAMPLING = {"points": ("sample",), "trajectories": ("trajectory", "time"), "paths": ("trajectory", "time")}
COMPONENTS = ("11", "22", "33", "12", "13", "23")
SYMMETRIC = 1e-10  # largest difference of E12 and E21, relative to the largest strain
QUANTITIES = {  # name: (dimensions beside the sampling ones, long name)
    "x": (("state",), "state"),
    "potential": ((), "potential"),
    "gradient": (("state",), "gradient of the potential"),
    "velocity": (("state",), "rate of change of the state"),
    "strain": (("component",), "strain"),
    "stress": (("component",), "stress"),
    "phase_fraction": ((), "phase fraction"),
    "dissipation": ((), "energy dissipated in the step that ends here"),
}
LEADING = {"points": ("x", "state"), "trajectories": ("x", "state"), "paths": ("strain", "component")}
SPLITS = ("train", "validation", "test")


class DatasetError(ValueError):
    """Data that do not follow the vocabulary; the message says what was expected, what came, and what to do."""


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
) -> xr.Dataset:
    """Return scattered samples of a landscape as a checked dataset.

    `x` has shape (sample, dim), or (sample,) in one dimension; `potential` (sample,); `gradient` and `velocity` the
    shape of `x`. `sigma` and `weight` are numbers or have shape (sample,) or, for each component, (sample, dim); they
    may be mappings from the name of a quantity to such values. `split` marks each sample "train", "validation" or
    "test".

    >>> import workbench as wb
    >>> data = wb.dataset.points([[0.0, 0.0], [1.0, 2.0], [0.5, 1.0]], potential=[0.0, 5.0, 1.25])
    >>> dict(data.sizes)
    {'sample': 3, 'state': 2}
    """
    x = _column(x)
    given = {"potential": potential, "gradient": _column(gradient), "velocity": _column(velocity)}
    return _build("points", x, given, {"sigma": sigma, "weight": weight}, states, split, {})


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
) -> xr.Dataset:
    """Return trajectories as a checked dataset, on one time grid or each at its own times.

    `x` and `velocity` have shape (trajectory, time, dim), `time` (time,), increasing; `potential` (trajectory, time).
    `sigma` and `weight` are as for `points`, over (trajectory, time); `split` marks each trajectory. The noise of the
    states themselves is `sigma={"x": …}`.

    Lists of arrays, x with shapes (time, dim) and the times of each, may have unequal lengths and times: the result
    then has its samples in a row, over `sample`, with the coordinates trajectory(sample) and time(sample).

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
        return _ragged(x, time, given, noise, states, split)
    return _build("trajectories", x, given, noise, states, split, {"time": np.asarray(time)})


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
) -> xr.Dataset:
    """Return strain paths, and what a material answered along them, as a checked dataset.

    `strain` and `stress` have shape (trajectory, time, 6), or (trajectory, time, 3, 3) and symmetric; the others
    (trajectory, time). Lists of arrays with shape (time, 6) may have unequal lengths: the shorter ones are held at
    their last sample and marked by `valid`. `time` (time,) is that of the longest path, increasing; without it the
    samples are equally spaced on [0, 1]. `sigma` and `weight` are numbers or over (trajectory, time), of the stress.

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
        coords["valid"] = (("trajectory", "time"), known, {"long_name": "whether the path goes that far"})
    values = {name: None if v is None else _components(name, v, lengths) for name, v in given.items()}
    data = _build("paths", E, values, {"sigma": sigma, "weight": weight}, COMPONENTS, split, coords)
    for name in ("strain", "stress"):
        if name in data:
            data[name].attrs["description"] = "tensor components: entries 12, 13, 23 are not doubled"
    return data


def check(data: xr.Dataset, needs: Iterable[str] = ()) -> xr.Dataset:
    """Return the data in canonical form (float64, dimensions in order), or raise `DatasetError`.

    `needs` names the variables the caller is about to use, beside `x` (of paths, `strain`). Dimensions in another order
    are transposed by name; missing variables, other dimensions, NaN or infinite values, times that do not increase, and
    noise levels or weights that are not positive are errors that name the variable and the first offending index.
    """
    if not isinstance(data, xr.Dataset):
        raise DatasetError(
            f"expected an xarray.Dataset, got {type(data).__name__}; "
            "build one with workbench.dataset.points(...), .trajectories(...) or .paths(...)"
        )
    _require(data, [*([] if "strain" in data else ["x"]), *needs])
    kind = kind_of(data)
    lead, component = LEADING[kind]
    data = _ordered(data) if kind == "paths" else data.copy()
    along = [name for name in ("split", "trajectory", "time") if name in data.data_vars]
    data = data.set_coords(along) if along else data
    for name in data.data_vars:
        quantity = str(name).removeprefix("sigma_").removeprefix("weight_")
        if quantity != name and quantity not in QUANTITIES:
            raise DatasetError(f"{name} is the noise or weight of nothing{nearest(quantity, QUANTITIES) or '.'}")
        if name in QUANTITIES:
            data[name] = _canonical(data, str(name), (*SAMPLING[kind], *QUANTITIES[str(name)][0]))
        elif quantity != name or name in ("sigma", "weight"):
            each = (component,) if component in data[name].dims else ()
            data[name] = _canonical(data, str(name), (*SAMPLING[kind], *each))
            if not (data[name] > 0).all():
                raise DatasetError(f"{name} must be positive, its smallest value is {float(data[name].min()):g}")
    _check_extent(data, kind)
    first = SAMPLING[kind][0]
    return data if first in data.coords else data.assign_coords({first: np.arange(data.sizes[first])})


def _check_extent(data: xr.Dataset, kind: str) -> None:
    lead = LEADING[kind][0]
    if min(data.sizes[dim] for dim in data[lead].dims) == 0:
        raise DatasetError(f"{lead} is empty: its sizes are {dict(data[lead].sizes)}")
    if kind == "paths" and data.sizes["time"] < 2:
        raise DatasetError("a path needs at least two samples, one step; these have one")
    if kind == "points" and {"trajectory", "time"} <= set(data.coords):
        _check_rows(data["trajectory"].values, data["time"].values)
    if kind != "points" and "time" not in data.coords:
        raise DatasetError(f"{kind} need times: a coordinate time along their dimension time")
    if kind != "points" and not (np.diff(data["time"].astype(float)) > 0).all():
        raise DatasetError("time must increase strictly along the trajectories; sort it and drop repeated times")


def _check_rows(trajectory: np.ndarray, time: np.ndarray) -> None:
    """Check samples in a row: whole trajectories, one after the other, each with increasing times."""
    same = trajectory[1:] == trajectory[:-1]
    if (~same).sum() + 1 != len(np.unique(trajectory)):
        raise DatasetError("the samples of a trajectory must stand in a row; sort them by trajectory, then time")
    bad = same & ~(np.diff(time.astype(float)) > 0)
    if bad.any():
        at = int(np.flatnonzero(bad)[0]) + 1
        raise DatasetError(
            f"time must increase strictly along each trajectory, but sample {at}, of trajectory {trajectory[at]}, has "
            f"{time[at]} after {time[at - 1]}; sort the samples and drop repeated times"
        )


def kind_of(data: xr.Dataset) -> str:
    """Return "points", "trajectories" or "paths", from the dimensions of `x` or `strain`."""
    if "strain" in data and "x" not in data:
        if set(data["strain"].dims) == {*SAMPLING["paths"], "component"}:
            return "paths"
        raise DatasetError(
            f"strain has dimensions {tuple(data['strain'].dims)}; expected (trajectory, time, component)"
        )
    for kind, sampling in SAMPLING.items():
        if set(data["x"].dims) == {*sampling, "state"}:
            return kind
    extra = [str(dim) for dim in data["x"].dims if dim not in ("sample", "trajectory", "time", "state")]
    hint = f"; choose one along {extra[0]!r} with data.isel({extra[0]}=0)" if extra else ""
    raise DatasetError(
        f"x has dimensions {tuple(data['x'].dims)}; expected (sample, state) or (trajectory, time, state){hint}"
    )


def flat(data: xr.Dataset) -> xr.Dataset:
    """Return the data as points: the sampling dimensions of trajectories stacked into one `sample`, time slowest last.

    >>> import numpy as np, workbench as wb
    >>> runs = wb.dataset.trajectories(np.ones((2, 5, 1)), np.arange(5.0))
    >>> dict(wb.dataset.flat(runs).sizes)
    {'sample': 10, 'state': 1}
    """
    if kind_of(data) == "points":
        return data
    if kind_of(data) == "paths":
        raise DatasetError("samples of a path depend on what came before and are no points; use match='stress'")
    if "split" in data.coords:
        data = data.assign_coords(split=data["split"].broadcast_like(data["x"].isel(state=0, drop=True)))
    stacked = data.stack(sample=("trajectory", "time"), create_index=False).transpose("sample", ...)
    return stacked.assign_coords(sample=np.arange(stacked.sizes["sample"]))


def timed(data: xr.Dataset) -> xr.Dataset:
    """Return trajectories as points in the states and the time, whose states are (…, "time").

    >>> import numpy as np, workbench as wb
    >>> runs = wb.dataset.trajectories(np.ones((2, 3, 1)), np.arange(3.0))
    >>> wb.dataset.timed(runs).x.values[:3].tolist()
    [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
    """
    if kind_of(data) == "points":
        raise DatasetError("points have no time; give trajectories, or points whose last state is the time")
    samples = flat(data)
    time = samples["time"].astype(np.float64).expand_dims(state=["time"], axis=1).drop_vars(("time", "trajectory"))
    x = xr.concat([samples["x"].drop_vars(("time", "trajectory"), errors="ignore"), time], "state")
    kept = [name for name in ("weight",) if name in samples]
    result = samples[kept].drop_vars(("state", "time", "trajectory"), errors="ignore").assign(x=x)
    return result.transpose("sample", "state")


def folds(data: xr.Dataset, count: int, seed: Any = 0) -> list[xr.Dataset]:
    """Return the data `count` times with another part marked "validation" each time, the rest "train".

    Whole trajectories, or points, are dealt out at random into parts of equal size; those marked "test" stay so. Fits
    to all of them, `Fit`s of one ensemble, have together learned from everything.

    >>> import numpy as np, workbench as wb
    >>> data = wb.dataset.points(np.arange(10.0))
    >>> [int((fold.split == "validation").sum()) for fold in wb.dataset.folds(data, 5)]
    [2, 2, 2, 2, 2]
    """
    data = check(data)
    dim, group = SAMPLING[kind_of(data)][0], groups(data)
    old = data["split"].values if "split" in data.coords else np.full(data.sizes[dim], "train", dtype="<U10")
    open_to = np.unique(group[old != "test"]) if old.ndim == 1 else np.arange(0)
    require_whole(2, count_of_folds=count)
    if count > len(open_to):
        raise DatasetError(f"count of folds must be a whole number from 2 to {len(open_to)}, got {count!r}")
    part = np.random.default_rng(seed_sequence(seed)).permutation(len(open_to)) % count
    dealt = []
    for k in range(count):
        split = old.astype("<U10")
        mine = np.full(len(group), -1)
        mine[np.isin(group, open_to)] = part[np.searchsorted(open_to, group[np.isin(group, open_to)])]
        split[old != "test"] = np.where(mine == k, "validation", "train")[old != "test"]
        dealt.append(data.assign_coords(split=(dim, split, {"long_name": "role of the sample in the fit"})))
    return dealt


def groups(data: xr.Dataset) -> np.ndarray:
    """Return which samples belong together, along the first sampling dimension: those of one trajectory, shape (n,).

    >>> import numpy as np, workbench as wb
    >>> groups(wb.dataset.trajectories([np.ones((2, 1)), np.ones((1, 1))], [[0, 1], [5]])).tolist()
    [0, 0, 1]
    """
    dim = SAMPLING[kind_of(data)][0]
    if dim == "sample" and "trajectory" in data.coords:
        return np.unique(data["trajectory"].values, return_inverse=True)[1]
    return np.arange(data.sizes[dim])


def assign_split(
    data: xr.Dataset, seed: np.random.SeedSequence, held_out: float = 0.2, *, whole: bool = True
) -> xr.Dataset:
    """Return the data with a `split` coordinate; a coordinate that is already there is checked and kept.

    The share `held_out` becomes "validation", the rest "train": of the trajectories if `whole`, which is the stricter
    judge, else of all samples along all trajectories, which leaves no start out of the training data. Data marked
    "test" are for the user's own judgement: no fit ever sees them.
    """
    dims = SAMPLING[kind_of(data)][: 1 if whole else None]
    group = groups(data) if whole else None
    if "split" in data.coords:
        unknown = set(np.unique(data["split"])) - set(SPLITS)
        if unknown or "train" not in data["split"]:
            found = ", ".join(map(repr, map(str, np.unique(data["split"]))))
            raise DatasetError(f"split must hold 'train' and may hold 'validation' and 'test', got {found}")
        return data
    if not 0 < held_out < 1:
        raise DatasetError(f"held_out is a share between 0 and 1, got {held_out!r}")
    shape = [data.sizes[dim] for dim in dims]
    size = int(np.prod(shape)) if group is None else int(group.max()) + 1
    if size < 2:
        of = "trajectory" if "trajectory" in data.coords else dims[0]
        raise DatasetError(
            f"there is {size} {of} only: at least 2 are needed, one of them to validate the fit; cut it in pieces, or "
            "mark samples yourself with the coordinate split"
        )
    count = min(max(1, round(held_out * size)), size - 1)
    labels = np.full(size, "train", dtype="<U10")
    labels[np.random.default_rng(seed).permutation(size)[:count]] = "validation"
    labels = labels if group is None else labels[group]
    return data.assign_coords(split=(dims, labels.reshape(shape), {"long_name": "role of the sample in the fit"}))


def valid(data: xr.Dataset) -> np.ndarray:
    """Return how far each path goes, shape (trajectory, time), true where there is data."""
    if "valid" in data.coords:
        return data["valid"].transpose("trajectory", "time").values.astype(bool)
    return np.ones((data.sizes["trajectory"], data.sizes["time"]), dtype=bool)


def seed_sequence(seed: Any) -> np.random.SeedSequence:
    """Return the seed sequence of a whole number; None draws one. Its `entropy` is the number to record, as text.

    >>> seed_sequence(2**64 + 1).entropy
    18446744073709551617
    """
    if isinstance(seed, np.random.SeedSequence):
        return seed
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool | np.bool_)
    if seed is not None and not (whole and seed >= 0):
        raise ValueError(f"seed must be a whole number >= 0 or None, got {seed!r}")
    return np.random.SeedSequence(seed if seed is None else int(seed))


def seed_text(sequence: np.random.SeedSequence) -> str:
    """Return the number of a seed sequence, and the keys of its branch if it is one: "7" or "7/0/2".

    >>> seed_text(np.random.SeedSequence(7).spawn(3)[2])
    '7/2'
    """
    return "/".join(map(str, (sequence.entropy, *sequence.spawn_key)))


def with_states(data: xr.Dataset, states: Sequence[str]) -> xr.Dataset:
    """Return the data with their states in the order given, matched by name; other names are an error."""
    if "state" not in data.coords or list(data["state"].values) == list(states):
        return data
    if set(map(str, data["state"].values)) != set(states):
        raise DatasetError(f"the data have the states {list(map(str, data['state'].values))}, the model {list(states)}")
    return data.sel(state=list(states))


def storable(value: Any) -> str | int | float:
    """Return an attribute as netCDF can hold it: numbers and text as they are, anything else as JSON text."""
    if isinstance(value, np.generic):
        value = value.item()
    return (
        value
        if isinstance(value, str | int | float) and not isinstance(value, bool)
        else json.dumps(value, default=str)
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'b'?" for the closest known name, or nothing.

    >>> nearest("potentail", ["potential", "gradient"])
    ", did you mean 'potential'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def _column(values: ArrayLike | None) -> Any:
    if values is None or np.ndim(values) != 1:
        return values
    return np.ma.asanyarray(values)[:, None]


def _lengths(values: Any) -> int | None:
    """Return the one length of all arrays of a sequence, or None where they differ."""
    lengths = {len(each) if np.ndim(each) else 0 for each in values}
    return lengths.pop() if len(lengths) == 1 else None


def _ragged(
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
        stacked = {name: v if v is None else np.stack([_filled(a) for a in v]) for name, v in given.items()}
        grid = {"time": np.asarray(time[0])}
        return _build("trajectories", np.stack([_filled(a) for a in x]), stacked, noise, states, split, grid)

    def row(name: str, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: row(f"{name} of {key}", value) for key, value in values.items()}
        if values is None or np.isscalar(values):
            return values
        if [len(each) for each in values] != lengths:
            raise DatasetError(f"{name} has {[len(each) for each in values]} samples, x has {lengths}")
        return np.ma.concatenate([np.ma.asanyarray(_filled(each)) for each in values])

    if split is not None and len(split) != len(x):
        raise DatasetError(f"split marks {len(split)} trajectories, there are {len(x)}")
    coords = {
        "trajectory": ("sample", np.repeat(np.arange(len(x)), lengths), {"long_name": "trajectory", "units": "1"}),
        "time": ("sample", np.concatenate([np.asarray(t, dtype=np.float64) for t in time])),
    }
    rows = {name: row(name, values) for name, values in given.items()}
    extra = {name: row(name, values) for name, values in noise.items()}
    marks = None if split is None else np.repeat(np.asarray(split, dtype=str), lengths).tolist()
    return _build("points", row("x", x), rows, extra, states, marks, coords)


def _build(
    kind: str,
    x: ArrayLike,
    given: Mapping[str, Any],
    noise: Mapping[str, Any],
    states: Sequence[str] | None,
    split: Sequence[str] | None,
    coords: dict,
) -> xr.Dataset:
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
        values = _filled(values)
        if name not in QUANTITIES:  # noise and weights: one number, one per sample, or one per component
            values = np.full(variables[lead].shape[:-1], values) if values.ndim == 0 else values
            dims = (*sampling, component) if values.ndim > len(sampling) else dims
        if values.ndim != len(dims):
            raise DatasetError(f"{name} has shape {values.shape}; expected {len(dims)} axes: ({', '.join(dims)})")
        variables[name] = xr.Variable(dims, values, {"long_name": long_name, "units": "1"})
    dim = variables[lead].sizes[component]
    labels = list(states) if states is not None else [f"x{i + 1}" for i in range(dim)]
    if len(labels) != dim:
        raise DatasetError(f"{lead} has {dim} components but {len(labels)} names were given: {labels}")
    try:
        data = xr.Dataset(variables, coords={**coords, component: labels})
        data = data.assign_coords({sampling[0]: np.arange(data.sizes[sampling[0]])})
        data = data if split is None else data.assign_coords(split=(sampling[0], np.asarray(split, dtype=str)))
    except ValueError as error:
        raise DatasetError(f"the arrays do not fit together: {error}") from None
    if "time" in data.coords:
        data["time"].attrs = {"long_name": "time", "units": "1"}
    return check(data)


def _components(name: str, values: Any, lengths: Sequence[int]) -> np.ndarray:
    """Return paths as one array (trajectory, time, …), held at their last samples; 3 × 3 tensors as components."""
    if len(set(lengths)) > 1:
        arrays = [_filled(path) for path in values]
        if [len(path) for path in arrays] != list(lengths):
            raise DatasetError(f"{name} has paths of {[len(path) for path in arrays]} samples, strain of {lengths}")
        if min(lengths) == 0 or len({path.shape[1:] for path in arrays}) > 1:
            raise DatasetError(f"{name}: every path needs samples, all of one shape, got {[p.shape for p in arrays]}")
        array = np.stack([path[np.minimum(np.arange(max(lengths)), len(path) - 1)] for path in arrays])
    else:
        array = _filled(values)
    if name not in ("strain", "stress") or array.shape[2:] != (3, 3):
        return array
    gap = np.abs(array - np.swapaxes(array, -1, -2))
    if gap.max(initial=0) > SYMMETRIC * np.abs(array).max(initial=0):
        trajectory, time, row, column = (int(k) for k in np.argwhere(gap == gap.max())[0])
        raise DatasetError(
            f"{name} must be symmetric, but at trajectory {trajectory}, time {time} the entries {row + 1}{column + 1} "
            f"and {column + 1}{row + 1} differ by {gap.max():.2g}"
        )
    return np.stack([array[..., int(label[0]) - 1, int(label[1]) - 1] for label in COMPONENTS], -1)


def _ordered(data: xr.Dataset) -> xr.Dataset:
    """Return paths with their components in order, and `valid` a coordinate that begins every path."""
    labels = [str(label) for label in data["component"].values] if "component" in data.coords else []
    if sorted(labels) != sorted(COMPONENTS):
        raise DatasetError(
            f"paths have the components {', '.join(COMPONENTS)} (tensor, not Voigt), got {', '.join(labels) or 'none'}"
        )
    data = data.sel(component=list(COMPONENTS)) if tuple(labels) != COMPONENTS else data.copy()
    data = data.set_coords("valid") if "valid" in data.data_vars else data
    if "valid" in data.coords:
        if set(data["valid"].dims) != set(SAMPLING["paths"]):
            raise DatasetError(f"valid has dimensions {tuple(data['valid'].dims)}; expected {SAMPLING['paths']}")
        known = valid(data)
        if not known[:, :2].all() or (np.diff(known.astype(int), axis=1) > 0).any():
            raise DatasetError("valid must be true from the start of every path, for two samples or more, to its end")
    return data


def _filled(values: ArrayLike) -> np.ndarray:
    """Return a native float64 array; masked entries become NaN, which `check` reports."""
    return np.ma.filled(np.ma.asanyarray(values).astype(np.float64), np.nan)


def _require(data: xr.Dataset, needs: Iterable[str]) -> None:
    for name in needs:
        if name not in data.data_vars:
            known = sorted(map(str, data.data_vars))
            hint = nearest(name, known) or "."
            raise DatasetError(f"the data hold no {name!r}{hint} They hold: {', '.join(known) or 'nothing'}")


def _canonical(data: xr.Dataset, name: str, dims: tuple[str, ...]) -> xr.DataArray:
    array = data[name]
    if set(array.dims) != set(dims):
        raise DatasetError(f"{name} has dimensions {tuple(array.dims)}; expected {dims}")
    array = array.transpose(*dims).astype(np.float64, keep_attrs=True)
    bad = ~np.isfinite(array.values)
    if bad.any():
        first = dict(zip(dims, (int(i) for i in np.argwhere(bad)[0]), strict=True))
        raise DatasetError(
            f"{name} holds {int(bad.sum())} values that are not finite, the first at {first}; remove or repair them"
        )
    return array
