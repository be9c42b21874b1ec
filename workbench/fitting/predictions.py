"""Predictions of a model at the coordinates of the data, and the residuals, prediction − observation."""

from typing import Any

import xarray as xr

from workbench import dataset
from workbench.dataset.variables import Units
from workbench.errors import DatasetError
from workbench.losses.match import Stress, parsed, quantities
from workbench.materials.material import Material
from workbench.potentials.bridge import require_potential
from workbench.potentials.potential import Potential, units_of

__all__ = ["predict"]


def predict(model: Potential | Material, data: xr.Dataset, *, match: Any = None) -> xr.Dataset:
    """Predict every quantity that the data contain, at the coordinates of the data.

    Parameters
    ----------
    model : Potential or Material
        A potential, an ensemble of potentials, or a material.
    data : xarray.Dataset
        Points or trajectories that contain a potential, gradient or velocity; paths for a material.
    match : str, Match, mapping or sequence, optional
        A match of one's own, such as ``fit.match``, whose quantity is predicted, too.

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
        return Stress().predictions(model, data)
    matched = None if match is None else parsed(match)
    data = dataset.check(data) if matched is None else matched.checked(data)
    model = require_potential(model, data.sizes.get("state"))
    data = dataset.with_states(data, model.states)
    units_of(model).agreed(Units.read(data), "the model", "the data")
    found = [each.predictions(model, data) for each in quantities(matched) if set(each.needs) <= set(data)]
    if not found:
        known = ", ".join(each.name for each in quantities(matched))
        raise DatasetError(f"the data contain no quantity to predict; expected one or more of {known}")
    return xr.merge(found, compat="no_conflicts")
