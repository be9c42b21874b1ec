r"""Searches for stationary points: Newton's method with the signs one asks for, all starts at once.

With ∇²Ψ = V Λ Vᵀ and the slope g = ∇Ψ every step is

    Δ = −V diag(sᵢ/|λᵢ|) Vᵀ g,        sᵢ = sign λᵢ            any stationary point (Newton),
                                      sᵢ = −1 for i < k, else +1   saddles of index k (eigenvector following):

up along the k lowest eigenvectors and down along the others, so k = 0 falls to minima on any landscape. A step is no
longer than the trust radius of its start, which shrinks where the slope at its end is not the one that the quadratic
model foretold. Everything is measured in units of a box, whose sides are 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from workbench.landscape.box import MARGIN, Box
from workbench.potentials.potential import Potential

__all__ = ["search"]

STEPS = 60  # more than a search that arrives needs
LONGEST = 0.2  # of the box, a step
CLOSE = 1e-10  # of the box, a step that leaves nothing to gain
NEWTON = -1  # in place of a number of directions to climb


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
