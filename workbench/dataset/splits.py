"""Who learns and who judges: the roles of samples in a fit, dealt out by whole trajectories."""

from typing import Any

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.dataset.canonical import check, kind_of
from workbench.dataset.seeds import seed_sequence
from workbench.dataset.vocabulary import SAMPLING, SPLITS
from workbench.errors import DatasetError

__all__ = ["assign_split", "folds", "groups"]


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
    data: xr.Dataset, seed: np.random.SeedSequence, validation_fraction: float = 0.2, *, whole: bool = True
) -> xr.Dataset:
    """Return the data with a `split` coordinate; a coordinate that is already there is checked and kept.

    The share `validation_fraction` becomes "validation", the rest "train": of the trajectories if `whole`, which is the
    stricter judge, else of all samples along all trajectories, which leaves no start out of the training data. Data
    marked "test" are for the user's own judgement: no fit ever sees them.
    """
    dims = SAMPLING[kind_of(data)][: 1 if whole else None]
    group = groups(data) if whole else None
    if "split" in data.coords:
        unknown = set(np.unique(data["split"])) - set(SPLITS)
        if unknown or "train" not in data["split"]:
            found = ", ".join(map(repr, map(str, np.unique(data["split"]))))
            raise DatasetError(f"split must hold 'train' and may hold 'validation' and 'test', got {found}")
        return data
    if not 0 < validation_fraction < 1:
        raise DatasetError(f"validation_fraction must lie between 0 and 1, got {validation_fraction!r}")
    shape = [data.sizes[dim] for dim in dims]
    size = int(np.prod(shape)) if group is None else int(group.max()) + 1
    if size < 2:
        of = "trajectory" if "trajectory" in data.coords else dims[0]
        raise DatasetError(
            f"there is {size} {of} only: at least 2 are needed, one of them to validate the fit; cut it in pieces, or "
            "mark samples yourself with the coordinate split"
        )
    count = min(max(1, round(validation_fraction * size)), size - 1)
    labels = np.full(size, "train", dtype="<U10")
    labels[np.random.default_rng(seed).permutation(size)[:count]] = "validation"
    labels = labels if group is None else labels[group]
    return data.assign_coords(split=(dims, labels.reshape(shape), {"long_name": "role of the sample in the fit"}))


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
    require_integer(2, count_of_folds=count)
    if count > len(open_to):
        raise DatasetError(f"count of folds must be an integer from 2 to {len(open_to)}, got {count!r}")
    part = np.random.default_rng(seed_sequence(seed)).permutation(len(open_to)) % count
    dealt = []
    for k in range(count):
        split = old.astype("<U10")
        mine = np.full(len(group), -1)
        mine[np.isin(group, open_to)] = part[np.searchsorted(open_to, group[np.isin(group, open_to)])]
        split[old != "test"] = np.where(mine == k, "validation", "train")[old != "test"]
        dealt.append(data.assign_coords(split=(dim, split, {"long_name": "role of the sample in the fit"})))
    return dealt
