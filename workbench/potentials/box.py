"""Axis-aligned boxes of states: membership, scaled lengths and quasi-random starting points.

Searches measure lengths in units of the box, that is, every component of x is divided by the side of the box along it.

References
----------
I. M. Sobol', USSR Comput. Math. Math. Phys. 7, 86-112 (1967), doi:10.1016/0041-5553(67)90144-9.
"""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from workbench.errors import LandscapeError
from workbench.potentials.bridge import require_potential, tensor_options
from workbench.potentials.potential import Landscape

__all__ = [
    "Box",
    "SAME_POINT",
    "SEARCH_MARGIN",
    "box_of",
    "distinct",
    "hull",
    "landscape_in",
    "sobol",
]

SAME_POINT = 1e-5  # in units of the box: points closer than this are identified
COARSEST = 1e-5  # in units of the box: a box whose numbers are further apart than this is refused
SEARCH_MARGIN = 0.5  # in units of the box: how far outside it a search may go


@dataclass(frozen=True)
class Box:
    """A box of states, the product of one interval per state.

    Parameters
    ----------
    low, high : torch.Tensor
        Lower and upper bounds, shape (dim,).
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, potential: Landscape, within: Sequence[tuple[float, float]]) -> "Box":
        """Return the box given by one pair (low, high) per state, in double precision on the device of the potential.

        Raises
        ------
        ValueError
            If there is not one finite pair with low < high for each state.
        LandscapeError
            If the box is so narrow and so far from zero that the numbers of the potential do not resolve it.
        """
        dim = len(potential.states)
        try:
            box = np.asarray(within, dtype=np.float64)
        except (TypeError, ValueError):  # ragged or not numeric
            box = np.empty(0)
        if box.shape != (dim, 2) or not (np.isfinite(box).all() and (box[:, 0] < box[:, 1]).all()):
            raise ValueError(
                f"within must be {dim} {'pair' if dim == 1 else 'pairs'} (low, high) with low < high, one for each of "
                f"the states {', '.join(potential.states)}; got {within}"
            )
        options = tensor_options(potential)
        precision = torch.finfo(options["dtype"]).eps
        lost = precision * np.abs(box).max(-1) > COARSEST * (box[:, 1] - box[:, 0])
        if lost.any():
            k = int(np.argmax(lost))
            low, high = box[k].tolist()
            raise LandscapeError(
                f"numbers of the potential, of {options['dtype']}, do not resolve the box along {potential.states[k]}: "
                f"it is {high - low:.3g} wide at {low:.6g}, where neighbouring numbers are "
                f"{precision * abs(low):.1g} apart; measure {potential.states[k]} from an origin near the box"
            )
        return cls(*torch.as_tensor(box, dtype=torch.float64, device=options["device"]).T)

    @property
    def width(self) -> Tensor:
        """Lengths of the sides, shape (dim,)."""
        return self.high - self.low

    def contains(self, x: Tensor, margin: float = SAME_POINT) -> Tensor:
        """Return whether each state lies in the box enlarged by `margin` on every side.

        Parameters
        ----------
        x : torch.Tensor
            States, shape (…, dim).
        margin : float
            Tolerated distance from the box, in units of its sides.

        Returns
        -------
        torch.Tensor
            Booleans, shape (…).
        """
        y = (x - self.low) / self.width
        return ((y >= -margin) & (y <= 1 + margin)).all(-1)

    def length(self, step: Tensor) -> Tensor:
        """Return the Euclidean length, shape (…), of differences of states, shape (…, dim), in units of the box."""
        return (step / self.width).norm(dim=-1)


def landscape_in(potential: Any, within: Any) -> tuple[Landscape, Box]:
    """Return a potential, with names x1, x2, … if it has none, and the box given by one pair (low, high) per state.

    Raises
    ------
    TypeError
        If `potential` is not a potential, or changes in time.
    ValueError
        If there is not one finite pair with low < high for each state.
    """
    named = require_potential(potential, len(within) if isinstance(within, Sized) else 1)
    return named, Box.of(named, within)


def box_of(potential: Any) -> tuple[Tensor, Tensor]:
    """Return the lower and upper bounds, shape (dim,) each, of the box that a potential knows; NaN where it knows none.

    >>> import systems
    >>> [bound.tolist() for bound in box_of(systems.get("gene_circuit"))]
    [[0.0, 0.0], [2.0, 2.0]]
    """
    dim = len(potential.states)
    known: Any = getattr(potential, "box", None)
    try:
        box = np.asarray((known.low, known.high) if isinstance(known, Box) else np.transpose(known), dtype=np.float64)
    except (TypeError, ValueError):  # something else of that name
        box = np.empty(0)
    if box.shape != (2, dim):
        box = np.full((2, dim), np.nan)
    low, high = torch.tensor(np.where(np.isfinite(box).all(0) & (box[0] < box[1]), box, np.nan))
    return low, high


def hull(potentials: Sequence[Any]) -> list[tuple[float, float]]:
    """Return the smallest box that holds the boxes of all potentials, one (low, high) per state; NaN without any.

    >>> import systems
    >>> hull([systems.get("gene_circuit")])
    [(0.0, 2.0), (0.0, 2.0)]
    """
    low, high = (np.stack(bounds) for bounds in zip(*map(box_of, potentials), strict=True))
    return list(zip(np.fmin.reduce(low).tolist(), np.fmax.reduce(high).tolist(), strict=True))


def distinct(x: Tensor, box: Box) -> Tensor:
    """Return the indices of the points of x, shape (point, dim), that do not repeat an earlier point."""
    remaining, kept = torch.arange(len(x), device=x.device), []
    while len(remaining):
        kept.append(remaining[0])
        remaining = remaining[box.length(x[remaining] - x[remaining[0]]) > SAME_POINT]
    return torch.stack(kept) if kept else remaining


def sobol(box: Box, count: int, seed: int) -> Tensor:
    """Return the first `count` points of a scrambled Sobol sequence in the box, shape (count, dim)."""
    if count < 1:
        raise ValueError(f"starts must be at least 1, got {count}")
    power = max(0, int(np.ceil(np.log2(count))))
    unit = qmc.Sobol(len(box.low), rng=np.random.default_rng(seed)).random_base2(power)[:count]
    return box.low + box.width * torch.as_tensor(unit).to(box.low)
