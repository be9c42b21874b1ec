r"""Overdamped Langevin dynamics on a landscape, fixed or moving: dx = −∇Ψ(x, t) dt + √(2T) dW.

The stochastic Heun method (Platen's explicit scheme for additive noise), with ξ standard normal,

    x̃ = x − h ∇Ψ(x, t) + √(2Th) ξ,        x ← x − (h/2) (∇Ψ(x, t) + ∇Ψ(x̃, t + h)) + √(2Th) ξ,

is of weak order 2 in h: laws of x at any time, also where the landscape moves, and at rest, where the law is
exp(−Ψ/T)/Z. (The Leimkuhler–Matthews step is cheaper, but of order 2 at rest only.) It is explicit: h must stay below
2/λ of the steepest curvature λ.

Random numbers come from one stream for every 64 trajectories, so that trajectory i is the same however many are asked
for, and members of an ensemble feel the same noise: they differ by their landscapes alone.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.errors import LandscapeError
from workbench.potentials.potential import Potential, TimeVarying

__all__ = ["Noise", "heun", "longest_step", "gradient_of", "stay_in_domain", "trajectories"]

SHARD = 64
BLOCK = 256  # steps whose random numbers are drawn at once


def gradient_of(potential: Potential | TimeVarying) -> Callable[[Tensor, float], Tensor]:
    """Return ∇Ψ(x, t) of a fixed or a moving landscape."""
    if isinstance(potential, TimeVarying):
        return lambda x, t: potential.at(time=t).gradient(x)
    return lambda x, t: potential.gradient(x)


def heun(slope: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float, kick: Tensor) -> Tensor:
    """Return x a step later; `kick` is √(2Th) ξ, all with shape (…, trajectory, dim)."""
    before = slope(x, t)
    after = slope(x - h * before + kick, np.nextafter(t + h, t))
    return x - h / 2 * (before + after) + kick


def _steps_between(start: float, end: float, step: float) -> int:
    """Return how many equal steps no longer than `step` lead from start to end."""
    return max(1, int(np.ceil((end - start) / step * (1 - 1e-12))))


def longest_step(times: np.ndarray, step: float) -> float:
    """Return the longest step that is taken where steps no longer than `step` end at every one of the times.

    >>> longest_step(np.array([0.0, 0.5, 1.5]), 0.4), longest_step(np.array([0.0, 0.1]), 50.0)
    (0.3333333333333333, 0.1)
    """
    return float(max(gap / _steps_between(0.0, gap, step) for gap in np.diff(times)))


class Noise:
    """Random numbers of `count` trajectories: normal, shape (count, dim), and uniform, shape (count,), a step.

    >>> few, many = (next(Noise(count, 2, np.random.SeedSequence(0)).normal()) for count in (3, 100))
    >>> bool((few == many[:3]).all())
    True
    """

    def __init__(self, count: int, dim: int, seed: np.random.SeedSequence) -> None:
        self.count, self.dim = count, dim
        shards = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(-(-count // SHARD))
        self.streams = [[np.random.default_rng(stream) for stream in shard.spawn(2)] for shard in shards]

    def normal(self) -> Iterator[np.ndarray]:
        """Yield standard normal numbers, shape (count, dim), step after step."""
        return self._steps(lambda rngs: rngs[0].standard_normal((BLOCK, SHARD, self.dim)))

    def uniform(self) -> Iterator[np.ndarray]:
        """Yield numbers uniform in [0, 1), shape (count,), step after step."""
        return self._steps(lambda rngs: rngs[1].random((BLOCK, SHARD)))

    def _steps(self, draw: Callable[[Any], np.ndarray]) -> Iterator[np.ndarray]:
        while True:
            yield from np.concatenate([draw(rngs) for rngs in self.streams], 1)[:, : self.count]


@torch.no_grad()
def trajectories(
    potential: Potential | TimeVarying,
    x: Tensor,
    times: np.ndarray,
    temperature: float,
    step: float,
    seed: np.random.SeedSequence,
    limit: float,
) -> Tensor:
    """Return the path with shape (time, …, trajectory, dim) from x, shape (…, trajectory, dim), at times[0].

    Steps end at every time asked for and at the kinks of a schedule. Trajectories beyond `limit` stay where they are.
    """
    slope, check = gradient_of(potential), getattr(potential, "check_domain", None)
    kinks = [t for t in getattr(getattr(potential, "schedule", None), "kinks", ()) if times[0] < t < times[-1]]
    stops = np.union1d(times, kinks)
    normal = Noise(x.shape[-2], x.shape[-1], seed).normal()
    path = [x]
    for start, end in zip(stops[:-1], stops[1:], strict=True):
        count = _steps_between(start, end, step)
        h = (end - start) / count
        for k in range(count):
            kick = torch.as_tensor(np.sqrt(2 * temperature * h) * next(normal)).to(x)
            gone = ~(x.abs() <= limit).all(-1, keepdim=True)
            ahead = heun(slope, torch.where(gone, torch.zeros_like(x), x), start + k * h, h, kick)
            x = torch.where(gone, x, ahead)
            if check is not None:
                inside = (x.abs() <= limit).all(-1)
                stay_in_domain(check, x[inside], start + (k + 1) * h)
        if end in times:
            path.append(x)
    return torch.stack(path)


def stay_in_domain(check: Callable[[Any], None], x: Tensor, t: float) -> None:
    """Raise `LandscapeError` where noise has carried x, shape (row, dim), out of the domain that `check` knows."""
    try:
        check(x.cpu().numpy())
    except ValueError as error:
        raise LandscapeError(
            f"the noise carries a trajectory out of the domain at t = {t:g}: {error}; lower the temperature, "
            "shorten the run, or take a landscape that is defined everywhere"
        ) from None
