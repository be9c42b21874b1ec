"""Answers from two grids, one of twice the spacing of the other: a better value, and its error."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.dynamics.generator import Heights
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.potentials.box import Box
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape

__all__ = ["TRUSTED_ERROR", "box_with", "extrapolated", "heights_in", "warn_of_error"]

TRUSTED_ERROR = 0.01  # relative, as estimated from two grids: larger ones are reported


def box_with(potential: Landscape, within: Any, places: Mapping[str, np.ndarray]) -> Box:
    """Return the box; raise `ValueError` if it does not hold the states, shape (row, dim), that are given by name."""
    box = Box.of(potential, within)
    low, high = box.low.cpu().numpy(), box.high.cpu().numpy()
    for name, rows in places.items():
        if not ((rows >= low) & (rows <= high)).all():
            raise ValueError(f"{name} = {rows.tolist()} lies outside the box within={within}: widen the box")
    return box


def heights_in(natural: Natural, temperature: float, nodes: int) -> Heights:
    """Return Ψ/T on a grid, for T in the units of Ψ; warn if the potential is not finite at some nodes.

    Raises
    ------
    LandscapeError
        If it is finite at none.
    """
    heights = Heights(natural, temperature / natural.spread, (nodes,) * len(natural.states))
    bad = int((~np.isfinite(heights.value)).sum())
    if bad == len(heights.value):
        raise LandscapeError("the potential is not finite anywhere on the grid: choose another box")
    if bad:
        warnings.warn(
            f"the potential is not finite at {bad} of the {len(heights.value)} nodes of the grid, which are left out, "
            "as if walls surrounded them: choose a box in which it is defined",
            LandscapeWarning,
            stacklevel=3,
        )
    return heights


def extrapolated(fine: Any, coarse: Any) -> tuple[Any, Any]:
    """Return the value at no spacing, and the error of the finer grid, from errors of second order on both grids.

    >>> extrapolated(1.25, 2.0)
    (1.0, 0.25)
    """
    change = (fine - coarse) / 3
    return fine + change, abs(change)


def warn_of_error(what: str, error: Sequence[float] | np.ndarray | float, nodes: int) -> None:
    """Warn if the largest relative error estimated exceeds 1 %."""
    worst = float(np.max(error))
    if worst > TRUSTED_ERROR:
        warnings.warn(
            f"the estimated error of {what} is {worst:.1%}, with nodes={nodes} along each state: increase nodes, "
            "narrow the box, or compare with rates(…)",
            LandscapeWarning,
            stacklevel=3,
        )
