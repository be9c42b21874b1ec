"""Fits in result files: their groups, and the same fits rebuilt from them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from torch.nn import Module

from workbench.dataset import nearest
from workbench.errors import DatasetError, FileError
from workbench.files.weights import to_dataset
from workbench.fitting.outcome import Outcome
from workbench.fitting.predictions import predict
from workbench.fitting.result import Fit, PathFit
from workbench.fitting.scores import score
from workbench.losses.stress import Stress
from workbench.potentials.stored import Stored, decoded
from workbench.potentials.trainable import TrainablePotential

__all__ = ["Named", "StoredFits", "data_of", "digest_of", "fit_groups", "origin_of"]

LONGEST_HISTORY = 1000


class Named(dict[str, Any]):
    """Models by name; the error for an unknown name lists those of the file."""

    def __missing__(self, name: str) -> Any:
        known = ", ".join(self) or "none"
        raise KeyError(f"no model {name!r} in the file{nearest(name, self) or '.'} It holds: {known}")


class StoredFits(Mapping[str, Fit]):
    """The fits of a result file by name, rebuilt when they are looked up."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.names = [name for name in result.models if "settings_json" in result.tree[f"fits/{name}"].attrs]

    def __repr__(self) -> str:
        return f"<fits of {self.result.path}: {', '.join(self.names) or 'none'}>"

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> Fit:
        if name not in self.names:
            known = ", ".join(self.names) or "none"
            raise KeyError(f"no fit {name!r} in the file{nearest(name, self.names) or '.'} It holds: {known}")
        node, model = self.result.tree[f"fits/{name}"], self.result.models[name]
        groups = {child: _own(node.children[child]) for child in node.children}
        settings = json.loads(node.attrs["settings_json"])
        try:
            match = decoded(settings["match"])
        except ValueError as error:
            raise FileError(f"{self.result.path}: cannot rebuild /fits/{name}: {error}") from None
        return (Fit if isinstance(model, TrainablePotential) else PathFit)(
            model=model,
            ensemble=self.result.ensembles[name],
            history=groups["history"],
            restarts=groups["restarts"],
            scan=groups.get("scan"),
            data=self._data(name),
            match=match,
            outcomes=tuple(Outcome[each] for each in json.loads(node.attrs["outcomes_json"])),
            seed=node.attrs["seed"],
            elapsed=float(node.attrs["elapsed_seconds"]),
            settings=settings,
        )

    def _data(self, name: str) -> xr.Dataset:
        """Return the data of a fit: the group /data, or the group of it that has the name of the fit."""
        if "data" not in self.result.tree.children:
            raise FileError(f"{self.result.path} holds no data, without which {name} is no fit; use its model")
        node = self.result.tree["data"]
        named = node.children.get(name)
        if named is None and not node.data_vars:
            raise FileError(
                f"{self.result.path} holds several datasets, none of them called {name}: the fit cannot be rebuilt; "
                "use its model"
            )
        data, digest = _own(node if named is None else named), self.result.tree[f"fits/{name}"].attrs["data_sha256"]
        if digest_of(data) != digest:
            raise FileError(f"{self.result.path} holds other data than those of the fit {name}; use its model")
        return data


def _own(node: xr.DataTree) -> xr.Dataset:
    """Return the dataset of a group, with the inherited coordinates of its own dimensions alone."""
    group = node.to_dataset()
    used = {dim for variable in group.data_vars.values() for dim in variable.dims}
    return group.drop_vars([name for name, c in group.coords.items() if not set(c.dims) <= used])


def fit_groups(root: str, fit: Any) -> dict[str, xr.Dataset]:
    """Return the groups of a fit or model: weights, history, restarts, predictions and scan."""
    if isinstance(fit, Stored):
        return {root: to_dataset(fit)}
    if not isinstance(fit, Fit):
        raise TypeError(f"{root} must be a fit, or a model such as fit.model; got {type(fit).__name__}")
    attrs = {
        "match": json.dumps(fit.match.weights),
        "seed": fit.seed,
        "outcome": str(fit.outcome),
        "outcomes_json": json.dumps([outcome.name for outcome in fit.outcomes]),
        "settings_json": json.dumps(fit.settings),
        "elapsed_seconds": fit.elapsed,
        "best_member": fit.best,
        "data_sha256": digest_of(fit.data),
        "error": fit.error,
        "error_unit": fit.unit,
    }
    attrs |= {} if fit.caveat is None else {"caveat": fit.caveat}
    groups = {
        root: to_dataset(fit.ensemble).assign_attrs(attrs),
        f"{root}/history": _thinned(fit.history),
        f"{root}/restarts": fit.restarts,
        f"{root}/predictions": _predictions(fit),
    }
    return groups if fit.scan is None else groups | {f"{root}/scan": fit.scan}


def data_of(fits: Mapping[str, Any]) -> xr.Dataset | dict[str, xr.Dataset] | None:
    """Return the data of fits: one dataset if they share it, else one for each, by the names of the fits."""
    data = {name: fit.data for name, fit in fits.items() if isinstance(fit, Fit)}
    if len({digest_of(each) for each in data.values()}) == 1:
        return next(iter(data.values()))
    return data or None


def digest_of(data: xr.Dataset) -> str:
    """Return the SHA-256 digest of the values of all variables of a dataset, by name, in a file or not."""
    total = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        values = data[name].values
        plain = values.astype("U") if values.dtype.kind in "OU" else values.astype(np.float64)
        total.update(f"{name} {plain.shape}".encode())
        total.update(json.dumps(plain.tolist()).encode() if plain.dtype.kind == "U" else plain.tobytes())
    return total.hexdigest()


def origin_of(fit: Any) -> dict[str, Any]:
    """Return seed, elapsed time, device and dtype of a fit or model, for the root group."""
    model = fit.model if isinstance(fit, Fit) else fit
    first = next(iter(model.state_dict().values()), None) if isinstance(model, Module) else None
    where = {} if first is None else {"device": str(first.device), "dtype": str(first.dtype).removeprefix("torch.")}
    return where | ({"seed": fit.seed, "elapsed_seconds": fit.elapsed} if isinstance(fit, Fit) else {})


def _thinned(history: xr.Dataset) -> xr.Dataset:
    """Return at most `LONGEST_HISTORY` steps, including the best one of every member and the last."""
    length = history.sizes["step"]
    best = {int(np.nanargmin(row)) for row in np.atleast_2d(history["validation_loss"].values)}
    kept = sorted(set(range(0, length, -(-length // (LONGEST_HISTORY - 1 - len(best))))) | best | {length - 1})
    return history.isel(step=kept)


def _predictions(fit: Fit) -> xr.Dataset:
    """Return predictions and scores of every quantity in the data, and what the match predicts of its own."""
    own = fit.match.predictions(fit.ensemble, fit.data)
    if own is not None and not any(str(name).endswith("_residual") for name in own):
        return own
    try:
        scored = [predict(fit.ensemble, fit.data, match=fit.match), score(fit.ensemble, fit.data, match=fit.match)]
    except DatasetError:  # a match of one's own, and no quantity beside it
        return xr.Dataset() if own is None else own
    found = xr.merge(scored, compat="no_conflicts")
    return found if "potential" not in found else found.assign_attrs(gauge=_gauge(fit.model))


def _gauge(model: Any) -> str:
    """Return where the energy of a model is zero."""
    return model.gauge if isinstance(model, TrainablePotential) else Stress.gauge
