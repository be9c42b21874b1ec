"""What is told of every step of a fit, and of the starts that were dropped: records as datasets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["best_member", "history_of", "notes", "path_history", "path_restarts", "restarts_of"]

MEANING = {
    "elapsed": "time since the start, on the machine it ran on",
    "loss": "training loss",
    "validation_loss": "held-out loss",
    "best": "lowest held-out loss so far",
    "damping": "damping of Levenberg–Marquardt",
    "rho": "sharpness of the soft minimum, scaled units",
    "gate": "gate of the mode",
    "active": "number of gates above 1e-6",
    "restart_loss": "held-out loss after screening, NaN for a start that failed",
}


def notes(name: str) -> dict[str, Any]:
    """Return the attributes of a recorded quantity; wall-clock time is what a rerun may differ in."""
    attrs = {"long_name": MEANING.get(name, name.replace("_", " of the ")), "units": "1"}
    return attrs | ({"units": "s", "wall_clock": 1} if name == "elapsed" else {})


def history_of(records: Sequence[list[dict[str, Any]]]) -> xr.Dataset:
    """Return the members' records over (member, step), NaN after a member's end."""
    longest = max(records, key=len)
    epochs = [row["step"] for row in longest]
    variables = {}
    for name, first in records[0][0].items():
        if name == "step":
            continue
        shape = (len(records), len(epochs), *np.shape(first))
        values = np.full(shape, np.nan)
        for member, rows in enumerate(records):
            values[member, : len(rows)] = [row[name] for row in rows]
        variables[name] = (("member", "step", "mode")[: len(shape)], values, notes(name))
    coords = {"member": np.arange(len(records)), "step": epochs, "mode": np.arange(len(records[0][0]["gate"]))}
    return xr.Dataset(variables, coords=coords)


def restarts_of(screened: Sequence[list[float]]) -> xr.Dataset:
    """Return the losses of all starts over (member, restart)."""
    values = np.array(screened)
    coords = {"member": np.arange(values.shape[0]), "restart": np.arange(values.shape[1])}
    return xr.Dataset({"restart_loss": (("member", "restart"), values, notes("restart_loss"))}, coords=coords)


def best_member(history: xr.Dataset) -> int:
    """Return the member with the lowest held-out loss."""
    return int(np.argmin(history["best"].min("step").values))


def path_history(records: list[dict[str, Any]]) -> xr.Dataset:
    """Return the records of a material's fit over step."""
    variables: dict[str, Any] = {}
    for name in ("elapsed", "loss", "validation_loss", "best"):
        variables[name] = ("step", np.array([row[name] for row in records]), notes(name))
    return xr.Dataset(variables, coords={"step": [row["step"] for row in records]})


def path_restarts(screened: list[float]) -> xr.Dataset:
    """Return the losses of all starts of a material's fit over restart."""
    losses = ("restart", screened, notes("restart_loss"))
    return xr.Dataset({"restart_loss": losses}, coords={"restart": np.arange(len(screened))})
