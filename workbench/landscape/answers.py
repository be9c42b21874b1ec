"""Variables that several analyses of a landscape return, with their names and units."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.dataset.variables import Units, variable

__all__ = ["eigenvalues", "stationary"]

UNLIKE = "of the Hessian in the units of the data, whose states have unlike units"


def eigenvalues(
    dims: str | Sequence[Hashable], values: Any, units: Units, long_name: str = "eigenvalue of the Hessian"
) -> xr.Variable:
    """Return eigenvalues of the Hessian as a variable; over states of unlike units it has no unit, and says so.

    Examples
    --------
    >>> eigenvalues("state", [1.0, 2.0], Units(("nm", "degree"), potential="kJ/mol")).attrs["description"]
    'of the Hessian in the units of the data, whose states have unlike units'
    """
    note = {} if units.alike else {"description": UNLIKE}
    return variable(dims, values, long_name, units.of("hessian"), **note)


def stationary(
    x: np.ndarray,
    potential: np.ndarray,
    eigenvalue: np.ndarray,
    units: Units,
    degenerate: Any = False,
    *,
    index: np.ndarray | None = None,
    zero_modes: Any = 0,
) -> xr.Dataset:
    """Return a dataset of stationary points along ``point``.

    Parameters
    ----------
    x, eigenvalue : numpy.ndarray
        Points, and eigenvalues of the Hessian there in ascending order, shape (point, state).
    potential : numpy.ndarray
        Ψ at the points, shape (point,).
    units : Units
        Units of the states and of Ψ.
    degenerate : array_like of bool
        Where an eigenvalue counts as zero, shape (point,).
    index : numpy.ndarray, optional
        Number of negative eigenvalues, shape (point,), where some count as zero.
    zero_modes : array_like of int
        Number of directions along which Ψ does not change, shape (point,).

    Returns
    -------
    xarray.Dataset
        ``x``, ``potential``, ``eigenvalue`` and ``index``, the number of negative eigenvalues, with the coordinates
        ``point`` and ``kind(point)``, "minimum", "saddle", "maximum" or "degenerate".

    Examples
    --------
    >>> one = np.array([[-1.0, 2.0]])
    >>> stationary(one, one[:, 0], one, Units()).kind.values.tolist()
    ['saddle']
    """
    index = (eigenvalue < 0).sum(-1) if index is None else index
    curved = x.shape[1] - np.asarray(zero_modes)
    kind = np.where(index == 0, "minimum", np.where(index == curved, "maximum", "saddle"))
    kind = np.where(degenerate, "degenerate", kind).astype("U10")
    order = "eigenvalue of the Hessian, in ascending order along state"
    variables = {
        "x": variable(("point", "state"), x, "stationary point", units.of("state")),
        "potential": variable("point", potential, "potential", units.of("potential")),
        "eigenvalue": eigenvalues(("point", "state"), eigenvalue, units, order),
        "index": variable("point", index, "number of negative eigenvalues", "1"),
    }
    labels = {"point": np.arange(len(x)), "kind": variable("point", kind, "kind of stationary point")}
    return xr.Dataset(variables, coords=labels)
