"""A landscape on a grid: potential and gradient as arrays, for readers without torch."""

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
    """Return potential and gradient on a grid over a box, whose dimensions are named as the states.

    Several potentials of the same states are a mapping from suffixes: `{"": fit.model, "true": exact}` gives
    `potential`, `gradient`, `potential_true` and `gradient_true` on the same points.

    >>> import systems
    >>> circuit = systems.get("gene_circuit")
    >>> dict(grid(circuit, [(0, 2), (0, 2)], points=5).sizes)
    {'x1': 5, 'x2': 5, 'state': 2}
    >>> list(grid({"": circuit, "true": circuit}, [(0, 2), (0, 2)], points=5).data_vars)
    ['potential', 'gradient', 'potential_true', 'gradient_true']
    """
    several = dict(potential) if isinstance(potential, Mapping) else {"": potential}
    states = list(next(iter(several.values())).states)
    if any(list(one.states) != states for one in several.values()):
        raise ValueError(f"the potentials of a grid share their states, got {[one.states for one in several.values()]}")
    if len(within) != len(states) or points ** len(states) > LARGEST_GRID:
        raise ValueError(f"a grid takes one (low, high) per state of {states}, and at most {LARGEST_GRID:,} points")
    axes = [np.linspace(low, high, points) for low, high in within]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    rows = x.reshape(-1, len(states))
    variables: dict[str, Any] = {}
    for suffix, psi in several.items():
        tail, text = (f"_{suffix}", f", {suffix}") if suffix else ("", "")
        value = np.asarray(psi.value(rows)).reshape(x.shape[:-1])
        gradient = np.asarray(psi.gradient(rows)).reshape(x.shape)
        note = {"long_name": f"potential{text}", "units": "1"}
        variables[f"potential{tail}"] = (states, value, note)
        note = {"long_name": f"gradient of the potential{text}", "units": "1"}
        variables[f"gradient{tail}"] = ((*states, "state"), gradient, note)
    return xr.Dataset(variables, coords={**dict(zip(states, axes, strict=True)), "state": states})
