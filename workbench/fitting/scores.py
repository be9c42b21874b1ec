"""Scores of the predictions of a model, for each component and split.

With the residuals r = prediction − observation, ⟨·⟩ the mean over samples and ȳ the mean observation, the scores of
each component of a quantity y are

    RMSE = √⟨r²⟩,        relative RMSE = RMSE / √⟨(y − ȳ)²⟩,        R² = 1 − ⟨r²⟩ / ⟨(y − ȳ)²⟩.
"""

from collections.abc import Hashable, Iterable
from typing import Any, Literal

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.dataset.spread import CONSTANT
from workbench.dataset.tensors import SHEAR
from workbench.dataset.variables import variable
from workbench.fitting.predictions import predict
from workbench.losses.match import parsed
from workbench.materials.material import Material
from workbench.potentials.bridge import require_potential
from workbench.potentials.potential import Potential

__all__ = ["score"]

MEASURES = {  # long names
    "rmse": "root-mean-square error of the {}",
    "relative_rmse": "root-mean-square error of the {}, relative to its standard deviation over the samples",
    "r2": "coefficient of determination of the {}",
    "l2": "root-mean-square error of the {}, relative to its root mean square, all components together",
    "offset": "mean residual of the {}",
    "error": "norm of the error of the {}, relative to that of its deviation from the mean",
    "worst": "largest error of the {}, relative to the spread of a component",
}


def score(
    model: Potential | Material, data: xr.Dataset, *, offset: Literal["keep", "remove"] = "keep", match: Any = None
) -> xr.Dataset:
    """Score the predictions of a model for every quantity that the data contain.

    A potential fitted to its gradient is determined up to a constant; ``offset="remove"`` subtracts the mean residual
    of the potential before scoring it.

    Parameters
    ----------
    model : Potential or Material
        A potential, an ensemble of potentials, or a material.
    data : xarray.Dataset
        Points, trajectories, or for a material paths with stress.
    offset : {"keep", "remove"}, optional
        Whether to remove the mean residual of the potential. Default: "keep".
    match : str, Match, mapping or sequence, optional
        A match of one's own, such as ``fit.match``, whose quantity is scored, too.

    Returns
    -------
    xarray.Dataset
        ``<name>_rmse``, ``<name>_relative_rmse`` and ``<name>_r2``, of shape (part, member, state) for gradient and
        velocity, (part, component) for stress, and (part, member) for the potential; ``<name>_relative_l2``, the RMSE
        over the root mean square of the data, for all components together; ``potential_offset``, the mean residual
        of the potential. For stress also ``stress_relative_error``, √(Σ ‖r‖² / Σ ‖S − S̄‖²) with the tensor norm ‖S‖² =
        S:S, and ``stress_worst``, the largest |r| over the root mean square deviation of a tensor component. There
        is a dimension `part`, the splits present in the data, if the data have a `split`, and `member` for an ensemble.
        Relative scores are NaN where the data are constant.

    Raises
    ------
    ValueError
        If `offset` is neither "keep" nor "remove".
    DatasetError
        If the data are invalid or contain nothing to predict.
    TypeError
        If the model is neither a potential nor a material.
    SimulationError
        If the internal variables of a material blow up.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> circuit = systems.get("gene_circuit")
    >>> float(wb.score(circuit, circuit.points(9, seed=0)).gradient_relative_l2)
    0.0
    """
    if offset not in ("keep", "remove"):
        raise ValueError(f"offset must be 'keep' or 'remove', got {offset!r}")
    if isinstance(model, Material):
        data = dataset.check(data, ["stress"])
        residuals, data = _samples(predict(model, data)[["stress", "stress_residual"]], data), _samples(data, data)
    else:
        data = dataset.flat(dataset.check(data) if match is None else parsed(match).checked(data))
        model = require_potential(model, data.sizes["state"])
        data = dataset.with_states(data, model.states)
        residuals = predict(model, data, match=match)
    if "split" not in data.coords:
        return _scores(residuals, data, offset)
    parts = {part: (data["split"] == part).values for part in dataset.SPLITS}
    scored = [_scores(residuals.isel(sample=at), data.isel(sample=at), offset) for at in parts.values() if at.any()]
    labels = [part for part, at in parts.items() if at.any()]
    return xr.concat(scored, "part").assign_coords(part=labels)


def _scores(predicted: xr.Dataset, data: xr.Dataset, offset: str) -> xr.Dataset:
    """Return the scores of flat predictions, over (sample, component) and perhaps member."""
    scores: dict[str, xr.DataArray] = {}
    for name in (str(n).removesuffix("_residual") for n in predicted if str(n).endswith("_residual")):
        residual = predicted[f"{name}_residual"]
        truth = data[name] if name in (*dataset.QUANTITIES,) else _observed(predicted, name)
        if name == "potential":
            scores["potential_offset"] = residual.mean("sample")
            residual = residual - scores["potential_offset"] if offset == "remove" else residual
        extent = truth.max("sample") - truth.min("sample")
        spread = truth.std("sample").where(extent > CONSTANT * abs(truth).max("sample"))
        rmse = _rms(residual, ["sample"])
        scores[f"{name}_rmse"] = rmse
        scores[f"{name}_relative_rmse"] = rmse / spread
        scores[f"{name}_r2"] = 1 - (rmse / spread) ** 2
        size = _rms(truth, truth.dims)
        scores[f"{name}_relative_l2"] = _rms(residual, truth.dims) / size.where(size > 0)
        if name == "stress":
            multiplicity = xr.DataArray(np.array(SHEAR), dims="component")
            norm = (((truth - truth.mean("sample")) ** 2 * multiplicity).sum("component").mean("sample")) ** 0.5
            error = ((residual**2 * multiplicity).sum("component").mean("sample")) ** 0.5
            varying = (spread.notnull() * multiplicity).sum()  # number of tensor components that are not constant
            scores["stress_relative_error"] = error / norm.where(norm > 0)
            scores["stress_worst"] = abs(residual).max() / (norm.where(norm > 0) / varying**0.5)
    for label, values in scores.items():
        name, _, kind = label.rpartition("_")
        unit = data[name].attrs.get("units") if kind in ("rmse", "offset") and name in data else None
        unit = unit if kind in ("rmse", "offset") and not label.endswith("relative_rmse") else "1"
        name = label.removesuffix(f"_{kind}").removesuffix("_relative")
        measure = "relative_rmse" if label.endswith("relative_rmse") else kind
        values.attrs = variable((), 0.0, MEASURES[measure].format(name.replace("_", " ")), unit).attrs
    kept = [c for c in ("state", "component", "member") if c in predicted.coords]
    return xr.Dataset(scores).drop_vars([c for c in xr.Dataset(scores).coords if c not in kept])


def _observed(predicted: xr.Dataset, name: str) -> xr.DataArray:
    """Return what a quantity of one's own was compared with, which need not be the variable of its name."""
    observed = predicted[name] - predicted[f"{name}_residual"]
    return observed.isel(member=0, drop=True) if "member" in observed.dims else observed


def _samples(paths: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    """Return the valid samples of paths along one dimension `sample`."""
    if "split" in paths.coords:
        paths = paths.assign_coords(split=paths["split"].broadcast_like(paths["stress"].isel(component=0, drop=True)))
    stacked = paths.stack(sample=("trajectory", "time"), create_index=False).transpose("sample", ...)
    return stacked.isel(sample=dataset.valid(data).ravel())


def _rms(values: xr.DataArray, over: Iterable[Hashable]) -> xr.DataArray:
    """Return the root mean square over some dimensions."""
    return (values**2).mean(list(over)) ** 0.5
