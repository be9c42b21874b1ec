r"""First passages of the asymmetric double well (Eq 8), from its shallow well to its deep one, and the weak order.

The expectation of f after many steps of the integrator needs no simulation in one dimension: with
u(x, t) = E[f(x(end)) | x(t) = x] on a grid, every step backwards is a Gauss–Hermite quadrature over its noise,

    u(x, t) = Σₖ wₖ u(x′(x, ξₖ), t + h),        x′ = a step of length h from x with the noise ξₖ.

The error of u(x, 0), halving h, is then free of sampling error.
"""

from typing import Any

import numpy as np
import xarray as xr

import systems
import workbench as wb
from workbench.parallel import Report

__all__ = ["laws", "passage", "refinement"]

RADIUS = 0.1  # of the ball around the deep well in which a trajectory has arrived
STEP = 0.1
T = 0.1  # temperature of the refinement


def passage(height: float, count: int, end: float, seed: np.random.SeedSequence, report: Report) -> xr.Dataset:
    """Return the mean first-passage time at a barrier of `height` T, by simulation and by quadrature."""
    well, (deep, shallow), barrier = _well()
    options = {"radius": RADIUS, "end": end, "step": STEP, "count": count, "seed": seed}
    run = wb.first_passage(well, shallow, deep, barrier / height, **options)
    report(1, 1, "arrived")
    exact = wb.first_passage_exact(well, shallow, deep + RADIUS, barrier / height)
    found = run[["mean", "interval"]].assign(temperature=barrier / height, exact=exact, arrived=run["arrived"].mean())
    texts = {
        "temperature": "temperature",
        "exact": "mean first-passage time by quadrature",
        "arrived": "share that arrived before the end",
    }
    for name, text in texts.items():
        found[name].attrs = {"long_name": text, "units": "1"}
    return found


def laws() -> xr.Dataset:
    """Return the mean time from well to well over the height of the barrier: exact, and by Kramers."""
    well, (deep, shallow), barrier = _well()
    heights = np.linspace(1, 12, 12)
    points = wb.stationary_points(well, well.box)
    found = wb.rates(well, well.box, barrier / heights[-1], points=points)
    prefactor = float(found["time"][2].min()) * np.exp(-heights[-1])
    kramers = prefactor * np.exp(heights)  # only the exponential knows T
    exact = [wb.first_passage_exact(well, shallow, deep, barrier / h) for h in heights]
    variables: dict[str, Any] = {
        "exact": ("height", exact, {"long_name": "mean first-passage time by quadrature", "units": "1"}),
        "kramers": ("height", kramers, {"long_name": "mean first-passage time by Kramers", "units": "1"}),
    }
    table = xr.Dataset(variables, coords={"height": heights})
    table["height"].attrs = {"long_name": "barrier over temperature", "units": "1"}
    return table


def refinement(halvings: int, report: Report) -> xr.Dataset:
    """Return the largest error of E[tanh x + x²/2] at t = 1 over starts in [−2, 1.5], for shorter and shorter steps."""
    steps = 2.0 ** -np.arange(3, 5 + halvings)
    expected = [_expectation(float(h), 1.0) for h in steps]
    limit = expected[-1] + (expected[-1] - expected[-2]) / 3  # Richardson
    error = [np.abs(u - limit).max() for u in expected[:-2]]
    report(1, 1, "refined")
    label = {"long_name": "largest error of an expectation at t = 1", "units": "1"}
    found = xr.Dataset({"error": ("step", error, label)}, coords={"step": steps[:-2]})
    found["step"].attrs = {"long_name": "time step", "units": "1"}
    return found


def _expectation(h: float, end: float) -> np.ndarray:
    """Return E[f(x(end)) | x(0) = node] under the integrator, at the nodes in [−2, 1.5]."""
    import torch
    from scipy.interpolate import CubicSpline

    from workbench.dynamics.langevin import gradient_of, heun

    nodes = np.linspace(-3.2, 2.8, 601)
    xi, weight = np.polynomial.hermite_e.hermegauss(12)
    x = torch.as_tensor(nodes)[None, :, None].expand(len(xi), -1, -1)
    kick = torch.as_tensor(np.sqrt(2 * T * h) * xi)[:, None, None].expand(-1, len(nodes), -1)
    moved = heun(gradient_of(systems.get("asymmetric_quartic")), x, 0.0, h, kick)[..., 0]
    ahead = moved.clamp(nodes[0], nodes[-1]).numpy()
    u = np.tanh(nodes) + nodes**2 / 2
    for _ in range(round(end / h)):
        u = weight / weight.sum() @ CubicSpline(nodes, u)(ahead)
    return u[(nodes >= -2) & (nodes <= 1.5)]


def _well() -> tuple[Any, tuple[float, float], float]:
    """Return the double well, its deep and its shallow minimum, and the barrier from the shallow one."""
    well = systems.get("asymmetric_quartic")
    points = wb.stationary_points(well, well.box, starts=32)
    deep, shallow, _ = points["x"].values[:, 0]
    return well, (float(deep), float(shallow)), float(points["potential"][2] - points["potential"][1])
