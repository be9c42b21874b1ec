"""Potential and gradient on a regular grid, as arrays that can be plotted without PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.potentials.potential import Potential

__all__ = ["grid"]

LARGEST_GRID = 4_000_000  # points


def grid(
    potential: Potential | Mapping[str, Potential], within: Sequence[tuple[float, float]], points: int = 101
) -> xr.Dataset:
    """Evaluate one or several potentials, and their gradients, on a regular grid over a box.

    Parameters
    ----------
    potential : Potential or mapping of str to Potential
        A potential without members, or several ones of the same states, keyed by the suffix of their variables:
        ``{"": fit.model, "true": exact}`` yields ``potential``, ``gradient``, ``potential_true`` and
        ``gradient_true``.
    within : sequence of (float, float)
        Box of the grid, one pair (low, high) per state.
    points : int
        Number of grid points along each state; the grid may have 4 000 000 points in all.

    Returns
    -------
    xarray.Dataset
        With one dimension per state, named after it: ``potential(x1, x2, …)``, shape (points, points, …), and
        ``gradient(x1, x2, …, state)``, shape (points, points, …, dim), for each suffix. The coordinates hold the
        positions of the grid points.

    Raises
    ------
    ValueError
        If the potentials have different states, `within` does not have one pair per state, or the grid is too large.

    Examples
    --------
    >>> import systems
    >>> circuit = systems.get("gene_circuit")
    >>> dict(grid(circuit, [(0, 2), (0, 2)], points=5).sizes)
    {'x1': 5, 'x2': 5, 'state': 2}
    >>> list(grid({"": circuit, "true": circuit}, [(0, 2), (0, 2)], points=5).data_vars)
    ['potential', 'gradient', 'potential_true', 'gradient_true']
    """
    potentials = dict(potential) if isinstance(potential, Mapping) else {"": potential}
    states = list(next(iter(potentials.values())).states)
    if any(list(one.states) != states for one in potentials.values()):
        raise ValueError(
            f"the potentials of a grid must have the same states, got {[one.states for one in potentials.values()]}"
        )
    if len(within) != len(states) or points ** len(states) > LARGEST_GRID:
        raise ValueError(
            f"a grid needs one pair (low, high) for each of the states {', '.join(states)} and has at most "
            f"{LARGEST_GRID:,} points in all; got within={within} with points={points}"
        )
    axes = [np.linspace(low, high, points) for low, high in within]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    rows = x.reshape(-1, len(states))
    variables: dict[str, Any] = {}
    for suffix, psi in potentials.items():
        tail, text = (f"_{suffix}", f", {suffix}") if suffix else ("", "")
        value = np.asarray(psi.value(rows)).reshape(x.shape[:-1])
        gradient = np.asarray(psi.gradient(rows)).reshape(x.shape)
        attrs = {"long_name": f"potential{text}", "units": "1"}
        variables[f"potential{tail}"] = (states, value, attrs)
        attrs = {"long_name": f"gradient of the potential{text}", "units": "1"}
        variables[f"gradient{tail}"] = ((*states, "state"), gradient, attrs)
    return xr.Dataset(variables, coords={**dict(zip(states, axes, strict=True)), "state": states})
