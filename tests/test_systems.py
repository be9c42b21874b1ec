"""Contracts that every registered system keeps, the registry, and the gene circuit against its published equation."""

import importlib.metadata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import systems
import workbench as wb
from systems import contract
from systems.registry import Registry
from workbench.errors import DatasetError
from workbench.potentials import symmetry

POTENTIALS = [n for n in systems.names() if issubclass(systems.SYSTEMS[n], systems.PotentialSystem)]
NETWORKS = [n for n in systems.names() if issubclass(systems.SYSTEMS[n], systems.ReactionNetwork)]


@pytest.mark.parametrize("name", systems.names())
def test_every_system_keeps_its_contract(name):
    system = systems.get(name)
    assert system.name == name
    contract.check(system)


def test_the_contract_takes_a_name():
    systems.contract.check("gene_circuit")
    with pytest.raises(KeyError, match="unknown system 'gene_circut'"):
        systems.contract.check("gene_circut")


@pytest.mark.parametrize("name", POTENTIALS)
def test_every_potential_system_is_a_potential(name):
    assert isinstance(systems.get(name), wb.Potential)


@pytest.mark.parametrize("name", POTENTIALS)
def test_every_symmetry_leaves_the_potential_alone(name):
    system = systems.get(name)
    data = system.points(20, seed=5)
    x = data["x"].values
    for G in symmetry.group(system.dim, system.symmetry):
        np.testing.assert_allclose(system.value(x @ G.T), system.value(x), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(system.gradient(x @ G.T), system.gradient(x) @ G.T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_bad_requests_to_networks_are_refused(name):
    system = systems.get(name)
    for count in (0, -1, 2.5, True):
        with pytest.raises(systems.ParameterError, match="count must be an integer >= 1, got"):
            system.trajectories(count)
    for time in ([0.0, 2.0, 1.0], [1.0, 1.0], [-1.0, 1.0], [0.0, np.nan], []):
        with pytest.raises(DatasetError, match="time must be finite, not negative, and strictly increasing"):
            system.trajectories(2, time=time)
        with pytest.raises(DatasetError, match="time must be finite"):
            system.law(time)
    with pytest.raises(systems.ParameterError, match="at 101 times need at least .* GiB; request fewer at a time"):
        system.trajectories(10**9)
    with pytest.raises(ValueError, match="seed must be an integer"):
        system.trajectories(2, seed=-1)
    with pytest.raises(systems.ParameterError, match="method must be 'ssa' or 'law', got 'tau'"):
        system.trajectories(2, method="tau")
    for option in ("budget", "workers"):
        with pytest.raises(systems.ParameterError, match=f"{option} must be an integer >= 1, got 0"):
            system.trajectories(2, **{option: 0})
    for starts in ([0.5] * system.dim, [-1] * system.dim, [np.nan] * system.dim):
        with pytest.raises(DatasetError, match="counts at t = 0 must be integers between"):
            system.trajectories(2, starts=starts)
    with pytest.raises(DatasetError, match=r"starts must have shape \(species,\) or \(2, species\)"):
        system.trajectories(2, starts=np.ones((3, system.dim)))
    with pytest.raises(DatasetError, match=r"expected shape \(…, "):
        system.propensities(np.zeros((2, system.dim + 1)))


@pytest.mark.parametrize("name", POTENTIALS)
def test_bad_requests_are_refused(name):
    system = systems.get(name)
    with pytest.raises(systems.ParameterError, match="count must be an integer >= 1, got 0"):
        system.points(0)
    with pytest.raises(DatasetError, match="time must be finite, not negative, and strictly increasing"):
        system.trajectories(2, time=[0.0, 2.0, 1.0])
    with pytest.raises(DatasetError, match="time must be finite"):
        system.trajectories(2, time=[])
    with pytest.raises(systems.ParameterError, match="need at least .* GiB; request fewer at a time"):
        system.points(10**12)
    with pytest.raises(DatasetError, match=r"expected shape \(…, "):
        system.value(np.zeros((2, system.dim + 1)))
    with pytest.raises(ValueError, match="seed must be an integer"):
        system.points(2, seed=-1)
    with pytest.raises(DatasetError, match="spread must be 'random', 'sobol' or 'edges'"):
        system.points(2, spread="grid")


def eq_32(x1, x2, a, b, p1, p2, S, n):
    return np.stack(
        [
            a * x1 * (p1 - x1) + b / (S**n + x2**n) - b * n * x1 ** (n - 1) * x2 / (S**n + x1**n) ** 2,
            a * x2 * (p2 - x2) + b / (S**n + x1**n) - b * n * x2 ** (n - 1) * x1 / (S**n + x2**n) ** 2,
        ],
        -1,
    )


@given(
    x=st.tuples(st.floats(0, 3), st.floats(0, 3)),
    a=st.floats(0.1, 3), b=st.floats(0, 3), p1=st.floats(0.2, 2), p2=st.floats(0.2, 2),
    S=st.floats(0.3, 2), n=st.integers(1, 6),
)  # fmt: skip
def test_gene_circuit_is_eq_32(x, **parameters):
    velocity = systems.get("gene_circuit", **parameters).velocity(np.array(x))
    expected = eq_32(*x, **parameters)
    np.testing.assert_allclose(velocity, expected, rtol=1e-9, atol=1e-10 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize(
    ("b", "point", "index"),
    [
        (0.1, (0.953487095983108, 0.953487095983108), 0),
        (1.0, (0.405621017867140, 1.543999494460613), 0),
        (1.0, (1.543999494460613, 0.405621017867140), 0),
        (1.0, (0.813476835294111, 0.813476835294111), 1),
    ],
)
def test_gene_circuit_rests_where_published(b, point, index):
    system = systems.get("gene_circuit", b=b)
    assert np.abs(system.gradient(point)).max() < 1e-14
    assert (np.linalg.eigvalsh(system.hessian(point)) < 0).sum() == index


def test_gene_circuit_barrier_and_pitchfork():
    strong = systems.get("gene_circuit", b=1.0)
    saddle, well = strong.value([[0.813476835294111] * 2, [0.405621017867140, 1.543999494460613]])
    assert saddle - well == pytest.approx(0.154710562700, abs=1e-11)
    critical = systems.get("gene_circuit", b=0.359530158212139)
    points = wb.stationary_points(critical, within=[(0.5, 1.2)] * 2, tolerance=1e-7)
    assert np.abs(points["eigenvalue"].values).min() < 1e-6


@pytest.mark.parametrize("box", [(2, -2), (1, 1), (0, np.nan)])
def test_boxes_go_from_low_to_high(box):
    with pytest.raises(
        systems.ParameterError, match=r"box of the state x must be \(low, high\) with low < high, got \("
    ):
        systems.State("x", box=box)


def test_negative_starts_are_refused(circuit):
    with pytest.raises(
        DatasetError, match=r"defined for 0 <= x1 <= inf, but state 1 has x1 = -0.1 \(1 state\(s\) out of bounds\)"
    ):
        circuit.trajectories(starts=[[0.1, 0.2], [-0.1, 0.2]])
    with pytest.raises(DatasetError, match=r"expected shape \(…, 2\)"):
        circuit.trajectories(starts=[[0.1, 0.2, 0.3]])


def test_trajectories_do_not_depend_on_how_many(circuit):
    few, many = (circuit.trajectories(n, time=[0.0, 1.0], seed=5)["x"].values[:4] for n in (4, 9))
    np.testing.assert_allclose(few, many, rtol=0, atol=1e-9)


def test_parameters_are_checked():
    with pytest.raises(systems.ParameterError, match=r"no parameter 'bb', did you mean 'b'\?"):
        systems.get("gene_circuit", bb=1)
    with pytest.raises(systems.ParameterError, match="b of gene_circuit: .* greater than or equal to 0, got -1"):
        systems.get("gene_circuit", b=-1)
    with pytest.raises(systems.ParameterError, match="must not be a boolean"):
        systems.get("gene_circuit", b=True)
    with pytest.raises(systems.ParameterError, match="finite"):
        systems.get("gene_circuit", b=np.inf)
    with pytest.raises(
        KeyError, match=r"unknown system 'gene_circut', did you mean 'gene_circuit'\? Known: .*gene_circuit"
    ):
        systems.get("gene_circut")


def test_edges_follow_the_arcsine_law(circuit):
    x = circuit.points(4096, seed=0, spread="edges")["x"].values / 2
    share = np.linspace(0, 1, 9)
    np.testing.assert_allclose(
        np.quantile(x, share, axis=0), np.tile((1 - np.cos(np.pi * share)) / 2, (2, 1)).T, atol=2e-3
    )


class DoubleWell(systems.PotentialSystem):
    """A user's own system."""

    state_space = (systems.State("x", "position", box=(-2, 2)),)
    depth: float = systems.parameter(1.0, "depth of the wells", gt=0)

    def potential(self, x):
        return self.depth * ((x**2 - 1) ** 2).sum(-1)


def test_own_system_needs_a_formula_only():
    well = DoubleWell(depth=2.0)
    np.testing.assert_allclose(well.gradient([[0.5]]), [[2 * 4 * 0.5 * (0.25 - 1)]])
    assert well.trajectories(3, seed=0)["x"].shape == (3, 41, 1)


class Unsummed(DoubleWell):
    def potential(self, x):
        return (x**2 - 1) ** 2


class Summed(DoubleWell):
    def potential(self, x):
        return (x**2).sum()


class Missing(DoubleWell):
    def potential(self, x):
        (x**2).sum(-1)


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (Unsummed(), r"potential of Unsummed returned shape \(5, 1\) for x of shape \(5, 1\); expected \(5,\)"),
        (Summed(), r"potential of Summed returned shape \(\) for x of shape \(5, 1\); expected \(5,\)"),
        (Missing(), r"potential of Missing returned NoneType; expected a tensor of shape \(5,\)"),
    ],
)
def test_a_formula_of_the_wrong_shape_is_told_at_first_use(system, message):
    for use in (system.value, system.gradient, system.hessian):
        with pytest.raises(DatasetError, match=message):
            use(np.zeros((5, 1)))
    with pytest.raises(AssertionError, match="potential of .* returned"):
        contract.check(system)


class Runaway(systems.PotentialSystem):
    state_space = (systems.State("x", box=(0.5, 1.0)),)

    def potential(self, x):
        return -(x**3).sum(-1) / 3


class Stiff(systems.PotentialSystem):
    state_space = (systems.State("x", box=(0.5, 1.0)), systems.State("y", box=(0.5, 1.0)))

    def potential(self, x):
        return 0.5 * (x[..., 0] ** 2 + 1e9 * x[..., 1] ** 2)


class Undefined(systems.PotentialSystem):
    state_space = (systems.State("x", box=(-1.0, -0.5)),)

    def potential(self, x):
        return x.sqrt().sum(-1)


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (Runaway(), r"Runaway diverges: trajectory \d, which starts at \[.*\], at t = 1"),
        (Stiff(), "Stiff is too stiff for DOP853: 6000 evaluations reach only t = "),
        (Undefined(), "Undefined diverges: trajectory 0, .* at t = 0"),
    ],
)
def test_flows_that_cannot_be_integrated_say_so(system, message, monkeypatch):
    monkeypatch.setattr("systems.families.potential.MOST_EVALUATIONS", 6000)
    with pytest.raises(DatasetError, match=message):
        system.trajectories(2, seed=0)


def test_registry_is_loud_about_clashes_and_survives_broken_plugins(monkeypatch):
    registry = Registry("thing", group="nothing")
    registry.register("a")(DoubleWell)
    with pytest.raises(ValueError, match="two thing classes share the name 'a'"):
        registry.register("a")(Runaway)
    points = [
        importlib.metadata.EntryPoint("broken", "no_such_module:Thing", "nothing"),
        importlib.metadata.EntryPoint("fine", "tests_plugin:Fine", "nothing"),
    ]
    monkeypatch.setattr("systems.registry.entry_points", lambda group: points)
    monkeypatch.setitem(__import__("sys").modules, "tests_plugin", type("M", (), {"Fine": Stiff}))
    with pytest.warns(UserWarning, match="plug-in 'broken' .* failed to load and was skipped"):
        assert registry.names() == ["a", "fine"]
