"""One evaluation of Ψ, ∇Ψ and ∇²Ψ: the three methods, automatic differentiation, arrays and tensors, searches."""

import numpy as np
import pytest
import torch
from conftest import random_model
from hypothesis import given, settings
from hypothesis import strategies as st

import systems
import workbench as wb
from workbench.evaluation import QUANTITIES, Evaluation
from workbench.landscape.minimum_energy_path import minimum_energy_path
from workbench.potentials import lse_icnn
from workbench.potentials.bridge import Remembering, evaluated, require_potential
from workbench.potentials.convex import ConvexNetworks

CIRCUIT = systems.get("gene_circuit", b=1.0)


class Quartic(wb.TrainablePotential):
    """Σ c_k x₁ᵏ x₂², known by its value alone."""

    def __init__(self, dim, *, states=None):
        super().__init__(dim, states=states)
        self.c = torch.nn.Parameter(torch.tensor([0.3, -1.0, 0.5, 0.2], dtype=torch.float64))

    def value(self, x):
        return sum(c * x[..., 0] ** k for k, c in enumerate(self.c)) * (1 + x[..., -1] ** 2)


class WithGradient(Quartic):
    """The same with a gradient that says that it was called."""

    def gradient(self, x):
        return torch.full_like(x, 7.0)


class Methods:
    """A potential by its three methods, without `evaluate`."""

    def __init__(self, potential):
        self.of, self.states, self.members = potential, potential.states, potential.members

    def value(self, x):
        return self.of.value(x)

    def gradient(self, x):
        return self.of.gradient(x)

    def hessian(self, x):
        return self.of.hessian(x)


def ensemble_of_quartics():
    return Quartic.stack([Quartic(2).initialise(rng=np.random.default_rng(k)) for k in range(3)])


POTENTIALS = {
    "learned": random_model(0),
    "ensemble": random_model(0, members=3),
    "sum": wb.WeightedSum([random_model(0), CIRCUIT, random_model(1)], [0.3, 0.7, -0.2]),
    "sum with an ensemble": wb.WeightedSum([random_model(0, members=3), CIRCUIT], [0.3, 0.7]),
    "sum with methods": wb.WeightedSum([Methods(random_model(0)), CIRCUIT], [0.3, 0.7]),
    "symmetrised": wb.Symmetrised(random_model(0), [(1, 0)]),
    "symmetrised ensemble": wb.Symmetrised(random_model(0, members=3), [[[0, -1], [1, 0]]]),
    "blend": wb.Blend(random_model(0), random_model(1), wb.Ramp(0.0, 10.0)).at(time=3.0),
    "system": CIRCUIT,
    "one's own": Quartic(2),
    "ensemble of one's own": ensemble_of_quartics(),
    "three methods": require_potential(Methods(CIRCUIT)),
    "remembering": Remembering(random_model(0)),
}


def assert_near(found, expected, digits=1e-13):
    """Assert that an array or tensor agrees with another relative to its largest entry."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=digits, atol=digits * np.abs(expected).max(initial=1e-300))


def derivatives(model, x):
    """Return value, gradient and Hessian by automatic differentiation of the value."""
    x = x.detach().requires_grad_()
    value = model.value(x)
    gradient = torch.autograd.grad(value.sum(), x, create_graph=True)[0]
    rows = [torch.autograd.grad(gradient[..., k].sum(), x, retain_graph=True)[0] for k in range(x.shape[-1])]
    return [one.detach() for one in (value, gradient, torch.stack(rows, -2))]


@pytest.mark.parametrize("count", [1, 600])
@pytest.mark.parametrize("potential", POTENTIALS.values(), ids=POTENTIALS)
def test_evaluation_is_that_of_the_three_methods(potential, count):
    x = np.random.default_rng(0).uniform(0.1, 2, (count, 2))
    for order in range(3):
        for states in (x, torch.tensor(x)):
            found = potential.evaluate(states, order)
            assert isinstance(found, Evaluation)
            for k, name in enumerate(QUANTITIES):
                if k > order:
                    assert found[k] is None
                    continue
                assert isinstance(found[k], type(states))
                assert found[k].dtype == states.dtype
                with torch.no_grad():
                    assert_near(found[k].detach() if states is not x else found[k], getattr(potential, name)(states))
    assert potential.evaluate(x)[1:] == (None, None)


@pytest.mark.parametrize("potential", POTENTIALS.values(), ids=POTENTIALS)
def test_empty_states_have_empty_results(potential):
    lead = () if potential.members is None else (potential.members,)
    for states in (np.zeros((0, 2)), torch.zeros(0, 2, dtype=torch.float64)):
        shapes = [tuple(one.shape) for one in potential.evaluate(states, 2)]
        assert shapes == [(*lead, 0), (*lead, 0, 2), (*lead, 0, 2, 2)]


@pytest.mark.parametrize("potential", POTENTIALS.values(), ids=POTENTIALS)
@pytest.mark.parametrize("order", [3, -1, 1.5, 1.0, True, "1", None, [1]])
def test_only_orders_0_1_and_2(potential, order):
    with pytest.raises(ValueError, match="expected 0, 1 or 2, got"):
        potential.evaluate(np.ones((1, 2)), order)
    assert potential.evaluate(np.ones((1, 2)), np.int64(1)).hessian is None


@pytest.mark.parametrize("potential", POTENTIALS.values(), ids=POTENTIALS)
def test_a_wrong_last_axis_is_refused(potential):
    with pytest.raises((ValueError, wb.DatasetError), match=r"expected .*\(…, 2\)"):
        potential.evaluate(np.ones((1, 3)), 2)


@settings(max_examples=25, deadline=None)
@given(
    dim=st.integers(1, 4),
    modes=st.integers(1, 4),
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    members=st.sampled_from([None, 3]),
    log_rho=st.sampled_from([-13.0, -3.0, 0.0, 3.0, 9.0]),
    seed=st.integers(0, 1000),
    count=st.integers(1, 6),
)
def test_arrays_tensors_and_autograd_agree(dim, modes, hidden, members, log_rho, seed, count):
    rng = np.random.default_rng(seed)
    model = random_model(seed, dim=dim, modes=modes, hidden=tuple(hidden), members=members)
    with torch.no_grad():
        model.u.fill_(log_rho)
        model.alpha.copy_(torch.as_tensor(rng.normal(2, 2, model.alpha.shape)))
        x = rng.uniform(-2, 4, (count, dim))
        in_arrays, in_tensors = model.evaluate(x, 2), model.evaluate(torch.tensor(x), 2)
    curvature = np.exp(max(log_rho, 0))  # Hessians are a difference that loses digits at large ρ
    for k, (found, expected) in enumerate(zip(in_arrays, in_tensors, strict=True)):
        assert_near(found, expected, 1e-13 * (curvature if k == 2 else 1) * (1 + curvature))
    every = [model] if members is None else [model.member(k) for k in range(members)]
    for k, one in enumerate(every):
        for found, expected in zip(in_tensors, derivatives(one, torch.tensor(x)), strict=True):
            assert_near(found if members is None else found[k], expected, 1e-9 * (1 + curvature))


def test_arrays_of_members_and_grids_keep_their_shape():
    ensemble, plain, rng = random_model(0, members=3), random_model(0), np.random.default_rng(0)
    own = rng.uniform(0, 2, (3, 5, 2))
    for k, (found, expected) in enumerate(
        zip(ensemble.evaluate(own, 2), ensemble.evaluate(torch.tensor(own), 2), strict=True)
    ):
        assert found.shape == (3, 5, *(2,) * k)
        assert_near(found, expected.detach())
    assert [one.shape for one in plain.evaluate(own, 2)] == [(3, 5), (3, 5, 2), (3, 5, 2, 2)]
    assert [np.shape(one) for one in plain.evaluate(own[0, 0], 2)] == [(), (2,), (2, 2)]
    with pytest.raises(ValueError, match="flatten grids"):
        ensemble.evaluate(rng.uniform(0, 2, (4, 5, 2)), 1)


@pytest.mark.parametrize("count", [2, 600])
@pytest.mark.parametrize(
    "of", [lambda m: m, lambda m: wb.Symmetrised(m, [(1, 0)]), lambda m: wb.WeightedSum([m, m], np.array([0.5, 0.5]))]
)
def test_single_precision_stays_single(of, count):
    potential = of(random_model(0, dtype=torch.float32))
    for dtype in (np.float32, np.float64):
        for found in potential.evaluate(np.ones((count, 2), dtype), 2):
            assert found.dtype == np.float32
    for found in potential.evaluate(torch.ones(count, 2), 2):
        assert found.dtype == torch.float32
    found = wb.stationary_points(potential, [(-1, 3)] * 2, starts=8, tolerance=1e-4)
    assert np.isfinite(found["x"]).all()


def test_arrays_see_changes_of_the_parameters():
    model, x = random_model(0), np.ones((1, 2))
    before = model.evaluate(x, 2)
    for change in (lambda p: p.data.mul_(1.01), lambda p: p.detach().numpy().__imul__(1.01)):
        for p in model.parameters():
            change(p)
        after = model.evaluate(x, 2)
        assert after.value != before.value
        assert_near(after.value, model.value(torch.tensor(x)).detach())
        before = after


@pytest.mark.parametrize("states", [np.ones((3, 2)), np.ones((600, 2)), torch.ones(3, 2, dtype=torch.float64)])
def test_one_pass_through_the_networks(monkeypatch, states):
    model, other, passes, forward = random_model(0), random_model(1), [], ConvexNetworks.forward
    symmetric = wb.Symmetrised(model, [(1, 0)])
    monkeypatch.setattr(ConvexNetworks, "forward", lambda self, x: passes.append(len(x)) or forward(self, x))
    for potential, expected in ((model, 1), (wb.WeightedSum([model, other], [1.0, 2.0]), 2), (symmetric, 2)):
        passes.clear()
        potential.evaluate(states, 2)
        assert len(passes) == expected


def test_one_evaluation_of_a_formula():
    calls = []

    class Counted(Quartic):
        def value(self, x):
            calls.append(x)
            return super().value(x)

    Counted(2).evaluate(np.ones((3, 2)), 2)
    assert len(calls) == 1

    class System(systems.PotentialSystem):
        state_space = (systems.State("x", box=(-2, 2)),)

        def potential(self, x):
            calls.append(x)
            return (x**4).sum(-1)

    System().evaluate(np.ones((3, 1)), 2)
    assert len(calls) == 2


def test_written_derivatives_are_those_evaluated():
    assert (WithGradient(2).evaluate(np.ones((3, 2)), 2).gradient == 7).all()

    class Shifted(wb.LSEICNN):
        def value(self, x):
            return super().value(x) + 5

    model = Shifted(2, 3, (5, 4))
    model.load_state_dict(random_model(0).state_dict())
    x = np.ones((2, 2))
    assert_near(model.evaluate(x, 1).value, model.value(x))
    assert_near(model.evaluate(x, 1).value, random_model(0).value(x) + 5)


def test_tensors_can_be_differentiated():
    x = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    for potential in (random_model(0), CIRCUIT, wb.Symmetrised(random_model(0), [(1, 0)]), Quartic(2)):
        value, gradient, hessian = potential.evaluate(x, 2)
        torch.testing.assert_close(torch.autograd.grad(value.sum(), x, retain_graph=True)[0], gradient)
        by_row = torch.autograd.grad(gradient[..., 0].sum(), x, retain_graph=True)[0]
        torch.testing.assert_close(by_row, hessian[..., 0, :])
    model = random_model(0)
    model.evaluate(x.detach(), 2).hessian.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_blend_is_evaluated_at_a_time():
    blend, x = wb.Blend(random_model(0), random_model(1), wb.Ramp(0.0, 10.0)), np.ones((2, 2))
    for found, name in zip(blend.evaluate(x, 3.0, 2), QUANTITIES, strict=True):
        assert_near(found, getattr(blend, name)(x, 3.0))
    assert blend.evaluate(x, torch.tensor(3.0, dtype=torch.float64), 1).hessian is None
    difference = (blend.at(b=0.7).gradient(x) - blend.at(b=0.2).gradient(x)) / 0.5
    assert_near(blend.by_parameter().gradient(x), difference, 1e-12)


def test_remembered_is_evaluated_once():
    asked = []

    class Asked(Methods):
        def evaluate(self, x, order=0):
            asked.append(order)
            return self.of.evaluate(x, order)

        def gradient(self, x):
            asked.append("gradient")
            return self.of.gradient(x)

    memory, x = Remembering(Asked(CIRCUIT)), np.ones(2)
    memory.evaluate(x, 2)
    assert memory.gradient(x) is memory.evaluate(x, 1).gradient
    assert asked == [2]
    assert_near(memory.gradient(x + 1), CIRCUIT.gradient(x + 1))
    assert_near(memory.evaluate(x, 1).gradient, CIRCUIT.gradient(x))
    assert asked == [2, "gradient", 1]


def test_analyses_need_the_three_methods_alone(monkeypatch):
    """Without arrays the learned landscape answers in the last digits as its methods do in tensors."""
    monkeypatch.setattr(lse_icnn, "FEW", 0)
    box = [(0, 2), (0, 2)]
    one = wb.WeightedSum([random_model(0), CIRCUIT], [0.02, 1.0])
    other = Methods(one)
    found, expected = wb.graph(other, box, starts=8), wb.graph(one, box, starts=8)
    assert set(found) == set(expected)
    for name in ("x", "potential", "eigenvalue"):
        assert_near(found[name], expected[name], 1e-9)
    minima = expected["x"].values[(expected["index"] == 0).values]
    path, same = (minimum_energy_path(p, minima[0], minima[1], images=9) for p in (other, one))
    assert_near(path["x"], same["x"], 1e-6)
    assert_near(path["barrier"], same["barrier"], 1e-9)
    here, there = (wb.basins(p, box, resolution=3) for p in (other, one))
    np.testing.assert_array_equal(here["label"], there["label"])
    a, b = (wb.grid(p, box, points=4) for p in (other, one))
    assert_near(a["gradient"], b["gradient"])


def test_branches_need_the_three_methods_alone():
    early, late = systems.get("gene_circuit", b=0.1), CIRCUIT
    blend = wb.Blend(early, late, wb.Ramp(0.0, 1.0))
    options = {"seeds": 2, "starts": 8, "step": 0.2}
    known = wb.branches(blend, [(0, 2)] * 2, **options)
    others = (
        wb.Blend(Methods(early), Methods(late), wb.Ramp(0.0, 1.0)),
        lambda b: Methods(wb.WeightedSum([early, late], [1 - b, b])),
    )
    for family in others:
        found = wb.branches(family, [(0, 2)] * 2, **options)
        assert_near(found["bifurcation_b"], known["bifurcation_b"], 1e-9)
        assert_near(found["x"], known["x"], 1e-6)


def test_states_as_tensors_are_evaluated_as_arrays():
    x = torch.ones(3, 2, dtype=torch.float64)
    found = evaluated(random_model(0), x, 2)
    for one, expected in zip(found, random_model(0).evaluate(x, 2), strict=True):
        assert not one.requires_grad
        assert_near(one, expected.detach())


@pytest.mark.parametrize("potential", [random_model(0), POTENTIALS["sum"], POTENTIALS["symmetrised"]])
def test_arrays_that_are_not_finite_or_huge_are_as_tensors(potential):
    x = np.array([[np.nan, 1.0], [np.inf, 0.0], [-np.inf, 1.0], [1e200, 1e300], [1e5, -1e5]])
    for found, expected in zip(potential.evaluate(x, 2), potential.evaluate(torch.tensor(x), 2), strict=True):
        expected = expected.detach().numpy()
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        np.testing.assert_allclose(found[-1], expected[-1], rtol=1e-9, atol=1e-12)
