"""Result files: data, fits, analyses and simulations in one netCDF-4 file that is readable without this package.

    /data                     observations with `split`, and the true values where they are known
    /fits/<name>              weights as variables, with the subgroups history, restarts, predictions and scan
    /landscape                potential and gradient on a grid
    /analysis/<name>          stationary points, well splittings, metrics, …
    /simulation               trajectories on a landscape

A file is written next to its target, read back and compared, marked "complete", sealed, and only then moved into place.
The seal is a final line, ignored by HDF5, with the SHA-256 digest of everything before it. Readers verify it before any
library parses the file, because HDF5 may crash on damaged files, and reject damaged or incomplete files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from workbench.atomic import check_seal, check_target, is_sealed, replacing, seal
from workbench.dataset import nearest, storable
from workbench.errors import FileError
from workbench.files.comparison import first_difference
from workbench.files.fits import Named, StoredFits, data_of, fit_groups, origin_of
from workbench.files.provenance import SCHEMA, provenance
from workbench.files.weights import from_dataset
from workbench.fitting.result import Fit
from workbench.interrupts import held_signals
from workbench.potentials.trainable import TrainablePotential

__all__ = ["Result", "check_target", "cleaned", "load", "read", "save", "tree_of", "write"]

COORDINATES = {
    "b_scanned": "parameter of the blend",
    "case": "landscape",
    "component": "component of a symmetric tensor",
    "step": "step of the optimiser",
    "internal": "internal variable",
    "member": "independent fit",
    "mode": "convex mode",
    "part": "role of the samples in the fit",
    "quantity": "metric",
    "source": "landscape analysed",
    "split": "role of the sample in the fit",
    "state": "component of the state",
}
SIGNED = (np.int8, np.int16, np.int32, np.int64)
DESCRIPTIONS = {  # by pattern of the path of a group
    "/data*": "The observations; split says what each sample was used for: train, validation or test.",
    "/fits/*/history": "Losses, and what the model records of itself, at the steps of the optimiser of every member.",
    "/fits/*/restarts": "Validation loss of every starting point after screening.",
    "/fits/*/predictions": "Predictions of the fitted model at the data, their residuals and scores.",
    "/fits/*/scan": "The fits with different numbers of modes, of which one was chosen.",
    "/fits/*": "Weights and scales of a fitted model; the attribute formula defines the model from them.",
    "/landscape": "Potential and gradient on a grid, for readers without PyTorch.",
    "/analysis/stationary_points": "Stationary points of the landscape in the box, minima first, lowest first.",
    "/analysis/stationary_points_summary": "Stationary points matched across the members, with their spread.",
    "/analysis/*": "An analysis of the landscape.",
    "/simulation": "Trajectories on the landscape.",
}


@dataclass(frozen=True)
class Result:
    """A result file in memory, with its models rebuilt from the stored weights.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    tree : xarray.DataTree
        All groups of the file.
    models : dict of str to model
        The fitted models by name: a material, or the best member of a landscape ensemble as a single potential.
    ensembles : dict of str to model
        The same fits with all members.
    """

    path: Path
    tree: xr.DataTree
    models: dict[str, Any]
    ensembles: dict[str, Any]

    @property
    def fits(self) -> Mapping[str, Fit]:
        """The fits as `workbench.fit` returned them, by name, without bare models; rebuilt when they are looked up."""
        return StoredFits(self)

    def __getitem__(self, path: str) -> xr.DataTree | xr.DataArray:
        """Return a group, such as "analysis/stationary_points", or a variable of a group."""
        return self.tree[path]

    def fit_name(self, name: str | None = None) -> str:
        """Return `name` if the file holds this fit, or the name of the last fit if None; `KeyError` otherwise."""
        if not self.models:
            raise KeyError(f"{self.path} holds no fit; save one, such as the result of workbench.learn")
        if name is None:
            return list(self.models)[-1]
        if name not in self.models:
            known = ", ".join(self.models)
            raise KeyError(f"{self.path} has no fit {name!r}{nearest(name, self.models) or ';'} it has {known}")
        return name

    def extended(self, groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
        """Return the tree with `groups`, such as "analysis/wells", added or replaced, and an entry in its history."""
        kept = {n.path: n.to_dataset(inherit=False) for n in self.tree.subtree if n.path.strip("/") not in groups}
        added = {f"/{path}": cleaned(_described(f"/{path}", group)) for path, group in groups.items()}
        tree = xr.DataTree.from_dict(kept | added)
        tree.attrs = self.tree.attrs | {"history": f"{provenance()['history']}\n{self.tree.attrs['history']}"}
        return tree


def save(
    path: str | Path,
    *,
    data: xr.Dataset | Mapping[str, xr.Dataset] | None = None,
    fits: Any = None,
    landscape: xr.Dataset | None = None,
    analysis: Mapping[str, xr.Dataset] | None = None,
    simulation: xr.Dataset | None = None,
    attrs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Save data, fits and analyses to one netCDF file.

    Parameters
    ----------
    path : str or pathlib.Path
        Target file, in an existing directory.
    data : xarray.Dataset or mapping, optional
        Data, or datasets by name. Default: the data of the fits, by their names if they differ.
    fits : Fit, PathFit, model or mapping, optional
        One fit, stored as "fit", or several by name.
    landscape, simulation, analysis : xarray.Dataset or mapping, optional
        Results of `grid` and `simulate`, and results of analyses by name.
    attrs : mapping, optional
        Attributes of the file, in addition to its provenance (versions, platform, commit, time, seed).
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    pathlib.Path
        The absolute path of the file.

    Raises
    ------
    FileError
        If the file exists, cannot be written, or does not read back identically.
    ValueError, TypeError
        If there is nothing to save, or a fit is of a kind that cannot be stored.

    Examples
    --------
    >>> import tempfile, numpy as np, workbench as wb
    >>> data = wb.dataset.points(np.linspace(-1, 1, 9), potential=np.linspace(-1, 1, 9) ** 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = wb.save(f"{folder}/mine.nc", data=data, attrs={"title": "a parabola"})
    ...     wb.load(path)["data"].sizes["sample"]
    9
    """
    contents = {"data": data, "fits": fits, "landscape": landscape, "analysis": analysis, "simulation": simulation}
    if not any(content is not None for content in contents.values()):
        raise ValueError(f"nothing to save; give some of {', '.join(contents)}")
    target = check_target(path, overwrite=overwrite)
    return write(tree_of(attrs=attrs, **contents), target, overwrite=overwrite)  # type: ignore[arg-type]


def tree_of(
    *,
    data: xr.Dataset | Mapping[str, xr.Dataset] | None = None,
    fits: Any = None,
    landscape: xr.Dataset | None = None,
    analysis: Mapping[str, xr.Dataset] | None = None,
    simulation: xr.Dataset | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Return the tree of a result file; the arguments are those of `save`."""
    named = dict(fits or {}) if isinstance(fits, Mapping | None) else {"fit": fits}
    data = data_of(named) if data is None else data
    origin = origin_of(next(iter(named.values()))) if named else {}
    if len(named) > 1:  # seed and time of each fit are stored in its group
        origin = {name: origin[name] for name in ("device", "dtype")}
    groups: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs=provenance(**(origin | dict(attrs or {}))))}
    groups |= _named("/data", data)
    for name, fit in named.items():
        groups |= fit_groups(f"/fits/{name}", fit)
    groups |= _named("/landscape", landscape) | _named("/analysis", analysis) | _named("/simulation", simulation)
    return xr.DataTree.from_dict({path: cleaned(_described(path, group)) for path, group in groups.items()})


def write(tree: xr.DataTree, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a tree to a file, completely or not at all (`FileError`); signals are deferred meanwhile."""
    target = check_target(path, overwrite=overwrite)
    tree = tree.copy()
    tree.attrs["status"] = "writing"
    with held_signals(), replacing(target) as temporary:  # netCDF4 deadlocks if a write is interrupted
        tree.to_netcdf(temporary, engine="netcdf4", encoding=_encoding(tree), write_inherited_coords=True)
        different = first_difference(tree, _open(temporary))
        if different:
            raise FileError(f"{target} was not written: {different} does not read back identically")
        with netCDF4.Dataset(temporary, "a") as file:
            file.setncattr("status", "complete")
        seal(temporary)
    return target


def read(path: str | Path) -> xr.DataTree:
    """Read a whole file into memory; `FileError` unless it is a complete, undamaged result of this schema."""
    source = Path(path).expanduser()
    _check_source(source)
    try:
        tree = _open(source)
    except Exception as error:  # the libraries raise arbitrary errors on damaged files
        raise FileError(f"{source} is damaged: {type(error).__name__}: {error}") from None
    _check_schema(source, tree.attrs.get("schema"))
    if tree.attrs.get("status") != "complete":
        raise FileError(f"{source} is incomplete (status {tree.attrs.get('status')!r}): writing it was interrupted")
    return tree


def load(path: str | Path) -> Result:
    """Load a result file and rebuild its models, bitwise equal to those saved.

    Parameters
    ----------
    path : str or pathlib.Path
        A file written by `save`, a study or the command line.

    Returns
    -------
    Result
        The groups as ``tree``, also by path, ``result["analysis/wells"]``; the fitted models as ``models`` and
        ``ensembles``; the fits as `fit` returned them as ``fits``.

    Raises
    ------
    FileError
        If the file is missing, damaged, incomplete, of another schema or no result file.

    Examples
    --------
    >>> import tempfile, workbench as wb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wb.load(wb.save(f"{folder}/model.nc", fits=wb.LSEICNN(dim=1, modes=2))).models["fit"].modes
    2
    """
    tree = read(path)
    models, ensembles = Named(), Named()
    for name, node in tree["fits"].children.items() if "fits" in tree.children else ():
        try:
            model = from_dataset(node.to_dataset(inherit=False))
        except (ValueError, KeyError) as error:
            raise FileError(f"{path}: cannot rebuild the model of /fits/{name}: {error}") from None
        ensembles[name] = model
        several = isinstance(model, TrainablePotential) and model.members is not None
        best = model.member(int(node.attrs.get("best_member", 0))) if several else model
        models[name] = best.requires_grad_(False)
    return Result(Path(path), tree, models, ensembles)


def _check_schema(source: Path, schema: Any) -> None:
    """Raise `FileError` unless the schema is the current one."""
    if schema == "workbench-result/1":
        raise FileError(
            f"{source} has the outdated schema {schema}; repeat its study or fit, as this version reads only {SCHEMA}"
        )
    if schema != SCHEMA:
        raise FileError(f"{source} has schema {schema!r}, but this version reads {SCHEMA!r}")


def _named(root: str, content: xr.Dataset | Mapping[str, xr.Dataset] | None) -> dict[str, xr.Dataset]:
    if content is None:
        return {}
    if isinstance(content, xr.Dataset):
        return {root: content}
    return {f"{root}/{name}": dataset for name, dataset in content.items()}


def cleaned(group: xr.Dataset) -> xr.Dataset:
    """Return a group with storable attributes, described coordinates, and the smallest sufficient signed integers."""
    group = group.assign_attrs({k: storable(v) for k, v in group.attrs.items()})
    for name, variable in group.data_vars.items():
        if variable.dtype.kind in "iu" and variable.size:
            low, high = int(variable.values.min()), int(variable.values.max())
            smallest = next(kind for kind in SIGNED if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
            group[name] = variable.astype(smallest, keep_attrs=True)
    for name, coordinate in group.coords.items():
        coordinate.attrs.setdefault("long_name", COORDINATES.get(str(name), str(name).replace("_", " ")))
    return group


def _described(path: str, group: xr.Dataset) -> xr.Dataset:
    """Return a group with a sentence on what it holds, unless it has one."""
    kind = next((kind for kind in DESCRIPTIONS if fnmatch(path, kind)), "")
    return group if not kind or "description" in group.attrs else group.assign_attrs(description=DESCRIPTIONS[kind])


def _open(path: Path) -> xr.DataTree:
    with xr.open_datatree(path, engine="netcdf4", decode_timedelta=False) as tree:
        return tree.load()


def _encoding(tree: xr.DataTree) -> dict[str, dict[str, dict[str, Any]]]:
    """Return compression and checksums for all numerical arrays."""
    packed = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
    return {
        node.path: {
            str(name): packed | ({"_FillValue": None} if name in node.coords and variable.dtype.kind == "f" else {})
            for name, variable in node.to_dataset().variables.items()
            if variable.dtype.kind in "fiu" and variable.ndim and variable.size
        }
        for node in tree.subtree
    }


def _check_source(source: Path) -> None:
    """Raise `FileError` unless the file exists and carries a valid seal."""
    if not source.exists():
        raise FileError(f"{source} does not exist")
    if source.is_dir():
        raise FileError(f"{source} is a directory, not a file")
    if not is_sealed(source) and _is_plain(source):
        fit = f"workbench.learn(workbench.read_data({str(source)!r}), match=…)"
        raise FileError(f"{source} holds plain data and no fit; fit them first: {fit}")
    with open(source, "rb") as file:
        head = file.read(8)
        if head != b"\x89HDF\r\n\x1a\n":
            kind = "empty" if not head else "in the old netCDF-3 format" if head[:3] == b"CDF" else "no netCDF file"
            raise FileError(f"{source} is {kind}; expected a netCDF-4 result file written by workbench")
        try:
            check_seal(source, file)
        except FileError as error:
            raise FileError(f"{error}. xarray may still be able to read it") from None


def _is_plain(source: Path) -> bool:
    """Return whether a file without a seal is foreign: netCDF with variables that does not mention the schema."""
    if SCHEMA.partition("/")[0].encode() in source.read_bytes():
        return False
    try:
        with xr.open_dataset(source) as data:
            return bool(data.data_vars)
    except Exception:  # noqa: BLE001 - the libraries raise arbitrary errors on other formats
        return False
