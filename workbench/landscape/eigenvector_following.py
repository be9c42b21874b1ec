r"""Newton's method and eigenvector following: batched searches for stationary points of a chosen index.

With the eigendecomposition ∇²Ψ = V Λ Vᵀ and the gradient g = ∇Ψ, every step is

    Δ = −V diag(sᵢ/|λᵢ|) Vᵀ g,        sᵢ = sign λᵢ                any stationary point (Newton),
                                      sᵢ = −1 for i < k, else +1  saddles of index k (eigenvector following).

Eigenvector following ascends along the k lowest eigenvectors and descends along the others; k = 0 is a descent to
minima, wherever the Hessian is indefinite too. Each search has its own trust radius, which bounds the step and shrinks
where the gradient at its end differs from the prediction of the quadratic model. Components of the gradient that are
rounding errors, as along the flat directions of a symmetry, move nothing. All is in natural units.

References
----------
C. J. Cerjan, W. H. Miller, J. Chem. Phys. 75, 2800-2806 (1981), doi:10.1063/1.442352.
"""

import torch
from torch import Tensor

from workbench.landscape.quadratic import QuadraticModel, quadratic_model, times
from workbench.potentials.box import SEARCH_MARGIN
from workbench.potentials.bridge import evaluated
from workbench.potentials.natural import Natural

__all__ = ["CONVERGED_STEP", "NEWTON", "search"]

MOST_SEARCH_STEPS = 45  # a search that needs more mostly goes round in circles
MOST_DESCENT_STEPS = 200  # of a descent, which does not, but may start in a plain
LONGEST_SEARCH_STEP = 0.2  # upper bound of the trust radius
CONVERGED_STEP = 1e-10  # a search whose step is as short has converged
NEWTON = -1  # value of `climb` that requests Newton's method


@torch.no_grad()
def search(natural: Natural, y: Tensor, climb: Tensor | int, *, steps: int = MOST_DESCENT_STEPS) -> Tensor:
    """Return the end points of the searches that start at y.

    Parameters
    ----------
    natural : Natural
        A potential in natural units. A search ends where it is more than half a side outside the box.
    y : torch.Tensor
        Starting points in natural units, shape (start, dim).
    climb : torch.Tensor or int
        Number of eigenvectors to ascend along, or `NEWTON`; shape (start,), or one value for all.
    steps : int
        Largest number of steps; by default 200 for descents and 45 for other searches.

    Returns
    -------
    torch.Tensor
        End points, shape (start, dim); NaN where a gradient or Hessian was not finite. A search that does not converge
        ends where it is: the caller checks the gradient there.
    """
    y, climb = y.clone(), torch.as_tensor(climb, device=y.device).expand(len(y))
    tiny = torch.finfo(y.dtype).tiny
    _, gradient, hessian = evaluated(natural, y, 2)
    radius = torch.full_like(y[:, 0], LONGEST_SEARCH_STEP)
    active = torch.arange(len(y), device=y.device)
    for k in range(steps):
        if k == MOST_SEARCH_STEPS:
            descent = climb[active] == 0
            active, gradient, hessian, radius = active[descent], gradient[descent], hessian[descent], radius[descent]
        finite = torch.isfinite(gradient).all(-1) & torch.isfinite(hessian).all((-1, -2))
        if not finite.all():
            y[active[~finite]] = torch.nan
            active, gradient, hessian, radius = active[finite], gradient[finite], hessian[finite], radius[finite]
        if len(active) == 0:
            break
        model = quadratic_model(gradient, hessian, natural.resolution)
        step = _step(model, climb[active], radius)
        y[active] += step
        _, new_gradient, new_hessian = evaluated(natural, y[active], 2)
        model_error = (new_gradient - gradient - times(hessian, step)).norm(dim=-1)
        model_error = model_error / (gradient.norm(dim=-1) + new_gradient.norm(dim=-1)).clamp_min(tiny)
        radius = torch.where(model_error > 0.5, radius / 2, torch.where(model_error < 0.2, 2 * radius, radius))
        radius = radius.clamp_max(LONGEST_SEARCH_STEP)
        moving = ~model.stationary(CONVERGED_STEP) & natural.box.contains(y[active], SEARCH_MARGIN)
        active, gradient, hessian, radius = active[moving], new_gradient[moving], new_hessian[moving], radius[moving]
    return y


def _step(model: QuadraticModel, climb: Tensor, radius: Tensor) -> Tensor:
    """Return Δ of the module docstring, shape (row, dim), no longer than the trust radius, shape (row,)."""
    values, order = model.values, torch.arange(model.values.shape[-1], device=climb.device)
    following = torch.where(order < climb.unsqueeze(-1), -1.0, 1.0).to(values)
    sign = torch.where((climb == NEWTON).unsqueeze(-1), torch.sign(values) + (values == 0), following)
    step = times(model.vectors, sign * model.newton())
    return step * (radius / step.norm(dim=-1).maximum(radius)).unsqueeze(-1)
