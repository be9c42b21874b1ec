r"""Steepest descent ẋ = −∇Ψ(x), batched over its starting points: the minima reached and the paths to them.

A step of length h follows the gradient flow of the local quadratic model exactly and then corrects for the terms that
the model neglects; the method is the exponential Rosenbrock method exprb32, of order 3, of Hochbruck, Ostermann and
Schweitzer (2009). With H = ∇²Ψ(x), g = ∇Ψ(x), φ₁(z) = (eᶻ − 1)/z and φ₃(z) = (eᶻ − 1 − z − z²/2)/z³,

    Δ = −h φ₁(−hH) g,        r = ∇Ψ(x + Δ) − (g + HΔ),        x ← x + Δ − 2h φ₃(−hH) r.

The last term estimates the error of the step and controls h, separately for each starting point. Stiff directions do
not limit h. Near a minimum h grows without bound, and the step becomes that of Newton's method. Distances
are those of x, whatever the units of its states; lengths of steps are in units of a box.

References
----------
M. Hochbruck, A. Ostermann, J. Schweitzer, SIAM J. Numer. Anal. 47, 786-803 (2009), doi:10.1137/080717717.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from workbench.landscape.families import representatives, zero_modes
from workbench.landscape.quadratic import SETTLED_NOISE, QuadraticModel, quadratic_model, times
from workbench.potentials.box import SEARCH_MARGIN, distinct
from workbench.potentials.bridge import evaluated, gradient_at
from workbench.potentials.natural import Natural

__all__ = ["LOST", "SADDLE", "descent_paths", "minima_reached"]

SADDLE, LOST = -1, -2  # labels of starting points whose descent ends in no minimum
STEP_ERROR = 1e-4  # in units of the box: tolerated error of a step
LONGEST_DESCENT_STEP = 0.1  # in units of the box
REST_STEP = 1e-8  # in units of the box: where Newton's step is as short, the descent is at rest
MOST_DESCENT_STEPS = 3000
GROWTH_EXPONENT = 3.0  # a step magnifies an unstable direction by at most e to this power


def minima_reached(natural: Natural, y: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the minimum that steepest descent from each starting point reaches.

    Parameters
    ----------
    natural : Natural
        A potential in natural units. A descent is followed up to half a side outside the box.
    y : torch.Tensor
        Starting points in natural units, shape (start, dim).
    known : torch.Tensor, optional
        Minima that are numbered first, in their order, shape (well, dim).

    Returns
    -------
    label : torch.Tensor
        Row of `minima` that is reached, shape (start,). `SADDLE`: the descent rests at another stationary point.
        `LOST`: it leaves the enlarged box, meets a value that is not finite, or is not at rest after 3000 steps.
    minima : torch.Tensor
        Known and new minima, shape (well, dim). A continuous family of them counts as one.
    """
    ends = y.clone()
    for rows, states in _march(natural, y, LONGEST_DESCENT_STEP, STEP_ERROR):
        ends[rows] = states
    label = torch.full((len(y),), LOST, device=y.device)
    arrived = torch.isfinite(ends).all(-1)
    at_rest = ends[arrived]
    _, gradient, hessian = evaluated(natural, at_rest, 2)
    model = quadratic_model(gradient, hessian, natural.resolution)
    minimal = model.minimal
    at_rest = _represented(natural, at_rest, model)
    minima = at_rest[minimal] if known is None else torch.cat([known, at_rest[minimal]])
    minima = minima[distinct(minima, natural.box)]
    reached = torch.full((len(at_rest),), SADDLE, device=y.device)
    if len(minima):
        reached[minimal] = torch.cdist(at_rest[minimal], minima).argmin(-1)
    label[arrived] = reached
    return label, minima


def _represented(natural: Natural, y: Tensor, model: QuadraticModel) -> Tensor:
    """Return ends of descents, shape (row, dim), with the representatives of continuous families of minima."""
    flat = torch.nonzero(model.minimal & model.flat.any(-1))[:, 0]
    if not len(flat):
        return y
    modes = zero_modes(natural, y[flat], model.at(flat), SETTLED_NOISE)[0].sum(-1)
    moved, whole = representatives(natural, y[flat], modes)
    y = y.clone()
    y[flat[whole & (modes > 0)]] = moved[whole & (modes > 0)]
    return y


def descent_paths(natural: Natural, y: Tensor, *, longest: float, tolerance: float = 1e-6) -> list[Tensor]:
    """Return the paths of steepest descent from the starting points.

    Parameters
    ----------
    natural : Natural
        A potential in natural units. A descent is followed up to half a side outside the box.
    y : torch.Tensor
        Starting points in natural units, shape (start, dim).
    longest, tolerance : float
        Target length and tolerated error of a step, in units of the box.

    Returns
    -------
    list of torch.Tensor
        The states along each path, shape (step, dim). The last one is at rest, or NaN if the descent was lost.
    """
    paths = [[row] for row in y]
    for rows, states in _march(natural, y, longest, tolerance):
        for row, state in zip(rows.tolist(), states, strict=True):
            paths[row].append(state)
    return [torch.stack(path) for path in paths]


@torch.no_grad()
def _march(natural: Natural, y: Tensor, longest: float, tolerance: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, step by step, the rows that moved, shape (row,), and their states, (row, dim); NaN where lost.

    Distances are those of x: along each state, y is multiplied by its side of the box, `natural.sides`.
    """
    tiny, sides = torch.finfo(y.dtype).tiny, natural.sides
    rows, (_, g, H) = torch.arange(len(y), device=y.device), _evaluated(natural, y)
    h = longest / (g / sides).norm(dim=-1).clamp_min(tiny)
    for _ in range(MOST_DESCENT_STEPS):
        inside = natural.box.contains(y, SEARCH_MARGIN)
        lost = ~(torch.isfinite(g).all(-1) & torch.isfinite(H).all((-1, -2)) & inside)
        if lost.any():
            yield rows[lost], torch.full_like(y[lost], torch.nan)
            rows, y, g, H, h = (a[~lost] for a in (rows, y, g, H, h))
        model = quadratic_model(g, H, natural.resolution, sides)
        newton = times(model.vectors, model.newton()) / sides
        moving = newton.norm(dim=-1) > REST_STEP
        if not moving.all():
            yield rows[~moving], y[~moving] + newton[~moving]
            rows, y, g, H, h, model = (*(a[moving] for a in (rows, y, g, H, h)), model.at(moving))
        if not len(rows):
            return
        h = h.minimum(GROWTH_EXPONENT / (-model.values[:, 0]).clamp_min(tiny))
        trial, correction = _step(natural, y, g, H, h, model)
        length, error = (trial - y).norm(dim=-1), correction.norm(dim=-1)
        accepted = (error <= tolerance) & (length <= 1.5 * longest)
        factor = 0.9 * torch.minimum((tolerance / error.clamp_min(tiny)) ** (1 / 3), longest / length.clamp_min(tiny))
        h = h * torch.nan_to_num(factor, nan=0.2).clamp(0.2, 5.0)
        if accepted.any():
            end = trial[accepted]
            yield rows[accepted], end
            y, g, H = y.clone(), g.clone(), H.clone()
            y[accepted], (_, g[accepted], H[accepted]) = end, _evaluated(natural, end)
    yield rows, torch.full_like(y, torch.nan)


def _evaluated(natural: Natural, y: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return Ψ and its derivatives in the distances of x."""
    value, gradient, hessian = evaluated(natural, y, 2)
    return value, gradient / natural.sides, hessian / torch.outer(natural.sides, natural.sides)


def _step(natural: Natural, y: Tensor, g: Tensor, H: Tensor, h: Tensor, model: QuadraticModel) -> tuple[Tensor, Tensor]:
    """Return the end of a step of length h, shape (row,), and the correction it includes, both (row, dim)."""
    h, sides, vectors = h.unsqueeze(-1), natural.sides, model.vectors
    z = -h * model.values
    step = -times(vectors, h * _phi1(z) * model.components)
    model_error = gradient_at(natural, y + step / sides) / sides - g - times(H, step)
    correction = -times(vectors, 2 * h * _phi3(z) * times(vectors.mT, model_error))
    return y + (step + correction) / sides, correction / sides


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
