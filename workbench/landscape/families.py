r"""Continuous families of stationary points: the flat directions of a symmetry, and one representative of each family.

Where Ψ does not change along a direction, as under translations or rotations, stationary points come in families. At
each of their points the Hessian has zero eigenvalues, the zero modes, and Newton's method from a displaced point ends
in another point of the family. Other zero eigenvalues are isolated: x⁴ has one at its minimum. A family is represented
by its point nearest to an anchor in general position, to which points slide along their zero modes.
"""

import torch
from torch import Tensor

from workbench.landscape.eigenvector_following import NEWTON, search
from workbench.landscape.quadratic import QuadraticModel, quadratic_model, times
from workbench.potentials.bridge import evaluated, gradient_at
from workbench.potentials.natural import Natural

__all__ = ["isolated_zeros", "model_at", "representatives", "zero_modes"]

PROBE = 0.01  # in units of the box: how far a flat direction is followed to see whether it is that of a family
RING = 1e-3  # in units of the box: how far from a point its curvature is compared
MUCH_FLATTER = 0.01  # a curvature is zero if it is smaller than this part of that at the ring
LONGEST_SLIDE = 0.05  # in units of the box
SLID = 1e-7  # in units of the box: a slide as short ends
MOST_SLIDES = 100
CORRECTIONS = 3  # steps across the family after each slide


def model_at(natural: Natural, y: Tensor) -> QuadraticModel:
    """Return the quadratic model about states, shape (row, dim)."""
    _, gradient, hessian = evaluated(natural, y, 2)
    return quadratic_model(gradient, hessian, natural.resolution)


def zero_modes(natural: Natural, y: Tensor, model: QuadraticModel, slack: float) -> tuple[Tensor, Tensor]:
    """Return which eigenvectors at stationary points lead along a family of them, and which do on one side alone.

    Both have shape (row, dim). A family on one side is the floor of a valley, of which the point is the edge.

    Parameters
    ----------
    natural : Natural
        The potential.
    y : torch.Tensor
        Stationary points, shape (row, dim).
    model : QuadraticModel
        Quadratic model there.
    slack : float
        See `QuadraticModel.stationary`.
    """
    sides = torch.zeros((2, *model.flat.shape), dtype=torch.bool, device=y.device)
    row, mode = torch.nonzero(model.flat, as_tuple=True)
    if not len(row):
        return sides[0], sides[1]
    direction = model.vectors[row, :, mode]
    for on, side in zip(sides, (PROBE, -PROBE), strict=True):
        near = search(natural, y[row] + side * direction, NEWTON, steps=20)
        there = torch.isfinite(near).all(-1)
        near = torch.where(there[:, None], near, y[row])
        stationary = model_at(natural, near).stationary(1e-6, 100 * slack)
        moved = ((near - y[row]) * direction).sum(-1).abs() > PROBE / 2
        on[row, mode] = there & stationary & moved
    return sides.all(0), sides.any(0) & ~sides.all(0)


def isolated_zeros(natural: Natural, y: Tensor, model: QuadraticModel) -> Tensor:
    """Return whether the smallest curvature at stationary points is zero beside that around them, shape (row,)."""
    rows = torch.arange(len(y), device=y.device)
    softest = model.values.abs().argmin(-1)
    direction = model.vectors[rows, :, softest]
    slopes = [(gradient_at(natural, y + side * direction) * direction).sum(-1).abs() for side in (RING, -RING)]
    around = torch.stack(slopes).nan_to_num().amax(0) / RING
    return model.values.abs().amin(-1) < MUCH_FLATTER * around


@torch.no_grad()
def representatives(natural: Natural, y: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points of the families of y nearest to an anchor, and whether these are families: (row, dim), (row,).

    A family leads on to its points nearest to two further anchors, in opposite corners of the box. A slide that ends
    before has met the edge of a region in which Ψ hardly changes.

    Parameters
    ----------
    natural : Natural
        The potential.
    y : torch.Tensor
        Points of families, shape (row, dim).
    modes : torch.Tensor
        Number of zero modes of each, shape (row,). They have the smallest |λ|.
    """
    corner = torch.cos(1.7 * torch.arange(1, y.shape[-1] + 1, dtype=y.dtype, device=y.device) ** 2)
    y, whole = _slid(natural, y, modes, 0.1 * corner)
    for anchor in (0.45 * corner.sign(), -0.45 * corner.sign()):
        whole &= _slid(natural, y, modes, anchor)[1]
    return y, whole


def _slid(natural: Natural, y: Tensor, modes: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points to which y slide on the way to the anchor, and whether nothing stops them before it is near."""
    y = y.clone()
    factor, active = torch.ones_like(y[:, 0]), torch.arange(len(y), device=y.device)
    near = torch.zeros_like(active, dtype=torch.bool)
    for _ in range(MOST_SLIDES):
        if not len(active):
            break
        at = y[active]
        model = model_at(natural, at)
        soft = model.softest(modes[active])
        along = torch.where(soft, times(model.vectors.mT, anchor - at), 0.0)
        near[active] = along.norm(dim=-1) <= 1e3 * SLID
        slide = times(model.vectors, along) * factor[active, None]
        slide = slide * (LONGEST_SLIDE / slide.norm(dim=-1).clamp_min(LONGEST_SLIDE))[:, None]
        there = at + slide
        across = torch.where(soft, 0.0, 1 / model.values)
        for _ in range(CORRECTIONS):
            there = there - times(model.vectors, across * times(model.vectors.mT, gradient_at(natural, there)))
        nearer = (there - anchor).norm(dim=-1) < (at - anchor).norm(dim=-1)
        y[active[nearer]] = there[nearer]
        factor[active] = torch.where(nearer, (1.5 * factor[active]).clamp_max(1.0), factor[active] / 4)
        active = active[(slide.norm(dim=-1) > SLID) & (factor[active] > 1e-3)]
    near[active] |= factor[active] > 0.1  # still on the way
    return y, near & model_at(natural, y).settled()
