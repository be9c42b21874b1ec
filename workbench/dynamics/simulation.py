r"""Trajectories on a fixed or time-dependent landscape: gradient flow and overdamped Langevin dynamics.

Gradient flow, ẋ = −∇Ψ(x, t), is integrated for all trajectories at once by torchdiffeq, in natural units (see
`scales`). Its adaptive Runge–Kutta methods control the largest error of any trajectory, so that each one meets the
tolerances. For Langevin dynamics, dx = −∇Ψ(x, t) dt + √(2T) dW, see `langevin`.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor
from torchdiffeq import odeint

from workbench.checks import require_temperature
from workbench.dataset import seed_sequence, seed_text
from workbench.dataset.variables import state_labels, variable
from workbench.dynamics import langevin
from workbench.dynamics.scales import Scales, gradient_of
from workbench.errors import SimulationError, SimulationWarning
from workbench.potentials.box import Box
from workbench.potentials.bridge import require_potential, tensor_options
from workbench.potentials.potential import Landscape, Potential, Sampled, TimeVarying, check_domain, units_of

__all__ = ["simulate"]


def simulate(
    potential: Potential | TimeVarying,
    x0: ArrayLike,
    time: ArrayLike,
    *,
    temperature: float | None = None,
    step: float | None = None,
    seed: Any = None,
    method: str = "dopri5",
    rtol: float = 1e-7,
    atol: float = 1e-9,
    limit: float | None = None,
    within: Sequence[tuple[float, float]] | None = None,
    budget: int = 100_000,
    options: dict[str, Any] | None = None,
) -> xr.Dataset:
    """Simulate trajectories by gradient flow, or by overdamped Langevin dynamics at a given temperature.

    The equations are ẋ = −∇Ψ(x, t) and dx = −∇Ψ(x, t) dt + √(2T) dW. Langevin trajectories are reproducible with
    `seed`, and trajectory i does not depend on their number. The error of expectation values is of second order in
    `step`; to check it, repeat the simulation with half the step.

    Parameters
    ----------
    potential : Potential or TimeVarying
        Fixed landscape, or one that changes in time, such as a `Blend`.
    x0 : array_like
        States at ``time[0]``, shape (trajectory, dim), or (dim,) for a single trajectory.
    time : array_like
        Increasing times at which states are returned, shape (time,), at least two.
    temperature : float, optional
        Temperature T > 0, in the units of Ψ; by default there is no thermal noise.
    step : float, optional
        Longest time step of Langevin dynamics, required with `temperature`. It must be well below 2/λ, with λ the
        largest curvature of Ψ along the trajectories.
    seed : int, numpy.random.SeedSequence or None, default: None
        Seed of the noise; None draws one, which is recorded in the attributes.
    method : str, default: "dopri5"
        Integrator of the gradient flow, a method of ``torchdiffeq.odeint``. A schedule with kinks requires one of
        "dopri5", "dopri8", "bosh3", "fehlberg2" and "adaptive_heun", whose steps end at the kinks.
    rtol, atol : float, default: 1e-7 and 1e-9
        Relative and absolute tolerance of adaptive methods, for the distance of a state from the lower corner of the
        box, in units of its sides. It is no finer than what the numbers of the potential resolve.
    limit : float, optional
        A trajectory with a component beyond ±`limit` has blown up. By default it has if it is a million sides of the
        box away from it, and from all initial states; without a box, if it is not finite.
    within : sequence of (float, float), optional
        Box that sets the units of the tolerances, one (low, high) per state. Default: that of the data of a fit, or of
        the system. The tolerances of a potential without a box are relative to the distance from the initial states.
    budget : int, default: 100_000
        Largest number of evaluations of the velocity of the gradient flow.
    options : dict, optional
        Further options of the integrator, passed to ``torchdiffeq.odeint``.

    Returns
    -------
    xarray.Dataset
        Ensembles add a leading dimension ``member``. A trajectory that blows up, or cannot be integrated further, is
        NaN from there on and listed in the attribute ``blown_up_json``; the others are unaffected. Langevin dynamics
        adds the attributes ``temperature``, ``step``, ``seed`` and ``method``. Variables:

        - ``x(trajectory, time, state)``, the states;
        - ``potential(trajectory, time)``, Ψ along each trajectory;
        - ``b(time)``, the schedule of a time-dependent landscape, under the name of its parameter;
        - ``inside_data(trajectory, time)``, for potentials that know the box of their data: False marks an
          extrapolation.

        Units are those of the potential, as far as they are known (see `workbench.dataset`). The attribute ``gauge``
        says that the potential is zero where the given one is.

    Raises
    ------
    TypeError
        If `potential` is neither a potential nor a time-dependent landscape.
    ValueError
        If `x0` has the wrong shape, is not finite or outside the domain of a system; `time` is not finite and strictly
        increasing; `temperature` or `step` is not positive, or `step` or `seed` is given without `temperature`; steps
        of Langevin dynamics are unstable at the initial curvature; or `method` may step over a kink of the schedule.
    LandscapeError
        If thermal noise carries a trajectory out of the domain of a system.
    SimulationError
        If the velocity is not finite at `x0`, or the evaluations exceed `budget`.

    Warns
    -----
    SimulationWarning
        If a trajectory blows up, or steps of Langevin dynamics prove too long for the curvature on the way.

    References
    ----------
    J. R. Dormand, P. J. Prince, J. Comput. Appl. Math. 6, 19-26 (1980), doi:10.1016/0771-050X(80)90013-3.

    R. T. Q. Chen et al., Neural ordinary differential equations, NeurIPS (2018), doi:10.48550/arXiv.1806.07366.

    P. E. Kloeden, E. Platen, Numerical Solution of Stochastic Differential Equations, Springer (1992),
    doi:10.1007/978-3-662-12616-5.

    Examples
    --------
    >>> import systems
    >>> import workbench as wb
    >>> run = wb.simulate(systems.get("gene_circuit", b=1.0), [[0.2, 0.1]], [0.0, 20.0])
    >>> run.x.isel(trajectory=0, time=-1).values.round(4)
    array([1.544 , 0.4056])
    """
    start = np.atleast_2d(np.asarray(x0, dtype=np.float64))
    if not isinstance(potential, TimeVarying):
        potential = require_potential(potential, start.shape[-1])
    _check_start(potential, start)
    times = _times(time)
    rows = torch.tensor(start, dtype=torch.float64, device=tensor_options(_at(potential, times[0]))["device"])
    if potential.members is not None:
        rows = rows.expand(potential.members, *rows.shape).clone()
    _check_velocity(potential, rows, times[0])
    box = None if within is None else Box.of(require_potential(_at(potential, times[0]), potential.states), within)
    scales = Scales.of(potential, rows, times, box=box, limit=limit)
    if temperature is not None:
        return _langevin(potential, rows, times, require_temperature(temperature), step, seed, scales)
    if step is not None or seed is not None:
        raise ValueError("step and seed apply to Langevin dynamics only: set temperature=T as well, or omit them")
    velocity = _Velocity(potential, scales, budget)
    all_options = scales.options({**_method_options(potential, times, method), **(options or {})})
    tolerance = scales.tolerance.clamp_min(atol)

    def integrate(z: Tensor, at: Tensor) -> Tensor:
        own = all_options
        if method in ADAPTIVE_METHODS and "first_step" not in own:
            own = own | {"first_step": scales.first_step(z, velocity(at[0], z), float(at[-1] - at[0]))}
        each = tolerance.expand_as(z)
        flat = each.flatten().cpu().numpy() if method == "scipy_solver" else each
        return odeint(velocity, z, at, rtol=rtol, atol=flat, method=method, options=own)

    with torch.no_grad():
        path = _integrate(integrate, scales.z(rows), torch.tensor(scales.s(times)).to(rows))
    return _dataset(potential, rows, path, times, scales)


def _langevin(
    potential: Landscape | TimeVarying,
    rows: Tensor,
    times: np.ndarray,
    temperature: float,
    step: float | None,
    seed: Any,
    scales: Scales,
) -> xr.Dataset:
    if step is None or not (np.isfinite(step) and step > 0):
        raise ValueError(
            f"Langevin dynamics needs the longest time step, step=… > 0, got {step!r}; it must be well below 2/λ, with "
            "λ the largest curvature of the landscape"
        )
    longest = langevin.longest_step(times, step)
    at_start = rows.to(tensor_options(_at(potential, times[0]))["dtype"])
    curvature = float(_largest_curvature(potential, at_start, times[0]).max())
    if longest * curvature >= 2:
        raise ValueError(
            f"steps of {longest:g} are unstable: they must be well below {2 / curvature:.3g}, which is 2 over the "
            "largest curvature at x0; reduce step"
        )
    sequence = seed_sequence(seed)
    scales = scales.shifted()
    path = langevin.trajectories(potential, scales.z(rows), times, temperature, float(step), sequence, scales)
    run = _dataset(potential, rows, path, times, scales)
    _warn_unstable_steps(potential, run["x"].values, times, longest)
    return run.assign_attrs(
        temperature=temperature, step=float(step), seed=seed_text(sequence), method="stochastic Heun"
    )


def _largest_curvature(potential: Landscape | TimeVarying, x: Tensor, t: float) -> np.ndarray:
    """Return the largest eigenvalue of the Hessian at x, shape (…, trajectory, dim), and time t: (…, trajectory)."""
    return np.linalg.eigvalsh(np.nan_to_num(_at(potential, t).hessian(x).detach().cpu().numpy()))[..., -1]


def _at(potential: Landscape | TimeVarying, t: Any) -> Potential:
    """Return the potential at time t; a fixed landscape is itself."""
    return potential.at(time=t) if isinstance(potential, TimeVarying) else potential


def _warn_unstable_steps(potential: Landscape | TimeVarying, x: np.ndarray, times: np.ndarray, step: float) -> None:
    """Warn if steps are unstable at a state of x, shape (…, time, dim); blown-up trajectories are left out."""
    whole = np.isfinite(x[..., -1, :]).all(-1, keepdims=True)
    for k in np.unique(np.linspace(1, len(times) - 1, CURVATURE_CHECKS).round().astype(int)):
        options = tensor_options(_at(potential, times[k]))
        at = torch.tensor(np.where(whole, x[..., k, :], x[..., 0, :]), **options)
        curvature = float(_largest_curvature(potential, at, times[k]).max())
        if step * curvature >= 2:
            warnings.warn(
                f"steps of {step:g} are too long at t = {times[k]:g}, where the largest curvature is {curvature:.3g}: "
                f"the result is unreliable; choose steps well below {2 / curvature:.3g}",
                SimulationWarning,
                stacklevel=4,
            )
            return


GAUGE = "that of the potential analysed"
CURVATURE_CHECKS = 16  # number of times at which steps are compared with the curvature
STIFF_ADVICE = "For a stiff landscape try method='scipy_solver', options={'solver': 'LSODA'}"


class _Velocity:
    """dz/ds, shape (…, trajectory, dim), zero where a trajectory has blown up; counts its evaluations."""

    def __init__(self, potential: Landscape | TimeVarying, scales: Scales, budget: int) -> None:
        self.gradient, self.scales, self.budget, self.calls = gradient_of(potential), scales, budget, 0
        self.factor = -scales.duration / scales.length

    def __call__(self, s: Tensor, z: Tensor) -> Tensor:
        self.calls += 1
        t = self.scales.t(s)
        if self.calls > self.budget:
            raise SimulationError(
                f"{self.budget} evaluations reach only t = {float(t):g}. {STIFF_ADVICE}, or increase budget"
            )
        gone = self.scales.gone(z).unsqueeze(-1)
        rate = self.factor * self.gradient(self.scales.x(z.masked_fill(gone, 0.0)), t)
        return rate.masked_fill(gone, 0.0)


def _check_velocity(potential: Landscape | TimeVarying, x: Tensor, t: float) -> None:
    """Raise `SimulationError` if the velocity at x, shape (…, trajectory, dim), is not finite."""
    bad = ~torch.isfinite(gradient_of(potential)(x, t)).all(-1)
    if bad.any():
        first = [int(i) for i in torch.nonzero(bad)[0]]
        raise SimulationError(
            f"the velocity is not finite at the start of trajectory {first[-1]}; choose another x0 there"
        )


def _integrate(integrate: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Tensor) -> Tensor:
    """Return trajectories from x, shape (…, trajectory, dim), at the times: (time, …, trajectory, dim).

    Where the step size underflows, bisection finds the trajectories that cause it. These are integrated one by one as
    far as possible and are NaN from there on; the others are unaffected.
    """
    try:
        return integrate(x, times)
    except AssertionError:
        half = x.shape[-2] // 2
        if half:
            return torch.cat(
                [_integrate(integrate, part, times) for part in x.split([half, x.shape[-2] - half], -2)], -2
            )
    path = torch.full((len(times), *x.shape), torch.nan, dtype=x.dtype, device=x.device)
    path[0] = x
    for k in range(1, len(times)):
        try:
            path[k] = integrate(path[k - 1], times[k - 1 : k + 1])[-1]
        except AssertionError:
            break
    return path


def _check_start(potential: Landscape | TimeVarying, start: np.ndarray) -> None:
    """Raise `ValueError` unless states at the start, shape (trajectory, dim), are finite and in the domain."""
    if start.ndim != 2 or start.shape[1] != len(potential.states):
        raise ValueError(f"x0 must have shape (trajectory, {len(potential.states)}), got {start.shape}")
    if not np.isfinite(start).all():
        row = int(np.flatnonzero(~np.isfinite(start).all(-1))[0])
        raise ValueError(f"x0 must be finite, got {start[row]} for trajectory {row}")
    check_domain([potential], start)


def _times(time: ArrayLike) -> np.ndarray:
    times = np.atleast_1d(np.asarray(time, dtype=np.float64))
    if times.ndim != 1 or not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError(f"time must be one-dimensional, finite and strictly increasing; got shape {times.shape}")
    if len(times) < 2:
        raise ValueError(f"time needs at least two entries, of which the first is the time of x0; got {len(times)}")
    return times


ADAPTIVE_METHODS = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")


def _method_options(potential: Landscape | TimeVarying, times: np.ndarray, method: str) -> dict[str, Any]:
    """Return options that make every trajectory meet the tolerances and steps end at the kinks of a schedule."""
    inside = langevin.kinks_between(potential, times)
    if method not in ADAPTIVE_METHODS:
        if inside and isinstance(potential, TimeVarying):
            raise ValueError(
                f"{method} may step over the kinks of {potential.schedule!r}; use one of {', '.join(ADAPTIVE_METHODS)}"
            )
        return {}
    jumps = {"jump_t": torch.tensor(inside, dtype=torch.float64)} if inside else {}
    return {"norm": lambda y: y.abs().max(), **jumps}


def _dataset(
    potential: Landscape | TimeVarying, start: Tensor, path: Tensor, times: np.ndarray, scales: Scales
) -> xr.Dataset:
    """Return trajectories from x, shape (…, trajectory, dim), along z, shape (time, …), as a dataset."""
    states = torch.cat([start.unsqueeze(0), scales.x(path[1:])])
    blown = torch.cat([scales.gone(scales.z(start)).unsqueeze(0), scales.gone(path[1:])])
    gone = np.maximum.accumulate(blown.movedim(0, -1).cpu().numpy(), axis=-1)
    x = states.movedim(0, -2).to(tensor_options(_at(potential, times[0]))["dtype"]).cpu().numpy()
    x = np.where(gone[..., None], np.nan, x)
    dims = (*(() if potential.members is None else ("member",)), "trajectory", "time")
    units = units_of(potential)
    level = np.stack([_at(potential, t).value(x[..., k, :]) for k, t in enumerate(times)], -1)
    variables = {
        "x": variable((*dims, "state"), x, "state", units.of("state")),
        "potential": variable(dims, level, "potential along the trajectory", units.potential),
    }
    if isinstance(potential, TimeVarying):
        values = np.array([float(potential.schedule(t)) for t in times])
        variables[potential.parameter] = variable("time", values, "parameter of the landscape")
    if isinstance(potential, Sampled):
        inside = np.asarray(potential.inside_data(x), dtype=bool)
        variables["inside_data"] = variable(dims, inside, "inside the box of the data")
    coords = state_labels(potential.states, units) | {"time": variable("time", times, "time", units.time)}
    for k, dim in enumerate(dims[:-1]):
        coords[dim] = variable(dim, np.arange(x.shape[k]), dim, "1")
    attrs = {"blown_up_json": json.dumps(_blown_up(gone, times)), "gauge": GAUGE, **units.attrs(), **units.motion()}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _blown_up(gone: np.ndarray, times: np.ndarray) -> list[dict[str, Any]]:
    """Return trajectory, time index (step) and time of each blow-up, and warn; `gone` is (…, trajectory, time)."""
    found = []
    for index in np.argwhere(gone[..., -1]):
        step = int(np.argmax(gone[tuple(index)]))
        member = {"member": int(index[0])} if len(index) > 1 else {}
        found.append({**member, "trajectory": int(index[-1]), "step": step, "time": float(times[step])})
    if found:
        first = found[0]
        warnings.warn(
            f"{len(found)} of {gone[..., -1].size} trajectories blew up, such as trajectory {first['trajectory']} "
            f"before t = {first['time']:g} (time index {first['step']}); they are NaN from there on",
            SimulationWarning,
            stacklevel=4,
        )
    return found
