"""Langevin dynamics: Boltzmann distribution, weak order, and an independent solution of the backward equation."""

import json

import numpy as np
import pytest
import torch
from conftest import random_model
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded

import systems
import workbench as wb
from workbench.dynamics.langevin import heun
from workbench.errors import LandscapeError, SimulationWarning


class Quartic:
    """x⁴/4 − x²/2 + tilt x + stiffness y²/2, in closed form."""

    members = None

    def __init__(self, tilt=0.0, stiffness=None):
        self.tilt, self.stiffness = tilt, stiffness
        self.states = ("x",) if stiffness is None else ("x", "y")

    def value(self, x):
        x = torch.as_tensor(x)
        first = x[..., 0] ** 4 / 4 - x[..., 0] ** 2 / 2 + self.tilt * x[..., 0]
        return first if self.stiffness is None else first + self.stiffness * x[..., 1] ** 2 / 2

    def gradient(self, x):
        x = torch.as_tensor(x)
        first = x[..., :1] ** 3 - x[..., :1] + self.tilt
        return first if self.stiffness is None else torch.cat([first, self.stiffness * x[..., 1:]], -1)

    def hessian(self, x):
        x = torch.as_tensor(x)
        rest = torch.ones_like(x) if self.stiffness is None else torch.full_like(x, self.stiffness)
        rest[..., 0] = 3 * x[..., 0] ** 2 - 1
        return torch.diag_embed(rest)


def test_equipartition_and_boltzmann_weights():
    well, T = Quartic(tilt=0.05, stiffness=3.0), 0.25
    x0 = np.tile([[-1.0, 0.0], [1.0, 0.0]], (1500, 1))
    run = wb.simulate(well, x0, [0.0, 25.0], temperature=T, step=0.05, seed=0)
    x = run["x"].values[:, -1]
    gradient = well.gradient(torch.as_tensor(x)).numpy()
    for k in (0, 1):  # E[xᵢ ∂ᵢΨ] = T
        product = x[:, k] * gradient[:, k]
        assert abs(product.mean() - T) < 3 * product.std() / np.sqrt(len(x))

    def weight(low, high):
        return quad(lambda z: np.exp(-(z**4 / 4 - z**2 / 2 + 0.05 * z) / T), low, high)[0]

    right = weight(0, 4) / weight(-4, 4)
    assert abs((x[:, 0] > 0).mean() - right) < 3 * np.sqrt(right * (1 - right) / len(x))
    assert abs(np.corrcoef(x.T)[0, 1]) < 3 / np.sqrt(len(x))


NODES = np.linspace(-3.5, 3.5, 701)


def expected(gradient, f, T, h, end):
    """Return E[f(x(end)) | x(0) = node] under the scheme, by Gauss–Hermite quadrature over the noise of each step."""
    xi, weight = np.polynomial.hermite_e.hermegauss(12)
    x = torch.as_tensor(NODES)[None, :, None]
    kick = torch.as_tensor(np.sqrt(2 * T * h) * xi)[:, None, None].expand(-1, len(NODES), -1)
    u = f(NODES)
    for k in reversed(range(round(end / h))):
        ahead = heun(gradient, x, k * h, h, kick)[..., 0].clamp(-3.5, 3.5).numpy()
        u = (weight / weight.sum()) @ CubicSpline(NODES, u)(ahead)
    return u


def backward_equation(f, T, end, steps=2000):
    """Solve ∂u/∂t = −Ψ′ u′ + T u″ by Crank–Nicolson on the nodes."""
    dx, dt = NODES[1] - NODES[0], end / steps
    drift = -(NODES**3 - NODES)
    up, down = T / dx**2 + drift / (2 * dx), T / dx**2 - drift / (2 * dx)
    up[0], down[-1] = up[0] + down[0], up[-1] + down[-1]
    bands = np.zeros((3, len(NODES)))
    bands[0, 1:], bands[1], bands[2, :-1] = up[:-1], -2 * T / dx**2, down[1:]
    left = -dt / 2 * bands
    left[1] += 1
    u = f(NODES)
    for _ in range(steps):
        right = bands[1] * u
        right[:-1] += bands[0, 1:] * u[1:]
        right[1:] += bands[2, :-1] * u[:-1]
        u = solve_banded((1, 1), left, u + dt / 2 * right)
    return u


def test_weak_order_is_two_in_a_double_well():
    T, middle = 0.3, np.abs(NODES) < 1.5
    f, gradient = (lambda z: np.tanh(z) + 0.5 * z**2), (lambda x, t: x**3 - x)
    coarse = [expected(gradient, f, T, h, 1.0)[middle] for h in (1 / 16, 1 / 32, 1 / 64, 1 / 128)]
    gaps = [np.abs(a - b).max() for a, b in zip(coarse, coarse[1:], strict=False)]
    assert gaps[0] > 3e-4
    orders = np.log2(np.array(gaps[:-1]) / gaps[1:])
    np.testing.assert_allclose(orders, 2, atol=0.25)
    assert abs(orders[1] - 2) < 0.65 * abs(orders[0] - 2)  # to 2 as h → 0
    limit = coarse[-1] + (coarse[-1] - coarse[-2]) / 3
    np.testing.assert_allclose(limit, backward_equation(f, T, 1.0)[middle], atol=2e-4)


def test_weak_order_is_two_for_a_time_dependent_landscape():
    """Second moment in a harmonic well whose centre moves as sin t, in closed form."""
    T, end = 0.2, 2.0
    gradient = lambda x, t: x - np.sin(t)  # noqa: E731
    mean = NODES * np.exp(-end) + (np.sin(end) - np.cos(end) + np.exp(-end)) / 2
    exact = mean**2 + T * (1 - np.exp(-2 * end))
    middle = np.abs(NODES) < 1
    errors = [np.abs(expected(gradient, np.square, T, h, end) - exact)[middle].max() for h in (0.2, 0.1, 0.05)]
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2, atol=0.15)


def test_steps_end_at_the_kinks_of_a_blend():
    left, right = (Harmonic(c) for c in (-1.0, 1.0))
    run = wb.simulate(
        wb.Blend(left, right, wb.Step(0.55)), np.zeros((2000, 1)), [0.0, 1.0], temperature=0.1, step=0.1, seed=3
    )
    mean = -(1 - np.exp(-0.55)) * np.exp(-0.45) + (1 - np.exp(-0.45))
    x = run["x"].values[:, -1, 0]
    assert abs(x.mean() - mean) < 3 * np.sqrt(0.1 / len(x)) + 1e-3
    assert run["b"].values.tolist() == [0.0, 1.0]


class Harmonic:
    states, members = ("x",), None

    def __init__(self, centre):
        self.centre = centre

    def value(self, x):
        return ((torch.as_tensor(x) - self.centre) ** 2).sum(-1) / 2

    def gradient(self, x):
        return x - self.centre

    def hessian(self, x):
        return torch.ones_like(x).unsqueeze(-1)


def test_trajectory_i_does_not_depend_on_their_number():
    few, many = (
        wb.simulate(Quartic(), np.zeros((n, 1)), [0.0, 3.0], temperature=0.2, step=0.1, seed=5)["x"].values
        for n in (3, 130)
    )
    np.testing.assert_allclose(few, many[:3], rtol=0, atol=1e-12)
    assert len(np.unique(many[:, -1].round(12))) == 130
    other = wb.simulate(Quartic(), np.zeros((3, 1)), [0.0, 3.0], temperature=0.2, step=0.1, seed=6)["x"].values
    assert np.abs(other - few)[:, -1].min() > 0


def test_members_receive_the_same_noise():
    ensemble = random_model(0, members=2)
    x0 = np.full((4, 2), 0.5)
    run = wb.simulate(ensemble, x0, [0.0, 0.2], temperature=0.01, step=0.02, seed=1)
    assert run["x"].dims == ("member", "trajectory", "time", "state")
    one = wb.simulate(ensemble.member(1), x0, [0.0, 0.2], temperature=0.01, step=0.02, seed=1)
    np.testing.assert_allclose(run["x"].values[1], one["x"].values, atol=1e-12)
    assert run.attrs["seed"] == "1"


def test_trajectories_that_blow_up_or_leave_the_domain_are_reported(circuit):
    cliff = Quartic(tilt=0.0)
    cliff.gradient = lambda x: -(x**3)
    with pytest.warns(SimulationWarning, match="1 of 2 trajectories blew up, such as trajectory 1"):
        run = wb.simulate(cliff, [[0.0], [3.0]], [0.0, 0.05, 1.0], temperature=1e-6, step=0.01, seed=0)
    assert [one["trajectory"] for one in json.loads(run.attrs["blown_up_json"])] == [1]
    assert abs(run["x"].values[0]).max() < 0.02
    with pytest.raises(LandscapeError, match="carries a trajectory out of the domain at t = .*lower the temperature"):
        wb.simulate(circuit, np.full((64, 2), 0.1), [0.0, 5.0], temperature=0.5, step=0.05, seed=0)


def test_steps_too_long_for_the_curvature_are_reported():
    well = Quartic(stiffness=10.0)
    with pytest.raises(ValueError, match="steps of 0.2 are unstable: they must be well below 0.2, "):
        wb.simulate(well, [[0.0, 0.0]], [0.0, 1.0], temperature=0.1, step=0.2, seed=0)
    wb.simulate(well, [[0.0, 0.0]], [0.0, 0.1, 0.2], temperature=0.1, step=50.0, seed=0)  # steps end at the times: 0.1
    with pytest.warns(SimulationWarning, match="steps of 1.1 are too long at t = .* the largest curvature"):
        wb.simulate(Quartic(), np.zeros((64, 1)), np.arange(11) * 1.1, temperature=0.05, step=1.1, seed=0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf, True, "warm"])
def test_temperatures_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature is T in .* a finite number > 0; got"):
        wb.simulate(Quartic(), [[0.0]], [0.0, 1.0], temperature=temperature, step=0.1)


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match="needs the longest time step, step=… > 0, got None"):
        wb.simulate(Quartic(), [[0.0]], [0.0, 1.0], temperature=0.1)
    with pytest.raises(ValueError, match="step and seed apply to Langevin dynamics"):
        wb.simulate(Quartic(), [[0.0]], [0.0, 1.0], seed=0)
    with pytest.raises(ValueError, match="seed must be an integer"):
        wb.simulate(Quartic(), [[0.0]], [0.0, 1.0], temperature=0.1, step=0.1, seed=-1)
    assert systems.get("muller_brown").members is None
