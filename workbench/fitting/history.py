"""The history of a fit as datasets: the records of every step, and the held-out losses of all starts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.dataset.variables import variable

__all__ = ["best_member", "history_of", "restarts_of"]

LONG_NAMES = {
    "elapsed": "wall-clock time since the start",
    "loss": "training loss",
    "validation_loss": "held-out loss",
    "best": "lowest held-out loss so far",
    "damping": "damping of Levenberg–Marquardt",
    "samples": "number of training samples of the step",
    "jacobians": "number of Jacobians so far",
    "factorisations": "number of factorised matrices so far",
    "evaluations": "number of evaluations of the training residuals so far",
    "uncorrected": "number of steps so far whose second derivative was not finite",
    "accelerated": "fraction of the accepted steps so far that were bent",
}
Described = Mapping[str, tuple[tuple[str, ...], str]]


def history_of(
    records: Sequence[list[dict[str, Any]]], described: Described | None = None, loss_unit: str = "1"
) -> xr.Dataset:
    """Return the records of all members over (member, step), NaN after the last step of a member.

    `described` gives dimensions and long names of what a model records of itself. Losses have the unit `loss_unit`.
    Wall-clock times, which differ between reruns, are marked by the attribute `wall_clock`.
    """
    longest, described = max(records, key=len), described or {}
    variables, sizes = {}, {"member": len(records), "step": len(longest)}
    for name, first in records[0][0].items():
        if name == "step":
            continue
        dims, text = described.get(name, ((), LONG_NAMES.get(name, name.replace("_", " of the "))))
        sizes |= dict(zip(dims, np.shape(first), strict=True))
        values = np.full((len(records), len(longest), *np.shape(first)), np.nan)
        for member, rows in enumerate(records):
            values[member, : len(rows)] = [row[name] for row in rows]
        attrs: dict[str, Any] = {"wall_clock": 1} if name == "elapsed" else {}
        unit = "s" if name == "elapsed" else loss_unit if name == "best" or "loss" in name else "1"
        variables[name] = variable(("member", "step", *dims), values, text, unit, **attrs)
    coords = {dim: np.arange(size) for dim, size in sizes.items() if dim != "step"}
    return xr.Dataset(variables, coords=coords | {"step": [row["step"] for row in longest]})


def restarts_of(screened: Sequence[list[float]], loss_unit: str = "1") -> xr.Dataset:
    """Return the held-out losses of all starts as restart_loss(member, restart)."""
    values = np.array(screened)
    coords = {"member": np.arange(values.shape[0]), "restart": np.arange(values.shape[1])}
    text = "held-out loss after screening, NaN if the start failed"
    losses = variable(("member", "restart"), values, text, loss_unit)
    return xr.Dataset({"restart_loss": losses}, coords=coords)


def best_member(history: xr.Dataset) -> int:
    """Return the index of the member with the lowest held-out loss."""
    return int(np.argmin(history["best"].min("step").values))
