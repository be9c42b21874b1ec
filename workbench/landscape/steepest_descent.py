r"""Steepest descent ẋ = −∇Ψ(x) to its end, all starts at once: who falls where, and by which way.

A step of length h follows the flow of the local quadratic model exactly, and is then corrected for what the model
leaves out (the exponential Rosenbrock method of order 3 of Hochbruck, Ostermann and Schweitzer). With H = ∇²Ψ(x),
g = ∇Ψ(x) and φ₁(z) = (eᶻ − 1)/z, φ₃(z) = (eᶻ − 1 − z − z²/2)/z³

    Δ = −h φ₁(−hH) g,        r = ∇Ψ(x + Δ) − (g + HΔ),        x ← x + Δ − 2h φ₃(−hH) r,

whose last term is the estimate of the error that chooses h, for each start on its own. Stiff directions cost nothing,
and near a minimum, where h grows without bound, the step is Newton's. Lengths are in units of a box.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from workbench.landscape.box import FLAT, MARGIN, Box, distinct
from workbench.potentials.potential import Potential

__all__ = ["LOST", "SADDLE", "minima_reached", "descent_paths"]

SADDLE, LOST = -1, -2  # labels of starts that end in no minimum
TOLERANCE = 1e-4  # of the box, the error of a step
CLOSE = 1e-8  # of the box: where Newton's step is as short, the descent is at rest
STEPS = 3000
GROWTH = 3.0  # e to this power is the most by which a step may magnify an unstable direction


def minima_reached(potential: Potential, x: Tensor, box: Box, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return to which minimum each of x, shape (start, dim), falls, shape (start,), and the minima, (well, dim).

    Labels count the minima, of which the `known` ones, shape (well, dim), come first. A start that comes to rest at
    another stationary point is labelled `SADDLE`, one that leaves the box by half a side, meets a value that is not
    finite, or does not come to rest in 3000 steps, `LOST`.
    """
    ends = x.clone()
    for rows, at in _march(potential, x, box, 0.1, TOLERANCE):
        ends[rows] = at
    label = torch.full((len(x),), LOST, device=x.device)
    arrived = torch.isfinite(ends).all(-1)
    at_rest = ends[arrived]
    bend = torch.linalg.eigvalsh(potential.hessian(at_rest))
    low = bend.amin(-1) >= -FLAT * bend.abs().amax(-1)
    minima = at_rest[low] if known is None else torch.cat([known, at_rest[low]])
    minima = minima[distinct(minima, box)]
    where = torch.full((len(at_rest),), SADDLE, device=x.device)
    where[low] = torch.cdist(at_rest[low] / box.width, minima / box.width).argmin(-1) if len(minima) else where[low]
    label[arrived] = where
    return label, minima


def descent_paths(
    potential: Potential, x: Tensor, box: Box, *, longest: float, tolerance: float = 1e-6
) -> list[Tensor]:
    """Return the ways down from x, shape (start, dim): for each start the states it passes, shape (step, dim).

    Steps are no longer than `longest`, in units of the box. The last state is at rest, or NaN where the way was lost.
    """
    passed = [[row] for row in x]
    for rows, at in _march(potential, x, box, longest, tolerance):
        for row, state in zip(rows.tolist(), at, strict=True):
            passed[row].append(state)
    return [torch.stack(way) for way in passed]


@torch.no_grad()
def _march(
    potential: Potential, x: Tensor, box: Box, longest: float, tolerance: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, step after step, which starts moved, shape (row,), and where to, (row, dim); NaN for those lost."""
    tiny = torch.finfo(x.dtype).tiny
    rows, g, H = torch.arange(len(x), device=x.device), potential.gradient(x), potential.hessian(x)
    h = longest / box.length(g).clamp_min(tiny)
    for _ in range(STEPS):
        lost = ~(torch.isfinite(g).all(-1) & torch.isfinite(H).all((-1, -2)) & box.contains(x, MARGIN))
        if lost.any():
            yield rows[lost], torch.full_like(x[lost], torch.nan)
            rows, x, g, H, h = (a[~lost] for a in (rows, x, g, H, h))
        values, vectors = torch.linalg.eigh(H)
        size = values.abs().maximum(1e-12 * values.abs().amax(-1, keepdim=True) + tiny)
        newton = _times(vectors, _times(vectors.mT, g) / size)
        going = box.length(newton) > CLOSE
        if not going.any():
            ended = rows, x - newton
            rows = rows[:0]
            yield ended
            return
        rows, x, g, H, h, values, vectors = (a[going] for a in (rows, x, g, H, h, values, vectors))
        h = h.minimum(GROWTH / (-values[:, 0]).clamp_min(tiny))
        trial, error = _step(potential, x, g, H, h, values, vectors)
        length, miss = box.length(trial - x), box.length(error)
        good = (miss <= tolerance) & (length <= 1.5 * longest)
        growth = 0.9 * torch.minimum((tolerance / miss.clamp_min(tiny)) ** (1 / 3), longest / length.clamp_min(tiny))
        h = h * torch.nan_to_num(growth, nan=0.2).clamp(0.2, 5.0)
        if good.any():
            yield rows[good], trial[good]
            x, g, H = x.clone(), g.clone(), H.clone()
            x[good], g[good], H[good] = trial[good], potential.gradient(trial[good]), potential.hessian(trial[good])
    yield rows, torch.full_like(x, torch.nan)


def _step(
    potential: Potential, x: Tensor, g: Tensor, H: Tensor, h: Tensor, values: Tensor, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the end of a step of length h, shape (row,), and the correction it contains, both (row, dim)."""
    h = h.unsqueeze(-1)
    z = -h * values
    step = -_times(vectors, h * _phi1(z) * _times(vectors.mT, g))
    surprise = potential.gradient(x + step) - g - _times(H, step)
    error = -_times(vectors, 2 * h * _phi3(z) * _times(vectors.mT, surprise))
    return x + step + error, error


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1))[..., 0]


def _phi1(z: Tensor) -> Tensor:
    safe = torch.where(z == 0, torch.ones_like(z), z)
    return torch.where(z == 0, torch.ones_like(z), torch.expm1(safe) / safe)


def _phi3(z: Tensor) -> Tensor:
    """Return φ₃, by its series where the closed form cancels."""
    small = z.abs() < 1
    near, far = torch.where(small, z, torch.zeros_like(z)), torch.where(small, torch.ones_like(z), z)
    series = torch.full_like(z, 1 / 6)
    term = series
    for k in range(4, 20):
        term = term * near / k
        series = series + term
    return torch.where(small, series, (torch.expm1(far) - far - far**2 / 2) / far**3)
