"""What `workbench validate` checks: a result file, or plain data, before one relies on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench import dataset
from workbench.atomic import is_sealed
from workbench.errors import DatasetError, FileError
from workbench.files import results
from workbench.files.data import read_data

__all__ = ["validated"]

ROUNDING = 1e-10  # of the landscape's range: how far its grid may be from the weights


def validated(path: str | Path, *, states: Sequence[str] | None = None, drop_missing: bool = False) -> dict[str, Any]:
    """Return what a file holds, or raise `FileError` or `DatasetError` for what is wrong with it.

    Of a result: seal and schema, its data against the vocabulary, weights that rebuild their models, and a landscape
    (of a single fit) that is the one of its weights. Of another netCDF file: that it holds data a fit can take, read
    with the same `states` and `drop_missing` as by `read_data`.
    """
    source = Path(path).expanduser()
    if not source.is_file() or not is_sealed(source):
        data = read_data(source, states=states, drop_missing=drop_missing)
        return {"file": str(source), "kind": dataset.kind_of(data), "sizes": _sizes(data)}
    result = results.load(source)
    told: dict[str, Any] = {"file": str(source), "schema": result.tree.attrs["schema"], "data": [], "fits": []}
    if "data" in result.tree.children:
        node = result.tree.children["data"]
        for name, each in ({"": node} if node.data_vars else dict(node.children)).items():
            data = each.to_dataset(inherit=False)
            try:
                told["data"].append(f"{name} {dataset.kind_of(dataset.check(data))} {_sizes(data)}".strip())
            except DatasetError as error:
                raise DatasetError(f"{source}: /data/{name}: {error}") from None
    told["fits"] = [f"{name}: {model!r}" for name, model in result.ensembles.items()]
    told["landscape"] = _landscape(result, source)
    return told


def _landscape(result: results.Result, source: Path) -> str:
    if "landscape" not in result.tree.children:
        return "none"
    grid = result.tree.children["landscape"].to_dataset(inherit=False)
    last = list(result.models)[-1] if result.models else ""
    if not last or grid["potential"].dims != result.models[last].states:
        return "not compared with the weights"
    axes = [grid[state].values for state in result.models[last].states]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    psi = np.asarray(result.models[last].value(x.reshape(-1, x.shape[-1]))).reshape(x.shape[:-1])
    apart = float(np.abs(psi - grid["potential"].values).max() / max(float(np.ptp(psi)), 1e-300))
    if apart > ROUNDING:
        raise FileError(f"{source}: /landscape is not that of the weights of {last}: they differ by {apart:.2g} of it")
    return f"that of the weights of {last}, to {apart:.1g}"


def _sizes(data: Any) -> dict[str, int]:
    return {str(name): size for name, size in data.sizes.items()}
