r"""Strings of states between two minima that relax towards a minimum-energy path, and the box about their ends.

The states move down the gradient flow and are then redistributed to equal distances, until the string no longer changes
(the simplified string method of E, Ren and Vanden-Eijnden, 2007). Each state follows the flow of its local quadratic
model, so that stiff directions do not limit the step. A string that has come to rest across a maximum, as a straight
one may for reasons of symmetry, is bent along the direction across it in which Ψ is curved downwards, and relaxed
again. Distances are those of x; the states are in natural units.

References
----------
W. E, W. Ren, E. Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007), doi:10.1063/1.2720838.
"""

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from workbench.errors import LandscapeError
from workbench.landscape.quadratic import eigh, times
from workbench.potentials.box import Box
from workbench.potentials.bridge import evaluated
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape

__all__ = ["box_around", "relaxed_string"]

STRING_IMAGES = 48
STRING_ITERATIONS = 400  # more than a string that converges needs
STRING_TOLERANCE = 2e-4  # of the length of the string: a smaller displacement per iteration counts as converged
MOST_BENDS = 4
BEND = 0.05  # of the length of the string
LIKE_CURVATURES = 1e4  # ratio of the diagonal of the Hessian up to which the default box is a cube


def box_around(potential: Landscape, ends: Tensor) -> Box:
    """Return the default box about two ends, shape (2, dim).

    It is centred between them. Its sides are three times their distance; where the curvatures at the ends show that
    the states have unlike scales, the sides are in proportion to those scales.
    """
    step = (ends[1] - ends[0]).abs()
    if not step.max() > 0:
        raise LandscapeError(f"start and end are the same state, {ends[0].tolist()}; choose two different wells")
    sides = (3 * step.norm()).expand_as(step)
    hessian = torch.as_tensor(evaluated(potential, ends, 2).hessian).double()
    curvature = torch.diagonal(hessian, dim1=-2, dim2=-1).abs().amax(0)
    if torch.isfinite(curvature).all() and curvature.min() > 0 and curvature.max() > LIKE_CURVATURES * curvature.min():
        scale = curvature.rsqrt()
        sides = 3 * scale * (step / scale).norm()
    middle = ends.mean(0)
    return Box(middle - sides / 2, middle + sides / 2)


def relaxed_string(natural: Natural, knots: Tensor) -> Tensor:
    """Return the relaxed string that began as the line through the knots, in natural units.

    Parameters
    ----------
    natural : Natural
        A potential in natural units.
    knots : torch.Tensor
        The ends and states between them, shape (knot, dim).

    Returns
    -------
    torch.Tensor
        Shape (48, dim).

    Raises
    ------
    LandscapeError
        If Ψ is not finite along the string.
    """
    z = _relaxed(natural, _redistributed(knots * natural.sides, linear=True))
    for _ in range(MOST_BENDS):
        bent = _bent(natural, z)
        if bent is None:
            break
        z = _relaxed(natural, bent)
    return z / natural.sides


def _relaxed(natural: Natural, z: Tensor) -> Tensor:
    """Return a string at rest, shape (STRING_IMAGES, dim), in the distances of x."""
    tiny = torch.finfo(z.dtype).tiny
    for _ in range(STRING_ITERATIONS):
        spacing = (z[1:] - z[:-1]).norm(dim=-1).sum() / (STRING_IMAGES - 1)
        g, H = _derivatives(natural, z)
        values, vectors = eigh(H, natural.sides)
        h = (spacing / g.norm(dim=-1).clamp_min(tiny)).unsqueeze(-1)
        h = h.minimum(1 / values.abs().amin(-1, keepdim=True).clamp_min(tiny))
        curved = h * values
        decay = torch.where(curved.abs() < 1e-8, h, -torch.expm1(-curved.clamp_min(-1.0)) / values)
        moved = z - times(vectors, decay * times(vectors.mT, g))
        moved[0], moved[-1] = z[0], z[-1]
        previous, z = z, _redistributed(moved)
        if (z - previous).norm(dim=-1).max() <= STRING_TOLERANCE * spacing * (STRING_IMAGES - 1):
            break
    return z


def _bent(natural: Natural, z: Tensor) -> Tensor | None:
    """Return a string at rest, bent off a maximum that it crosses; None if it crosses none."""
    level = evaluated(natural, z / natural.sides, 0).value
    top = 1 + int(level[1:-1].argmax())
    along = z[top + 1] - z[top - 1]
    along = along / along.norm()
    across = torch.eye(len(along)).to(z) - torch.outer(along, along)
    hessian = across @ _derivatives(natural, z[top : top + 1])[1][0] @ across
    values, vectors = torch.linalg.eigh(hessian)
    if not values[0] < -1e-3 * values.abs().max():
        return None
    length = (z[1:] - z[:-1]).norm(dim=-1).sum()
    shape = torch.sin(torch.pi * torch.linspace(0, 1, STRING_IMAGES).to(z))[:, None]
    return z + BEND * length * shape * vectors[:, 0]


def _derivatives(natural: Natural, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradient and Hessian in the distances of x at states z, shape (row, dim)."""
    _, g, H = evaluated(natural, z / natural.sides, 2)
    if not (torch.isfinite(g).all() and torch.isfinite(H).all()):
        raise LandscapeError("the potential is not finite along the path; give intermediate states with via=…")
    return g / natural.sides, H / torch.outer(natural.sides, natural.sides)


def _redistributed(z: Tensor, *, linear: bool = False) -> Tensor:
    """Return STRING_IMAGES states at equal distances along the curve through z, shape (knot, dim)."""
    arc = torch.cat([torch.zeros_like(z[:1, 0]), (z[1:] - z[:-1]).norm(dim=-1).cumsum(0)]).cpu().numpy()
    at = np.linspace(0, arc[-1], STRING_IMAGES)
    curve = make_interp_spline(arc, z.cpu().numpy(), k=1 if linear or len(z) < 4 else 3)
    return torch.as_tensor(curve(at)).to(z)
