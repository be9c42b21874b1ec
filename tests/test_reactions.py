"""Reaction networks against closed forms and their own exact law; streams, absorbing states, explosions, bad input."""

import numpy as np
import pytest
from scipy import stats

from systems import ParameterError, ReactionNetwork, State, parameter
from systems.families.stoichiometry import Reaction
from workbench.errors import DatasetError


class Queue(ReactionNetwork):
    """Arrivals and departures: Poisson at all times if it starts empty."""

    state_space = (State("X", "waiting", box=(0, 60)),)
    arrival: float = parameter(10.0, "arrivals", gt=0)
    n: int = parameter(0, "waiting at first", ge=0)

    def start(self):
        return (self.n,)

    def reactions(self):
        return [("-> X", self.arrival), ("X -> 0", 1.0)]


class Decay(ReactionNetwork):
    """Binomial at all times, absorbed at 0."""

    state_space = (State("X", box=(0, 30)),)
    n: int = parameter(30, "number at first", ge=0)

    def start(self):
        return (self.n,)

    def reactions(self):
        return [("X ->", 1.0)]


class Bursts(ReactionNetwork):
    """Moves by -2, -1, 1 and 3."""

    state_space = (State("X", box=(0, 80)),)

    def start(self):
        return (10,)

    def reactions(self):
        return [("0 → X", 4.0), ("-> 3 X", 2.0), ("2 X -> 0", 0.02), ("X ->", 0.5), ("X -> X", 1.0)]


class Toggle(ReactionNetwork):
    """Two genes that repress each other, by propensity functions."""

    state_space = (State("A", box=(0, 20)), State("B", box=(0, 20)))

    def start(self):
        return 4, 2

    def reactions(self):
        return [
            ("-> A", lambda a, b: 5 / (1 + (b / 2) ** 2)),
            ("-> B", lambda a, b: 4 / (1 + (a / 2) ** 2)),
            ("A ->", 1.0),
            ("B ->", 1.0),
        ]


class Dimer(ReactionNetwork):
    """A + B ⇌ C in a closed vessel."""

    state_space = (State("A", box=(0, 6)), State("B", box=(0, 4)), State("C", box=(0, 4)))
    back: float = parameter(0.5, "rate of dissociation", gt=0)

    def start(self):
        return 6, 4, 0

    def reactions(self):
        return [("A + B -> C", 0.2), ("C -> A + B", self.back)]


class Pairing(Dimer):
    """Ends when B has run out."""

    def reactions(self):
        return [("A + B -> C", 2.0)]


def p_value(numbers, p):
    """Return the p-value of numbered outcomes under p; outcomes expected less than five times are taken together."""
    seen, expected = np.bincount(numbers, minlength=len(p)), len(numbers) * p
    order = np.argsort(-expected, kind="stable")
    seen, expected = seen[order], expected[order]
    last = max(int((expected >= 5).sum()) - 1, 0)
    seen, expected = (np.append(v[:last], v[last:].sum()) for v in (seen, expected))
    return stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue


def assert_follows(x, law):
    """Chi-square of x (trajectory, time, species) against the law over all states, time by time."""
    probability = law["probability"].values
    shape = probability.shape[1:]
    for k in range(x.shape[1]):
        numbers = np.ravel_multi_index(tuple(x[:, k].astype(int).T), shape)
        assert p_value(numbers, probability[k].ravel()) > 1e-3, f"time {k}"


def assert_moments(x, p):
    """Mean and variance of x (trajectory, time) within four standard errors of those of p (time, count)."""
    n = np.arange(p.shape[1], dtype=float)
    mean = p @ n
    second, fourth = ((p * (n - mean[:, None]) ** k).sum(-1) for k in (2, 4))
    assert (abs(x.mean(0) - mean) < 4 * np.sqrt(second / len(x))).all()
    assert (abs(x.var(0) - second) < 4 * np.sqrt((fourth - second**2) / len(x))).all()


TIMES = [0.1, 0.4, 1.0, 2.0, 4.0]


def test_chi_square_finds_a_wrong_law():
    x = Queue().trajectories(20_000, time=TIMES, seed=1)["x"].values
    with pytest.raises(AssertionError):
        assert_follows(x, Queue(arrival=10.2).law(TIMES))
    with pytest.raises(AssertionError):
        assert_moments(x[..., 0], Queue(arrival=10.2).law(TIMES)["probability"].values)


@pytest.mark.parametrize("method", ["ssa", "law"])
@pytest.mark.parametrize("network", [Queue(), Decay(), Bursts(), Toggle(), Dimer()], ids=lambda n: n.name)
def test_trajectories_follow_the_exact_law(network, method):
    data, law = network.trajectories(20_000, time=TIMES, seed=2, method=method), network.law(TIMES)
    assert_follows(data["x"].values, law)
    for k, name in enumerate(network.states):
        marginal = law["probability"].sum([other for other in network.states if other != name])
        assert_moments(data["x"].values[..., k], marginal.values)
    assert ("SSA" in data.attrs["method"]) == (method == "ssa")


@pytest.mark.parametrize("arrival", [10.0, 25.0])
def test_law_of_a_queue_is_poisson(arrival):
    queue, time = Queue(arrival=arrival), np.array([0.01, 0.3, 2.0, 8.0])
    symmetrised = queue.master_equation()._bulk[0]
    assert symmetrised == (arrival == 10)
    p = queue.law(time)["probability"].values
    exact = stats.poisson.pmf(np.arange(61), (arrival * (1 - np.exp(-time)))[:, None])
    np.testing.assert_allclose(p, exact, rtol=0, atol=1e-8 if arrival == 25 else 1e-10)
    wide = queue.law(time, within=[(0, 150)])["probability"].values[:, :61]
    np.testing.assert_allclose(wide, exact, rtol=0, atol=1e-11)


def test_stiff_laws_take_full_matrices_and_agree(monkeypatch):
    decay, time = Decay(), np.array([0.0, 0.5, 1.0, 2.5])
    sparse = decay.law(time)["probability"].values
    monkeypatch.setattr("systems.families.master_equation.STIFF_PRODUCTS", 0)
    dense = decay.law(time)["probability"].values
    exact = stats.binom.pmf(np.arange(31), 30, np.exp(-time)[:, None])
    np.testing.assert_allclose(sparse, exact, rtol=0, atol=1e-12)
    np.testing.assert_allclose(dense, exact, rtol=0, atol=1e-12)


def test_rows_from_outside_the_bulk_are_drawn_from_full_matrices():
    queue = Queue(arrival=25.0)
    assert not queue.master_equation()._bulk[0]
    x = queue.trajectories(20_000, time=[0.5, 1.0], seed=3, method="law")["x"].values
    assert_follows(x, queue.law([0.5, 1.0]))


def test_stationary_law_of_a_queue_is_poisson():
    p = Queue().stationary(within=[(0, 80)])
    np.testing.assert_allclose(p["probability"], stats.poisson.pmf(np.arange(81), 10), rtol=1e-9, atol=1e-17)
    for network in (Decay(), Bursts(), Toggle()):
        with pytest.raises(DatasetError, match="the product formula needs one species that moves by ±1"):
            network.stationary()


def test_rate_equation():
    np.testing.assert_allclose(Bursts().rate([[3.0]]), [[4 + 6 - 2 * 0.02 * 9 / 2 - 1.5]])
    np.testing.assert_allclose(Dimer().rate([2.0, 3.0, 4.0]), [0.8, 0.8, -0.8], atol=1e-14)
    np.testing.assert_allclose(Toggle().rate([2.0, 2.0]), [2.5 - 2, 2 - 2])


@pytest.mark.parametrize("network", [Bursts(), Toggle()], ids=lambda n: n.name)
@pytest.mark.parametrize("method", ["ssa", "law"])
def test_trajectories_do_not_depend_on_how_many(network, method, monkeypatch):
    monkeypatch.setattr(
        "systems.families.reactions.SHARD_SIZE", 800
    )  # more than the lanes: some trajectories wait in the queue
    whole = network.trajectories(1700, time=TIMES, seed=5, method=method)["x"].values
    for count in (1, 3, 600, 801):
        part = network.trajectories(count, time=TIMES, seed=5, method=method)["x"].values
        np.testing.assert_array_equal(part, whole[:count])


def test_trajectories_do_not_depend_on_workers(monkeypatch):
    monkeypatch.setattr("systems.families.reactions.SHARD_SIZE", 20)
    toggle = Toggle()
    alone, shared = (toggle.trajectories(50, time=TIMES, seed=6, workers=w) for w in (1, 2))
    assert alone.identical(shared)


def test_seed_sequences_can_be_used_twice():
    sequence = np.random.SeedSequence(7).spawn(2)[1]
    one, two = (Queue().trajectories(4, time=TIMES, seed=sequence) for _ in range(2))
    assert one.identical(two)
    assert one.attrs["seed"] == "7/1"


@pytest.mark.parametrize("method", ["ssa", "law"])
def test_absorbing_states_hold_to_the_end(method):
    x = Decay().trajectories(700, time=[0.0, 30.0, 1e3, 1e9], seed=0, method=method)["x"].values[..., 0]
    np.testing.assert_array_equal(x, np.tile([30, 0, 0, 0], (700, 1)))
    assert (Decay(n=0).trajectories(5, seed=0, method=method)["x"] == 0).all()
    end = Pairing().trajectories(700, time=[1e6, 2e6], seed=0, method=method)["x"].values
    np.testing.assert_array_equal(end, np.broadcast_to([2, 0, 4], (700, 2, 3)))


def test_starts_may_differ_by_trajectory():
    starts = np.arange(600)[:, None] % 31
    data = Decay().trajectories(600, time=[0.0, 1e9], seed=0, starts=starts)
    assert "given starts" in data.attrs["method"]
    x = data["x"].values
    np.testing.assert_array_equal(x[:, 0], starts)
    assert (x[:, 1] == 0).all()


def test_long_grids_are_filled():
    time = np.linspace(0, 2, 1001)
    x = Queue().trajectories(2000, time=time, seed=8)["x"].values[..., 0]
    assert_moments(x[:, 250::250], Queue().law(time[250::250])["probability"].values)


class Explosion(ReactionNetwork):
    """Infinitely many reactions in finite time."""

    state_space = (State("X", box=(0, 100), domain=(0, 5000)),)

    def start(self):
        return (3,)

    def reactions(self):
        return [("2 X -> 3 X", 1.0)]


class ExplosionOfTwo(Explosion):
    state_space = (State("X", box=(0, 100), domain=(0, 5000)), State("Y", box=(0, 5)))

    def start(self):
        return 3, 0


@pytest.mark.parametrize("network", [Explosion(), ExplosionOfTwo()], ids=lambda n: n.name)
def test_explosions_are_errors_with_state_and_time(network):
    with pytest.raises(
        DatasetError, match=r"Explosion\w*: trajectory 0 reaches X = 5001.* at t = \d\S+, where counts le"
    ):
        network.trajectories(2, time=[50.0], seed=0)
    with pytest.raises(DatasetError, match=r"trajectory 0 exceeds 2000 reactions by t = \d\S+, where X = .* budget="):
        network.trajectories(2, time=[50.0], seed=0, budget=2000)
    calm = network.trajectories(2, time=[1e-3], seed=0, budget=2000)  # what lies beyond the end does no harm
    assert (calm["x"][..., 0] < 10).all()


def faulty(states, formula):
    class Faulty(ReactionNetwork):
        state_space = states

        def start(self):
            return (2,) * len(states)

        def reactions(self):
            return [("X ->", formula)]

    return Faulty()


@pytest.mark.parametrize("states", [(State("X", box=(0, 9)),), (State("X", box=(0, 9)), State("Y", box=(0, 9)))])
@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda x, *y: x - 1.5, "X = 1.* at t = .*, where the propensity of 'X ->' is -0.5; expected a finite number"),
        (lambda x, *y: np.log(x - 1) + 1, "X = 1.* at t = .*, where the propensity of 'X ->' is -inf"),
        (lambda x, *y: np.sqrt(x - 2), "X = 2.*"),
        (lambda x, *y: 1 / x, "X = 0.* at t = .*, where the propensity of 'X ->' is inf"),
        (
            lambda x, *y: 1.0 + 0 * x,
            "X = (0.*'X ->' takes|-1.*a reaction takes) a count below 0; its propensity must vanish there",
        ),
    ],
)
def test_bad_propensities_are_errors_with_state_and_time(states, formula, message):
    network = faulty(states, formula)
    if message == "X = 2.*":  # it vanishes before it is undefined
        assert (network.trajectories(2, time=[9.0], seed=0)["x"].values == 2).all()
    else:
        with pytest.raises(DatasetError, match=f"Faulty: trajectory 0 reaches {message}"):
            network.trajectories(2, time=[99.0], seed=0)
    with pytest.raises(DatasetError, match=r"Faulty has no master equation: at counts \[[01] ?0?\], "):
        network.law([1.0])


@pytest.mark.parametrize(
    ("equation", "rate", "message"),
    [
        ("A + B", 1.0, "a reaction must be written like 'A \\+ 2 B -> C', got 'A \\+ B'"),
        ("A -> B -> A", 1.0, "a reaction must be written like"),
        ("1.5 A -> B", 1.0, "a reaction must be written like"),
        ("A + -> B", 1.0, "a reaction must be written like"),
        ("Aa -> B", 1.0, "Aa in 'Aa -> B' is not a state, did you mean 'A'\\? The states are A, B; "),
        *((("A -> B", rate, "the rate of 'A -> B' must be a positive number or a function, got"))
          for rate in (0.0, -1.0, np.nan, np.inf, True, "fast", None)),
    ],
)  # fmt: skip
def test_bad_reactions_are_refused(equation, rate, message):
    with pytest.raises(ParameterError, match=message):
        Reaction.of(equation, rate, ["A", "B"])


def test_a_network_without_reactions_is_refused():
    class Nothing(Decay):
        def reactions(self):
            return []

    with pytest.raises(ParameterError, match="Nothing has no reactions"):
        Nothing().trajectories(2)


def test_laws_that_leave_the_box_are_refused():
    queue = Queue()
    with pytest.raises(
        DatasetError,
        match="Queue leaves the counts 0 … 12 with probability .* exceeds 1e-06 from t = 5; pass a wider within=",
    ):
        queue.law([0.0, 0.2, 5.0], within=[(0, 12)])
    with pytest.raises(DatasetError, match=r"the counts \[20.\] at t = 0 are outside the box 0 … 12"):
        queue.law([1.0], start=[20], within=[(0, 12)])
    for within in ([(0, 12.5)], [(-1, 12)], [(0, 1e9)]):
        with pytest.raises(DatasetError, match="the box must hold integers between"):
            queue.law([1.0], within=within)
    for within in ([(12, 0)], (0, 12), [(0, np.inf)]):
        with pytest.raises(DatasetError, match="within must hold \\(lowest, highest\\) for each of"):
            queue.law([1.0], within=within)
    with pytest.raises(DatasetError, match="the master equation allows at most 1000000"):
        Dimer().law([1.0], within=[(0, 999)] * 3)

    class Crowded(Queue):
        state_space = (State("X", box=(0, 12)),)

    left = r"trajectory \d+ leaves the counts 0 … 12 by t = \d.*; use method='ssa'"
    with pytest.raises(DatasetError, match=left):
        Crowded().trajectories(1, time=[50.0, 100.0, 150.0], seed=1, method="law", starts=[12])
    with pytest.raises(DatasetError, match=left):
        Crowded().trajectories(100, time=TIMES, seed=0, method="law")


def test_small_boxes_and_single_trajectories():
    one = Decay(n=1)
    assert one.law([1.0], within=[(0, 1)])["probability"].values[0] == pytest.approx([1 - np.exp(-1), np.exp(-1)])
    assert dict(one.trajectories(1, time=[1.0], seed=0).sizes) == {"trajectory": 1, "time": 1, "state": 1}
