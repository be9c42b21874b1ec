"""How well a model predicts data: predictions on the data's own coordinates, and scores per component and split."""

from collections.abc import Hashable, Iterable
from typing import Any, Literal

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.dataset.tensors import SHEAR
from workbench.errors import DatasetError
from workbench.losses.match import OBJECTIVES
from workbench.materials.material import Material
from workbench.potentials.potential import Potential, require_potential

__all__ = ["predict", "score"]


def predict(model: Potential | Material, data: xr.Dataset) -> xr.Dataset:
    """Return, for every quantity the data hold, the prediction under its name and `<name>_residual`.

    Coordinates are those of the data; an ensemble adds a leading `member` axis. A residual is prediction − observation.
    Of a material along paths: stress, dissipation, potential, and the internal variables `internal_state`, if any.
    """
    if isinstance(model, Material):
        return _predict_paths(model, data)
    require_potential(model)
    data = dataset.with_states(dataset.check(data), model.states)
    x = data["x"].values
    lead = () if model.members is None else ("member",)
    variables: dict[str, Any] = {}
    for name, objective in OBJECTIVES.items():
        if name in data:
            flat = getattr(model, objective.quantity)(x.reshape(-1, x.shape[-1]))
            shape = ((model.members,) if lead else ()) + data[name].shape
            values = objective.sign * flat.reshape(shape)
            dims, label = (*lead, *data[name].dims), dataset.QUANTITIES[name][1]
            variables[name] = (dims, values, {"long_name": f"{label}, predicted", "units": "1"})
            residual = values - data[name].values
            variables[f"{name}_residual"] = (
                dims,
                residual,
                {"long_name": f"{label}, prediction less data", "units": "1"},
            )
    if not variables:
        raise DatasetError(f"the data hold nothing to compare with; expected one of {', '.join(OBJECTIVES)}")
    return xr.Dataset(variables, coords=data.coords)


def score(model: Potential | Material, data: xr.Dataset, *, offset: Literal["keep", "remove"] = "keep") -> xr.Dataset:
    """Return scores of every quantity the data hold, per component, and per `part` where the data are split.

    `<name>_rmse`, `_r2` (1 − Σ residual²/Σ deviation²) and `_relative_rmse` (RMSE over standard deviation) are per
    component, `_relative_l2` (RMSE over root mean square) over all components at once; NaN where the data are constant.
    A potential learned from slopes is known up to a constant: `offset="remove"` takes the mean residual out first, and
    `potential_offset` reports it either way. Of a material's stress also `stress_relative_error`, √(Σ‖residual‖² /
    Σ‖deviation‖²) over the whole tensor, and `stress_worst`, the largest residual over the root mean square deviation
    of a tensor component.

    >>> import systems, workbench as wb
    >>> circuit = systems.get("gene_circuit")
    >>> float(wb.score(circuit, circuit.points(9, seed=0)).gradient_relative_l2)
    0.0
    """
    if offset not in ("keep", "remove"):
        raise ValueError(f"offset is 'keep' or 'remove', got {offset!r}")
    if isinstance(model, Material):
        data = dataset.check(data, ["stress"])
        residuals, data = _samples(predict(model, data)[["stress", "stress_residual"]], data), _samples(data, data)
    else:
        require_potential(model)
        data = dataset.with_states(dataset.flat(dataset.check(data)), model.states)
        residuals = predict(model, data)
    if "split" not in data.coords:
        return _scores(residuals, data, offset)
    parts = {part: (data["split"] == part).values for part in dataset.SPLITS}
    scored = [_scores(residuals.isel(sample=at), data.isel(sample=at), offset) for at in parts.values() if at.any()]
    labels = [part for part, at in parts.items() if at.any()]
    return xr.concat(scored, "part").assign_coords(part=labels)


def _scores(predicted: xr.Dataset, data: xr.Dataset, offset: str) -> xr.Dataset:
    scores: dict[str, xr.DataArray] = {}
    for name in (*OBJECTIVES, "stress"):
        if f"{name}_residual" not in predicted:
            continue
        truth, residual = data[name], predicted[f"{name}_residual"]
        if name == "potential":
            scores["potential_offset"] = residual.mean("sample")
            residual = residual - scores["potential_offset"] if offset == "remove" else residual
        spread = truth.std("sample")
        spread = spread.where(spread > 1e-12 * abs(truth).max("sample"))
        rmse = _rms(residual, ["sample"])
        scores[f"{name}_rmse"] = rmse
        scores[f"{name}_relative_rmse"] = rmse / spread
        scores[f"{name}_r2"] = 1 - (rmse / spread) ** 2
        size = _rms(truth, truth.dims)
        scores[f"{name}_relative_l2"] = _rms(residual, truth.dims) / size.where(size > 0)
        if name == "stress":
            twice = xr.DataArray(np.array(SHEAR), dims="component")
            norm = (((truth - truth.mean("sample")) ** 2 * twice).sum("component").mean("sample")) ** 0.5
            error = ((residual**2 * twice).sum("component").mean("sample")) ** 0.5
            moving = (spread.notnull() * twice).sum()
            scores["stress_relative_error"] = error / norm.where(norm > 0)
            scores["stress_worst"] = abs(residual).max() / (norm.where(norm > 0) / moving**0.5)
    for label, values in scores.items():
        values.attrs = {"long_name": label.replace("_", " "), "units": "1"}
    kept = [c for c in ("state", "component", "member") if c in predicted.coords]
    return xr.Dataset(scores).drop_vars([c for c in xr.Dataset(scores).coords if c not in kept])


def _predict_paths(material: Material, data: xr.Dataset) -> xr.Dataset:
    data = dataset.check(data, ["strain"])
    response = material.respond(data["strain"].values, data["time"].values)
    both = ("trajectory", "time")
    variables: dict[str, Any] = {
        "stress": ((*both, "component"), response.stress, "stress, predicted"),
        "dissipation": (both, response.dissipation, "energy dissipated in the step that ends here, predicted"),
        "potential": (both, response.potential, "potential, predicted"),
    }
    if material.internal:
        variables["internal_state"] = ((*both, "internal"), response.internal, "internal variable")
    if "stress" in data:
        residual = response.stress - data["stress"].values
        variables["stress_residual"] = ((*both, "component"), residual, "stress, prediction less data")
    described = {name: (dims, v, {"long_name": text, "units": "1"}) for name, (dims, v, text) in variables.items()}
    result = xr.Dataset(described, coords=data.coords)
    return result.assign_coords(internal=np.arange(material.internal)) if material.internal else result


def _samples(paths: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    """Return the valid samples of paths side by side; scores do not depend on their history."""
    if "split" in paths.coords:
        paths = paths.assign_coords(split=paths["split"].broadcast_like(paths["stress"].isel(component=0, drop=True)))
    stacked = paths.stack(sample=("trajectory", "time"), create_index=False).transpose("sample", ...)
    return stacked.isel(sample=dataset.valid(data).ravel())


def _rms(values: xr.DataArray, over: Iterable[Hashable]) -> xr.DataArray:
    return (values**2).mean(list(over)) ** 0.5
