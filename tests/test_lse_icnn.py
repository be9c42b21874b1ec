"""The LSE-ICNN: derivatives against autodiff, convexity whatever the weights, limits of the soft minimum, members."""

import numpy as np
import pytest
import torch
from conftest import random_model
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.files.weights import from_dataset, to_dataset
from workbench.potentials.convex import inverse_softplus, softplus
from workbench.potentials.scaled import SHARED
from workbench.potentials.soft_minimum import log_gate, soft_minimum, soft_minimum_constant

SHAPES = [
    {"dim": 1, "modes": 1, "hidden": (4,)},
    {"dim": 2, "modes": 3, "hidden": (8, 8, 8)},
    {"dim": 3, "modes": 2, "hidden": (5, 3)},
    {"dim": 7, "modes": 5, "hidden": (10, 10)},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("members", [None, 3])
def test_gradient_and_hessian_are_autodiff(shape, members):
    model = random_model(1, members=members, **shape)
    x = torch.as_tensor(np.random.default_rng(2).uniform(-2, 4, (20, shape["dim"]))).requires_grad_()
    value, gradient, hessian = model.value(x), model.gradient(x), model.hessian(x)
    rows = [(value, gradient, hessian)] if members is None else list(zip(value, gradient, hessian, strict=True))
    for v, g, h in rows:
        (by_autograd,) = torch.autograd.grad(v.sum(), x, retain_graph=True)
        assert (by_autograd - g).abs().max() < 1e-10
        hessian_rows = [torch.autograd.grad(g[:, k].sum(), x, retain_graph=True)[0] for k in range(shape["dim"])]
        assert (torch.stack(hessian_rows, -2) - h).abs().max() < 1e-10


def perturbed(seed, size, **shape):
    """Return a model with large random perturbations of every raw parameter."""
    model = random_model(seed, **shape)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.as_tensor(rng.normal(0, size, tuple(p.shape))))
    return model


@given(seed=st.integers(0, 10_000), size=st.floats(0, 8), dim=st.integers(1, 4), fraction=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_every_mode_is_convex(seed, size, dim, fraction):
    model = perturbed(seed, size, dim=dim, modes=3, hidden=(6, 4))
    rng = np.random.default_rng(seed + 1)
    a, b = (torch.as_tensor(rng.normal(0, 3, (1, 10, dim))) for _ in range(2))
    f = model.convex.value
    chord = fraction * f(a) + (1 - fraction) * f(b)
    between = f(fraction * a + (1 - fraction) * b)
    rounding = 1e-12 * (f(a).abs() + f(b).abs() + between.abs() + 1)
    assert (between <= chord + rounding).all()
    curvature = torch.linalg.eigvalsh(model.convex.hessian(a)[2])
    assert (curvature >= -1e-10 * (1 + curvature.abs().amax(-1, keepdim=True))).all()


def test_modes_stay_convex_after_fitting(small_fit):
    model = small_fit.model
    x = torch.as_tensor(np.random.default_rng(0).uniform(-3, 5, (1, 200, 2)))
    curvature = torch.linalg.eigvalsh(model.convex.hessian(x)[2])
    assert curvature.min() >= -1e-10 * curvature.abs().max()


@given(seed=st.integers(0, 1000), log_rho=st.floats(-6, 6), size=st.floats(-2, 4))
@settings(max_examples=100, deadline=None)
def test_soft_minimum_lies_between_its_limits(seed, log_rho, size):
    rng = np.random.default_rng(seed)
    f = torch.as_tensor(rng.normal(0, 10**size, (1, 5, 20)))
    weight = log_gate(torch.as_tensor(rng.normal(2, 2, (1, 5))))
    p = torch.softmax(weight, -1)[..., None]
    value = soft_minimum(f, torch.tensor([10.0**log_rho], dtype=torch.float64), weight)
    slack = 1e-12 * f.abs().max()
    assert (value >= f.amin(1) - slack).all()
    assert (value <= (p * f).sum(1) + slack).all()


def test_soft_minimum_is_eq_3():
    rng = np.random.default_rng(0)
    f, alpha, rho = rng.normal(0, 1, (4, 9)), rng.normal(2, 1, 4), 1.7
    gate = 1 / (1 + np.exp(-10 * (alpha / 2 - 1)))
    expected = -np.log((gate[:, None] * np.exp(-rho * f)).sum(0) / 4) / rho
    tensor = [torch.as_tensor(a)[None] for a in (f, alpha)]
    rho, weight = torch.tensor([rho], dtype=torch.float64), log_gate(tensor[1])
    value = soft_minimum(tensor[0], rho, weight) + soft_minimum_constant(rho, weight)
    np.testing.assert_allclose(value[0], expected, rtol=1e-13)


def test_model_is_eqs_3_5_6_written_out_in_numpy():
    model = random_model(3, dim=2, modes=3, hidden=(5, 4))
    w = to_dataset(model).isel(member=0)
    points = np.random.default_rng(0).uniform(-1, 3, (6, 2))

    def softplus(z):
        return np.logaddexp(0, z)

    x = (points - w["x_shift"].values) / w["x_scale"].values
    f = []
    for i in range(3):
        m = w.isel(mode=i)
        h = softplus(x @ m["V1"].values.T + m["b1"].values)
        h = softplus(x @ m["V2"].values.T + h @ softplus(m["W2"].values).T + m["b2"].values)
        f.append(x @ m["V3"].values + h @ softplus(m["W3"].values) + m["b3"].values)
    gate = 1 / (1 + np.exp(-10 * (w["alpha"].values / 2 - 1)))
    rho = w["rho"].values
    psi = -np.log((gate[:, None] * np.exp(-rho * np.array(f))).mean(0)) / rho
    expected = w["potential_scale"].values * psi + w["offset"].values
    np.testing.assert_allclose(model.value(points), expected, rtol=1e-12)


@pytest.mark.parametrize("rho", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("height", [1.0, 1e4])
@pytest.mark.parametrize("gate", [0.99, 1e-9])
def test_extremes_are_finite_and_keep_their_limits(rho, height, gate):
    model = random_model(5, dim=2, modes=3, hidden=(5, 4))
    with torch.no_grad():
        model.u.fill_(np.log(rho))
        model.alpha[0, 0] = 2 * (1 + np.log(gate / (1 - gate)) / 10)
        model.convex.b[-1] += height * torch.tensor([1.0, 0.0, -1.0])[:, None]
    x = torch.as_tensor(np.random.default_rng(0).uniform(-1, 3, (50, 2))).requires_grad_()
    value, gradient, hessian = model.value(x), model.gradient(x), model.hessian(x)
    by_x, by_u = torch.autograd.grad(value.sum(), (x, model.u))
    for y in (value, gradient, hessian, by_x, by_u):
        assert torch.isfinite(y).all()
    f, df, _ = model.convex.hessian((x[None] - model.x_shift) / model.x_scale)
    weight = log_gate(model.alpha)
    if rho == 1e-6:
        p = torch.softmax(weight, -1)[..., None]
        mean = (p[..., None] * df.mT).sum(1)[0] * model.potential_scale / model.x_scale
        span = f.max() - f.min()
        largest = (df.abs().amax() * model.potential_scale / model.x_scale).max()
        assert (gradient - mean).abs().max() < 2 * rho * span * largest
        soft, exact = soft_minimum(f, model.rho, weight), (p * f).sum(1)
        spread = (p * (f - exact[:, None]) ** 2).sum(1)
        assert (soft - exact + rho * spread / 2).abs().max() < 1e-12 * span + rho**2 * span**3 / 6
    if rho == 1e6 and gate == 0.99:
        assert (soft_minimum(f, model.rho, weight) - f.amin(1)).abs().max() < 2e-6


def test_modes_may_be_permuted():
    model = random_model(7, dim=2, modes=3, hidden=(5, 4))
    with torch.no_grad():
        model.alpha[0] = torch.tensor([2.0, 2.5, 3.0])
    other = random_model(7, dim=2, modes=3, hidden=(5, 4))
    order = [2, 0, 1]
    other.load_state_dict(
        {k: v[:, order] if k.startswith("convex") or k == "alpha" else v for k, v in model.state_dict().items()}
    )
    x = np.random.default_rng(0).uniform(-1, 3, (9, 2))
    np.testing.assert_allclose(model.value(x), other.value(x), rtol=1e-13)
    np.testing.assert_allclose(model.mode_weights(x)[:, order], other.mode_weights(x), rtol=1e-12)
    np.testing.assert_allclose(model.mode_weights(x).sum(-1), 1, rtol=1e-14)


def test_gate_is_that_of_the_paper():
    model = wb.LSEICNN(dim=1, modes=2)
    np.testing.assert_allclose(model.gate.detach().numpy(), 0.99, rtol=1e-9)
    assert float(log_gate(torch.tensor(0.0, dtype=torch.float64)).exp()) == pytest.approx(4.54e-5, rel=1e-3)


def test_rho_stays_above_its_bound():
    model = wb.LSEICNN(dim=1, modes=2, rho_lo=1.0)
    with torch.no_grad():
        model.u.fill_(-40.0)
    assert float(model.rho.detach()) > 1.0 - 1e-15
    assert float(model.rho.detach()) == pytest.approx(1.0)


def test_members_are_independent_copies():
    models = [random_model(seed, dim=2, modes=2) for seed in (1, 1, 2)]
    with pytest.raises(ValueError, match="must share their scaling, but x_shift differs"):
        wb.LSEICNN.stack(models)
    models[2].load_state_dict(models[2].state_dict() | {k: getattr(models[0], k) for k in SHARED})
    ensemble = wb.LSEICNN.stack(models)
    x = np.random.default_rng(0).uniform(-1, 3, (5, 2))
    assert ensemble.value(x).shape == (3, 5)
    assert ensemble.gradient(np.stack([x] * 3)).shape == (3, 5, 2)
    np.testing.assert_allclose(ensemble.value(x), ensemble.value(np.stack([x] * 3)), rtol=1e-12, atol=1e-13)
    for k, model in enumerate(models):
        np.testing.assert_allclose(ensemble.value(x)[k], model.value(x), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(ensemble.member(k).hessian(x), ensemble.hessian(x)[k], rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match="an ensemble of 3 takes x with shape"):
        ensemble.value(np.zeros((4, 5, 2)))
    with pytest.raises(IndexError, match="member 3 of 3"):
        ensemble.member(3)


def test_shapes_types_and_devices_follow_the_input():
    model = random_model(0)
    assert isinstance(model.value(np.zeros((2, 3, 2))), np.ndarray)
    assert model.value(np.zeros((2, 3, 2))).shape == (2, 3)
    assert model.hessian([0.0, 1.0]).shape == (2, 2)
    assert isinstance(model.gradient(torch.zeros(4, 2, dtype=torch.float64)), torch.Tensor)
    single = wb.LSEICNN(dim=2, modes=3, dtype=torch.float32).initialise(rng=np.random.default_rng(0))
    assert single.value(torch.zeros(4, 2)).dtype == torch.float32
    double = wb.LSEICNN(dim=2, modes=3).initialise(rng=np.random.default_rng(0))
    np.testing.assert_allclose(single.value(np.ones((4, 2))), double.value(np.ones((4, 2))), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\); expected \(…, 2\)"):
        model.value(np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0, "modes": 2}, "dim must be an integer >= 1, got 0"),
        ({"dim": 1, "modes": 2.5}, "modes must be an integer >= 1, got 2.5"),
        ({"dim": 1, "modes": 2, "hidden": ()}, "at least one hidden layer"),
        ({"dim": 1, "modes": 2, "hidden": (4, 0)}, "every width in hidden must be an integer >= 1, got 0"),
        ({"dim": 1, "modes": 2, "rho_lo": -1.0}, "rho_lo must be finite and >= 0"),
        ({"dim": 2, "modes": 2, "states": ["a"]}, "expected 2 names of states"),
    ],
)
def test_bad_architectures_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        wb.LSEICNN(**options)


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_weights_survive_the_dataset(members, dtype):
    model = wb.LSEICNN(dim=3, modes=1, hidden=(1, 4), members=members, dtype=dtype, rho_lo=0.5, states=["a", "b", "c"])
    model.initialise(rng=np.random.default_rng(1))
    again = from_dataset(to_dataset(model))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert (again.members, again.states, again.rho_lo, again.dtype) == (members, ("a", "b", "c"), 0.5, dtype)


def test_foreign_weights_are_refused():
    weights = to_dataset(random_model(0))
    with pytest.raises(ValueError, match="of the class Other of the module elsewhere, which is not loaded: import it"):
        from_dataset(weights.assign_attrs(kind="Other", module="elsewhere"))
    with pytest.raises(ValueError, match="expected the weights of a model, but the attribute kind is missing"):
        from_dataset(weights.drop_attrs())
    with pytest.raises(ValueError, match=r"expected the weight W2 over .*, found nothing"):
        from_dataset(weights.drop_vars("W2"))
    with pytest.raises(ValueError, match="alpha has shape .* the configuration expects"):
        from_dataset(weights.isel(mode=[0, 1]))


def test_softplus_is_inverted():
    w = torch.logspace(-8, 3, 40, dtype=torch.float64)
    torch.testing.assert_close(softplus(inverse_softplus(w)), w, rtol=1e-12, atol=0)


def test_modes_start_tangent_to_the_data():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (60, 2))
    potential, gradient = (x**2).sum(-1), 2 * x
    model = wb.LSEICNN(dim=2, modes=4)
    model.set_scaling(x, potential=potential, gradient=gradient)
    model.initialise(wb.dataset.points(x, potential=potential, gradient=gradient), rng)
    scaled = (torch.as_tensor(x) - model.x_shift) / model.x_scale
    f, df, _ = model.convex.hessian(scaled[None])
    target = torch.as_tensor(potential - float(model.offset)) / model.potential_scale
    target_gradient = torch.as_tensor(gradient) * model.x_scale / model.potential_scale
    gap = (f[0] - target).abs() + (df[0].mT - target_gradient).abs().amax(-1)
    assert gap.amin(-1).max() < 1e-10


@pytest.mark.parametrize("quantity", ["value", "gradient", "hessian"])
def test_energy_gradient_and_hessian_export(quantity):
    model = random_model(0, dim=2, modes=3)
    x = torch.as_tensor(np.random.default_rng(0).uniform(-1, 3, (7, 2)))
    samples = torch.export.Dim("samples")
    exported = torch.export.export(model, (x, quantity), dynamic_shapes=({0: samples}, None)).module()
    other = torch.as_tensor(np.random.default_rng(1).uniform(-1, 3, (11, 2)))
    torch.testing.assert_close(exported(other, quantity), getattr(model, quantity)(other), rtol=1e-12, atol=1e-14)


def test_landscape_lies_below_its_modes_and_touches_the_lowest():
    model = random_model(0, modes=4)
    x = np.random.default_rng(0).uniform(-1, 3, (100, 2))
    value, modes = model.value(x), model.modes_value(x)
    assert modes.shape == (100, 4)
    assert (value < modes.min(-1)).all()
    with torch.no_grad():
        model.u.fill_(12.0)
    np.testing.assert_allclose(model.value(x), model.modes_value(x).min(-1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("gate", [0.99, 0.5, 1e-6])
def test_gates_start_at_the_given_value(gate):
    model = wb.LSEICNN(dim=1, modes=3).initialise(rng=np.random.default_rng(0), gate=gate, rho=2.0)
    np.testing.assert_allclose(model.gate.detach().numpy(), gate, rtol=1e-9)
    np.testing.assert_allclose(model.rho.detach().numpy(), 2.0, rtol=1e-12)


def test_uniform_initial_weights_are_those_of_linear_layers():
    model = wb.LSEICNN(dim=4, modes=50, hidden=(9, 16)).initialise(rng=np.random.default_rng(0), weights="uniform")
    convex = model.requires_grad_(False).convex
    for k, inner in enumerate((4, 9, 16)):
        bound = inner**-0.5
        for p in (convex.V[k], convex.b[k]):
            assert p.abs().max() <= bound
            assert p.std() == pytest.approx(bound / 3**0.5, rel=0.1)
    for raw, inner in zip(convex.W, (9, 16), strict=True):
        W = softplus(raw)
        assert W.max() <= inner**-0.5
        assert W.mean() == pytest.approx(inner**-0.5 / 2, rel=0.1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"rho": (0.0,)}, "the initial rho must be positive and finite"),
        ({"rho": ()}, "the initial rho must be positive and finite"),
        ({"rho": (1.0, float("nan"))}, "the initial rho must be positive and finite"),
        ({"gate": 0.0}, "the initial gate must lie strictly between 0 and 1"),
        ({"gate": 1.0}, "the initial gate must lie strictly between 0 and 1"),
        ({"weights": "zero"}, "the initial weights must be 'spread' or 'uniform', got 'zero'"),
    ],
)
def test_invalid_initial_values_are_rejected(bad, message):
    with pytest.raises(ValueError, match=message):
        wb.Initialisation(**bad)


def test_invalid_initial_sharpness_is_rejected():
    with pytest.raises(ValueError, match="the initial rho must be positive"):
        wb.LSEICNN(dim=1, modes=2).initialise(rng=np.random.default_rng(0), rho=-1.0)
