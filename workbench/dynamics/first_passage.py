r"""First passages from well to well: mean times by simulation, and exactly in one dimension.

In one dimension, from a to b > a, for dx = −Ψ′ dt + √(2T) dW

    τ = (1/T) ∫ₐᵇ dy e^{Ψ(y)/T} ∫₋∞ʸ dz e^{−Ψ(z)/T}.

In simulations a trajectory arrives when it enters a ball around the target. Between two steps at distances d and d′
from the ball a path has been inside with probability exp(−d d′/(T h)), that of a Brownian bridge, which is drawn as
well, and surely where the ball lies between them in one dimension. In more dimensions that takes the rim for flat:
√(2Th) should be small against the radius. Trajectories that have not arrived by the end are censored. The mean is that
of times up to c, the time by which a quarter of the arrivals have happened, and of an exponential law beyond, whose
mean θ is the time spent after c by all over the number D of arrivals after c (maximum likelihood):

    τ̂ = mean(min(τ, c)) + p θ,        θ = Σ (min(τ, end) − c)₊ / D,        p = share beyond c.

Without censoring this is the sample mean, whatever the law.
"""

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson, simpson
from scipy.special import ndtri
from torch import Tensor

from workbench.checks import require_integer, require_temperature
from workbench.dataset import seed_sequence, seed_text
from workbench.dynamics.langevin import Noise, gradient_of, heun, stay_in_domain
from workbench.errors import LandscapeError
from workbench.potentials.ensembles import each_member
from workbench.potentials.potential import Potential, require_potential, rows_of

__all__ = ["first_passage", "first_passage_exact", "mean_time"]

HIGH = 40.0  # of T: beyond such a height nothing counts
FINEST = 2**20  # intervals of the quadrature
AGREED = 1e-9  # relative, between one refinement and the next


def first_passage(
    potential: Potential,
    start: ArrayLike,
    target: ArrayLike,
    temperature: float,
    *,
    radius: float,
    end: float,
    step: float,
    count: int = 1000,
    seed: Any = None,
    confidence: float = 0.95,
    limit: float = 1e6,
) -> xr.Dataset:
    """Return the times at which `count` Langevin trajectories from `start` first come within `radius` of `target`.

    `start` has shape (dim,), `target` too; `temperature` is the temperature, `step` the time step of the method of weak
    order 2 (`langevin`), `end` the time at which those that have not arrived are censored. Trajectory i does not depend
    on how many there are.

    The dataset holds time(trajectory), that of arrival or `end`, arrived(trajectory), and the mean first-passage time
    with its interval(bound) of the given `confidence` (see the module; the interval is symmetric in the logarithm).
    Members of an ensemble, which feel the same noise, have a leading dimension `member`. Fewer than 8 arrivals, a step
    that most arrive in, a trajectory that runs away, and noise that leaves the domain of a system raise
    `LandscapeError`; other requests that make no sense `ValueError`.

    >>> import systems
    >>> well = systems.get("asymmetric_quartic")
    >>> options = {"radius": 0.1, "end": 100.0, "step": 0.1, "count": 64, "seed": 0}
    >>> found = first_passage(well, 1.239, -1.614, 0.15, **options)
    >>> exact = first_passage_exact(well, 1.239, -1.514, 0.15)
    >>> bool(found.interval[0] < exact < found.interval[1])
    True
    """
    require_potential(potential)
    temperature = require_temperature(temperature)
    for name, value in {"radius": radius, "end": end, "step": step}.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite number > 0, got {value!r}")
    require_integer(8, count=count)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share between 0 and 1, got {confidence!r}")
    x0, goal = rows_of(potential, start, "start"), rows_of(potential, target, "target")
    if len(x0) != 1 or len(goal) != 1:
        raise ValueError("start and target are one state each")
    if (x0 - goal).norm() <= radius:
        raise ValueError(f"the start lies within {radius:g} of the target: there is nothing to wait for")
    sequence = seed_sequence(seed)
    members = [potential] if potential.members is None else each_member(potential)
    parts = []
    for one in members:
        numbers = Noise(int(count), len(potential.states), sequence)
        time, arrived = _passages(one, x0, goal, temperature, radius, end, step, numbers, limit)
        parts.append(_dataset(time, arrived, end, confidence))
    found = parts[0] if potential.members is None else xr.concat(parts, "member")
    found = found if potential.members is None else found.assign_coords(member=np.arange(len(parts)))
    return found.assign_attrs(temperature=temperature, step=step, end=end, radius=radius, seed=seed_text(sequence))


@torch.no_grad()
def _passages(
    potential: Potential,
    x0: Tensor,
    goal: Tensor,
    temperature: float,
    radius: float,
    end: float,
    step: float,
    numbers: Noise,
    limit: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of arrival or of the end, shape (trajectory,), and who arrived."""
    slope, normal, uniform = gradient_of(potential), numbers.normal(), numbers.uniform()
    check = getattr(potential, "check_domain", None)
    time, arrived = np.full(numbers.count, float(end)), np.zeros(numbers.count, dtype=bool)
    rows, x = np.arange(numbers.count), x0.expand(numbers.count, -1)
    away = (x - goal).norm(dim=-1) - radius
    steps = int(np.ceil(end / step))
    h = end / steps
    for k in range(steps):
        kick = torch.as_tensor(np.sqrt(2 * temperature * h) * next(normal)[rows]).to(x)
        chance = torch.as_tensor(next(uniform)[rows]).to(x)
        last, x = x, heun(slope, x, k * h, h, kick)
        if not (x.abs() <= limit).all():
            row = int(rows[int(torch.nonzero(~(x.abs() <= limit).all(-1))[0])])
            raise LandscapeError(
                f"trajectory {row} runs away at t = {(k + 1) * h:g}: the potential is unbounded below or not finite "
                f"there, or step={step:g} is too long for its curvature"
            )
        if check is not None:
            stay_in_domain(check, x, (k + 1) * h)
        before, away = away, (x - goal).norm(dim=-1) - radius
        hit = (away <= 0) | (chance < torch.exp(-before * away / (temperature * h)))
        if x.shape[-1] == 1:  # there is no way around
            hit |= ((last - goal) * (x - goal) < 0)[:, 0]
        if hit.any():
            done = hit.cpu().numpy()
            time[rows[done]], arrived[rows[done]] = (k + 0.5) * h, True
            rows, x, away = rows[~done], x[~hit], away[~hit]
            if len(rows) == 0:
                break
    return time, arrived


def mean_time(time: np.ndarray, arrived: np.ndarray) -> tuple[float, float]:
    """Return τ̂ (see the module) from times of arrival or censoring, shape (trajectory,), and its standard error.

    >>> rng = np.random.default_rng(0)
    >>> waited = rng.exponential(10.0, 4000)
    >>> mean, error = mean_time(np.minimum(waited, 5.0), waited < 5.0)
    >>> bool(abs(mean - 10.0) < 2 * error)
    True
    """
    cut = np.quantile(time[arrived], 0.25)
    beyond = time > cut
    theta = (time[beyond] - cut).sum() / (arrived & beyond).sum()
    each = np.minimum(time, cut) + theta * beyond
    variance = each.var(ddof=1) / len(each) + (theta * beyond.mean()) ** 2 / (arrived & beyond).sum()
    return float(each.mean()), float(np.sqrt(variance))


def _dataset(time: np.ndarray, arrived: np.ndarray, end: float, confidence: float) -> xr.Dataset:
    if arrived.sum() < 8:
        raise LandscapeError(
            f"{int(arrived.sum())} of {len(time)} trajectories arrive by t = {end:g}, too few to tell a mean: take a "
            "later end, more of them or a higher temperature"
        )
    if time[arrived].max() == np.quantile(time[arrived], 0.25):
        raise LandscapeError("nearly all arrivals fall into one time step: take a shorter one")
    mean, error = mean_time(time, arrived)
    spread = np.exp(ndtri((1 + confidence) / 2) * error / mean)
    text = f"interval of {confidence:.0%} confidence of the mean"
    variables: dict[str, Any] = {
        "time": ("trajectory", time, {"long_name": "time of arrival, or of the end", "units": "1"}),
        "arrived": ("trajectory", arrived.astype(np.int8), {"long_name": "arrived before the end", "units": "1"}),
        "mean": ((), mean, {"long_name": "mean first-passage time", "units": "1"}),
        "interval": ("bound", np.array([mean / spread, mean * spread]), {"long_name": text, "units": "1"}),
    }
    return xr.Dataset(variables, coords={"trajectory": np.arange(len(time)), "bound": ["low", "high"]})


def first_passage_exact(potential: Potential, start: float, target: float, temperature: float) -> float:
    """Return the mean first-passage time from `start` to `target` at the temperature `temperature`, in one dimension.

    By quadrature of the double integral (see the module), refined until it agrees to 1e-9; away from the target it ends
    where the potential has risen by 40 T, as if a wall stood there. A potential that falls for ever on that side, with
    no such rise before, raises `LandscapeError`.

    >>> import systems
    >>> round(first_passage_exact(systems.get("asymmetric_quartic"), 1.239, -1.614, 0.05), 3)
    1835.456
    """
    require_potential(potential)
    temperature = require_temperature(temperature)
    if len(potential.states) != 1 or potential.members is not None:
        raise ValueError(
            f"the quadrature is for one dimension and a plain potential, got {len(potential.states)} states and "
            f"{potential.members} members; use first_passage(…)"
        )
    a, b = float(start), float(target)
    if not (np.isfinite([a, b]).all() and a != b):
        raise ValueError(f"start and target must be two different finite numbers, got {start!r} and {target!r}")
    sign = 1.0 if b > a else -1.0

    def psi(z: np.ndarray) -> np.ndarray:
        values = np.asarray(potential.value(sign * z[:, None])) / temperature
        if not np.isfinite(values).all():
            raise LandscapeError(f"the potential is not finite between {sign * z[0]:g} and {sign * z[-1]:g}")
        return values

    a, b = sign * a, sign * b
    wall, level = a, psi(np.linspace(a, b, 513))
    for k in range(60):
        far = np.linspace(a - (b - a) * 1.5**k / 8, a, 513)
        heights = psi(far)
        wall = far[0]
        if heights[0] - min(heights.min(), level.min()) > HIGH:
            break
    else:
        raise LandscapeError("the potential does not rise away from the target: it is unbounded below there")
    before = np.nan
    intervals = 1024
    while intervals <= FINEST:
        tail, inner = np.linspace(wall, a, intervals + 1), np.linspace(a, b, intervals + 1)
        low, high = psi(tail), psi(inner)
        floor, top = min(low.min(), high.min()), high.max()
        held = simpson(np.exp(floor - low), x=tail) + cumulative_simpson(np.exp(floor - high), x=inner, initial=0)
        tau = simpson(np.exp(high - top) * held, x=inner) * np.exp(top - floor) / temperature
        if abs(tau - before) <= AGREED * tau:
            return float(tau)
        before, intervals = tau, 2 * intervals
    raise LandscapeError(f"the quadrature does not settle: {before:g} after {FINEST} intervals; is there a jump?")
