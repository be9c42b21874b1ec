"""Metrics that a study reports: values with a meaning and bounds, as a dataset, and whether the bounds are met."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from workbench.dataset.variables import variable

__all__ = ["Metric", "judged", "metrics_dataset"]


@dataclass(frozen=True)
class Metric:
    """A value that a study reports, with bounds if it has a target.

    Parameters
    ----------
    name : str
        Name, unique in the study.
    value : float
        Value; NaN if it could not be computed, which misses any bound.
    meaning : str
        Meaning in a few words.
    at_most, at_least : float, default NaN
        Upper and lower bound; NaN means none.
    unit : str, optional
        Unit of the value, "1" for counts, ratios and probabilities. Default: unknown.

    Examples
    --------
    >>> import studies
    >>> studies.Metric("well_error", 0.01, "largest error of the position of a well", at_most=0.05, unit="nm").at_most
    0.05
    """

    name: str
    value: float
    meaning: str
    at_most: float = float("nan")
    at_least: float = float("nan")
    unit: str | None = None


def metrics_dataset(metrics: Sequence[Metric]) -> xr.Dataset:
    """Return metrics as a dataset, for the group ``analysis/metrics`` of a result file.

    Parameters
    ----------
    metrics : sequence of Metric
        The metrics.

    Returns
    -------
    xarray.Dataset
        ``value(quantity)``, ``at_most(quantity)``, ``at_least(quantity)`` (NaN where there is no bound) and
        ``meaning(quantity)``, each of shape (metric,). Metrics of unlike units have them in the coordinate
        ``unit(quantity)``, empty where unknown.

    Examples
    --------
    >>> from studies import Metric, metrics_dataset
    >>> metrics = metrics_dataset([Metric("error", 0.1, "relative error", at_most=0.2, unit="1")])
    >>> metrics.value.values, metrics.value.attrs["units"]
    (array([0.1]), '1')
    """
    columns = {
        "value": "value",
        "at_most": "upper bound of the value",
        "at_least": "lower bound of the value",
    }
    units = [metric.unit for metric in metrics]
    common = units[0] if len(set(units)) == 1 else None
    variables = {
        name: variable("quantity", np.array([getattr(n, name) for n in metrics], dtype=float), text, common)
        for name, text in columns.items()
    }
    variables["meaning"] = variable("quantity", [n.meaning for n in metrics], "meaning of the metric")
    coords = {"quantity": variable("quantity", [n.name for n in metrics], "metric")}
    if len(set(units)) > 1:
        coords["unit"] = variable("quantity", [unit or "" for unit in units], "unit of the metric")
    return xr.Dataset(variables, coords, {"description": "Metrics of the study, with their bounds."})


def judged(tree: xr.DataTree) -> list[dict[str, Any]]:
    """Return a row for each metric of a study's file: quantity, value, at_most, at_least, met and meaning.

    Values that are not finite are None and miss any bound they have; missing bounds are None.
    """
    if "analysis" not in tree.children or "metrics" not in tree["analysis"].children:
        return []
    metrics = tree["analysis/metrics"].to_dataset()
    rows = []
    for k, name in enumerate(metrics["quantity"].values):
        entry = {key: float(metrics[key].values[k]) for key in ("value", "at_most", "at_least")}
        missed = not (np.isfinite(entry["value"]) or np.isnan(entry["at_most"]) and np.isnan(entry["at_least"]))
        missed = missed or entry["value"] > entry["at_most"] or entry["value"] < entry["at_least"]
        known = {key: value if np.isfinite(value) else None for key, value in entry.items()}
        rows.append({"quantity": str(name), **known, "met": not missed, "meaning": str(metrics["meaning"].values[k])})
    return rows
