"""Names of the data format: dimensions, quantities and splits, and suggestions for unknown names."""

import difflib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["LEADING", "QUANTITIES", "SAMPLING", "SPLITS", "nearest", "storable"]

SAMPLING = {"points": ("sample",), "trajectories": ("trajectory", "time"), "paths": ("trajectory", "time")}
LEADING = {"points": ("x", "state"), "trajectories": ("x", "state"), "paths": ("strain", "component")}
QUANTITIES = {  # name: (dimensions besides the sampling ones, long name)
    "x": (("state",), "state"),
    "potential": ((), "potential"),
    "gradient": (("state",), "gradient of the potential"),
    "velocity": (("state",), "rate of change of the state"),
    "strain": (("component",), "strain"),
    "stress": (("component",), "stress"),
    "phase_fraction": ((), "phase fraction"),
    "dissipation": ((), "energy dissipated in the step that ends here"),
}
SPLITS = ("train", "validation", "test")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelled name.

    Parameters
    ----------
    name : str
        The unknown name.
    known : iterable of str
        The known names.

    Returns
    -------
    str
        ", did you mean '…'?" with the closest known name, or an empty string if none is close.

    Examples
    --------
    >>> nearest("potentail", ["potential", "gradient"])
    ", did you mean 'potential'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def storable(value: Any) -> str | int | float:
    """Convert a value to an attribute that netCDF can store.

    Parameters
    ----------
    value : Any
        Any value; NumPy scalars are converted to Python numbers.

    Returns
    -------
    str, int or float
        Numbers and text unchanged, anything else as JSON text.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.dataset.storable({"x": None})
    '{"x": null}'
    """
    if isinstance(value, np.generic):
        value = value.item()
    return (
        value
        if isinstance(value, str | int | float) and not isinstance(value, bool)
        else json.dumps(value, default=str)
    )
