"""Levenberg–Marquardt on problems with known solutions, and with values that are not finite."""

import numpy as np
import pytest
import torch
from conftest import random_model

import workbench as wb
from workbench import dataset
from workbench.errors import FitError
from workbench.fitting.descent import Descent
from workbench.fitting.levenberg_marquardt import LevenbergMarquardt
from workbench.fitting.outcome import Outcome
from workbench.losses.least_squares import LeastSquares, Observations
from workbench.losses.match import parsed
from workbench.losses.normal_equations import Dual, Primal, gram_of


class Linear(LeastSquares):
    """r(θ) = Aθ − y, so that one undamped step is the least-squares solution."""

    def __init__(self, A, y):
        super().__init__(random_model(0), Observations((A,), y, y, {}, ()), [])
        self.A, self.y = A, y

    def vector(self):
        return torch.zeros(self.A.shape[1], dtype=torch.float64)

    def limit(self):
        return torch.full((self.A.shape[1],), torch.inf, dtype=torch.float64)

    def load(self, theta):
        pass

    def residuals(self, theta, observations=None):
        return (self.A @ theta - self.y)[:, None]

    def jacobians(self, theta):
        yield self.A[:3]
        yield self.A[3:]


@pytest.mark.parametrize("shape", [(20, 6), (6, 20)], ids=["primal", "dual"])
def test_linear_problems_are_solved(shape):
    rng = np.random.default_rng(0)
    problem = Linear(*(torch.as_tensor(rng.normal(size=s)) for s in (shape, shape[0])))
    descent = Descent(problem, LevenbergMarquardt(steps=30, damping=1e-8))
    for _ in range(8):
        descent.step()
    exact = np.linalg.lstsq(problem.A.numpy(), problem.y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(descent.theta.numpy(), exact, rtol=1e-6, atol=1e-9)


def test_primal_and_dual_take_the_same_step():
    rng = np.random.default_rng(1)
    J, r = torch.as_tensor(rng.normal(size=(7, 9))), torch.as_tensor(rng.normal(size=7))
    primal, dual = Primal(J.T @ J, J.T @ r), Dual(J, r)
    for damping in (1e-3, 1.0):
        torch.testing.assert_close(primal.step(damping), dual.step(damping), rtol=1e-9, atol=1e-12)
        delta = dual.step(damping)
        expected = float(r.square().sum() - (r + J @ delta).square().sum())
        assert primal.reduction(delta) == pytest.approx(expected, rel=1e-10)
        assert dual.reduction(delta) == pytest.approx(expected, rel=1e-10)


def test_gram_by_blocks_is_the_product():
    J = torch.as_tensor(np.random.default_rng(0).normal(size=(30, 45)))
    torch.testing.assert_close(gram_of(J, width=16), J.T @ J, rtol=1e-13, atol=1e-13)


def problem_of(model, data, match):
    samples, matched = dataset.flat(data), parsed(match)
    return matched.problem(model, {"train": samples, "validation": samples})


@pytest.mark.parametrize(
    "match", [{"potential": 1.0}, {"gradient": 2.0}, {"potential": 1.0, "gradient": 10.0}, {"velocity": 1.0}]
)
def test_jacobian_is_the_derivative_of_the_residuals(match, circuit, monkeypatch):
    data = circuit.points(9, seed=0)
    data["velocity"] = -data["gradient"]
    problem = problem_of(random_model(0), data, match)
    monkeypatch.setattr(LeastSquares, "BLOCK_ENTRIES", 500)
    theta = problem.vector()
    J = torch.cat(list(problem.jacobians(theta)))
    direction = torch.as_tensor(np.random.default_rng(0).normal(size=len(theta)))
    h = 1e-6
    change = (problem.residuals(theta + h * direction) - problem.residuals(theta - h * direction)) / (2 * h)
    torch.testing.assert_close(J @ direction, change.reshape(-1), rtol=1e-6, atol=1e-7)


def test_loss_is_the_stated_mean_square(circuit):
    data, model = circuit.points(9, seed=0), random_model(0)
    match = {"potential": 2.0, "gradient": 5.0}
    value, gradient = model.value(data["x"].values), model.gradient(data["x"].values)
    psi, force = data["potential"].values, data["gradient"].values
    expected = 2 * np.mean(((value - psi) / psi.std()) ** 2)
    expected += 5 * np.mean(((gradient - force) / np.sqrt((force**2).mean(0))) ** 2)
    expected /= 7
    problem = problem_of(model, data, match)
    residuals = problem.residuals(problem.vector())
    assert float(residuals.square().sum()) == pytest.approx(expected, rel=1e-12)
    terms = problem.terms(residuals)
    assert sum(terms.values()) == pytest.approx(expected, rel=1e-12)
    sigma, weight = np.linspace(0.1, 1, 9), np.linspace(1, 2, 9)
    noisy = data.assign(sigma_potential=("sample", sigma), weight=("sample", weight))
    problem = problem_of(model, noisy, {"potential": 1.0})
    expected = np.mean(((value - psi) / sigma) ** 2 * weight / weight.mean())
    assert float(problem.residuals(problem.vector()).square().sum()) == pytest.approx(expected, rel=1e-12)


def test_a_known_convex_function_is_recovered():
    truth = random_model(3, dim=2, modes=1, hidden=(4,))
    x = np.random.default_rng(0).uniform(-1, 3, (120, 2))
    data = wb.dataset.points(x, gradient=truth.gradient(x))
    optimiser = LevenbergMarquardt(steps=200, tolerance=1e-7)
    fit = wb.fit(wb.LSEICNN(dim=2, modes=1, hidden=(4,)), data, match="gradient", seed=0, optimiser=optimiser)
    fresh = np.random.default_rng(1).uniform(-0.9, 2.9, (200, 2))
    error = np.abs(fit.model.gradient(fresh) - truth.gradient(fresh)).max() / np.abs(truth.gradient(fresh)).max()
    assert error < 1e-5
    assert fit.outcome in (Outcome.TOLERANCE, Outcome.STEP_LIMIT, Outcome.CONVERGED)


def test_training_loss_never_rises_and_best_is_the_lowest_held_out(small_fit):
    history = small_fit.history.isel(member=0).dropna("step")
    assert (np.diff(history["loss"]) <= 0).all()
    np.testing.assert_allclose(history["best"], np.minimum.accumulate(history["validation_loss"].values))


class Poisoned(LeastSquares):
    """Residuals that are NaN away from the starting point."""

    def residuals(self, theta, observations=None):
        residuals = super().residuals(theta, observations)
        if not hasattr(self, "origin"):
            self.origin = theta
        return residuals if torch.equal(theta, self.origin) else residuals * torch.nan


def test_non_finite_steps_raise_an_error_and_keep_the_last_finite_state(circuit):
    clean = problem_of(random_model(0), circuit.points(9, seed=0), {"gradient": 1.0})
    problem = Poisoned(clean.model, clean.observations, clean.matches)
    descent = Descent(problem, LevenbergMarquardt())
    start = descent.theta.clone()
    while len(descent.records) < Descent.MOST_NON_FINITE:
        descent.step()
        assert descent.outcome is Outcome.RUNNING
    with pytest.raises(
        FitError, match="step 6: 6 consecutive steps were not finite .the predicted gradient is not finite"
    ):
        descent.step()
    assert torch.equal(descent.theta, start)
    with torch.no_grad():
        clean.model.convex.b[0][0, 0, 0] = torch.nan
    with pytest.raises(FitError, match="the predicted gradient is not finite at the starting point"):
        Descent(LeastSquares(clean.model, clean.observations, clean.matches), LevenbergMarquardt())


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"screening": True}, {"patience": 1.5}, {"tolerance": -1.0}, {"damping": 0.0}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="expected tolerance|must be an integer >= 1"):
        LevenbergMarquardt(**bad)
