"""Tables of points whose rows are labelled by coordinates along `point`: joining and selecting rows."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["concat_labelled", "select"]


def select(points: Any, **labels: Any) -> Any:
    """Return the rows of a dataset or array over `point` that carry all given labels.

    Examples
    --------
    >>> import xarray as xr
    >>> level = xr.DataArray([0.1, 0.2, 0.3], dims="point")
    >>> level = level.assign_coords(source=("point", ["truth", "fit", "fit"]), index=("point", [0, 0, 1]))
    >>> select(level, source="fit", index=0).values
    array([0.2])
    """
    return points.isel(point=np.logical_and.reduce([(points[name] == label).values for name, label in labels.items()]))


def concat_labelled(parts: Iterable[tuple[xr.Dataset, Mapping[str, Any]]], **options: Any) -> xr.Dataset:
    """Return datasets over `point`, joined along it, with the rows of each labelled by coordinates.

    A label is a single value for all rows of its part or an array over them. `options` are those of `xarray.concat`.

    Examples
    --------
    >>> parts = [xr.Dataset({"potential": ("point", level)}) for level in ([0.1, 0.2], [0.3])]
    >>> both = concat_labelled((part, {"member": k}) for k, part in enumerate(parts))
    >>> both.member.values, both.point.values
    (array([0, 0, 1]), array([0, 1, 2]))
    """
    labelled = [
        part.assign_coords({k: ("point", np.broadcast_to(v, part.sizes["point"])) for k, v in labels.items()})
        for part, labels in parts
    ]
    joined = xr.concat(labelled, "point", **options)
    return joined.assign_coords(point=np.arange(joined.sizes["point"]))
