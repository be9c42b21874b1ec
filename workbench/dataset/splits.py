"""Train, validation and test splits, by whole trajectories."""

from typing import Any

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.dataset.canonical import check, kind_of
from workbench.dataset.seeds import seed_sequence
from workbench.dataset.variables import variable
from workbench.dataset.vocabulary import SAMPLING, SPLITS
from workbench.errors import DatasetError

__all__ = ["assign_split", "folds", "groups"]


def groups(data: xr.Dataset) -> np.ndarray:
    """Return the trajectory index of every sample along the first sampling dimension.

    Parameters
    ----------
    data : xarray.Dataset
        Points, trajectories or paths.

    Returns
    -------
    numpy.ndarray
        Integers from 0, shape (n,): equal for the samples of one trajectory, distinct for independent points.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> wb.dataset.groups(wb.dataset.trajectories([np.ones((2, 1)), np.ones((1, 1))], [[0, 1], [5]])).tolist()
    [0, 0, 1]
    """
    dim = SAMPLING[kind_of(data)][0]
    if dim == "sample" and "trajectory" in data.coords:
        return np.unique(data["trajectory"].values, return_inverse=True)[1]
    return np.arange(data.sizes[dim])


def assign_split(
    data: xr.Dataset, seed: np.random.SeedSequence, validation_fraction: float = 0.2, *, whole: bool = True
) -> xr.Dataset:
    """Return the data with a coordinate `split`, drawn at random; an existing one is checked and kept.

    Data labelled "test" take no part in a fit, neither in training nor in validation.

    Parameters
    ----------
    data : xarray.Dataset
        Points, trajectories or paths.
    seed : numpy.random.SeedSequence
        Source of the random permutation.
    validation_fraction : float
        Fraction of the trajectories or samples labelled "validation", at least one but not all; others are "train".
    whole : bool
        Whether to assign whole trajectories, which is the stricter validation. Otherwise single samples are drawn, so
        that the training data include parts of all trajectories.

    Returns
    -------
    xarray.Dataset
        The data with ``split(trajectory)`` or ``split(sample)``; if `whole` is False, along all sampling dimensions.

    Raises
    ------
    DatasetError
        If an existing `split` contains no "train" or unknown labels, `validation_fraction` is not between 0 and 1, or
        there are fewer than two samples or trajectories.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> data = wb.dataset.assign_split(wb.dataset.points(np.arange(10.0)), np.random.SeedSequence(0), 0.3)
    >>> int((data.split == "validation").sum())
    3
    """
    dims = SAMPLING[kind_of(data)][: 1 if whole else None]
    group = groups(data) if whole else None
    if "split" in data.coords:
        unknown = set(np.unique(data["split"])) - set(SPLITS)
        if unknown or "train" not in data["split"]:
            found = ", ".join(map(repr, map(str, np.unique(data["split"]))))
            raise DatasetError(f"split must contain 'train' and may contain 'validation' and 'test', got {found}")
        return data
    if not 0 < validation_fraction < 1:
        raise DatasetError(f"validation_fraction must lie between 0 and 1, got {validation_fraction!r}")
    shape = [data.sizes[dim] for dim in dims]
    size = int(np.prod(shape)) if group is None else int(group.max()) + 1
    if size < 2:
        of = "trajectory" if "trajectory" in data.coords else dims[0]
        raise DatasetError(
            f"only {size} {of}: at least 2 are needed, one of them for validation; add data, cut trajectories into "
            "pieces, or assign splits yourself by a coordinate split"
        )
    count = min(max(1, round(validation_fraction * size)), size - 1)
    labels = np.full(size, "train", dtype="<U10")
    labels[np.random.default_rng(seed).permutation(size)[:count]] = "validation"
    labels = labels if group is None else labels[group]
    return data.assign_coords(split=variable(dims, labels.reshape(shape), "role of the sample in the fit"))


def folds(data: xr.Dataset, count: int, seed: Any = 0) -> list[xr.Dataset]:
    """Return the data with splits for cross-validation.

    Trajectories, or independent points, are assigned at random to folds of equal size; each fold is the validation set
    once. An ensemble of fits to all folds has been trained on all data; see `Fit.joined`.

    Parameters
    ----------
    data : xarray.Dataset
        Points, trajectories or paths. Samples labelled "test" keep their label.
    count : int
        Number of folds, from 2 to the number of trajectories or points.
    seed : int, numpy.random.SeedSequence or None
        Seed of the random assignment.

    Returns
    -------
    list of xarray.Dataset
        The data `count` times, each with a coordinate ``split`` along the first sampling dimension.

    Raises
    ------
    DatasetError
        If `count` exceeds the number of trajectories or points.
    ValueError
        If `count` is no integer ≥ 2, or the seed is invalid.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> data = wb.dataset.points(np.arange(10.0))
    >>> [int((fold.split == "validation").sum()) for fold in wb.dataset.folds(data, 5)]
    [2, 2, 2, 2, 2]
    """
    data = check(data)
    dim, group = SAMPLING[kind_of(data)][0], groups(data)
    old = data["split"].values if "split" in data.coords else np.full(data.sizes[dim], "train", dtype="<U10")
    available = np.unique(group[old != "test"]) if old.ndim == 1 else np.arange(0)
    require_integer(2, count_of_folds=count)
    if count > len(available):
        raise DatasetError(f"count of folds must be an integer from 2 to {len(available)}, got {count!r}")
    part = np.random.default_rng(seed_sequence(seed)).permutation(len(available)) % count
    splits = []
    for k in range(count):
        split = old.astype("<U10")
        mine = np.full(len(group), -1)
        mine[np.isin(group, available)] = part[np.searchsorted(available, group[np.isin(group, available)])]
        split[old != "test"] = np.where(mine == k, "validation", "train")[old != "test"]
        splits.append(data.assign_coords(split=variable(dim, split, "role of the sample in the fit")))
    return splits
