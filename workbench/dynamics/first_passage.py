r"""Mean first-passage times of overdamped Langevin dynamics by simulation.

A trajectory arrives when it enters a ball around the target. A trajectory at distances d and d′ from
the ball at the two ends of a step has been inside in between with probability exp(−d d′/(T h)), that of a Brownian
bridge, and such passages are drawn at random; in one dimension a trajectory that has passed to the other side of the
target has arrived with certainty. In more dimensions this neglects the curvature of the ball, so √(2Th) should be small
compared with its radius. Trajectories that have not arrived by the end are censored. The estimated mean consists of the
times up to c, the lower quartile of the arrival times, and an exponential distribution of mean θ beyond:

    τ̂ = mean(min(τ, c)) + p θ,        θ = Σ (min(τ, end) − c)₊ / D,

where p is the fraction of trajectories beyond c and D the number of arrivals after c; θ is its maximum-likelihood
estimate. Without censoring τ̂ is the sample mean, whatever the distribution.
"""

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.special import ndtri
from torch import Tensor

from workbench.checks import require_integer, require_temperature
from workbench.dataset import seed_sequence, seed_text
from workbench.dataset.variables import variable
from workbench.dynamics.langevin import Noise, heun, stay_in_domain
from workbench.dynamics.scales import FAR, gradient_of
from workbench.errors import LandscapeError
from workbench.potentials.box import box_of
from workbench.potentials.bridge import require_potential, rows_of
from workbench.potentials.ensembles import each_member
from workbench.potentials.potential import Bounded, Potential, units_of

__all__ = ["first_passage", "mean_time"]

FEWEST_ARRIVALS = 8


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
    limit: float | None = None,
) -> xr.Dataset:
    """Simulate first-passage times from a state to a ball around another, and estimate their mean.

    `count` Langevin trajectories leave `start` and stop within `radius` of `target`, or at time `end`. The estimate of
    the mean accounts for those that have not arrived (see `workbench.dynamics.first_passage`). Trajectory i does not
    depend on the number of trajectories, and all members of an ensemble receive the same noise.

    Parameters
    ----------
    potential : Potential
        Landscape; each member of an ensemble has its own passages.
    start, target : array_like
        Starting point and centre of the ball, shape (dim,).
    temperature : float
        Temperature T > 0, in the units of Ψ.
    radius : float
        Radius of the ball around `target`, in the units of x.
    end : float
        Time at which trajectories that have not arrived are censored.
    step : float
        Longest time step of the integrator, of weak order 2 (see `langevin`).
    count : int, default: 1000
        Number of trajectories, at least 8.
    seed : int, numpy.random.SeedSequence or None, default: None
        Seed of the noise; None draws one, which is recorded in the attributes.
    confidence : float, default: 0.95
        Confidence level of the interval, between 0 and 1.
    limit : float, optional
        A trajectory with a component beyond ±`limit` has diverged. By default it has if it is farther from `start` than
        a million distances to `target`, or sides of the box of the potential, if it has one and they are longer.

    Returns
    -------
    xarray.Dataset
        Ensembles add a leading dimension ``member``. The attributes ``temperature``, ``radius``, ``step``, ``end`` and
        ``seed`` record the arguments. Variables:

        - ``time(trajectory)``, the time of arrival, which is the middle of a time step, or `end`;
        - ``arrived(trajectory)``, whether a trajectory arrived, and was not censored, boolean;
        - ``mean``, the mean first-passage time;
        - ``interval(bound)``, its confidence interval, symmetric in the logarithm.

        Times have the unit of time of the potential, if it is known.

    Raises
    ------
    TypeError
        If `potential` is not a potential, or changes in time.
    ValueError
        If `temperature`, `radius`, `end` or `step` is not a finite positive number, `count` is below 8, `confidence` is
        not between 0 and 1, `start` or `target` is not a finite state, or `start` is within `radius` of `target`.
    LandscapeError
        If fewer than 8 trajectories arrive, most arrivals fall within one time step, a trajectory diverges, or the
        noise carries one out of the domain of a system.

    References
    ----------
    E. Gobet, Stoch. Process. Appl. 87, 167-197 (2000), doi:10.1016/S0304-4149(99)00109-X.

    P. E. Kloeden, E. Platen, Numerical Solution of Stochastic Differential Equations, Springer (1992),
    doi:10.1007/978-3-662-12616-5.

    Examples
    --------
    >>> import systems
    >>> from workbench.dynamics.first_passage_exact import first_passage_exact
    >>> well = systems.get("asymmetric_quartic")
    >>> options = {"radius": 0.1, "end": 100.0, "step": 0.1, "count": 64, "seed": 0}
    >>> found = first_passage(well, 1.239, -1.614, 0.15, **options)
    >>> exact = first_passage_exact(well, 1.239, -1.514, 0.15)
    >>> bool(found.interval[0] < exact < found.interval[1])
    True
    """
    potential = require_potential(potential, np.atleast_2d(start).shape[-1])
    temperature = require_temperature(temperature)
    for name, value in {"radius": radius, "end": end, "step": step}.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite number > 0, got {value!r}")
    require_integer(FEWEST_ARRIVALS, count=count)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
    x0, centre = rows_of(potential, start, "start").double(), rows_of(potential, target, "target").double()
    if len(x0) != 1 or len(centre) != 1:
        raise ValueError(f"start and target must be one state each, got {len(x0)} and {len(centre)}")
    if (x0 - centre).norm() <= radius:
        raise ValueError(
            f"start lies within radius = {radius:g} of target: no time passes; reduce radius or move start"
        )
    sequence = seed_sequence(seed)
    members, units = [potential] if potential.members is None else each_member(potential), units_of(potential)
    parts = []
    for one in members:
        noise = Noise(int(count), len(potential.states), sequence)
        time, arrived = _passages(one, x0, centre, temperature, radius, end, step, noise, limit)
        parts.append(_dataset(time, arrived, end, confidence, units.time))
    found = parts[0] if potential.members is None else xr.concat(parts, "member")
    if potential.members is not None:
        found = found.assign_coords(member=variable("member", np.arange(len(parts)), "member", "1"))
    settings = {"temperature": temperature, "step": step, "end": end, "radius": radius, "seed": seed_text(sequence)}
    return found.assign_attrs(**settings, **units.attrs(), **units.motion())


@torch.no_grad()
def _passages(
    potential: Potential,
    x0: Tensor,
    centre: Tensor,
    temperature: float,
    radius: float,
    end: float,
    step: float,
    noise: Noise,
    limit: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of arrival, or of the end, and whether each trajectory arrived, both of shape (trajectory,)."""
    of_x, normal, uniform = gradient_of(potential), noise.normal(), noise.uniform()
    bounded = potential if isinstance(potential, Bounded) else None
    time, arrived = np.full(noise.count, float(end)), np.zeros(noise.count, dtype=bool)
    rows, z, way = np.arange(noise.count), torch.zeros_like(x0).expand(noise.count, -1), centre - x0  # z = x − x0
    distance = (z - way).norm(dim=-1) - radius
    low, high = box_of(potential)
    reach = FAR * torch.fmax((high - low).to(way), way.norm())

    def gradient(z: Tensor, t: float) -> Tensor:
        return of_x(x0 + z, t)

    steps = int(np.ceil(end / step))
    h = end / steps
    for k in range(steps):
        kick = torch.as_tensor(np.sqrt(2 * temperature * h) * next(normal)[rows]).to(z)
        chance = torch.as_tensor(next(uniform)[rows]).to(z)
        last, z = z, heun(gradient, z, k * h, h, kick)
        near = ((z.abs() <= reach) if limit is None else ((x0 + z).abs() <= limit)).all(-1)
        if not near.all():
            row = int(rows[int(torch.nonzero(~near)[0])])
            raise LandscapeError(
                f"trajectory {row} diverges at t = {(k + 1) * h:g}: the potential is unbounded below or not finite "
                f"there, or step={step:g} is too long for its curvature"
            )
        if bounded is not None:
            stay_in_domain(bounded, x0 + z, (k + 1) * h)
        previous, distance = distance, (z - way).norm(dim=-1) - radius
        hit = (distance <= 0) | (chance < torch.exp(-previous * distance / (temperature * h)))
        if z.shape[-1] == 1:  # a continuous path cannot go around the ball
            hit |= ((last - way) * (z - way) < 0)[:, 0]
        if hit.any():
            done = hit.cpu().numpy()
            time[rows[done]], arrived[rows[done]] = (k + 0.5) * h, True
            rows, z, distance = rows[~done], z[~hit], distance[~hit]
            if len(rows) == 0:
                break
    return time, arrived


def mean_time(time: np.ndarray, arrived: np.ndarray) -> tuple[float, float]:
    """Return the estimate τ̂ of the mean first-passage time (see the module docstring) and its standard error.

    Parameters
    ----------
    time : numpy.ndarray
        Times of arrival or censoring, shape (trajectory,).
    arrived : numpy.ndarray
        Whether each time is one of arrival, shape (trajectory,).

    Examples
    --------
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


def _dataset(time: np.ndarray, arrived: np.ndarray, end: float, confidence: float, unit: str | None) -> xr.Dataset:
    if arrived.sum() < FEWEST_ARRIVALS:
        raise LandscapeError(
            f"{int(arrived.sum())} of {len(time)} trajectories arrive by t = {end:g}, fewer than the {FEWEST_ARRIVALS} "
            "needed to estimate the mean: increase end, count or temperature"
        )
    if time[arrived].max() == np.quantile(time[arrived], 0.25):
        raise LandscapeError("most arrivals fall within one time step: reduce step")
    mean, error = mean_time(time, arrived)
    factor = np.exp(ndtri((1 + confidence) / 2) * error / mean)
    text = f"{confidence:.0%} confidence interval of the mean"
    variables = {
        "time": variable("trajectory", time, "time of arrival or censoring", unit),
        "arrived": variable("trajectory", arrived, "arrived before the end"),
        "mean": variable((), mean, "mean first-passage time", unit),
        "interval": variable("bound", np.array([mean / factor, mean * factor]), text, unit),
    }
    number = variable("trajectory", np.arange(len(time)), "trajectory", "1")
    return xr.Dataset(variables, coords={"trajectory": number, "bound": ["low", "high"]})
