"""The words of the format: dimensions, quantities, splits; and what is said of a word that is none."""

import difflib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["LEADING", "QUANTITIES", "SAMPLING", "SPLITS", "nearest", "storable"]

SAMPLING = {"points": ("sample",), "trajectories": ("trajectory", "time"), "paths": ("trajectory", "time")}
LEADING = {"points": ("x", "state"), "trajectories": ("x", "state"), "paths": ("strain", "component")}
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
SPLITS = ("train", "validation", "test")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'b'?" for the closest known name, or nothing.

    >>> nearest("potentail", ["potential", "gradient"])
    ", did you mean 'potential'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def storable(value: Any) -> str | int | float:
    """Return an attribute as netCDF can hold it: numbers and text as they are, anything else as JSON text."""
    if isinstance(value, np.generic):
        value = value.item()
    return (
        value
        if isinstance(value, str | int | float) and not isinstance(value, bool)
        else json.dumps(value, default=str)
    )
