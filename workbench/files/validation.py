"""Validation of result files and of plain data files."""

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

LANDSCAPE_TOLERANCE = 1e-10  # largest deviation of the stored grid from the weights, relative to the range of Ψ


def validated(path: str | Path, *, states: Sequence[str] | None = None, drop_missing: bool = False) -> dict[str, Any]:
    """Validate a file and summarise its contents.

    In a result file, the checks cover seal, schema, data format, models rebuilt from their weights, and the agreement
    of a stored landscape with the weights of the last fit. In a plain netCDF file they cover the data format.

    Parameters
    ----------
    path : str or pathlib.Path
        Result file or plain netCDF file.
    states, drop_missing
        As in `read_data`, for plain files.

    Returns
    -------
    dict
        Of a result file: file, schema, data, fits and landscape. Of a plain file: file, kind and sizes.

    Raises
    ------
    FileError, DatasetError
        If the file or its data are invalid.
    """
    source = Path(path).expanduser()
    if not source.is_file() or not is_sealed(source):
        data = read_data(source, states=states, drop_missing=drop_missing)
        return {"file": str(source), "kind": dataset.kind_of(data), "sizes": _sizes(data)}
    result = results.load(source)
    summary: dict[str, Any] = {"file": str(source), "schema": result.tree.attrs["schema"], "data": [], "fits": []}
    if "data" in result.tree.children:
        node = result.tree.children["data"]
        for name, each in ({"": node} if node.data_vars else dict(node.children)).items():
            data = each.to_dataset(inherit=False)
            try:
                summary["data"].append(f"{name} {dataset.kind_of(dataset.check(data))} {_sizes(data)}".strip())
            except DatasetError as error:
                raise DatasetError(f"{source}: /data/{name}: {error}") from None
    summary["fits"] = [f"{name}: {model!r}" for name, model in result.ensembles.items()]
    summary["landscape"] = _landscape(result, source)
    return summary


def _landscape(result: results.Result, source: Path) -> str:
    """Compare a stored landscape with the last model; `FileError` if they differ."""
    if "landscape" not in result.tree.children:
        return "none"
    grid = result.tree.children["landscape"].to_dataset(inherit=False)
    last = list(result.models)[-1] if result.models else ""
    if not last or grid["potential"].dims != result.models[last].states:
        return "not compared with the weights"
    axes = [grid[state].values for state in result.models[last].states]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    psi = np.asarray(result.models[last].value(x.reshape(-1, x.shape[-1]))).reshape(x.shape[:-1])
    deviation = float(np.abs(psi - grid["potential"].values).max() / max(float(np.ptp(psi)), 1e-300))
    if deviation > LANDSCAPE_TOLERANCE:
        raise FileError(
            f"{source}: /landscape does not match the weights of {last}: relative deviation {deviation:.2g}"
        )
    return f"matches the weights of {last}, relative deviation {deviation:.1g}"


def _sizes(data: Any) -> dict[str, int]:
    """Return the sizes of all dimensions."""
    return {str(name): size for name, size in data.sizes.items()}
