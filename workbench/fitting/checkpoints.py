"""Checkpoints of a long fit: written atomically, with a checksum, and read without executing code in them.

A checkpoint holds tensors and plain values, and the identity of the fit that it belongs to; other fits reject it. The
last two are kept, so that a fit can be resumed if the newest one is damaged.
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
from workbench.potentials.stored import encoded

__all__ = ["identity", "load", "save"]


def identity(task: Task, seeds: Sequence[np.random.SeedSequence], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what must agree for a fit to be resumed: model, initialisation, match, optimiser, seeds and data."""
    total, given = hashlib.sha256(), hashlib.sha256()
    for values in () if task.given is None else task.given.state_dict().values():
        given.update(values.detach().cpu().numpy().tobytes())
    for part in task.parts.values():
        for name in sorted(map(str, part.variables)):
            values = part[name].values
            plain = values.astype("U") if values.dtype == object else values
            total.update(name.encode() + np.ascontiguousarray(plain).tobytes())
    model = task.template
    return {
        "model": f"{model!r}, {json.dumps(model.config())}, {next(model.parameters()).dtype}",
        "init": repr(task.init),
        "start": "drawn" if task.given is None else f"given, sha256 {given.hexdigest()[:16]}",
        "bootstrap": str(task.bootstrap),
        "match": json.dumps(encoded(task.match, "match")),
        "optimiser": json.dumps(dict(settings)),
        "seeds": " ".join(map(seed_text, seeds)),
        "data": total.hexdigest(),
    }


def save(path: Path, state: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    """Write a checkpoint to `path`; an existing one is kept as `<path>.previous`."""
    target = check_target(path, overwrite=True)
    with held_signals(), replacing(target) as temporary:
        torch.save({"identity": dict(identity), "torch": str(torch.__version__), "state": dict(state)}, temporary)
        seal(temporary)
        if target.exists():
            os.replace(target, _previous(target))


def load(path: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the newest undamaged state, or None without a checkpoint.

    Raises `FileError` if the checkpoints are damaged or belong to another fit; warns if the newest one is damaged, or
    if it was written with another version of torch.
    """
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
            warnings.warn(f"{damaged}; resuming from the previous checkpoint", stacklevel=2)
        for name, expected in identity.items():
            found = content["identity"].get(name)
            if found != expected:
                raise FileError(
                    f"{candidate} belongs to another fit: its {name} is {found}, expected {expected}. "
                    "Use the settings of that fit, or another path"
                )
        if content["torch"] != str(torch.__version__):
            warnings.warn(
                f"{candidate} was written with torch {content['torch']} and is resumed with {torch.__version__}: the "
                "last digits may differ",
                stacklevel=2,
            )
        return content["state"]
    if damaged is not None:
        raise damaged
    return None


def _previous(path: Path) -> Path:
    """Return where the previous checkpoint is kept."""
    return path.with_name(f"{path.name}.previous")


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, or raise `FileError`."""
    with open(path, "rb") as file:
        check_seal(path, file)
        file.seek(0)
        content = io.BytesIO(file.read()[:-SEAL_LENGTH])
    try:
        found = torch.load(content, map_location="cpu", weights_only=True)
        return {"identity": dict(found["identity"]), "torch": found["torch"], "state": dict(found["state"])}
    except Exception as error:  # torch raises errors of many types
        raise FileError(f"{path} is not a checkpoint of this version: {type(error).__name__}") from None
