"""What a study reports: numbers with a meaning and a bound, as a dataset, and whether the bounds are met."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["Metric", "judged", "metrics_dataset"]


@dataclass(frozen=True)
class Metric:
    """One number a study reports, with the bound it is held to, if any."""

    name: str
    value: float
    meaning: str
    at_most: float = float("nan")
    at_least: float = float("nan")


def metrics_dataset(numbers: Sequence[Metric]) -> xr.Dataset:
    """Return the numbers over `quantity`: value, at_most, at_least (NaN where there is no bound) and meaning.

    >>> metrics_dataset([Metric("error", 0.1, "relative error", at_most=0.2)]).value.values
    array([0.1])
    """
    columns = {
        "value": "value",
        "at_most": "the value is to be at most this",
        "at_least": "the value is to be at least this",
    }
    variables: dict[str, Any] = {
        name: (
            "quantity",
            np.array([getattr(n, name) for n in numbers], dtype=float),
            {"long_name": text, "units": "1"},
        )
        for name, text in columns.items()
    }
    variables["meaning"] = ("quantity", [n.meaning for n in numbers], {"long_name": "meaning of the number"})
    return xr.Dataset(variables, coords={"quantity": [n.name for n in numbers]})


def judged(tree: xr.DataTree) -> list[dict[str, Any]]:
    """Return a row for each number of a study's file: quantity, value, at_most, at_least, met and meaning.

    A value that is not finite is None, and has missed any bound it was held to; None where there is no bound.
    """
    if "analysis" not in tree.children or "metrics" not in tree["analysis"].children:
        return []
    numbers = tree["analysis/metrics"].to_dataset()
    rows = []
    for k, name in enumerate(numbers["quantity"].values):
        entry = {key: float(numbers[key].values[k]) for key in ("value", "at_most", "at_least")}
        missed = not (np.isfinite(entry["value"]) or np.isnan(entry["at_most"]) and np.isnan(entry["at_least"]))
        missed = missed or entry["value"] > entry["at_most"] or entry["value"] < entry["at_least"]
        known = {key: value if np.isfinite(value) else None for key, value in entry.items()}
        rows.append({"quantity": str(name), **known, "met": not missed, "meaning": str(numbers["meaning"].values[k])})
    return rows
