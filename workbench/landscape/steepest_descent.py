r"""Steepest descent ẋ = −∇Ψ(x), batched over its starting points: the minima reached and the paths to them.

A step of length h follows the gradient flow of the local quadratic model exactly and then corrects for the terms that
the model neglects; the method is the exponential Rosenbrock method exprb32, of order 3, of Hochbruck, Ostermann and
Schweitzer (2009). With H = ∇²Ψ(x), g = ∇Ψ(x), φ₁(z) = (eᶻ − 1)/z and φ₃(z) = (eᶻ − 1 − z − z²/2)/z³,

    Δ = −h φ₁(−hH) g,        r = ∇Ψ(x + Δ) − (g + HΔ),        x ← x + Δ − 2h φ₃(−hH) r.

The last term estimates the error of the step and controls h, separately for each starting point. Stiff directions do
not limit h. Near a minimum h grows without bound, and the step becomes that of Newton's method. Lengths are in units
of a box.

References
----------
M. Hochbruck, A. Ostermann, J. Schweitzer, SIAM J. Numer. Anal. 47, 786-803 (2009), doi:10.1137/080717717.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from workbench.potentials.box import SEARCH_MARGIN, ZERO_EIGENVALUE, Box, distinct
from workbench.potentials.bridge import evaluated, gradient_at
from workbench.potentials.potential import Landscape

__all__ = ["LOST", "SADDLE", "minima_reached", "descent_paths"]

SADDLE, LOST = -1, -2  # labels of starting points whose descent ends in no minimum
STEP_ERROR = 1e-4  # in units of the box: tolerated error of a step
LONGEST_DESCENT_STEP = 0.1  # in units of the box
REST_STEP = 1e-8  # in units of the box: where Newton's step is as short, the descent is at rest
MOST_DESCENT_STEPS = 3000
GROWTH_EXPONENT = 3.0  # a step magnifies an unstable direction by at most e to this power


def minima_reached(potential: Landscape, x: Tensor, box: Box, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the minimum that steepest descent from each starting point reaches.

    Parameters
    ----------
    potential : Landscape
        A potential without members.
    x : torch.Tensor
        Starting points, shape (start, dim).
    box : Box
        Sets the unit of length and the region, enlarged by half a side, in which a descent is followed.
    known : torch.Tensor, optional
        Minima that are numbered first, in their order, shape (well, dim).

    Returns
    -------
    label : torch.Tensor
        Row of `minima` that is reached, shape (start,). `SADDLE`: the descent rests at another stationary point.
        `LOST`: it leaves the enlarged box, meets a value that is not finite, or is not at rest after 3000 steps.
    minima : torch.Tensor
        Known and new minima, shape (well, dim).
    """
    ends = x.clone()
    for rows, states in _march(potential, x, box, LONGEST_DESCENT_STEP, STEP_ERROR):
        ends[rows] = states
    label = torch.full((len(x),), LOST, device=x.device)
    arrived = torch.isfinite(ends).all(-1)
    at_rest = ends[arrived]
    eigenvalues = torch.linalg.eigvalsh(potential.hessian(at_rest))
    minimal = eigenvalues.amin(-1) >= -ZERO_EIGENVALUE * eigenvalues.abs().amax(-1)
    minima = at_rest[minimal] if known is None else torch.cat([known, at_rest[minimal]])
    minima = minima[distinct(minima, box)]
    reached = torch.full((len(at_rest),), SADDLE, device=x.device)
    if len(minima):
        reached[minimal] = torch.cdist(at_rest[minimal] / box.width, minima / box.width).argmin(-1)
    label[arrived] = reached
    return label, minima


def descent_paths(
    potential: Landscape, x: Tensor, box: Box, *, longest: float, tolerance: float = 1e-6
) -> list[Tensor]:
    """Return the paths of steepest descent from the starting points.

    Parameters
    ----------
    potential : Landscape
        A potential without members.
    x : torch.Tensor
        Starting points, shape (start, dim).
    box : Box
        Sets the unit of length and the region, enlarged by half a side, in which a descent is followed.
    longest, tolerance : float
        Target length and tolerated error of a step, in units of the box.

    Returns
    -------
    list of torch.Tensor
        The states along each path, shape (step, dim). The last one is at rest, or NaN if the descent was lost.
    """
    paths = [[row] for row in x]
    for rows, states in _march(potential, x, box, longest, tolerance):
        for row, state in zip(rows.tolist(), states, strict=True):
            paths[row].append(state)
    return [torch.stack(path) for path in paths]


@torch.no_grad()
def _march(
    potential: Landscape, x: Tensor, box: Box, longest: float, tolerance: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, step by step, the rows that moved, shape (row,), and their states, (row, dim); NaN where lost."""
    tiny = torch.finfo(x.dtype).tiny
    rows, (_, g, H) = torch.arange(len(x), device=x.device), evaluated(potential, x, 2)
    h = longest / box.length(g).clamp_min(tiny)
    for _ in range(MOST_DESCENT_STEPS):
        lost = ~(torch.isfinite(g).all(-1) & torch.isfinite(H).all((-1, -2)) & box.contains(x, SEARCH_MARGIN))
        if lost.any():
            yield rows[lost], torch.full_like(x[lost], torch.nan)
            rows, x, g, H, h = (a[~lost] for a in (rows, x, g, H, h))
        values, vectors = torch.linalg.eigh(H)
        size = values.abs().maximum(1e-12 * values.abs().amax(-1, keepdim=True) + tiny)
        newton = _times(vectors, _times(vectors.mT, g) / size)
        moving = box.length(newton) > REST_STEP
        if not moving.any():
            yield rows, x - newton
            return
        rows, x, g, H, h, values, vectors = (a[moving] for a in (rows, x, g, H, h, values, vectors))
        h = h.minimum(GROWTH_EXPONENT / (-values[:, 0]).clamp_min(tiny))
        trial, correction = _step(potential, x, g, H, h, values, vectors)
        length, error = box.length(trial - x), box.length(correction)
        accepted = (error <= tolerance) & (length <= 1.5 * longest)
        factor = 0.9 * torch.minimum((tolerance / error.clamp_min(tiny)) ** (1 / 3), longest / length.clamp_min(tiny))
        h = h * torch.nan_to_num(factor, nan=0.2).clamp(0.2, 5.0)
        if accepted.any():
            end = trial[accepted]
            yield rows[accepted], end
            x, g, H = x.clone(), g.clone(), H.clone()
            x[accepted], (_, g[accepted], H[accepted]) = end, evaluated(potential, end, 2)
    yield rows, torch.full_like(x, torch.nan)


def _step(
    potential: Landscape, x: Tensor, g: Tensor, H: Tensor, h: Tensor, values: Tensor, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the end of a step of length h, shape (row,), and the correction it includes, both (row, dim)."""
    h = h.unsqueeze(-1)
    z = -h * values
    step = -_times(vectors, h * _phi1(z) * _times(vectors.mT, g))
    model_error = gradient_at(potential, x + step) - g - _times(H, step)
    correction = -_times(vectors, 2 * h * _phi3(z) * _times(vectors.mT, model_error))
    return x + step + correction, correction


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return the products of matrices (row, dim, dim) and vectors (row, dim), shape (row, dim)."""
    return (matrix @ vector.unsqueeze(-1))[..., 0]


def _phi1(z: Tensor) -> Tensor:
    """Return φ₁(z), element by element."""
    safe = torch.where(z == 0, torch.ones_like(z), z)
    return torch.where(z == 0, torch.ones_like(z), torch.expm1(safe) / safe)


def _phi3(z: Tensor) -> Tensor:
    """Return φ₃(z), element by element; by its power series for |z| < 1, where the closed form cancels."""
    small = z.abs() < 1
    near, far = torch.where(small, z, torch.zeros_like(z)), torch.where(small, torch.ones_like(z), z)
    series = torch.full_like(z, 1 / 6)
    term = series
    for k in range(4, 20):
        term = term * near / k
        series = series + term
    return torch.where(small, series, (torch.expm1(far) - far - far**2 / 2) / far**3)
