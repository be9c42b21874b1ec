"""Checkpoints of a long fit: written whole, sealed, the last two kept, read without running any code of theirs.

A checkpoint holds tensors and plain values, and says which fit it belongs to; another fit refuses it.
"""

import hashlib
import io
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.atomic import SEAL_LENGTH, check_seal, check_target, replacing, seal
from workbench.dataset import seed_text
from workbench.errors import FileError
from workbench.fitting.task import Task
from workbench.interrupts import held_signals

__all__ = ["identity", "load", "save"]


def identity(task: Task, seeds: Sequence[np.random.SeedSequence], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what must be equal for a checkpoint to be carried on: model, start, match, optimiser, seeds and data."""
    total = hashlib.sha256()
    for part in task.observations():
        for values in (part.x, part.target, part.factor):
            total.update(values.detach().cpu().numpy().tobytes())
    model = task.template
    return {
        "model": f"{model!r}, rho_lo {model.rho_lo:g}, {model.dtype}",
        "init": repr(task.init),
        "match": json.dumps(dict(task.match)),
        "optimiser": json.dumps(dict(settings)),
        "seeds": " ".join(map(seed_text, seeds)),
        "data": total.hexdigest(),
    }


def save(path: Path, state: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    """Write a checkpoint; the one that stood there becomes the previous one."""
    target = check_target(path, overwrite=True)
    with held_signals(), replacing(target) as temporary:
        torch.save({"identity": dict(identity), "torch": str(torch.__version__), "state": dict(state)}, temporary)
        seal(temporary)
        if target.exists():
            os.replace(target, _previous(target))


def load(path: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the newest undamaged state, or None where there is no checkpoint; `FileError` for one of another fit."""
    target = Path(path).expanduser().absolute()
    damaged = None
    for candidate in (target, _previous(target)):
        if not candidate.exists():
            continue
        try:
            content = _read(candidate)
        except FileError as error:
            damaged = error
            continue
        if damaged is not None:
            warnings.warn(f"{damaged}; going on from the one before it", stacklevel=2)
        for name, expected in identity.items():
            found = content["identity"].get(name)
            if found != expected:
                raise FileError(
                    f"{candidate} belongs to another fit: its {name} is {found}, not {expected}. "
                    "Give the settings it was started with, or another path"
                )
        if content["torch"] != str(torch.__version__):
            warnings.warn(
                f"{candidate} is by torch {content['torch']}, this is {torch.__version__}: last digits may differ",
                stacklevel=2,
            )
        return content["state"]
    if damaged is not None:
        raise damaged
    return None


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")


def _read(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        check_seal(path, file)
        file.seek(0)
        content = io.BytesIO(file.read()[:-SEAL_LENGTH])
    try:
        found = torch.load(content, map_location="cpu", weights_only=True)
        return {"identity": dict(found["identity"]), "torch": found["torch"], "state": dict(found["state"])}
    except Exception as error:  # torch raises anything on what it does not accept
        raise FileError(f"{path} is no checkpoint of this version: {type(error).__name__}") from None
