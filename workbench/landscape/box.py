"""A box of states: what lies inside, lengths in units of its sides, and points spread evenly over it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from workbench.potentials.potential import Potential, tensor_options

__all__ = ["Box", "FLAT", "MARGIN", "SAME", "distinct", "sobol"]

SAME = 1e-4  # of the box: closer points are one
MARGIN = 0.5  # of the box: how far outside a search may wander
FLAT = 1e-8  # an eigenvalue that counts as zero, relative to the largest


@dataclass(frozen=True)
class Box:
    """A box of states, `low` and `high` with shape (dim,), and lengths in units of its sides."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, potential: Potential, within: Sequence[tuple[float, float]]) -> "Box":
        """Return the box of one (low, high) per state, or raise `ValueError`."""
        dim = len(potential.states)
        try:
            box = np.asarray(within, dtype=np.float64)
        except (TypeError, ValueError):  # ragged, or no numbers
            box = np.empty(0)
        if box.shape != (dim, 2) or not (np.isfinite(box).all() and (box[:, 0] < box[:, 1]).all()):
            raise ValueError(
                f"within must be {dim} pairs (low, high) with low < high, one for each of {potential.states}; "
                f"got {within}"
            )
        return cls(*torch.as_tensor(box, **tensor_options(potential)).T)

    @property
    def width(self) -> Tensor:
        """Lengths of the sides, shape (dim,)."""
        return self.high - self.low

    def contains(self, x: Tensor, margin: float = SAME) -> Tensor:
        """Return whether x, shape (…, dim), is no further outside than `margin` of the sides, shape (…)."""
        y = (x - self.low) / self.width
        return ((y >= -margin) & (y <= 1 + margin)).all(-1)

    def length(self, step: Tensor) -> Tensor:
        """Return the length of a difference of states, shape (…, dim), in units of the box, shape (…)."""
        return (step / self.width).norm(dim=-1)


def distinct(x: Tensor, box: Box) -> Tensor:
    """Return the indices of the points of x, shape (point, dim), that are not the same as one before them."""
    left, kept = torch.arange(len(x), device=x.device), []
    while len(left):
        kept.append(left[0])
        left = left[box.length(x[left] - x[left[0]]) > SAME]
    return torch.stack(kept) if kept else left


def sobol(box: Box, count: int, seed: int) -> Tensor:
    """Return that many points spread evenly over a box, shape (count, dim)."""
    if count < 1:
        raise ValueError(f"starts must be at least 1, got {count}")
    power = max(0, int(np.ceil(np.log2(count))))
    unit = qmc.Sobol(len(box.low), rng=np.random.default_rng(seed)).random_base2(power)[:count]
    return box.low + box.width * torch.as_tensor(unit).to(box.low)
