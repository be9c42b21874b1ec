"""Gradient flow against closed forms and an independent integrator; failing trajectories are reported and isolated."""

import json

import numpy as np
import pytest
import torch
from conftest import random_model
from scipy.integrate import solve_ivp

import systems
import workbench as wb
from workbench.errors import SimulationError, SimulationWarning


class Bowl:
    """x²/2 in three methods alone, of any number of states."""

    def value(self, x):
        return (x**2).sum(-1) / 2

    def gradient(self, x):
        return x

    def hessian(self, x):
        one = torch.eye(x.shape[-1], dtype=torch.float64) if isinstance(x, torch.Tensor) else np.eye(x.shape[-1])
        return one + 0 * x[..., None]


def test_three_methods_are_enough():
    run = wb.simulate(Bowl(), [[1.0, -2.0]], [0.0, 1.0])
    np.testing.assert_allclose(run["x"].values[0, 1], np.exp(-1) * np.array([1.0, -2.0]), atol=1e-6)
    assert run["state"].values.tolist() == ["x1", "x2"]
    noisy = wb.simulate(Bowl(), [1.0, -2.0, 0.5], [0.0, 1.0], temperature=0.1, step=0.1, seed=0)
    assert noisy.sizes == {"trajectory": 1, "time": 2, "state": 3}
    options = {"radius": 0.1, "end": 100.0, "step": 0.02, "count": 256, "seed": 0}
    passage = wb.first_passage(Bowl(), 1.0, 0.0, 0.5, **options)
    exact = wb.first_passage_exact(Bowl(), 1.0, 0.1, 0.5)
    assert float(passage["interval"][0]) < exact < float(passage["interval"][1])
    assert passage["arrived"].dtype == bool


class Drift:
    """A bowl of changing stiffness, whose parameter has a name of its own."""

    states, members, parameter = ("x",), None, "stiffness"

    def __init__(self, schedule):
        self.schedule = schedule

    def at(self, *, b=None, time=None):
        return wb.WeightedSum([Formula(lambda x: (x**2).sum(-1) / 2)], [self.schedule(time) if b is None else b])


def test_a_schedule_is_stored_under_the_name_of_its_parameter():
    drift = Drift(wb.Step(0.5, low=1.0, high=3.0))
    run = wb.simulate(drift, [[1.0]], [0.0, 1.0])
    np.testing.assert_allclose(run["x"].values[0, 1], np.exp(-2.0), rtol=1e-6)
    assert run["stiffness"].values.tolist() == [1.0, 3.0]
    assert "b" not in run
    with pytest.raises(ValueError, match="rk4 may step over the kinks"):
        wb.simulate(drift, [[1.0]], [0.0, 1.0], method="rk4")


def test_blends_run_in_the_precision_of_their_terms():
    first, second = (random_model(seed, dtype=torch.float32) for seed in (0, 1))
    run = wb.simulate(wb.Blend(first, second, wb.Ramp(0.0, 1.0)), [[0.5, 0.5]], [0.0, 0.1])
    assert run["x"].dtype == np.float32


class Formula:
    """A potential given by a function of tensors."""

    members = None

    def __init__(self, function, dim=1):
        self.function, self.states = function, tuple(f"x{i + 1}" for i in range(dim))

    def value(self, x):
        return (
            self.function(torch.as_tensor(x))
            if isinstance(x, torch.Tensor)
            else self.function(torch.as_tensor(x)).numpy()
        )

    def gradient(self, x):
        return torch.func.grad(lambda y: self.function(y).sum())(x)

    def hessian(self, x):
        raise NotImplementedError


def test_quadratic_well_decays_exponentially():
    well = Formula(lambda x: x**2 @ torch.tensor([0.5, 1.5], dtype=x.dtype), dim=2)
    x0, time = np.array([[1.0, -2.0], [0.3, 0.4]]), np.linspace(0, 3, 7)
    run = wb.simulate(well, x0, time)
    exact = x0[:, None] * np.exp(-np.array([1.0, 3.0]) * time[:, None])
    np.testing.assert_allclose(run["x"].values, exact, rtol=0, atol=1e-7)
    assert run["x"].dims == ("trajectory", "time", "state")


def test_each_trajectory_meets_the_tolerance_among_many():
    well = Formula(lambda x: (x**2).sum(-1) / 2)
    crowd = np.zeros((500, 1))
    crowd[0] = 1.0
    run = wb.simulate(well, crowd, [0.0, 1.0], rtol=1e-6, atol=1e-9)
    assert abs(float(run["x"][0, -1, 0]) - np.exp(-1)) < 1e-5


@pytest.mark.parametrize(
    "schedule", [wb.Logistic(0.7, 0.01), wb.Ramp(0.0, 5.0), wb.Step(2.5), wb.Table((1.0, 2.0, 6.0), (0, 0.8, 1))]
)
def test_blend_follows_its_schedule(schedule):
    weak, strong = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
    time, x0 = np.linspace(0, 8, 9), np.array([[0.3, 1.2]])
    run = wb.simulate(wb.Blend(weak, strong, schedule), x0, time)

    def rate(t, x):
        b = schedule(t)
        return (1 - b) * weak.velocity(x) + b * strong.velocity(x)

    exact = solve_ivp(rate, (0, 8), x0[0], t_eval=time, rtol=1e-10, atol=1e-12, max_step=0.05).y.T
    np.testing.assert_allclose(run["x"].values[0], exact, atol=2e-6)
    np.testing.assert_allclose(run["b"].values, schedule(time))
    expected = [wb.Blend(weak, strong, schedule).value(x, t) for x, t in zip(run["x"].values[0], time, strict=True)]
    np.testing.assert_allclose(run["potential"].values[0], expected, rtol=1e-12)


def test_simulation_agrees_with_the_systems_own_trajectories(circuit):
    data = circuit.trajectories(5, time=[0.0, 1.0, 4.0], seed=0)
    run = wb.simulate(circuit, data["x"].values[:, 0], data["time"].values)
    np.testing.assert_allclose(run["x"].values, data["x"].values, atol=1e-7)


def test_diagonal_starts_stay_on_the_diagonal(circuit):
    run = wb.simulate(wb.Blend(circuit, circuit, wb.Ramp(0.0, 1.0)), [[0.5, 0.5]], np.linspace(0, 15, 4))
    assert np.abs(run["x"].diff("state")).max() < 1e-9


def test_ensembles_run_at_once():
    ensemble = random_model(0, members=2)
    x0 = np.array([[0.5, 0.5], [1.0, 0.2], [0.0, 1.0]])
    run = wb.simulate(ensemble, x0, [0.0, 0.5])
    assert run["x"].dims == ("member", "trajectory", "time", "state")
    one = wb.simulate(ensemble.member(1), x0, [0.0, 0.5])
    np.testing.assert_allclose(run["x"].values[1], one["x"].values, atol=1e-6)


def test_blow_up_is_reported_and_other_trajectories_are_kept():
    cliff = Formula(lambda x: -(x**3).sum(-1) / 3)
    with pytest.warns(
        SimulationWarning, match=r"1 of 2 trajectories blew up, such as trajectory 1 before t = 1.5 \(time index 3\)"
    ):
        run = wb.simulate(cliff, [[-1.0], [1.0]], [0.0, 0.5, 0.9, 1.5, 2.0])
    assert json.loads(run.attrs["blown_up_json"]) == [{"trajectory": 1, "step": 3, "time": 1.5}]
    assert np.isnan(run["x"].values[1, 3:]).all()
    np.testing.assert_allclose(run["x"].values[1, :3, 0], 1 / (1 - np.array([0.0, 0.5, 0.9])), rtol=1e-5)
    np.testing.assert_allclose(run["x"].values[0, :, 0], -1 / (1 + np.array([0.0, 0.5, 0.9, 1.5, 2.0])), rtol=1e-6)


@pytest.mark.parametrize(
    "formula",
    [lambda x: -(x**5).sum(-1), lambda x: -torch.exp(x**2).sum(-1), lambda x: (1.5 - x).sqrt().sum(-1)],
    ids=["-x^5", "-exp(x^2)", "undefined beyond 1.5"],
)
def test_sudden_blow_ups_leave_other_trajectories_intact(formula):
    still = Formula(lambda x: (x**2).sum(-1))
    both = Formula(lambda x: torch.where(x[..., 0] > 0, formula(x), (x**2).sum(-1)))
    with pytest.warns(SimulationWarning, match="1 of 3 trajectories blew up, such as trajectory 1"):
        run = wb.simulate(both, [[-1.0], [1.0], [-2.0]], [0.0, 0.001, 5.0])
    alone = wb.simulate(still, [[-1.0], [-2.0]], [0.0, 0.001, 5.0])
    np.testing.assert_allclose(run["x"].values[[0, 2]], alone["x"].values, atol=1e-7)
    assert np.isfinite(run["x"].values[1, 0]).all()
    assert np.isnan(run["x"].values[1, -1]).all()


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "adaptive_heun"])
def test_adaptive_methods_meet_the_tolerance_among_many(method):
    crowd, well = np.zeros((2000, 1)), Formula(lambda x: (x**2).sum(-1) / 2)
    crowd[0] = 1.0
    run, alone = (wb.simulate(well, x0, [0.0, 1.0], method=method, rtol=1e-6, options={}) for x0 in (crowd, crowd[:1]))
    assert float(run["x"][0, -1, 0]) == pytest.approx(float(alone["x"][0, -1, 0]), abs=1e-12)
    assert abs(float(alone["x"][0, -1, 0]) - np.exp(-1)) < 1e-4


def test_methods_that_step_over_kinks_are_rejected(circuit):
    with pytest.raises(ValueError, match=r"rk4 may step over the kinks of Step\(at=0.5.*; use one of dopri5"):
        wb.simulate(wb.Blend(circuit, circuit, wb.Step(0.5)), [[1.0, 1.0]], [0.0, 1.0], method="rk4")


def test_states_outside_the_data_are_flagged(small_fit):
    run = wb.simulate(small_fit.model, [[1.0, 1.0], [2.5, 1.0]], [0.0, 0.01])
    assert run["inside_data"].values.tolist() == [[True, True], [False, False]]
    assert run["inside_data"].dtype == bool


def test_invalid_arguments_are_rejected(circuit):
    with pytest.raises(TypeError, match="expected a potential .*, got function; of a fit take"):
        wb.simulate(lambda x: x, [[1.0]], [0.0, 1.0])
    with pytest.raises(ValueError, match="defined for 0 <= x1"):
        wb.simulate(circuit, [[-0.1, 1.0]], [0.0, 1.0])
    with pytest.raises(ValueError, match="defined for 0 <= x2"):
        wb.simulate(wb.Blend(circuit, circuit, wb.Ramp(0.0, 1.0)), [[0.1, -1.0]], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"x0 must have shape \(trajectory, 2\), got \(1, 3\)"):
        wb.simulate(circuit, [[0.1, 1.0, 2.0]], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"x0 must be finite, got .* for trajectory 0"):
        wb.simulate(random_model(0), [[np.nan, 1.0]], [0.0, 1.0])
    with pytest.raises(ValueError, match="strictly increasing"):
        wb.simulate(circuit, [[0.1, 1.0]], [0.0, 1.0, 0.5])
    with pytest.raises(ValueError, match="at least two entries"):
        wb.simulate(circuit, [[0.1, 1.0]], [0.0])
    with pytest.raises(SimulationError, match="not finite at the start of trajectory 0"):
        wb.simulate(Formula(lambda x: x.sqrt().sum(-1)), [[-1.0]], [0.0, 1.0])


def test_stiff_problems_exceed_the_budget_and_are_solved_as_advised():
    stiff = Formula(lambda x: 1e7 * (x**2).sum(-1))
    with pytest.raises(SimulationError, match=r"3000 evaluations reach only t = .*scipy_solver"):
        wb.simulate(stiff, [[1.0]], [0.0, 10.0], budget=3000)
    run = wb.simulate(stiff, [[1.0]], [0.0, 10.0], method="scipy_solver", options={"solver": "LSODA"})
    assert abs(float(run["x"][0, -1, 0])) < 1e-6


class Tilted:
    """A landscape of one's own that moves in time: a well at the parameter `place`."""

    states, members, parameter = ("x",), None, "place"

    class Well:
        states, members = ("x",), None

        def __init__(self, place):
            self.place = place

        def value(self, x):
            return ((x - self.place) ** 2).sum(-1) / 2

        def gradient(self, x):
            return x - self.place

        def hessian(self, x):
            return torch.eye(1, dtype=torch.float64).expand(*x.shape, 1)

    def __init__(self):
        self.schedule = wb.Ramp(0.0, 1.0)

    def at(self, *, time=None, place=None):
        return self.Well(float(self.schedule(time)) if place is None else place)


def test_a_landscape_of_ones_own_may_move():
    """ẋ = t − x from x = 0: x = t − 1 + exp(−t)."""
    time = np.linspace(0, 1, 6)
    run = wb.simulate(Tilted(), [[0.0]], time, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run.x.values[0, :, 0], time - 1 + np.exp(-time), atol=1e-7)
    np.testing.assert_allclose(run["place"], time)
    found = wb.branches(Tilted(), [(-2, 2)], (0.0, 1.0))
    np.testing.assert_allclose(found.x.values[:, 0], found["place"].values, atol=1e-8)
