r"""Searches for stationary points: Newton's method with the signs one asks for, all starts at once.

With ∇²Ψ = V Λ Vᵀ and the slope g = ∇Ψ every step is

    Δ = −V diag(sᵢ/|λᵢ|) Vᵀ g,        sᵢ = sign λᵢ            any stationary point (Newton),
                                      sᵢ = −1 for i < k, else +1   saddles of index k (eigenvector following):

up along the k lowest eigenvectors and down along the others, so k = 0 falls to minima on any landscape. A step is no
longer than the trust radius of its start, which shrinks where the slope at its end is not the one that the quadratic
model foretold. Everything is measured in units of a box, whose sides are 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.potentials.potential import Potential, tensor_options

__all__ = ["Box", "distinct", "search"]

STEPS = 60  # more than a search that arrives needs
LONGEST = 0.2  # of the box, a step
CLOSE = 1e-10  # of the box, a step that leaves nothing to gain
SAME = 1e-4  # of the box: closer points are one
MARGIN = 0.5  # of the box: how far outside a search may wander
FLAT = 1e-8  # an eigenvalue that counts as zero, relative to the largest
NEWTON = -1  # in place of a number of directions to climb


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


@torch.no_grad()
def search(potential: Potential, x: Tensor, box: Box, climb: Tensor | int) -> Tensor:
    """Return where searches from x, shape (start, dim), end: the same shape, NaN for those that met no finite number.

    `climb`, shape (start,) or one for all, is the number of eigenvectors to climb along, or `NEWTON`. A search that has
    not arrived stops where it is: look at the slope there.
    """
    x, climb = x.clone(), torch.as_tensor(climb, device=x.device).expand(len(x))
    slope, bend = _slopes(potential, box)(x)
    radius = torch.full_like(x[:, 0], LONGEST)
    active = torch.arange(len(x), device=x.device)
    for _ in range(STEPS):
        finite = torch.isfinite(slope).all(-1) & torch.isfinite(bend).all((-1, -2))
        x[active[~finite]] = torch.nan
        active, slope, bend, radius = active[finite], slope[finite], bend[finite], radius[finite]
        if len(active) == 0:
            break
        step = _step(slope, bend, climb[active], radius)
        x[active] += step * box.width
        ahead, turned = _slopes(potential, box)(x[active])
        surprise = (ahead - slope - (bend @ step.unsqueeze(-1))[..., 0]).norm(dim=-1)
        surprise = surprise / (slope.norm(dim=-1) + ahead.norm(dim=-1)).clamp_min(torch.finfo(x.dtype).tiny)
        radius = torch.where(surprise > 0.5, radius / 2, torch.where(surprise < 0.2, 2 * radius, radius))
        radius = radius.clamp_max(LONGEST)
        moving = ~(step.norm(dim=-1) <= CLOSE) & box.contains(x[active], MARGIN)
        active, slope, bend, radius = active[moving], ahead[moving], turned[moving], radius[moving]
    return x


def _slopes(potential: Potential, box: Box) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return gradient and Hessian in units of the box."""
    square = torch.outer(box.width, box.width)
    return lambda x: (potential.gradient(x) * box.width, potential.hessian(x) * square)


def _step(slope: Tensor, bend: Tensor, climb: Tensor, radius: Tensor) -> Tensor:
    """Return Δ (see the module), shape (row, dim), cut to the radius, shape (row,)."""
    values, vectors = torch.linalg.eigh(bend)
    place = torch.arange(values.shape[-1], device=values.device)
    asked = torch.where(place < climb.unsqueeze(-1), -1.0, 1.0).to(values)
    sign = torch.where((climb == NEWTON).unsqueeze(-1), torch.sign(values) + (values == 0), asked)
    floor = 1e-12 * values.abs().amax(-1, keepdim=True) + torch.finfo(values.dtype).tiny
    along = (vectors.mT @ slope.unsqueeze(-1))[..., 0]
    step = -(vectors @ (sign * along / values.abs().maximum(floor)).unsqueeze(-1))[..., 0]
    return step * (radius / step.norm(dim=-1).maximum(radius)).unsqueeze(-1)


def distinct(x: Tensor, box: Box) -> Tensor:
    """Return the indices of the points of x, shape (point, dim), that are not the same as one before them."""
    left, kept = torch.arange(len(x), device=x.device), []
    while len(left):
        kept.append(left[0])
        left = left[box.length(x[left] - x[left[0]]) > SAME]
    return torch.stack(kept) if kept else left
