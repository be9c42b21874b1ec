"""Own arrays as a checked dataset: points, trajectories, paths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.dataset.assembly import assemble, filled
from workbench.dataset.ragged import ragged
from workbench.dataset.tensors import COLUMNS, COMPONENTS, ROWS
from workbench.errors import DatasetError

__all__ = ["paths", "points", "trajectories"]

SYMMETRIC = 1e-10  # largest difference of E12 and E21, relative to the largest strain


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
    return assemble("points", x, given, {"sigma": sigma, "weight": weight}, states, split, {})


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
        return ragged(x, time, given, noise, states, split)
    return assemble("trajectories", x, given, noise, states, split, {"time": np.asarray(time)})


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
    data = assemble("paths", E, values, {"sigma": sigma, "weight": weight}, COMPONENTS, split, coords)
    for name in ("strain", "stress"):
        if name in data:
            data[name].attrs["description"] = "tensor components: entries 12, 13, 23 are not doubled"
    return data


def _column(values: ArrayLike | None) -> Any:
    if values is None or np.ndim(values) != 1:
        return values
    return np.ma.asanyarray(values)[:, None]


def _lengths(values: Any) -> int | None:
    """Return the one length of all arrays of a sequence, or None where they differ."""
    lengths = {len(each) if np.ndim(each) else 0 for each in values}
    return lengths.pop() if len(lengths) == 1 else None


def _components(name: str, values: Any, lengths: Sequence[int]) -> np.ndarray:
    """Return paths as one array (trajectory, time, …), held at their last samples; 3 × 3 tensors as components."""
    if len(set(lengths)) > 1:
        arrays = [filled(path) for path in values]
        if [len(path) for path in arrays] != list(lengths):
            raise DatasetError(f"{name} has paths of {[len(path) for path in arrays]} samples, strain of {lengths}")
        if min(lengths) == 0 or len({path.shape[1:] for path in arrays}) > 1:
            raise DatasetError(f"{name}: every path needs samples, all of one shape, got {[p.shape for p in arrays]}")
        array = np.stack([path[np.minimum(np.arange(max(lengths)), len(path) - 1)] for path in arrays])
    else:
        array = filled(values)
    if name not in ("strain", "stress") or array.shape[2:] != (3, 3):
        return array
    gap = np.abs(array - np.swapaxes(array, -1, -2))
    if gap.max(initial=0) > SYMMETRIC * np.abs(array).max(initial=0):
        trajectory, time, row, column = (int(k) for k in np.argwhere(gap == gap.max())[0])
        raise DatasetError(
            f"{name} must be symmetric, but at trajectory {trajectory}, time {time} the entries {row + 1}{column + 1} "
            f"and {column + 1}{row + 1} differ by {gap.max():.2g}"
        )
    return np.stack([array[..., i, j] for i, j in zip(ROWS, COLUMNS, strict=True)], -1)
