"""Motion on a landscape: the gradient flow ẋ = −∇Ψ(x), or with ∇Ψ_b(t) where it changes in time, and noise."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor
from torchdiffeq import odeint

from workbench.checks import require_temperature
from workbench.dataset import seed_sequence, seed_text
from workbench.dynamics import langevin
from workbench.errors import SimulationError, SimulationWarning
from workbench.potentials.potential import Potential, TimeVarying, check_domain, require_potential

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
    limit: float = 1e6,
    budget: int = 100_000,
    options: dict[str, Any] | None = None,
) -> xr.Dataset:
    """Return trajectories of dx = −∇Ψ dt from x0, shape (trajectory, dim), at the given times, shape (time,).

    x0 is the state at `time[0]`. All trajectories are integrated at once by a method of torchdiffeq; its adaptive
    Runge–Kutta methods hold each to the tolerances on its own. The result has x(trajectory, time, state), the potential
    along the way, b(time) where the landscape is a `Blend`, inside_data where the potential knows the box of its data,
    and a leading `member` axis for an ensemble.

    With `temperature`, the temperature T > 0, they are Langevin trajectories dx = −∇Ψ dt + √(2T) dW by a method of weak
    order 2 (see `langevin`) with steps no longer than `step`; `seed` makes them repeatable, and trajectory i does not
    depend on how many there are. The step is chosen so that the error in what you ask for is small: halve it and
    compare. Steps of 2 over the steepest curvature at the starts, with which the method diverges, raise `ValueError`;
    where the curvature grows so steep on the way, a `SimulationWarning` tells. The options of the adaptive methods have
    no meaning then.

    A trajectory that leaves |x| ≤ `limit`, or that cannot be integrated further, has blown up: it is NaN from there on,
    named in a `SimulationWarning` and in the attribute `blown_up_json`, and the others are kept. Starts of another
    shape, not finite, or outside a system's domain raise `ValueError`, and so does noise that carries one out of it;
    a velocity that is not finite at the start, and
    more than `budget` evaluations, `SimulationError`.

    >>> import systems, workbench as wb
    >>> run = wb.simulate(systems.get("gene_circuit", b=1.0), [[0.2, 0.1]], [0.0, 20.0])
    >>> run.x.isel(trajectory=0, time=-1).values.round(4)
    array([1.544 , 0.4056])
    """
    if not isinstance(potential, TimeVarying):
        require_potential(potential)
    start, times = _start(potential, x0), _times(time)
    rows = torch.tensor(start).to(
        getattr(potential, "device", None) or "cpu", getattr(potential, "dtype", torch.float64)
    )
    if potential.members is not None:
        rows = rows.expand(potential.members, *rows.shape).clone()
    velocity = _Velocity(potential, limit, budget)
    velocity.check_start(rows, times[0])
    if temperature is not None:
        return _noisy(potential, rows, times, require_temperature(temperature), step, seed, limit)
    if step is not None or seed is not None:
        raise ValueError("step and seed belong to Langevin dynamics: give temperature=T as well, or leave them out")
    given = {**_method_options(potential, times, method), **(options or {})}

    def integrate(y: Tensor, moments: Tensor) -> Tensor:
        return odeint(velocity, y, moments, rtol=rtol, atol=atol, method=method, options=given)

    with torch.no_grad():
        path = _integrate(integrate, rows, torch.tensor(times).to(rows))
    return _dataset(potential, torch.movedim(path, 0, -2).cpu().numpy(), times, limit)


def _noisy(
    potential: Potential | TimeVarying,
    rows: Tensor,
    times: np.ndarray,
    temperature: float,
    step: float | None,
    seed: Any,
    limit: float,
) -> xr.Dataset:
    if step is None or not (np.isfinite(step) and step > 0):
        raise ValueError(
            f"Langevin dynamics needs the longest time step, step=… > 0, got {step!r}; it must be well "
            "below 2 over the steepest curvature of the landscape"
        )
    longest = langevin.longest_step(times, step)
    steepest = float(_steepest(potential, rows, times[0]).max())
    if longest * steepest >= 2:
        raise ValueError(
            f"steps of {longest:g} diverge: they must be well below {2 / steepest:.3g}, which is 2 over the steepest "
            "curvature at the starts; choose a shorter step"
        )
    sequence = seed_sequence(seed)
    path = langevin.trajectories(potential, rows, times, temperature, float(step), sequence, limit)
    run = _dataset(potential, torch.movedim(path, 0, -2).cpu().numpy(), times, limit)
    _tell_steep(potential, run["x"].values, times, longest)
    return run.assign_attrs(
        temperature=temperature, step=float(step), seed=seed_text(sequence), method="stochastic Heun"
    )


def _steepest(potential: Potential | TimeVarying, x: Tensor, t: float) -> np.ndarray:
    """Return the largest eigenvalue of the Hessian at x, shape (…, trajectory, dim), and time t: (…, trajectory)."""
    fixed = potential.at(time=t) if isinstance(potential, TimeVarying) else potential
    return np.linalg.eigvalsh(np.nan_to_num(fixed.hessian(x).detach().cpu().numpy()))[..., -1]


def _tell_steep(potential: Potential | TimeVarying, x: np.ndarray, times: np.ndarray, step: float) -> None:
    """Warn where a trajectory that did not blow up met a curvature too steep for its steps, at `LOOKS` of the times."""
    whole = np.isfinite(x[..., -1, :]).all(-1, keepdims=True)
    for k in np.unique(np.linspace(1, len(times) - 1, LOOKS).round().astype(int)):
        at = torch.tensor(np.where(whole, x[..., k, :], x[..., 0, :]))
        at = at.to(getattr(potential, "device", None) or "cpu", getattr(potential, "dtype", torch.float64))
        steepest = float(_steepest(potential, at, times[k]).max())
        if step * steepest >= 2:
            warnings.warn(
                f"steps of {step:g} are too long at t = {times[k]:g}, where the steepest curvature is {steepest:.3g}: "
                f"do not trust the result; choose steps well below {2 / steepest:.3g}",
                SimulationWarning,
                stacklevel=4,
            )
            return


LOOKS = 16  # times at which the curvature is compared with the step
_STIFF = "For a stiff landscape try method='scipy_solver', options={'solver': 'LSODA'}"


class _Velocity:
    """−∇Ψ(x, t), held at zero where a trajectory has blown up, with a budget of evaluations."""

    def __init__(self, potential: Potential | TimeVarying, limit: float, budget: int) -> None:
        self.potential, self.limit, self.budget, self.calls = potential, limit, budget, 0

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > self.budget:
            raise SimulationError(
                f"{self.budget} evaluations reach t = {float(t):g} only. {_STIFF}, or a larger budget"
            )
        gone = ~(x.abs() <= self.limit).all(-1, keepdim=True)
        velocity = -self._gradient(torch.where(gone, torch.zeros_like(x), x), t)
        return torch.where(gone, torch.zeros_like(x), velocity)

    def check_start(self, x: Tensor, t: float) -> None:
        bad = ~torch.isfinite(self._gradient(x, torch.as_tensor(t).to(x))).all(-1)
        if bad.any():
            first = [int(i) for i in torch.nonzero(bad)[0]]
            raise SimulationError(
                f"the velocity is not finite at the start of trajectory {first[-1]}; choose another start"
            )

    def _gradient(self, x: Tensor, t: Tensor) -> Tensor:
        if isinstance(self.potential, TimeVarying):
            return self.potential.at(time=t).gradient(x)
        return self.potential.gradient(x)


def _integrate(integrate: Callable[[Tensor, Tensor], Tensor], x: Tensor, moments: Tensor) -> Tensor:
    """Return the path with shape (time, …, trajectory, dim); where a step size vanishes, the guilty trajectories alone.

    Trajectories that stop the integrator are found by halving, and taken as far as they go: NaN from there on.
    """
    try:
        return integrate(x, moments)
    except AssertionError:
        half = x.shape[-2] // 2
        if half:
            return torch.cat(
                [_integrate(integrate, part, moments) for part in x.split([half, x.shape[-2] - half], -2)], -2
            )
    path = torch.full((len(moments), *x.shape), torch.nan, dtype=x.dtype, device=x.device)
    path[0] = x
    for k in range(1, len(moments)):
        try:
            path[k] = integrate(path[k - 1], moments[k - 1 : k + 1])[-1]
        except AssertionError:
            break
    return path


def _start(potential: Potential | TimeVarying, x0: ArrayLike) -> np.ndarray:
    start = np.atleast_2d(np.asarray(x0, dtype=np.float64))
    if start.ndim != 2 or start.shape[1] != len(potential.states):
        raise ValueError(f"expected starts with shape (trajectory, {len(potential.states)}), got {np.shape(x0)}")
    if not np.isfinite(start).all():
        row = int(np.flatnonzero(~np.isfinite(start).all(-1))[0])
        raise ValueError(f"start {row} is not finite: {start[row]}")
    check_domain([potential], start)
    return start


def _times(time: ArrayLike) -> np.ndarray:
    times = np.atleast_1d(np.asarray(time, dtype=np.float64))
    if times.ndim != 1 or not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError("time must be one-dimensional, finite and strictly increasing")
    if len(times) < 2:
        raise ValueError("time needs at least two entries, the first of which is that of the start")
    return times


ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")


def _method_options(potential: Potential | TimeVarying, times: np.ndarray, method: str) -> dict[str, Any]:
    """Return options by which every trajectory keeps the tolerances and no step straddles a kink of the schedule."""
    schedule = getattr(potential, "schedule", None)
    inside = [t for t in getattr(schedule, "kinks", ()) if times[0] < t < times[-1]]
    if method not in ADAPTIVE:
        if inside:
            raise ValueError(f"{method} may step over the kinks of {schedule!r}; use one of {', '.join(ADAPTIVE)}")
        return {}
    jumps = {"jump_t": torch.tensor(inside, dtype=torch.float64)} if inside else {}
    return {"norm": lambda y: y.abs().max(), **jumps}


def _dataset(potential: Potential | TimeVarying, x: np.ndarray, times: np.ndarray, limit: float) -> xr.Dataset:
    gone = ~(np.abs(x) <= limit).all(-1)
    gone = np.maximum.accumulate(gone, axis=-1)
    x = np.where(gone[..., None], np.nan, x)
    lead = () if potential.members is None else ("member",)
    dims = (*lead, "trajectory", "time")
    coords = {"trajectory": np.arange(x.shape[-3]), "time": times, "state": list(potential.states)}
    if lead:
        coords["member"] = np.arange(x.shape[0])
    moments = [potential.at(time=t) if isinstance(potential, TimeVarying) else potential for t in times]
    level = np.stack([psi.value(x[..., k, :]) for k, psi in enumerate(moments)], -1)
    variables: dict[str, Any] = {
        "x": ((*dims, "state"), x, {"long_name": "state", "units": "1"}),
        "potential": (dims, level, {"long_name": "potential along the trajectory", "units": "1"}),
    }
    if isinstance(potential, TimeVarying):
        b = np.array([float(potential.schedule(t)) for t in times])
        variables["b"] = ("time", b, {"long_name": "parameter of the blend", "units": "1"})
    inside = getattr(potential, "inside_data", None)
    if inside is not None:
        flags = np.asarray(inside(x)).astype(np.int8)
        variables["inside_data"] = (dims, flags, {"long_name": "inside the box of the data", "units": "1"})
    data = xr.Dataset(variables, coords=coords, attrs={"blown_up_json": json.dumps(_blown_up(gone, times))})
    data["time"].attrs = {"long_name": "time", "units": "1"}
    return data


def _blown_up(gone: np.ndarray, times: np.ndarray) -> list[dict[str, Any]]:
    """Return trajectory, time and step of every blow-up, with a warning that names the first."""
    found = []
    for index in np.argwhere(gone[..., -1]):
        step = int(np.argmax(gone[tuple(index)]))
        member = {"member": int(index[0])} if len(index) > 1 else {}
        found.append({**member, "trajectory": int(index[-1]), "step": step, "time": float(times[step])})
    if found:
        first = found[0]
        warnings.warn(
            f"{len(found)} trajectories blew up, the first: trajectory {first['trajectory']} before "
            f"t = {first['time']:g} (step {first['step']}); they are NaN from there on",
            SimulationWarning,
            stacklevel=4,
        )
    return found
