"""The closed-form Jacobian of an LSE-ICNN against automatic differentiation, and who may use it."""

import numpy as np
import pytest
import torch
from conftest import random_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, jacrev

import workbench as wb
from workbench import dataset
from workbench.losses.match import parsed


def automatic(model, x, value, gradient):
    """Return the Jacobian by automatic differentiation, shape (member, parameter, entry, sample)."""

    def rows(parameters):
        parts = []
        if value is not None:
            parts.append((functional_call(model, parameters, (x, "value")) * value).unsqueeze(-1))
        if gradient is not None:
            parts.append(functional_call(model, parameters, (x, "gradient")) * gradient)
        return torch.cat(parts, -1)

    found = jacrev(rows)(dict(model.named_parameters()))
    members, pairs = [], list(zip(found.values(), model.parameters(), strict=True))
    for k in range(model.members or 1):
        own = [(J[k] if model.members else J)[:, :, k].reshape(len(x), J.shape[-p.ndim - 1], -1) for J, p in pairs]
        members.append(torch.cat(own, -1).permute(2, 1, 0))
    return torch.stack(members).detach()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    dim=st.integers(1, 4),
    modes=st.integers(1, 4),
    hidden=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    members=st.sampled_from([None, 1, 3]),
    log_rho=st.floats(-4, 4),
    rows=st.sampled_from(["value", "gradient", "both"]),
)
def test_closed_form_is_autodiff(seed, dim, modes, hidden, members, log_rho, rows):
    model = random_model(seed, dim=dim, modes=modes, hidden=hidden, members=members, rho_lo=0.1)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        model.u.fill_(log_rho)
        model.alpha.add_(torch.as_tensor(rng.normal(0, 0.3, tuple(model.alpha.shape))))
    x = torch.as_tensor(rng.uniform(-1, 3, (5, dim)))
    value = torch.as_tensor(rng.normal(size=5)) if rows != "gradient" else None
    gradient = torch.as_tensor(rng.normal(size=(5, dim))) if rows != "value" else None
    expected = automatic(model, x, value, gradient)
    out = torch.full_like(expected, torch.nan)
    names = [name for name, _ in model.named_parameters()]
    assert model.parameter_jacobian(x, value, gradient, names, out)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10 * max(1.0, float(expected.abs().max())))


def test_sharpness_at_its_bound_has_no_derivative():
    model = random_model(0)
    with torch.no_grad():
        model.u.fill_(15.0)
    x = torch.zeros(1, 2, dtype=torch.float64)
    out = torch.full((1, 1, 1, 1), torch.nan, dtype=torch.float64)
    assert model.parameter_jacobian(x, torch.ones(1, dtype=torch.float64), None, ["u"], out)
    assert float(out) == 0


def test_single_precision_is_kept():
    model = random_model(0, dtype=torch.float32)
    x, factor = torch.rand(4, 2), torch.ones(4)
    names = ["convex.V.0", "u"]
    out = torch.empty(1, 3 * 5 * 2 + 1, 1, 4)
    assert model.parameter_jacobian(x, factor, None, names, out)
    double = random_model(0)
    expected = torch.empty(out.shape, dtype=torch.float64)
    assert double.parameter_jacobian(x.double(), factor.double(), None, names, expected)
    torch.testing.assert_close(out, expected.float(), rtol=1e-4, atol=1e-4)


class Stiffened(wb.LSEICNN):
    """Another formula than that of the base."""

    def __init__(self, dim, modes, hidden=(10, 10), **settings):
        super().__init__(dim, modes, hidden, **settings)
        self.stiffness = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def value(self, x):
        return super().value(x) + self.stiffness.sum() * (x**2).sum(-1)

    def gradient(self, x):
        return super().gradient(x) + 2 * self.stiffness.sum() * x


class Renamed(wb.LSEICNN):
    """The formula of the base."""


class Twice(wb.match.Gradient):
    """Another prediction than that of the base."""

    name = "twice_the_gradient"

    def predicted(self, model, x):
        return 2 * super().predicted(model, x)

    def observed(self, samples):
        return samples["gradient"].values

    @property
    def needs(self):
        return ("gradient",)


@pytest.mark.parametrize(
    ("model", "match", "closed"),
    [
        (wb.LSEICNN, "gradient", True),
        (Renamed, "gradient", True),
        (Stiffened, "gradient", False),
        (wb.LSEICNN, Twice(), False),
        (wb.LSEICNN, [Twice(), "potential"], False),
        (wb.LSEICNN, ["gradient", "potential"], True),
    ],
)
def test_who_has_a_closed_form(model, match, closed, circuit):
    data = circuit.points(30, seed=0)
    settings = wb.LevenbergMarquardt(steps=3, screening=1)
    fit = wb.fit(model(2, 2, (3,)), data, match=match, seed=0, restarts=1, optimiser=settings)
    assert fit.history.attrs["jacobian"] == ("closed form" if closed else "automatic differentiation")


@pytest.mark.parametrize("match", ["potential", "velocity", ["potential", "gradient"]])
def test_both_ways_give_the_same_normal_equations(match, circuit, monkeypatch):
    data = circuit.points(80, seed=0)
    data["velocity"] = -data["gradient"]
    parts = {"train": dataset.flat(data), "validation": dataset.flat(data)}
    model = random_model(0)
    steps = []
    for way in ("closed form", "automatic differentiation"):
        problem = parsed(match).problem(model, parts)
        assert problem.differentiation == way
        theta = problem.vector()
        evaluated = problem.evaluate(theta)
        damped = problem.linearise(theta, evaluated).damped(0.1)
        steps.append((damped.step(), damped.correction(evaluated**2)))
        monkeypatch.setattr(wb.LSEICNN, "parameter_jacobian", wb.TrainablePotential.parameter_jacobian)
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-8, atol=1e-10)
