r"""Newton's method and eigenvector following: batched searches for stationary points of a chosen index.

With the eigendecomposition ∇²Ψ = V Λ Vᵀ and the gradient g = ∇Ψ, every step is

    Δ = −V diag(sᵢ/|λᵢ|) Vᵀ g,        sᵢ = sign λᵢ                any stationary point (Newton),
                                      sᵢ = −1 for i < k, else +1  saddles of index k (eigenvector following).

Eigenvector following ascends along the k lowest eigenvectors and descends along the others; k = 0 is a descent to
minima, wherever the Hessian is indefinite too. Each search has its own trust radius, which bounds the step and shrinks
where the gradient at its end differs from the prediction of the quadratic model. Gradient, Hessian and lengths are in
units of a box, whose sides become 1.

References
----------
C. J. Cerjan, W. H. Miller, J. Chem. Phys. 75, 2800-2806 (1981), doi:10.1063/1.442352.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from workbench.potentials.box import SEARCH_MARGIN, Box
from workbench.potentials.bridge import evaluated
from workbench.potentials.potential import Landscape

__all__ = ["search"]

MOST_SEARCH_STEPS = 60  # more than a convergent search needs
LONGEST_SEARCH_STEP = 0.2  # in units of the box: upper bound of the trust radius
CONVERGED_STEP = 1e-10  # in units of the box: a search whose step is as short has converged
NEWTON = -1  # value of `climb` that requests Newton's method


@torch.no_grad()
def search(potential: Landscape, x: Tensor, box: Box, climb: Tensor | int) -> Tensor:
    """Return the end points of the searches that start at x.

    Parameters
    ----------
    potential : Landscape
        A potential without members.
    x : torch.Tensor
        Starting points, shape (start, dim).
    box : Box
        Sets the unit of length. A search ends where it is more than half a side outside the box.
    climb : torch.Tensor or int
        Number of eigenvectors to ascend along, or `NEWTON`; shape (start,), or one value for all.

    Returns
    -------
    torch.Tensor
        End points, shape (start, dim); NaN where a gradient or Hessian was not finite. A search that does not converge
        ends where it is: the caller checks the gradient there.
    """
    x, climb = x.clone(), torch.as_tensor(climb, device=x.device).expand(len(x))
    derivatives = _derivatives(potential, box)
    gradient, hessian = derivatives(x)
    radius = torch.full_like(x[:, 0], LONGEST_SEARCH_STEP)
    active = torch.arange(len(x), device=x.device)
    for _ in range(MOST_SEARCH_STEPS):
        finite = torch.isfinite(gradient).all(-1) & torch.isfinite(hessian).all((-1, -2))
        x[active[~finite]] = torch.nan
        active, gradient, hessian, radius = active[finite], gradient[finite], hessian[finite], radius[finite]
        if len(active) == 0:
            break
        step = _step(gradient, hessian, climb[active], radius)
        x[active] += step * box.width
        new_gradient, new_hessian = derivatives(x[active])
        model_error = (new_gradient - gradient - (hessian @ step.unsqueeze(-1))[..., 0]).norm(dim=-1)
        scale = (gradient.norm(dim=-1) + new_gradient.norm(dim=-1)).clamp_min(torch.finfo(x.dtype).tiny)
        model_error = model_error / scale
        radius = torch.where(model_error > 0.5, radius / 2, torch.where(model_error < 0.2, 2 * radius, radius))
        radius = radius.clamp_max(LONGEST_SEARCH_STEP)
        moving = ~(step.norm(dim=-1) <= CONVERGED_STEP) & box.contains(x[active], SEARCH_MARGIN)
        active, gradient, hessian, radius = active[moving], new_gradient[moving], new_hessian[moving], radius[moving]
    return x


def _derivatives(potential: Landscape, box: Box) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the function x ↦ gradient (row, dim) and Hessian (row, dim, dim) in units of the box."""
    square = torch.outer(box.width, box.width)

    def scaled(x: Tensor) -> tuple[Tensor, Tensor]:
        _, gradient, hessian = evaluated(potential, x, 2)
        return gradient * box.width, hessian * square

    return scaled


def _step(gradient: Tensor, hessian: Tensor, climb: Tensor, radius: Tensor) -> Tensor:
    """Return Δ of the module docstring, shape (row, dim), no longer than the trust radius, shape (row,)."""
    values, vectors = torch.linalg.eigh(hessian)
    order = torch.arange(values.shape[-1], device=values.device)
    following = torch.where(order < climb.unsqueeze(-1), -1.0, 1.0).to(values)
    sign = torch.where((climb == NEWTON).unsqueeze(-1), torch.sign(values) + (values == 0), following)
    floor = 1e-12 * values.abs().amax(-1, keepdim=True) + torch.finfo(values.dtype).tiny
    components = (vectors.mT @ gradient.unsqueeze(-1))[..., 0]
    step = -(vectors @ (sign * components / values.abs().maximum(floor)).unsqueeze(-1))[..., 0]
    return step * (radius / step.norm(dim=-1).maximum(radius)).unsqueeze(-1)
