"""Rows that the command line prints of an analysis, as numbers or as text.

Values that do not exist are None: the barrier where descent reaches no minimum, and the infinite prominence of the
lowest well.
"""

from typing import Any

import numpy as np
import xarray as xr
from rich.table import Table

from workbench.landscape.steepest_descent import LOST, SADDLE

__all__ = ["metrics_table", "rows", "text"]

Row = dict[str, Any]
PRINTED = (
    "x",
    "potential",
    "members",
    "prominence",
    "mode_weight",
    "sides",
    "joins",
    "barrier",
    "starts",
    "probability",
    "committor",
    "time",
)
ELSEWHERE = {SADDLE: "on the separatrix", LOST: "left the box or did not converge"}


def rows(found: xr.Dataset) -> list[Row]:
    """Return one row of plain values per stationary point, path or well of a result of `analysis.ask`.

    >>> import systems, workbench as wb
    >>> well = systems.get("asymmetric_quartic")
    >>> saddle = rows(wb.graph(well, well.box))[2]
    >>> saddle["kind"], [(side["minimum"], round(side["barrier"], 3)) for side in saddle["sides"]]
    ('maximum', [(1, 0.283), (0, 0.574)])
    """
    if "path" in found.dims:
        return [_path(found.isel(path=k)) for k in range(found.sizes["path"])]
    if "label" in found:
        return _basins(found)
    if "target" in found.dims:
        names = ("x", "potential", "probability", "committor", "time")
        return [{"well": k} | {name: _plain(found[name][k]) for name in names} for k in range(found.sizes["well"])]
    return [_point(found.isel(point=k), k) for k in range(found.sizes["point"])]


def text(row: Row) -> str:
    """Return a row as a line of text.

    >>> text({"path": 0, "joins": [0, 1], "barrier": [0.5, 0.25]})
    'path 0: joins 0, 1; barrier 0.5, 0.25'
    """
    (first, number), *others = row.items()
    head = str(number) if first == "ends" else f"{first} {number}" + (f", {row['kind']}" if "kind" in row else "")
    entries = [_entry(name, value, row.get(f"{name}_std")) for name, value in others if name in PRINTED]
    return f"{head}: {'; '.join(entries)}"


def _entry(name: str, value: Any, spread: Any) -> str:
    """Return one value, with its standard deviation if there is one, as text."""
    if name == "sides":
        return "; ".join(_side(side) for side in value)
    if name == "prominence" and value is None:
        return "the lowest in the box"
    error = "" if spread is None else f" ± {_listed(spread, '.2g')}"
    return f"{name}{' =' * (name == 'x')} {_listed(value)}{error}"


def _side(side: Row) -> str:
    """Return one descent path of a saddle as text."""
    if side["minimum"] is None:
        return "no minimum reached on one side"
    numbers = ", ".join(f"{name} {value:.6g}" for name, value in side.items() if name != "minimum")
    return f"from minimum {side['minimum']}: {numbers}"


def _listed(value: Any, form: str = ".6g") -> str:
    """Return numbers as text, None as none."""
    values = value if isinstance(value, list) else [value]
    return ", ".join("none" if one is None else f"{one:{form}}" for one in values)


def _point(one: xr.Dataset, number: int) -> Row:
    """Return the row of a stationary point."""
    row: Row = {"point": number, "kind": str(one["kind"].values) if "kind" in one else _kind(one)}
    row |= {name: _plain(one[name]) for name in ("x", "x_std", "potential", "potential_std") if name in one}
    if "count" in one:
        row["members"] = int(one["count"])
    row |= {name: _plain(one[name]) for name in ("prominence", "mode_weight") if name in one}
    if "joins" in one and row["kind"] != "minimum":
        row["sides"] = [_crossing(one.isel(side=k)) for k in (0, 1)]
    return row


def _kind(one: xr.Dataset) -> str:
    """Return the kind of a point in a summary over members, from its number of unstable directions."""
    return {0: "minimum", one.sizes["state"]: "maximum"}.get(int(one["index"]), "saddle")


def _crossing(side: xr.Dataset) -> Row:
    """Return the minimum reached by one descent path of a saddle, with barrier, rate and time."""
    minimum = int(side["joins"])
    return {"minimum": minimum if minimum >= 0 else None} | {
        name: _plain(side[name]) for name in ("barrier", "rate", "time") if name in side
    }


def _path(one: xr.Dataset) -> Row:
    """Return the row of a minimum-energy path."""
    joins = [int(well) for well in one["joins"].values]
    return {"path": int(one["path"]), "joins": joins, "barrier": _plain(one["barrier"])}


def _basins(found: xr.Dataset) -> list[Row]:
    """Return the rows of all basins, and of starting points that reach no minimum."""
    labels = found["label"].values
    wells: list[Row] = [
        {
            "well": k,
            "x": _plain(found["well_x"][k]),
            "potential": _plain(found["well_potential"][k]),
            "starts": int((labels == k).sum()),
        }
        for k in range(found.sizes["well"])
    ]
    others = [{"ends": end, "starts": int((labels == label).sum())} for label, end in ELSEWHERE.items()]
    return wells + [other for other in others if other["starts"]]


def _plain(values: xr.DataArray) -> Any:
    """Return plain numbers, None where they are not finite."""
    finite = np.isfinite(values.values)
    return np.where(finite, values.values.astype(object), np.array(None)).tolist()


def metrics_table(rows: list[Row]) -> Table:
    """Return a table of the metrics of a study with their bounds, from `studies.metrics.judged`."""
    table = Table("quantity", "value", "bound", "", "meaning", box=None, pad_edge=False)
    for row in rows:
        low, high = row["at_least"], row["at_most"]
        bounds = [f"{sign} {limit:.4g}" for sign, limit in (("≥", low), ("≤", high)) if limit is not None]
        bound = f"= {low:.4g}" if bounds and low == high else ", ".join(bounds)
        value = "none" if row["value"] is None else f"{row['value']:.4g}"
        table.add_row(
            row["quantity"], value, bound, ("" if not bounds else "met" if row["met"] else "MISSED"), row["meaning"]
        )
    return table
