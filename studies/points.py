"""Tables of points, whose rows are labelled by coordinates along `point`: the rows that one wants."""

from typing import Any

import numpy as np

__all__ = ["picked"]


def picked(points: Any, **labels: Any) -> Any:
    """Return the rows of a dataset or an array over `point` that carry all these labels.

    >>> import xarray as xr
    >>> level = xr.DataArray([0.1, 0.2, 0.3], dims="point")
    >>> level = level.assign_coords(source=("point", ["truth", "fit", "fit"]), index=("point", [0, 0, 1]))
    >>> picked(level, source="fit", index=0).values
    array([0.2])
    """
    return points.isel(point=np.logical_and.reduce([(points[name] == label).values for name, label in labels.items()]))
