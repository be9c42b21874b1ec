"""The history of a fit as datasets: the records of every step, and the held-out losses of all starts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["best_member", "history_of", "notes", "path_history", "path_restarts", "restarts_of"]

LONG_NAMES = {
    "elapsed": "wall-clock time since the start",
    "loss": "training loss",
    "validation_loss": "held-out loss",
    "best": "lowest held-out loss so far",
    "damping": "damping of Levenberg–Marquardt",
    "rho": "sharpness of the soft minimum, scaled units",
    "gate": "gate of the mode",
    "active": "number of gates above 1e-6",
    "restart_loss": "held-out loss after screening, NaN if the start failed",
}


def notes(name: str) -> dict[str, Any]:
    """Return the attributes of a recorded quantity; wall-clock times, which differ between reruns, are marked."""
    attrs = {"long_name": LONG_NAMES.get(name, name.replace("_", " of the ")), "units": "1"}
    return attrs | ({"units": "s", "wall_clock": 1} if name == "elapsed" else {})


def history_of(records: Sequence[list[dict[str, Any]]]) -> xr.Dataset:
    """Return the records of all members over (member, step), NaN after the last step of a member."""
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
    """Return the held-out losses of all starts as restart_loss(member, restart)."""
    values = np.array(screened)
    coords = {"member": np.arange(values.shape[0]), "restart": np.arange(values.shape[1])}
    return xr.Dataset({"restart_loss": (("member", "restart"), values, notes("restart_loss"))}, coords=coords)


def best_member(history: xr.Dataset) -> int:
    """Return the index of the member with the lowest held-out loss."""
    return int(np.argmin(history["best"].min("step").values))


def path_history(records: list[dict[str, Any]]) -> xr.Dataset:
    """Return the records of the fit of a material over step."""
    variables: dict[str, Any] = {}
    for name in ("elapsed", "loss", "validation_loss", "best"):
        variables[name] = ("step", np.array([row[name] for row in records]), notes(name))
    return xr.Dataset(variables, coords={"step": [row["step"] for row in records]})


def path_restarts(screened: list[float]) -> xr.Dataset:
    """Return the held-out losses of all starts of the fit of a material as restart_loss(restart)."""
    losses = ("restart", screened, notes("restart_loss"))
    return xr.Dataset({"restart_loss": losses}, coords={"restart": np.arange(len(screened))})
