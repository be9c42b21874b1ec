"""First passages of the asymmetric double well (Eq 8 of Jones et al. 2025), and the weak order of the integrator.

First passages lead from the shallow well to the deep one. In one dimension, the expectation of f after many steps of
the integrator can be computed without simulation. With u(x, t) = E[f(x(end)) | x(t) = x] on a grid, every step
backwards in time is a Gauss–Hermite quadrature over the noise,

    u(x, t) = Σₖ wₖ u(x′(x, ξₖ), t + h),        x′ = state after a step of length h from x with the noise ξₖ.

The error of u(x, 0) as a function of h is then free of sampling error.

References: H. A. Kramers, Physica 7, 284–304 (1940), doi:10.1016/S0031-8914(40)90098-2; H. Risken, The Fokker–Planck
Equation, Springer (1996), doi:10.1007/978-3-642-61544-3.
"""

from typing import Any

import numpy as np
import xarray as xr

import systems
import workbench as wb
from workbench.dataset.variables import variable
from workbench.parallel import Report

__all__ = ["laws", "passage", "refinement"]

ARRIVAL_RADIUS = 0.1  # distance to the deep well at which a trajectory has arrived
TIME_STEP = 0.1  # of simulated passages
TEMPERATURE = 0.1  # of the refinement


def passage(height: float, count: int, end: float, seed: np.random.SeedSequence, report: Report) -> xr.Dataset:
    """Return the mean first-passage time over a barrier of `height` T, by simulation and by quadrature."""
    well, (deep, shallow), barrier = _well()
    options = {"radius": ARRIVAL_RADIUS, "end": end, "step": TIME_STEP, "count": count, "seed": seed}
    run = wb.first_passage(well, shallow, deep, barrier / height, **options)
    report(1, 1, "arrived")
    exact = wb.first_passage_exact(well, shallow, deep + ARRIVAL_RADIUS, barrier / height)
    units, arrived = well.units, float(run["arrived"].mean())
    return run[["mean", "interval"]].assign(
        temperature=variable((), barrier / height, "temperature", units.of("potential")),
        exact=variable((), exact, "mean first-passage time by quadrature", units.of("time")),
        arrived=variable((), arrived, "fraction of trajectories that arrived in time", "1"),
    )


def laws() -> xr.Dataset:
    """Return the mean time from well to well over the barrier height: exact, and by Kramers' formula."""
    well, (deep, shallow), barrier = _well()
    heights = np.linspace(1, 12, 12)
    points = wb.stationary_points(well, well.box)
    found = wb.rates(well, well.box, barrier / heights[-1], points=points)
    prefactor = float(found["time"][2].min()) * np.exp(-heights[-1])
    kramers = prefactor * np.exp(heights)  # only the exponential depends on T
    exact = [wb.first_passage_exact(well, shallow, deep, barrier / h) for h in heights]
    time = well.units.of("time")
    variables = {
        "exact": variable("height", exact, "mean first-passage time by quadrature", time),
        "kramers": variable("height", kramers, "mean first-passage time by Kramers' formula", time),
    }
    coords = {"height": variable("height", heights, "barrier over temperature", "1")}
    sentence = "Mean time from the shallow to the deep well of the double well (Eq 8), exact and by Kramers' formula"
    return xr.Dataset(variables, coords, {"description": f"{sentence}, over the barrier."})


def refinement(halvings: int, report: Report) -> xr.Dataset:
    """Return the error of E[tanh x + x²/2] at t = 1, largest over initial states in [−2, 1.5], over the time step."""
    steps = 2.0 ** -np.arange(3, 5 + halvings)
    expected = [_expectation(float(h), 1.0) for h in steps]
    limit = expected[-1] + (expected[-1] - expected[-2]) / 3  # Richardson extrapolation
    error = [np.abs(u - limit).max() for u in expected[:-2]]
    report(1, 1, "refined")
    time = systems.get("asymmetric_quartic").units.of("time")
    return xr.Dataset(
        {"error": variable("step", error, "largest error of an expectation at t = 1", "1")},
        {"step": variable("step", steps[:-2], "time step", time)},
        {"description": "Weak error of the integrator on the double well (Eq 8), over the time step."},
    )


def _expectation(h: float, end: float) -> np.ndarray:
    """Return E[f(x(end)) | x(0) = node] for steps of length h, at the nodes in [−2, 1.5]."""
    import torch
    from scipy.interpolate import CubicSpline

    from workbench.dynamics.langevin import heun
    from workbench.dynamics.scales import gradient_of

    nodes = np.linspace(-3.2, 2.8, 601)
    xi, weight = np.polynomial.hermite_e.hermegauss(12)
    x = torch.as_tensor(nodes)[None, :, None].expand(len(xi), -1, -1)
    kick = torch.as_tensor(np.sqrt(2 * TEMPERATURE * h) * xi)[:, None, None].expand(-1, len(nodes), -1)
    moved = heun(gradient_of(systems.get("asymmetric_quartic")), x, 0.0, h, kick)[..., 0]
    ahead = moved.clamp(nodes[0], nodes[-1]).numpy()
    u = np.tanh(nodes) + nodes**2 / 2
    for _ in range(round(end / h)):
        u = weight / weight.sum() @ CubicSpline(nodes, u)(ahead)
    return u[(nodes >= -2) & (nodes <= 1.5)]


def _well() -> tuple[Any, tuple[float, float], float]:
    """Return the double well, its deep and its shallow minimum, and the barrier above the shallow one."""
    well = systems.get("asymmetric_quartic")
    points = wb.stationary_points(well, well.box, starts=32)
    deep, shallow, _ = points["x"].values[:, 0]
    return well, (float(deep), float(shallow)), float(points["potential"][2] - points["potential"][1])
