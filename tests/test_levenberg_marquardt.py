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
from workbench.losses.problem import Problem


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

    def jacobians(self, theta, whole=False):
        yield slice(0, 3), self.A[:3]
        yield slice(3, None), self.A[3:]

    def _pull_back(self, theta, v):
        return self.A.T @ v[:, 0]


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
    primal, dual = Primal(J.T @ J, J.T @ r, lambda v: J.T @ v), Dual(J, r)
    second = torch.as_tensor(rng.normal(size=7))
    for damping in (1e-3, 1.0):
        one, other = primal.damped(damping), dual.damped(damping)
        torch.testing.assert_close(one.step(), other.step(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(one.correction(second), other.correction(second), rtol=1e-9, atol=1e-12)
        delta = other.step()
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
@pytest.mark.parametrize("closed", [True, False], ids=["closed form", "automatic"])
def test_jacobian_is_the_derivative_of_the_residuals(match, closed, circuit, monkeypatch):
    data = circuit.points(9, seed=0)
    data["velocity"] = -data["gradient"]
    if not closed:
        monkeypatch.setattr(wb.LSEICNN, "parameter_jacobian", wb.TrainablePotential.parameter_jacobian)
    problem = problem_of(random_model(0), data, match)
    assert problem.differentiation == ("closed form" if closed else "automatic differentiation")
    theta = problem.vector()
    problem.memory = 4 * problem.observations.target.shape[1] * 8 * len(theta)  # four samples
    blocks = [(at, J.clone()) for at, J in problem.jacobians(theta)]
    assert len(blocks) > 1
    J = torch.empty(problem.observations.target.numel(), len(theta), dtype=theta.dtype)
    for at, block in blocks:
        rows = torch.arange(J.shape[0]).reshape(problem.observations.target.shape)[at]
        J[problem._ordered(rows)] = block
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
    "bad",
    [
        *({"steps": 0}, {"screening": True}, {"patience": 1.5}, {"tolerance": -1.0}, {"damping": 0.0}),
        *({"memory": 0}, {"memory": np.nan}, {"acceleration": 1}),
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="expected tolerance|must be an integer >= 1|must be True or False"):
        LevenbergMarquardt(**bad)


class Curve(Problem):
    """Residuals that are a given function of θ, shape (residual,), differentiated automatically."""

    def __init__(self, function, start):
        self.function, self.start = function, torch.as_tensor(start, dtype=torch.float64)
        self.model = random_model(0)

    def vector(self):
        return self.start

    def limit(self):
        return torch.full_like(self.start, torch.inf)

    def recorded(self, theta):
        return {}

    def evaluate(self, theta, state=None):
        return self.function(theta)

    def outputs(self, evaluated):
        return evaluated

    def terms(self, evaluated):
        return {"curve": float(evaluated.square().sum())}

    def validate(self, theta, state=None):
        return self.loss(self.evaluate(theta)), state

    def bad_term(self, evaluated):
        return "the curve is not finite"

    def linearise(self, theta, evaluated):
        J = torch.func.jacrev(self.function)(theta)
        return Primal(J.T @ J, J.T @ evaluated, lambda v: J.T @ v)


def rosenbrock(theta):
    """Return the residuals of Rosenbrock's function, whose valley is a parabola."""
    return torch.stack([1 - theta[0], 100 * (theta[1] - theta[0] ** 2)])


def steps_to(problem, loss, **settings):
    descent = Descent(problem, LevenbergMarquardt(steps=2000, patience=2000, **settings))
    while descent.loss > loss:
        descent.step()
    return descent


def test_acceleration_follows_a_curved_valley():
    plain, bent = (steps_to(Curve(rosenbrock, [-1.2, 1.0]), 1e-20, acceleration=on) for on in (False, True))
    for descent in (plain, bent):
        np.testing.assert_allclose(descent.theta, [1, 1], atol=1e-9)
    assert len(bent.records) < 0.7 * len(plain.records)
    assert plain.records[-1]["accelerated"] == 0 < bent.records[-1]["accelerated"] <= 1


def test_correction_is_that_of_the_geodesic():
    rng = np.random.default_rng(2)
    A, B = torch.as_tensor(rng.normal(size=(5, 3))), torch.as_tensor(rng.normal(size=(5, 3, 3)))
    problem = Curve(lambda t: A @ t + torch.einsum("rij,i,j->r", B, t, t) + 1, rng.normal(size=3))
    descent = Descent(problem, LevenbergMarquardt())
    delta = torch.as_tensor(rng.normal(size=3))
    second = descent._second_derivative(delta)
    torch.testing.assert_close(second, 2 * torch.einsum("rij,i,j->r", B, delta, delta), rtol=1e-10, atol=1e-10)
    J = torch.func.jacrev(problem.function)(problem.start)
    damped = J.T @ J + 0.3 * (J.T @ J).diagonal().mean() * torch.eye(3, dtype=torch.float64)
    expected = -0.5 * torch.linalg.solve(damped, J.T @ second)
    torch.testing.assert_close(descent._linear.damped(0.3).correction(second), expected, rtol=1e-10, atol=1e-12)


def test_plain_steps_are_those_of_the_textbook():
    problem, damping, growth = Curve(rosenbrock, [-1.2, 1.0]), 1e-2, 2.0
    descent = Descent(problem, LevenbergMarquardt(acceleration=False))
    theta = problem.start
    for _ in range(15):  # rounding grows from step to step
        descent.step()
        r, J = rosenbrock(theta), torch.func.jacrev(rosenbrock)(theta)
        gram = J.T @ J
        delta = -torch.linalg.solve(gram + damping * gram.trace() / 2 * torch.eye(2, dtype=r.dtype), J.T @ r)
        actual = float(r.square().sum() - rosenbrock(theta + delta).square().sum())
        ratio = actual / float(r.square().sum() - (r + J @ delta).square().sum())
        if actual > 0:
            theta, damping, growth = theta + delta, damping * max(1 / 3, 1 - (2 * ratio - 1) ** 3), 2.0
        else:
            damping, growth = damping * growth, growth * 2
        torch.testing.assert_close(descent.theta, theta, rtol=1e-6, atol=1e-9)


def test_second_derivatives_that_are_not_finite_leave_the_plain_step():
    def edged(theta):
        return torch.where(theta[0] < -1.21, torch.nan, rosenbrock(theta))  # behind the start

    plain, bent = (Descent(Curve(edged, [-1.2, 1.0]), LevenbergMarquardt(acceleration=on)) for on in (False, True))
    bent.DIFFERENCE = 1e3
    for _ in range(5):
        plain.step()
        bent.step()
    assert torch.equal(plain.theta, bent.theta)
    assert bent.records[-1]["uncorrected"] == 5
    assert bent.records[-1]["accelerated"] == 0


def test_work_is_counted(small_fit):
    history = small_fit.history.isel(member=0).dropna("step", how="all")
    counts = {name: history[name].values for name in ("jacobians", "factorisations", "evaluations")}
    accepted = np.diff(history["loss"]) < 0
    np.testing.assert_array_equal(np.diff(counts["jacobians"]), accepted)
    np.testing.assert_array_equal(np.diff(counts["factorisations"]), 1)
    assert set(np.diff(counts["evaluations"])) <= {3, 4}  # two of the second derivative, one or two of steps
    assert ((history["accelerated"] >= 0) & (history["accelerated"] <= 1)).all()
    assert history["accelerated"][-1] > 0.5
    assert small_fit.history.attrs["jacobian"] == "closed form"
