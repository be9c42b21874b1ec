r"""Overdamped Langevin dynamics on a fixed or time-dependent landscape: dx = −∇Ψ(x, t) dt + √(2T) dW.

The integrator is the stochastic Heun method (Platen's explicit scheme for additive noise). With time step h and
standard normal ξ,

    x̃ = x − h ∇Ψ(x, t) + √(2Th) ξ,        x ← x − (h/2) (∇Ψ(x, t) + ∇Ψ(x̃, t + h)) + √(2Th) ξ.

It has weak order 2 in h at any time, for time-dependent landscapes too, and in the stationary state, whose distribution
is exp(−Ψ/T)/Z. (The Leimkuhler–Matthews method is cheaper, but has order 2 in the stationary state only.) It is
explicit, and unstable unless h < 2/λ with λ the largest curvature.

Every 64 trajectories have a random stream of their own, so that trajectory i does not depend on the number of
trajectories. All members of an ensemble receive the same noise and differ by their landscapes alone.

References
----------
P. E. Kloeden, E. Platen, Numerical Solution of Stochastic Differential Equations, Springer (1992),
doi:10.1007/978-3-662-12616-5.

B. Leimkuhler, C. Matthews, Appl. Math. Res. eXpress 2013, 34-56 (2013), doi:10.1093/amrx/abs010.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.dynamics.scales import Gradient, Scales, gradient_of
from workbench.errors import LandscapeError
from workbench.potentials.potential import Bounded, Potential, TimeVarying
from workbench.potentials.schedules import Kinked

__all__ = ["Noise", "heun", "kinks_between", "longest_step", "stay_in_domain", "trajectories"]

TRAJECTORIES_PER_STREAM = 64
STEPS_PER_DRAW = 256  # steps whose random numbers are drawn at once


def kinks_between(potential: Potential | TimeVarying, times: np.ndarray) -> list[float]:
    """Return the kinks of a time-dependent landscape strictly between the first and the last of the times.

    Parameters
    ----------
    potential : Potential or TimeVarying
        Fixed landscape, which has none, or time-dependent one.
    times : numpy.ndarray
        Increasing times, shape (time,).

    Returns
    -------
    list of float
        Times of the kinks of its schedule.

    Examples
    --------
    >>> import systems
    >>> import workbench as wb
    >>> well = systems.get("asymmetric_quartic")
    >>> kinks_between(wb.Blend(well, well, wb.Step(0.5)), np.array([0.0, 1.0]))
    [0.5]
    """
    if isinstance(potential, TimeVarying) and isinstance(potential.schedule, Kinked):
        return [t for t in potential.schedule.kinks if times[0] < t < times[-1]]
    return []


def heun(gradient: Gradient, x: Tensor, t: float, h: float, kick: Tensor) -> Tensor:
    """Advance x by one step of the stochastic Heun method.

    Parameters
    ----------
    gradient : callable
        ∇Ψ(x, t), as returned by `scales.gradient_of`.
    x : torch.Tensor
        States at time t, shape (…, trajectory, dim).
    t : float
        Time at the beginning of the step.
    h : float
        Length of the step.
    kick : torch.Tensor
        Noise √(2Th) ξ, same shape as x.

    Returns
    -------
    torch.Tensor
        States at time t + h, same shape as x.
    """
    before = gradient(x, t)
    # Just before t + h, so that a step that ends at a kink of the schedule uses the limit from the left.
    after = gradient(x - h * before + kick, np.nextafter(t + h, t))
    return x - h / 2 * (before + after) + kick


def _step_count(start: float, end: float, step: float) -> int:
    """Return the number of equal steps, none longer than `step`, from start to end."""
    return max(1, int(np.ceil((end - start) / step * (1 - 1e-12))))


def longest_step(times: np.ndarray, step: float) -> float:
    """Return the longest step actually taken if steps of at most `step` end at each of the times, shape (time,).

    Examples
    --------
    >>> longest_step(np.array([0.0, 0.5, 1.5]), 0.4), longest_step(np.array([0.0, 0.1]), 50.0)
    (0.3333333333333333, 0.1)
    """
    return float(max(gap / _step_count(0.0, gap, step) for gap in np.diff(times)))


class Noise:
    """Reproducible random numbers, one stream per 64 trajectories.

    Parameters
    ----------
    count : int
        Number of trajectories.
    dim : int
        Number of state variables.
    seed : numpy.random.SeedSequence
        Seed of all streams.

    Examples
    --------
    >>> few, many = (next(Noise(count, 2, np.random.SeedSequence(0)).normal()) for count in (3, 100))
    >>> bool((few == many[:3]).all())
    True
    """

    def __init__(self, count: int, dim: int, seed: np.random.SeedSequence) -> None:
        self.count, self.dim = count, dim
        fresh = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
        blocks = fresh.spawn(-(-count // TRAJECTORIES_PER_STREAM))
        self._generators = [[np.random.default_rng(stream) for stream in block.spawn(2)] for block in blocks]

    def normal(self) -> Iterator[np.ndarray]:
        """Yield standard normal numbers of shape (count, dim), once per step."""
        return self._steps(lambda rngs: rngs[0].standard_normal((STEPS_PER_DRAW, TRAJECTORIES_PER_STREAM, self.dim)))

    def uniform(self) -> Iterator[np.ndarray]:
        """Yield uniform numbers in [0, 1) of shape (count,), once per step."""
        return self._steps(lambda rngs: rngs[1].random((STEPS_PER_DRAW, TRAJECTORIES_PER_STREAM)))

    def _steps(self, draw: Callable[[Any], np.ndarray]) -> Iterator[np.ndarray]:
        while True:
            yield from np.concatenate([draw(rngs) for rngs in self._generators], 1)[:, : self.count]


@torch.no_grad()
def trajectories(
    potential: Potential | TimeVarying,
    z: Tensor,
    times: np.ndarray,
    temperature: float,
    step: float,
    seed: np.random.SeedSequence,
    scales: Scales,
) -> Tensor:
    """Return Langevin trajectories at the given times, shape (time, …, trajectory, dim), as deviations z = x − o.

    Steps end at each of the times and at the kinks of a schedule.

    Parameters
    ----------
    potential : Potential or TimeVarying
        Fixed or time-dependent landscape.
    z : torch.Tensor
        Deviations x − o at ``times[0]``, shape (…, trajectory, dim).
    times : numpy.ndarray
        Increasing times, shape (time,).
    temperature : float
        Temperature T > 0, in the units of Ψ.
    step : float
        Longest time step.
    seed : numpy.random.SeedSequence
        Seed of the noise.
    scales : Scales
        Origin o of the deviations, whose unit is that of x; a trajectory that is `gone` is held where it is.

    Returns
    -------
    torch.Tensor
        Shape (time, …, trajectory, dim).

    Raises
    ------
    LandscapeError
        If the noise carries a trajectory out of the domain of the potential.
    """
    of_x, stops = gradient_of(potential), np.union1d(times, kinks_between(potential, times))
    bounded = potential if isinstance(potential, Bounded) else None
    normal = Noise(z.shape[-2], z.shape[-1], seed).normal()
    path, gone = [z], scales.gone(z).unsqueeze(-1)

    def gradient(z: Tensor, t: float) -> Tensor:
        return of_x(scales.x(z), t)

    for start, end in zip(stops[:-1], stops[1:], strict=True):
        count = _step_count(start, end, step)
        h = (end - start) / count
        for k in range(count):
            kick = torch.as_tensor(np.sqrt(2 * temperature * h) * next(normal)).to(z)
            ahead = heun(gradient, z.masked_fill(gone, 0.0), start + k * h, h, kick)
            z = torch.where(gone, z, ahead)
            gone = scales.gone(z).unsqueeze(-1)
            if bounded is not None:
                stay_in_domain(bounded, scales.x(z[~gone[..., 0]]), start + (k + 1) * h)
        if end in times:
            path.append(z)
    return torch.stack(path)


def stay_in_domain(potential: Bounded, x: Tensor, t: float) -> None:
    """Raise `LandscapeError` if states x at time t, shape (row, dim), lie outside the domain of the potential."""
    try:
        potential.check_domain(x.cpu().numpy())
    except ValueError as error:
        raise LandscapeError(
            f"the noise carries a trajectory out of the domain at t = {t:g}: {error}; lower the temperature, "
            "shorten the run, or use a landscape that is defined everywhere"
        ) from None
