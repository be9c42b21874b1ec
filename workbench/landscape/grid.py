"""A landscape on a grid: potential and gradient, for readers without torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["grid"]


def grid(potential: Any, within: Sequence[tuple[float, float]], points: int = 101) -> xr.Dataset:
    """Return potential and gradient on a grid over a box, whose dimensions are named as the states.

    >>> import systems
    >>> dict(grid(systems.get("gene_circuit"), [(0, 2), (0, 2)], points=5).sizes)
    {'x1': 5, 'x2': 5, 'state': 2}
    """
    states = list(potential.states)
    if len(within) != len(states) or points ** len(states) > 4_000_000:
        raise ValueError(f"a grid takes one (low, high) per state of {states}, and at most 4 million points")
    axes = [np.linspace(low, high, points) for low, high in within]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    rows = x.reshape(-1, len(states))
    variables: dict[str, Any] = {
        "potential": (
            states,
            np.asarray(potential.value(rows)).reshape(x.shape[:-1]),
            {"long_name": "potential", "units": "1"},
        ),
        "gradient": (
            (*states, "state"),
            np.asarray(potential.gradient(rows)).reshape(x.shape),
            {"long_name": "gradient of the potential", "units": "1"},
        ),
    }
    return xr.Dataset(variables, coords={**dict(zip(states, axes, strict=True)), "state": states})
