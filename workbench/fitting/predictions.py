"""Predictions of a model at the coordinates of the data, and the residuals, prediction − observation."""

from typing import Any

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.errors import DatasetError
from workbench.losses.match import OBJECTIVES
from workbench.materials.material import Material
from workbench.potentials.potential import Potential, require_potential

__all__ = ["predict"]


def predict(model: Potential | Material, data: xr.Dataset) -> xr.Dataset:
    """Predict every quantity that the data contain, at the coordinates of the data.

    Parameters
    ----------
    model : Potential or Material
        A potential, an ensemble of potentials, or a material.
    data : xarray.Dataset
        Points or trajectories that contain a potential, gradient or velocity; paths for a material.

    Returns
    -------
    xarray.Dataset
        For every quantity in the data, the prediction under its name and the residual, prediction − observation, as
        ``<name>_residual``, with the dimensions of the data; an ensemble adds a leading dimension `member`. For a
        material ``stress(trajectory, time, component)``, ``dissipation(trajectory, time)`` in the step that ends at
        the sample, ``potential(trajectory, time)``, if there are internal variables
        ``internal_state(trajectory, time, internal)``, and if the data contain stress ``stress_residual``.

    Raises
    ------
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
    >>> predicted = wb.predict(circuit, circuit.points(9, seed=0)[["x", "gradient"]])
    >>> list(predicted), predicted.gradient.dims
    (['gradient', 'gradient_residual'], ('sample', 'state'))
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
                {"long_name": f"{label}, prediction minus data", "units": "1"},
            )
    if not variables:
        raise DatasetError(f"the data contain no quantity to predict; expected one or more of {', '.join(OBJECTIVES)}")
    return xr.Dataset(variables, coords=data.coords)


def _predict_paths(material: Material, data: xr.Dataset) -> xr.Dataset:
    """Return the predictions of a material along paths."""
    data = dataset.check(data, ["strain"])
    response = material.respond(data["strain"].values, data["time"].values)
    dims = ("trajectory", "time")
    variables: dict[str, Any] = {
        "stress": ((*dims, "component"), response.stress, "stress, predicted"),
        "dissipation": (dims, response.dissipation, "energy dissipated in the step ending here, predicted"),
        "potential": (dims, response.potential, "potential, predicted"),
    }
    if material.internal:
        variables["internal_state"] = ((*dims, "internal"), response.internal, "internal variable")
    if "stress" in data:
        residual = response.stress - data["stress"].values
        variables["stress_residual"] = ((*dims, "component"), residual, "stress, prediction minus data")
    described = {name: (axes, v, {"long_name": text, "units": "1"}) for name, (axes, v, text) in variables.items()}
    result = xr.Dataset(described, coords=data.coords)
    return result.assign_coords(internal=np.arange(material.internal)) if material.internal else result
