"""Matches as objects, problems that either optimiser takes, trainable potentials of one's own, and fits in files."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from conftest import random_model

import systems
import workbench as wb
from workbench.fitting.task import Task
from workbench.losses.match import parsed

PATHS = systems.get("rossi").paths(6, loading="compression", samples=10, seed=0)
AXIS = wb.Invariants(axis=(1.0, 0, 0))
QUICK = wb.LevenbergMarquardt(steps=15, screening=5)


def double_well(count=40, **noise):
    x = np.linspace(-2, 2, count)
    return wb.dataset.points(x, potential=(x**2 - 1) ** 2, gradient=(4 * x**3 - 4 * x)[:, None], **noise)


class Quartic(wb.TrainablePotential):
    """Ψ̂ = Σ c_k x^k of one state."""

    def __init__(self, dim, *, states=None, order=4):
        super().__init__(dim, states=states)
        self.c = torch.nn.Parameter(torch.zeros(order + 1, dtype=torch.float64))

    def value(self, x):
        return sum(c * x[..., 0] ** k for k, c in enumerate(self.c))


# ---- the argument match


def test_names_mappings_objects_and_sequences_mean_matches():
    both = wb.match.Joint((wb.match.Potential(), wb.match.Gradient()), (1.0, 10.0))
    assert parsed("potential") == parsed({"potential": 3.0}) == wb.match.Potential()
    assert (
        parsed({"potential": 1, "gradient": 10}) == parsed({wb.match.Potential(): 1, wb.match.Gradient(): 10}) == both
    )
    assert parsed(["potential", wb.match.Gradient()]).weights == {"potential": 1.0, "gradient": 1.0}
    support = wb.Support({"x": (0, 1)})
    assert parsed(wb.match.Density(support, prior=0.5)).support is support


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ("gradeint", "cannot match 'gradeint', did you mean 'gradient'"),
        (3, "cannot match 3. Known: .*density, gradient"),
        ("density", "a density needs a support, such as match=wb.match.Density"),
        ({}, "match is empty"),
        ({"potential": 0.0}, "the weight of 'potential' must be positive"),
        (["velocity", "velocity"], "a joint match needs different quantities"),
        (["velocity", "trajectory"], "'trajectory' must be matched alone"),
        (["velocity", "stress"], "'stress' must be matched alone"),
    ],
)
def test_a_bad_match_is_refused_before_the_fit(match, message):
    with pytest.raises(ValueError, match=message):
        wb.fit(wb.LSEICNN(1, 1), double_well(), match=match, seed=0)


def test_a_half_written_match_is_named_before_any_fit():
    @dataclass(frozen=True)
    class Halfway(wb.match.Quantity):
        """Writes nothing."""

    with pytest.raises(TypeError, match="abstract class Halfway .*predicted"):
        wb.fit(wb.LSEICNN(1, 1), double_well(), match="halfway", seed=0)
    assert "halfway" not in wb.match.known_matches()


def test_two_matches_cannot_have_one_name():
    with pytest.raises(ValueError, match="the name 'potential' of the match .* is that of workbench.losses.quantities"):

        class Other(wb.match.Quantity):
            name = "potential"


# ---- problems


def problems():
    """Return a problem of every kind in the package, with a name."""
    circuit = systems.get("gene_circuit", b=1.0)
    runs = circuit.trajectories(4, time=np.linspace(0, 1, 6), seed=0, spread="edges")
    noisy = wb.dataset.trajectories(
        runs.x.values + 0.01 * np.random.default_rng(0).normal(size=runs.x.shape), runs.time.values
    )
    support, draws = wb.Support({"x1": (-4, 4)}, nodes=16), np.random.default_rng(0).normal(size=(20, 1))
    cases = {
        "potential": ("potential", wb.LSEICNN(1, 2, (4,)), double_well()),
        "joint": ({"potential": 1, "gradient": 2}, wb.LSEICNN(1, 2, (4,)), double_well()),
        "velocity": ("velocity", wb.LSEICNN(2, 2, (4,)), runs),
        "own": ("potential", Quartic(1), double_well()),
        "density": (wb.match.Density(support, prior=0.2), wb.LSEICNN(1, 2, (4,)), wb.dataset.points(draws)),
        "trajectory": ("trajectory", random_model(0, modes=2, hidden=(3,)), noisy),
        "play": ("stress", wb.GeneralisedPlay(AXIS, hidden=(4,)), PATHS),
        "node": ("stress", wb.StateNODE(AXIS, internal=1, modes=1, hidden=(3,), widths=(3,)), PATHS),
    }
    for name, (match, model, data) in cases.items():
        match = parsed(match)
        model, data = match.prepared(model, wb.dataset.check(data), lambda d: wb.dataset.assign_split(d, 0, 0.3))
        given = model if match.continues else None
        yield name, Task.of(model, data, match, wb.Initialisation(), given=given)


@pytest.mark.parametrize(("name", "task"), list(problems()), ids=lambda v: v if isinstance(v, str) else "")
def test_every_gradient_is_the_derivative_of_the_loss(name, task):
    problem = task.problem(np.random.SeedSequence(1), 0)
    theta, state = problem.vector(), problem.initial_state()
    for _ in range(4 if name == "trajectory" else 0):  # until the initial states are optimal
        state = problem.state_after(problem.evaluate(theta, state), state)
    gradient, _ = problem.loss_gradient(theta, state)
    evaluated = problem.evaluate(theta, state)
    linear = problem.linearise(theta, evaluated)
    half = linear.gradient if hasattr(linear, "gradient") else linear.jacobian.T @ linear.residuals
    torch.testing.assert_close(gradient, 2 * half, rtol=1e-6, atol=1e-8)
    direction = torch.as_tensor(np.random.default_rng(1).normal(size=len(theta)))

    def loss(step):
        return float(problem.loss(problem.evaluate(theta + step * direction, state)))

    h = 1e-4 if name == "trajectory" else 1e-6
    rel = (
        5e-3 if name == "trajectory" else 1e-6
    )  # the sensitivity of a flow is integrated by another rule than the flow
    assert float(gradient @ direction) == pytest.approx((loss(h) - loss(-h)) / (2 * h), rel=rel, abs=1e-7)


@pytest.mark.parametrize(("name", "task"), list(problems()), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize(
    "optimiser",
    [wb.LevenbergMarquardt(steps=6, screening=3), wb.Adam(epochs=30, lr=1e-2, every=10)],
    ids=["lm", "adam"],
)
def test_either_optimiser_takes_every_problem(name, task, optimiser):
    seeds = np.random.SeedSequence(0).spawn(1)
    how = {"restarts": 1, "checkpoint": None, "workers": 1, "progress": False}
    (learned,) = optimiser.learn(task, seeds, **how)
    losses = [row["validation_loss"] for row in learned.records]
    assert np.isfinite(losses).all()
    assert learned.records[-1]["loss"] < learned.records[0]["loss"]
    assert learned.records[-1]["best"] == min(losses)


def test_members_of_a_shared_problem_are_those_fitted_alone():
    options = {"match": "potential", "seed": 3, "optimiser": wb.Adam(epochs=20, every=10), "progress": False}
    for model in (Quartic(1), wb.LSEICNN(1, 2, (4,))):
        together = wb.fit(model, double_well(), members=2, **options)
        alone = wb.fit(model, double_well(), members=1, **options)
        np.testing.assert_allclose(together.history["loss"][0], alone.history["loss"][0], rtol=1e-9)


def test_a_problem_without_free_parameters_is_refused():
    class Fixed(wb.TrainablePotential):
        def value(self, x):
            return (x**2).sum(-1)

    with pytest.raises(ValueError, match="Fixed has no parameter that requires a gradient"):
        wb.fit(Fixed(1), double_well(), match="potential", seed=0)


def test_a_fixed_parameter_of_ones_own_stays():
    class Halved(Quartic):
        def __init__(self, dim, *, states=None):
            super().__init__(dim, states=states)
            self.top = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64), requires_grad=False)

        def value(self, x):
            return super().value(x) + self.top * x[..., 0] ** 6

    fit = wb.fit(Halved(1), double_well(), match="potential", seed=0, restarts=1, optimiser=QUICK)
    assert fit.model.top.item() == 0.5
    x = torch.linspace(-1.9, 1.9, 7, dtype=torch.float64)[:, None]
    scaled = (x - fit.model.x_shift) / fit.model.x_scale
    series = sum(c * scaled[:, 0] ** k for k, c in enumerate(fit.model.c)) + 0.5 * scaled[:, 0] ** 6  # scaled once
    torch.testing.assert_close(fit.model.value(x), fit.model.potential_scale * series + fit.model.offset[0])


# ---- trainable potentials


def test_derivatives_of_a_potential_of_ones_own_are_exact():
    class Waves(wb.TrainablePotential):
        def __init__(self, dim, *, states=None):
            super().__init__(dim, states=states)
            self.k = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64))

        def value(self, x):
            return torch.sin(x @ self.k.T).sum(-1)

    model = Waves(2)
    model.set_scaling(np.array([[-1.0, 0.0], [3.0, 2.0]]), potential=np.array([1.0, 5.0]), gradient=None)
    k, scale, shift = model.k.detach().numpy(), model.x_scale.numpy(), model.x_shift.numpy()
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    phase = ((x - shift) / scale) @ k.T
    waves, s = k / scale, float(model.potential_scale)
    np.testing.assert_allclose(model.value(x), s * np.sin(phase).sum(-1) + 3.0, rtol=1e-12)
    np.testing.assert_allclose(model.gradient(x), s * np.cos(phase) @ waves, rtol=1e-12)
    curvature = -s * np.einsum("...a,ai,aj->...ij", np.sin(phase), waves, waves)
    np.testing.assert_allclose(model.hessian(x), curvature, rtol=1e-12, atol=1e-14)
    rng = np.random.default_rng(1)
    members = [model.member(0).initialise(None, rng).requires_grad_(False) for _ in range(3)]
    ensemble, rows = Waves.stack(members), x.reshape(-1, 2)
    assert ensemble.members == 3
    for name in ("value", "gradient", "hessian"):
        apart = np.stack([getattr(one, name)(rows) for one in members])
        np.testing.assert_allclose(getattr(ensemble, name)(rows), apart, rtol=1e-12)
        own = np.stack([rows + j for j in range(3)])
        moved = np.stack([getattr(one, name)(rows + j) for j, one in enumerate(members)])
        np.testing.assert_allclose(getattr(ensemble, name)(own), moved, rtol=1e-12)
        np.testing.assert_array_equal(getattr(ensemble.member(1), name)(rows), getattr(members[1], name)(rows))


def test_a_potential_of_the_wrong_shape_says_so():
    class Wrong(Quartic):
        def value(self, x):
            return x**2

    with pytest.raises(
        ValueError, match=r"value of Wrong returned shape \(5, 1\) .* expected a tensor of shape \(5,\)"
    ):
        Wrong(1).value(np.zeros((5, 1)))
    with pytest.raises(TypeError, match="abstract class Empty .*value"):
        type("Empty", (wb.TrainablePotential,), {})(1)


def test_every_question_can_be_put_to_a_potential_of_ones_own(tmp_path):
    fit = wb.fit(
        Quartic(1, states=["u"], order=4), double_well(), match="potential", seed=0, members=2, optimiser=QUICK
    )
    found = wb.stationary_points(fit.ensemble, fit.model.box)
    np.testing.assert_allclose(np.sort(found.x.values[found.member.values == 0, 0]), [-1, 0, 1], atol=1e-6)
    loaded = wb.load(wb.save(tmp_path / "own.nc", fits=fit))
    assert loaded.models["fit"].states == ("u",)
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_array_equal(loaded.ensembles["fit"].value(x), fit.ensemble.value(x))
    np.testing.assert_array_equal(loaded.models["fit"].hessian(x), fit.model.hessian(x))


def test_a_landscape_of_ones_own_must_pass_its_settings_on():
    class Own(wb.LSEICNN):
        def __init__(self, extra=1.0):
            super().__init__(1, 2)
            self.extra = extra

    class Passing(wb.LSEICNN):
        def __init__(self, dim, modes=2, *, extra=1.0, **settings):
            super().__init__(dim, modes, (4,), **settings)
            self.extra = extra

    with pytest.raises(TypeError, match="must pass its settings on, members among them.*Own does not"):
        wb.fit(Own(), double_well(), match="potential", seed=0, restarts=1, optimiser=QUICK)
    fit = wb.fit(Passing(1, extra=2.0), double_well(), match="potential", seed=0, members=2, optimiser=QUICK)
    assert type(fit.ensemble) is Passing
    assert (fit.ensemble.extra, fit.ensemble.members) == (2.0, 2)


# ---- fits in files


@pytest.fixture(scope="module")
def fits():
    density = wb.match.Density(wb.Support({"x1": (-4, 4)}), prior=0.1)
    draws = wb.dataset.points(np.random.default_rng(0).normal(size=(60, 1)))
    return {
        "joint": wb.fit(wb.LSEICNN(1, 2, (4,)), double_well(sigma={"potential": 0.1, "gradient": 0.1}), seed=0,
                        match={"potential": 1, "gradient": 2}, members=2, bootstrap=True, optimiser=QUICK),
        "density": wb.fit(wb.LSEICNN(1, 2, (4,)), draws, match=density, seed=0, restarts=1, optimiser=QUICK),
        "adam": wb.fit(wb.LSEICNN(1, 2, (4,)), double_well(), match="potential", seed=1,
                       init=wb.Initialisation(gate=0.5), optimiser=wb.Adam(epochs=10, every=5)),
        "scan": wb.fit(wb.LSEICNN(1, 2, (4,)), double_well(60), match="gradient", modes="auto", seed=0,
                       optimiser=QUICK),
        "stress": wb.fit(wb.GeneralisedPlay(AXIS, hidden=(4,)), PATHS, match="stress", seed=0,
                         optimiser=wb.PathTraining(steps=6, polish=0, every=3)),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["joint", "density", "adam", "scan", "stress"])
def test_a_fit_in_a_file_is_the_fit(fits, name, tmp_path):
    fit = fits[name]
    again = wb.load(wb.save(tmp_path / "fit.nc", fits=fit)).fits["fit"]
    assert type(again) is type(fit)
    for part in ("match", "optimiser", "init", "outcomes", "seed", "settings", "error", "training_error", "unit"):
        assert getattr(again, part) == getattr(fit, part), part
    assert again.caveat == fit.caveat
    assert again.best == fit.best
    assert repr(again) == repr(fit)
    for group in ("history", "restarts", "scan"):
        one, other = getattr(again, group), getattr(fit, group)
        assert (one is None and other is None) or one.equals(other), group
    assert again.settings["optimiser"]["kind"] == type(fit.optimiser).__name__


def test_all_fits_have_the_same_parts(fits):
    for name, fit in fits.items():
        assert fit.history["loss"].dims == ("member", "step"), name
        assert fit.restarts["restart_loss"].dims == ("member", "restart")
        assert isinstance(fit.settings["optimiser"], dict)
        assert len(fit.outcomes) == fit.history.sizes["member"]
    assert fits["stress"].ensemble is fits["stress"].model
    assert [fit.unit for fit in fits.values()] == [
        "sigma", "nats", "of the spread of the data", "of the spread of the data", "of the spread of the stress"
    ]  # fmt: skip
    assert fits["density"].history["loss"].attrs["units"] == "nats"
    assert fits["joint"].history["loss"].attrs["units"] == "1"


def test_several_fits_are_rebuilt_with_their_own_data(fits, tmp_path):
    some = {name: fits[name] for name in ("joint", "density")}
    path = wb.save(tmp_path / "two.nc", fits=some, data={name: fit.data for name, fit in some.items()})
    loaded = wb.load(path)
    assert list(loaded.fits) == ["joint", "density"]
    for name, fit in some.items():
        assert loaded.fits[name].data.equals(fit.data)
    with pytest.raises(KeyError, match="no fit 'jiont' in the file, did you mean 'joint'"):
        loaded.fits["jiont"]
    bare = wb.load(wb.save(tmp_path / "bare.nc", fits=fits["joint"].model))
    assert list(bare.fits) == []


# ---- what a match of one's own may do


@dataclass(frozen=True)
class Boltzmann(wb.match.Quantity):
    """exp(−βΨ), which determines the constant of Ψ; the data hold its logarithm times a factor."""

    beta: float = 1.0

    @property
    def needs(self):
        return ("scaled",)

    def observed(self, samples):
        return np.exp(samples["scaled"].values / 2)

    def predicted(self, model, x):
        return torch.exp(-self.beta * model.value(x))


def weighted_points(beta=1.0):
    x = np.linspace(-1.5, 1.5, 60)
    psi = (x**2 - 1) ** 2 + 0.7
    return wb.dataset.points(x).assign(scaled=("sample", -2 * beta * psi)), psi


@pytest.mark.parametrize("match", [Boltzmann(beta=2.0), [Boltzmann(beta=2.0), "gradient"]], ids=["alone", "joint"])
def test_a_match_with_settings_that_determines_the_constant(match, tmp_path):
    data, psi = weighted_points(beta=2.0)
    x = data.x.values
    data = data.assign(gradient=(("sample", "state"), 4 * x**3 - 4 * x))
    fit = wb.fit(wb.LSEICNN(1, 2, (6,)), data, match=match, seed=0, optimiser=wb.LevenbergMarquardt(steps=120))
    assert fit.error < 0.05
    assert fit.model.gauge == "that of the data"
    np.testing.assert_allclose(fit.model.value(x), psi, atol=0.1)
    result = wb.load(wb.save(tmp_path / "own.nc", fits=fit))
    again = result.fits["fit"]
    assert again.match == fit.match
    assert float(result["fits/fit/predictions/boltzmann_r2"].sel(part="train")[0]) > 0.99
    assert float(wb.score(again.model, again.data, match=again.match).boltzmann_r2.sel(part="train")) > 0.99
    assert "boltzmann" not in wb.predict(fit.model, data)  # with which settings?


def test_a_prediction_of_the_wrong_shape_is_named():
    class Sideways(wb.match.Quantity):
        def predicted(self, model, x):
            return model.value(x).unsqueeze(-1)

    data = double_well().assign(sideways=("sample", np.ones(40)))
    for optimiser in (QUICK, wb.Adam(epochs=5)):
        with pytest.raises(ValueError, match=r"predicted of the match 'sideways' returned \(\d+, 1\)|\(1, \d+, 1\)"):
            wb.fit(wb.LSEICNN(1, 1, (3,)), data, match=Sideways(), seed=0, optimiser=optimiser)


def test_integer_observations_in_another_order_are_the_same():
    class Pair(wb.match.Quantity):
        def predicted(self, model, x):
            return torch.stack([model.value(x), 2 * model.value(x)], -1)

    x = np.linspace(-2, 2, 40)
    counts = np.round(10 * (x**2 - 1) ** 2).astype(int)
    rows = np.stack([counts, 2 * counts], -1)
    points = wb.dataset.points(x)
    fits = [
        wb.fit(wb.LSEICNN(1, 2, (4,)), points.assign(pair=pair), match=Pair(), seed=0, restarts=1, optimiser=QUICK)
        for pair in ((("sample", "k"), rows.astype(float)), (("k", "sample"), rows.T))
    ]
    np.testing.assert_array_equal(fits[0].history["loss"], fits[1].history["loss"])
    noisy = points.assign(pair=(("sample", "k"), rows), sigma_pair=(("sample", "k"), np.ones_like(rows, dtype=float)))
    assert wb.fit(wb.LSEICNN(1, 2, (4,)), noisy, match=Pair(), seed=0, restarts=1, optimiser=QUICK).unit == "sigma"


def test_settings_of_a_match_are_fields():
    with pytest.raises(TypeError, match="the settings of the match Power must be fields of a frozen dataclass"):

        class Power(wb.match.Quantity):
            def __init__(self, order):
                self.order = order

    with pytest.raises(ValueError, match=r"a match is an object, such as Potential\(\), got the class"):
        parsed(wb.match.Potential)


def test_noise_of_another_quantity_is_no_unit_of_the_error():
    runs = systems.get("gene_circuit").trajectories(4, time=np.linspace(0, 1, 6), seed=0)
    data = runs.assign(sigma_x=(runs.x.dims, np.full(runs.x.shape, 0.1)))
    assert wb.match.Velocity().unit(data) == "of the spread of the data"
    assert wb.match.Trajectory().unit(data) == "sigma"
    assert "do not trust its stress" in wb.match.Stress().caveat(0.9, PATHS)


# ---- warm starts, seeds, fixed parameters


def test_a_density_goes_on_from_its_weights():
    draws = wb.dataset.points(np.random.default_rng(0).normal(size=(60, 1)))
    match = wb.match.Density(wb.Support({"x1": (-4, 4)}))
    first = wb.fit(wb.LSEICNN(1, 2, (4,)), draws, match=match, seed=0, restarts=1, optimiser=QUICK)
    second = wb.fit(first.model, first.data, match=match, seed=0, warm_start=True, optimiser=QUICK)
    assert float(second.history["validation_loss"][0, 0]) == pytest.approx(first.error, abs=1e-9)
    assert second.model.box == first.model.box
    assert second.error <= first.error


def test_a_warm_start_takes_the_box_of_the_new_data():
    first = wb.fit(Quartic(1), double_well(), match="potential", seed=0, restarts=1, optimiser=QUICK)
    x = np.linspace(-3, 3, 40)
    wider = wb.dataset.points(x, potential=(x**2 - 1) ** 2, split=(["train"] * 4 + ["validation"]) * 8)
    second = wb.fit(first.model, wider, match="potential", seed=0, warm_start=True, optimiser=QUICK)
    assert second.model.box == [(-3.0, float(x[38]))]


class Network(wb.TrainablePotential):
    """A network of torch, in its own precision, with a list that the constructor changes and a buffer."""

    def __init__(self, dim, widths=(6,), *, states=None):
        super().__init__(dim, states=states)
        widths = list(widths)
        widths.append(1)
        sizes = [dim, *widths]
        layers = [torch.nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        self.layers = torch.nn.ModuleList(layers)
        self.register_buffer("u", torch.tensor([2.0]))

    def value(self, x):
        for layer in self.layers[:-1]:
            x = torch.tanh(self.u * layer(x))
        return self.layers[-1](x)[..., 0]


def test_the_seed_determines_what_a_constructor_draws(tmp_path):
    options = {"match": "potential", "seed": 0, "members": 2, "restarts": 2, "optimiser": QUICK}
    model = Network(1, [5])
    before = torch.get_rng_state()
    fit = wb.fit(model, double_well(), **options)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = wb.fit(Network(1, [5]), double_well(), **options)
    np.testing.assert_array_equal(fit.history["loss"], again.history["loss"])
    starts = fit.ensemble.layers[0].weight
    assert float((starts[0] - starts[1]).abs().max()) > 0.1
    loaded = wb.load(wb.save(tmp_path / "network.nc", fits=fit))
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_array_equal(loaded.models["fit"].value(x), fit.model.value(x))
    assert loaded.models["fit"].value(torch.as_tensor(x)).numpy().shape == (9,)  # frozen
    assert Network(1).value(x).shape == (9,)  # in double precision, before any fit


def test_derivatives_of_ones_own_are_scaled_and_checked():
    class Known(Quartic):
        factor = 1.0

        def value(self, x):
            return super().value(x)

        def gradient(self, x):
            return self.factor * sum(k * c * x ** (k - 1) for k, c in enumerate(self.c) if k)

    class Wrong(Known):
        factor = 2.0

    x = np.linspace(-1.9, 1.9, 7)[:, None]
    fit = wb.fit(Known(1), double_well(), match="gradient", seed=0, restarts=1, optimiser=QUICK)
    np.testing.assert_allclose(fit.model.gradient(x), 4 * x**3 - 4 * x, atol=1e-6)
    h = 1e-6
    slope = (fit.model.value(x + h) - fit.model.value(x - h)) / (2 * h)
    np.testing.assert_allclose(fit.model.gradient(x)[:, 0], slope, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="the gradient of Wrong is not the derivative of its value"):
        wb.fit(Wrong(1), double_well(), match="potential", seed=0, restarts=1, optimiser=QUICK)
    with pytest.raises(TypeError, match="Forward writes forward: write the formula as value"):
        type("Forward", (wb.TrainablePotential,), {"forward": lambda self, x: x})


def test_what_a_constructor_fixes_stays_fixed_in_a_material():
    class Stiff(wb.GeneralisedPlay):
        def __init__(self, invariants, **settings):
            super().__init__(invariants, hidden=(3,), **settings)
            self.fixed = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64), requires_grad=False)

        def energy(self, features, h):
            return self.fixed * super().energy(features, h)

        def gradients(self, features, h):
            return tuple(self.fixed * each for each in super().gradients(features, h))

    brief = wb.PathTraining(steps=4, polish=2, every=2)
    first = wb.fit(Stiff(AXIS), PATHS, match="stress", seed=0, restarts=1, optimiser=brief)
    second = wb.fit(
        first.model, PATHS, match="stress", seed=0, warm_start=True, optimiser=wb.LevenbergMarquardt(steps=2)
    )
    assert first.model.fixed.item() == second.model.fixed.item() == 2.0


def test_data_of_other_fits_are_not_taken_for_those_of_a_fit(fits, tmp_path):
    some = {name: fits[name] for name in ("joint", "density")}
    loaded = wb.load(wb.save(tmp_path / "both.nc", fits=some))  # with the data of each
    assert all(loaded.fits[name].data.equals(some[name].data) for name in some)
    one = {name: fits["adam"] for name in "ab"}
    assert "x" in wb.load(wb.save(tmp_path / "same.nc", fits=one)).tree["data"]
    path = wb.save(tmp_path / "raw.nc", fits=fits["adam"], data=double_well())
    with pytest.raises(wb.FileError, match="holds other data than those of the fit fit"):
        wb.load(path).fits["fit"]


def test_arguments_that_no_file_can_hold_are_refused_before_the_fit():
    class Tabled(Quartic):
        def __init__(self, dim, table=None):
            super().__init__(dim)

    with pytest.raises(TypeError, match="the argument table of Tabled is of the type dict and cannot be stored"):
        wb.fit(Tabled(1, {1: 2.0}), double_well(), match="potential", seed=0)
