"""First passages, committors and relaxation times on grids, against closed forms, quadratures and known limits."""

import copy
import warnings

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from test_langevin import Quartic

import systems
import workbench as wb
from systems import PotentialSystem, State
from workbench.dataset.variables import Units
from workbench.dynamics.first_passage_exact import passage_on_grid
from workbench.dynamics.generator import Generator, Heights, bernoulli
from workbench.dynamics.hitting import Hitting
from workbench.dynamics.passage_quadrature import log_passage_time
from workbench.dynamics.two_grids import box_with, heights_in
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.potentials.bridge import require_potential
from workbench.potentials.natural import Natural


class Plain:
    """Σ fᵢ(xᵢ) of given functions, or k f((x − c)/s) + m."""

    members = None

    def __init__(self, *terms, states=None, units=None):
        self.terms, self.states = terms, states or tuple(f"x{k + 1}" for k in range(len(terms)))
        self.units = units or Units((None,) * len(self.states))

    def value(self, x):
        return sum(term(x[..., k]) for k, term in enumerate(self.terms))

    def gradient(self, x):
        raise NotImplementedError("no verb of this file needs it")

    hessian = gradient


def double_well(x):
    return (x**2 - 1) ** 2 + 0.1 * x


def even_well(x):
    return (x**2 - 1) ** 2


def bowl(x):
    return x**2 / 2


def heights_of(potential, box, temperature, nodes):
    potential = require_potential(potential, len(box))
    return heights_in(Natural(potential, box_with(potential, box, {}), isotropic=True), temperature, nodes)


def passage(potential, box, temperature, nodes, start, level):
    """Return the logarithm of a passage time to a set of x, in the units of x."""
    heights = heights_of(potential, box, temperature, nodes)
    natural = heights.natural
    log_time, error = passage_on_grid(
        heights, lambda y: level(natural.x(y)), natural.y(np.asarray(start, dtype=np.float64))
    )
    return log_time + 2 * np.log(float(natural.unit[0])) - np.log(natural.spread), error


# ------------------------------------------------------------------------------------------------ the generator


def test_the_bernoulli_function_is_that_of_its_series_and_of_its_symmetry():
    z = np.array([1e-9, 1e-3, 0.1])
    np.testing.assert_allclose(bernoulli(z), 1 - z / 2 + z**2 / 12 - z**4 / 720, rtol=1e-10)
    z = np.linspace(-300, 300, 41)
    np.testing.assert_allclose(np.log(bernoulli(-z)), z + np.log(bernoulli(z)), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("temperature", [1.0, 0.02])
def test_rates_satisfy_detailed_balance(temperature):
    rough = Plain(lambda x: double_well(x) + torch.sin(7 * x), lambda y: 2 * y**2 + torch.cos(5 * y))
    found = Generator(heights_of(rough, [(-1.5, 1.5), (-1.0, 2.0)], temperature, 31))
    rates = found.rates.tocoo()
    assert rates.nnz == 2 * 2 * 30 * 31
    there = np.log(found.weight[rates.row]) + np.log(rates.data)
    back = np.log(found.weight[rates.col]) + np.log(found.rates.T.tocsr()[rates.row, rates.col])
    np.testing.assert_allclose(there - back, 0.0, atol=1e-12)


def test_a_jump_across_a_boundary_ends_on_it():
    heights = heights_of(Plain(bowl, bowl), [(-1, 1), (-1, 1)], 1.0, 9)
    found = Generator(heights, [lambda y: 0.33 - y[:, 0]])  # in natural units: nodes at multiples of 1/8
    at = found.exits[:, 0] > 0
    np.testing.assert_allclose(heights.rows[found.nodes[at], 0], 0.25)
    length, T = 0.33 - 0.25, heights.temperature
    end = np.column_stack([np.full(at.sum(), 0.33), heights.rows[found.nodes[at], 1]])
    rise = heights.at(end) - heights.value[found.nodes[at]]
    expected = T / ((length + 0.125) / 2 * length) * bernoulli(rise)
    np.testing.assert_allclose(found.exits[at, 0], expected, rtol=1e-12)


# ------------------------------------------------------------------------------------------------ first passages


@pytest.mark.parametrize("target", [0.9, 0.9137])
def test_a_grid_in_one_dimension_agrees_with_the_quadrature(target):
    T, box = 0.1, [(-2.0, 2.0)]
    found, _ = passage(Plain(double_well), box, T, 2001, [-1.0], lambda x: target - x[:, 0])
    exact = log_passage_time(lambda x: double_well(x) / T, T, -1.0, target, -2.0)
    assert found == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize(("dim", "nodes"), [(2, 161), (3, 33)])
def test_the_passage_to_a_slab_of_a_separable_potential_is_that_in_one_dimension(dim, nodes):
    """Off the grid, and with a start off the grid: the error is removed to leading order all the same."""
    T = 0.4
    potential = Plain(double_well, bowl, lambda z: 2 * z**2)
    potential = Plain(*potential.terms[:dim])
    box = [(-1.8, 1.8), (-2.0, 2.0), (-1.3, 1.3)][:dim]
    start = [-0.913, 0.31, 0.17][:dim]
    found, error = passage(potential, box, T, nodes, start, lambda x: 0.85 - x[:, 0])
    exact = log_passage_time(lambda x: double_well(x) / T, T, -0.913, 0.85, -1.8)
    assert found == pytest.approx(exact, abs=1e-4 if dim == 2 else 1e-3)
    assert abs(found - exact) < error


def test_an_oblique_boundary_is_met_between_the_nodes():
    """In an isotropic bowl the passage to a half-space does not depend on its direction."""
    T, normal = 0.5, np.array([0.6, 0.8])
    found, _ = passage(Plain(bowl, bowl), [(-4.0, 4.0)] * 2, T, 161, [-0.2, -0.33], lambda x: 0.7 - x @ normal)
    exact = log_passage_time(lambda x: bowl(x) / T, T, normal @ [-0.2, -0.33], 0.7, None)
    assert found == pytest.approx(exact, abs=1e-4)


def radial(dim, temperature, radius, start):
    """Return the time from a distance to a ball at the centre of a bowl, by quadrature."""

    def outside(r):
        return quad(lambda s: s ** (dim - 1) * np.exp((r * r - s * s) / 2 / temperature), r, 12, epsrel=1e-12)[0]

    return quad(lambda r: r ** (1 - dim) * outside(r) / temperature, radius, start, epsrel=1e-10)[0]


@pytest.mark.parametrize(
    ("dim", "radius", "side", "nodes", "rtol"), [(2, 0.4, 3.5, 241, 5e-5), (3, 0.8, 3.0, 31, 1e-2)]
)
def test_a_ball_in_a_bowl_has_a_radial_quadrature(dim, radius, side, nodes, rtol):
    T, centre, way = 0.5, np.array([0.013, 0.027, 0.0071])[:dim], np.array([0.6, 0.8, 0.0])[:dim]
    shifted = Plain(*(lambda x, c=c: bowl(x - c) for c in centre))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if dim == 3 else "error", LandscapeWarning)  # the grid in 3-D is coarse
        found = wb.first_passage_exact(
            shifted, centre + 1.3 * way, centre, T, radius=radius, within=[(-side, side)] * dim, nodes=nodes
        )
    assert found == pytest.approx(radial(dim, T, radius, 1.3), rel=rtol)


def test_simulated_passages_agree():
    well, T = Quartic(stiffness=1.0), 0.2
    exact = wb.first_passage_exact(well, (-1, 0.2), (1, 0), T, radius=0.4, within=[(-2.2, 2.2), (-2.2, 2.2)])
    found = wb.first_passage(well, (-1, 0.2), (1, 0), T, radius=0.4, end=60.0, step=0.03, count=600, seed=0)
    assert float(found.interval[0]) < exact < float(found.interval[1])
    assert float(found.interval[1] / found.interval[0]) < 1.25


@pytest.mark.parametrize("height", [30, 300])
def test_barriers_of_any_height_cost_no_accuracy(height):
    T = 1 / height
    found, _ = passage(Plain(even_well, bowl), [(-1.5, 1.5)] * 2, T, 241, [-1.0, 0.0], lambda x: 0.8 - x[:, 0])
    exact = log_passage_time(lambda x: even_well(x) / T, T, -1.0, 0.8, -1.5)
    assert found == pytest.approx(exact, abs=1e-3)
    assert exact > height


def test_three_wells_beyond_one_another():
    """At 90 decades of the published surface the grid meets the limit of Eyring and Kramers."""
    surface, T = systems.get("muller_brown"), 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        known = float(wb.rates(surface, surface.box, T).time.values[4, 1])
    found = wb.first_passage_exact(
        surface, (-0.558, 1.442), (0.623, 0.028), T, radius=0.1, within=[(-1.8, 1.4), (-0.6, 2.2)]
    )
    assert np.log10(found) > 89
    assert found == pytest.approx(known, rel=0.02)


def test_one_dimension_ends_at_the_edge_of_the_ball_and_reflects_at_the_box():
    well = Quartic()
    edge = wb.first_passage_exact(well, -1.0, 0.75, 0.1)
    assert wb.first_passage_exact(well, [-1.0], [1.0], 0.1, radius=0.25) == pytest.approx(edge, rel=1e-9)
    back = wb.first_passage_exact(well, 1.0, -0.75, 0.1)
    assert wb.first_passage_exact(well, 1.0, -1.0, 0.1, radius=0.25) == pytest.approx(back, rel=1e-9)
    free = Plain(lambda x: 0 * x)
    assert wb.first_passage_exact(free, 0.5, 2.0, 1.0, within=[(0.0, 3.0)]) == pytest.approx((4 - 0.25) / 2, rel=1e-9)
    assert wb.first_passage_exact(free, 2.0, 0.5, 1.0, within=[(0.0, 3.0)]) == pytest.approx((2.5**2 - 1) / 2, rel=1e-9)


def test_the_quadrature_keeps_what_lies_far_above_the_lowest_state():
    """Down a slope of 2000 T: τ = L/F − T/F² (1 − e^{−FL/T}), with a wall behind the start."""
    slope = 2000.0
    exact = 1 / slope - (1 - np.exp(-slope)) / slope**2
    found = wb.first_passage_exact(Plain(lambda x: -slope * x), 0.0, 1.0, 1.0, within=[(0.0, 1.5)])
    assert found == pytest.approx(exact, rel=1e-8)


def test_times_beyond_the_largest_float_are_told_in_decades():
    """By Kramers, 2π/√(8·4) e^1000 = 10^434.34."""
    message = r"the mean first-passage time is 10\^434.3, beyond the largest float: raise the temperature"
    with pytest.raises(LandscapeError, match=message):
        wb.first_passage_exact(Plain(even_well), -1.0, 1.0, 1e-3)
    with pytest.raises(LandscapeError, match=r"is about 10\^434.3, beyond the largest float: raise the temperature"):
        wb.first_passage_exact(
            Plain(even_well, bowl), (-1.0, 0.0), (1.0, 0.0), 1e-3, radius=0.2, within=[(-1.5, 1.5)] * 2
        )


# ------------------------------------------------------------------------------------------------ committors


def test_a_committor_in_one_dimension_has_a_closed_form():
    T, box, radius = 0.1, [(-2.0, 2.0)], 0.1033
    found = wb.committor(Plain(double_well), box, [-1.0], [1.0], T, radius=radius)
    a, b = -1.0 + radius, 1.0 - radius
    whole = quad(lambda x: np.exp(double_well(x) / T), a, b, epsrel=1e-12)[0]
    for x in (-0.7, 0.0, 0.4, 0.8):
        exact = quad(lambda x: np.exp(double_well(x) / T), a, x, epsrel=1e-12)[0] / whole
        at = found.committor.sel(x1=x, method="nearest")
        assert float(at) == pytest.approx(exact, rel=1e-6)
    assert (found.committor.values[found.x1 < a] == 0).all()
    assert (found.committor.values[found.x1 > b] == 1).all()
    partition = quad(lambda x: np.exp(-double_well(x) / T), -2, 2, epsrel=1e-12)[0]
    assert float(found["flux"]) == pytest.approx(T / (whole * partition), rel=1e-6)
    left = quad(lambda x: np.exp(-double_well(x) / T), -2, a, epsrel=1e-12)[0]

    def before(x):
        return np.exp(-double_well(x) / T) * quad(lambda z: np.exp(double_well(z) / T), x, b)[0] / whole

    share = (left + quad(before, a, b, epsrel=1e-9)[0]) / partition
    assert float(found["rate"]) == pytest.approx(float(found["flux"]) / share, rel=1e-5)


def test_symmetry_makes_one_half():
    found = wb.committor(Plain(even_well, bowl), [(-1.6, 1.6)] * 2, [-1, 0], [1, 0], 0.3, radius=0.2, nodes=81)
    np.testing.assert_allclose(found.committor.sel(x1=0), 0.5, atol=1e-12)
    np.testing.assert_allclose(found.committor + found.committor.values[::-1], 1.0, atol=1e-12)
    several = wb.committor(
        Plain(even_well, even_well),
        [(-1.6, 1.6)] * 2,
        [[-1, -1], [1, 1]],
        [[-1, 1], [1, -1]],
        0.3,
        radius=0.2,
        nodes=81,
    )
    np.testing.assert_allclose(several.committor.sel(x1=0), 0.5, atol=1e-12)
    np.testing.assert_allclose(several.committor.values, several.committor.values.T, atol=1e-12)


def test_the_rate_of_rare_passages_is_the_inverse_of_their_time():
    """From the bottom of a well the time differs by that of crossing the other well, of relative order e^{−ΔΨ/T}."""
    sets, options = ((-1, 0), (1, 0)), {"radius": 0.2, "nodes": 121}
    potential, box, T = Plain(even_well, bowl), [(-1.5, 1.5)] * 2, 0.05
    rate = float(wb.committor(potential, box, *sets, T, **options)["rate"])
    assert rate * wb.first_passage_exact(potential, *sets, T, within=box, **options) == pytest.approx(1, abs=1e-5)


# ------------------------------------------------------------------------------------------------ relaxation


def test_relaxation_of_an_oscillator():
    found = wb.relaxation_times(Plain(bowl), [(-7.0, 7.0)], 1.0, count=3)
    np.testing.assert_allclose(found["time"], [1, 1 / 2, 1 / 3], rtol=1e-6)
    assert (found["time_error"] > np.abs(found["time"] - [1, 1 / 2, 1 / 3])).all()


@pytest.mark.parametrize(("dim", "nodes"), [(2, 161), (3, 25)])
def test_eigenvalues_of_a_separable_potential_add_up(dim, nodes):
    T, terms = 0.5, (double_well, bowl, lambda z: 0.8 * z**2)
    box = [(-1.8, 1.8), (-2.0, 2.0), (-1.6, 1.6)]
    alone = [
        1 / wb.relaxation_times(Plain(f), [pair], T, count=3)["time"].values
        for f, pair in zip(terms[:dim], box, strict=False)
    ]
    sums = sum(np.ix_(*(np.append(0, rates) for rates in alone)), np.zeros(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if dim == 3 else "error", LandscapeWarning)
        found = wb.relaxation_times(Plain(*terms[:dim]), box[:dim], T, count=3, nodes=nodes)
    np.testing.assert_allclose(found["time"], 1 / np.sort(sums.ravel())[1:4], rtol=1e-4 if dim == 2 else 1e-3)


def test_equal_eigenvalues_are_all_found():
    """Those of n equal oscillators are 1 (n times), 2, …; those of two far wells and a bowl are 0, 1, 1, …"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        found = wb.relaxation_times(Plain(bowl, bowl, bowl), [(-5.0, 5.0)] * 3, 1.0, count=4, nodes=21)
    np.testing.assert_allclose(found["time"], [1, 1, 1, 1 / 2], rtol=3e-3)
    np.testing.assert_allclose(found["time"][:3], float(found["time"][0]), rtol=1e-9)
    wells = wb.relaxation_times(Plain(even_well, bowl), [(-1.6, 1.6)] * 2, 0.05, count=3, nodes=121)
    np.testing.assert_allclose(wells["time"][1:], 1.0, rtol=1e-4)


@pytest.mark.parametrize("height", [15, 50])
def test_the_slowest_relaxation_is_that_of_two_equal_wells(height):
    """Passages either way halve the time; from the bottom to the top it is exact up to e^{−ΔΨ/T}."""
    T, box = 1 / height, [(-1.5, 1.5)]
    found = wb.relaxation_times(Plain(even_well, bowl), box * 2, T, count=1, nodes=161)
    crossing = wb.first_passage_exact(Plain(even_well), -1.0, 1.0, T)
    assert float(found["time"][0]) == pytest.approx(crossing / 2, rel=2e-3)


def test_rounding_is_noticed():
    with pytest.raises(LandscapeError, match=r"barriers are too high in units of T; raise the temperature.*rates"):
        wb.relaxation_times(Plain(even_well), [(-1.5, 1.5)], 1 / 120, nodes=201)


# ------------------------------------------------------------------------------------------------ all of them


def answers(potential, scale, shift, temperature):
    """Return times of all three verbs for a landscape over (−1.6, 1.6) times scale, plus shift."""
    box = [(scale * -1.6 + c, scale * 1.6 + c) for c in shift]
    centre = np.asarray(shift)
    first, second = centre - scale * np.array([1, 0]), centre + scale * np.array([1, 0])
    options = {"radius": 0.25 * scale, "nodes": 61}
    passage = wb.first_passage_exact(potential, first, second, temperature, within=box, **options)
    found = wb.committor(potential, box, first, second, temperature, **options)
    slow = wb.relaxation_times(potential, box, temperature, count=2, nodes=61)
    return np.array([passage, *slow["time"].values, 1 / found["rate"], 1 / found["flux"]]), found["committor"].values


def test_answers_do_not_depend_on_units_or_origin():
    s, k, m, c = 2e-7, 4.1e21, 3e22, (5e-6, -1e-6)
    plain = Plain(double_well, bowl)
    scaled = Plain(lambda x: k * double_well((x - c[0]) / s) + m, lambda y: k * bowl((y - c[1]) / s))
    (times, q), (others, p) = answers(plain, 1.0, (0.0, 0.0), 0.2), answers(scaled, s, c, 0.2 * k)
    np.testing.assert_allclose(others, times * s**2 / k, rtol=1e-8)
    np.testing.assert_allclose(p, q, atol=1e-9)


def test_members_are_asked_one_by_one(small_fit):
    box, sets = [(-0.5, 2.5), (-0.5, 2.5)], ((0.41, 1.54), (1.54, 0.41))
    options = {"radius": 0.3, "nodes": 41}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)  # of few nodes
        both = wb.committor(small_fit.ensemble, box, *sets, 0.2, **options)
        one = wb.committor(small_fit.ensemble.member(1), box, *sets, 0.2, **options)
        slow = wb.relaxation_times(small_fit.ensemble, box, 0.2, count=2, nodes=41)
    assert both["committor"].dims == ("member", "x1", "x2")
    np.testing.assert_array_equal(both["committor"][1], one["committor"])
    assert slow["time"].dims == ("member", "process")
    assert float(both["rate"][1]) == float(one["rate"])
    with pytest.raises(ValueError, match=r"got 2 state\(s\) and 2 members.*ask one member"):
        wb.first_passage_exact(small_fit.ensemble, *sets, 0.2, within=box, **options)


def test_answers_carry_the_units_of_the_landscape():
    units = Units(("nm", "nm"), potential="kJ/mol", time="ps")
    potential = Plain(even_well, bowl, states=("r", "s"), units=units)
    found = wb.committor(potential, [(-1.5, 1.5)] * 2, (-1, 0), (1, 0), 0.2, radius=0.3, nodes=61)
    said = {name: found[name].attrs.get("units") for name in found.variables}
    assert said == {
        "committor": "1", "committor_error": "1", "flux": "1/ps", "rate": "1/ps", "rate_error": "1/ps", "r": "nm",
        "s": "nm",
    }  # fmt: skip
    slow = wb.relaxation_times(potential, [(-1.5, 1.5)] * 2, 0.2, nodes=61)
    assert [slow[name].attrs["units"] for name in ("time", "time_error", "process")] == ["ps", "ps", "1"]
    for one in (found, slow):
        assert one.attrs["mobility"] == "1 mol nm^2/kJ/ps"
        assert one.attrs["temperature"] == 0.2
        assert one.attrs["time_unit"] == "ps"


def holed(x):
    """Return x²/2, NaN beyond a wall at 1.475, halfway between two nodes of the grid below."""
    return torch.where(x > 1.475, torch.nan, bowl(x))


def test_where_the_potential_is_not_finite_there_are_walls():
    options = {"radius": 0.3, "nodes": 121}
    with pytest.warns(LandscapeWarning, match="not finite at 3751 of the 14641 nodes of the grid, which are left out"):
        found = wb.first_passage_exact(
            Plain(holed, bowl), (1.2, 0.1), (0, 0), 1.0, within=[(-3, 3), (-3, 3)], **options
        )
    exact = wb.first_passage_exact(Plain(bowl, bowl), (1.2, 0.1), (0, 0), 1.0, within=[(-3, 1.475), (-3, 3)], **options)
    assert found == pytest.approx(exact, rel=0.02)
    with pytest.warns(LandscapeWarning), pytest.raises(LandscapeError, match="no way leads from start to target"):
        wb.first_passage_exact(Plain(holed, bowl), (2.2, 0.1), (0, 0), 1.0, within=[(-3, 3), (-3, 3)], **options)
    with pytest.warns(LandscapeWarning):
        both = wb.committor(Plain(holed, bowl), [(-3, 3)] * 2, (-1, 0), (1, 0), 1.0, **options)
    np.testing.assert_array_equal(np.isnan(both.committor).all("x2"), both["x1"] > 1.475)
    with pytest.warns(LandscapeWarning):
        slow = wb.relaxation_times(Plain(holed, bowl), [(-3, 3)] * 2, 1.0, count=1, nodes=121)
    box = wb.relaxation_times(Plain(bowl, bowl), [(-3, 1.475), (-3, 3)], 1.0, count=1, nodes=121)
    assert float(slow["time"][0]) == pytest.approx(float(box["time"][0]), rel=0.02)


def test_a_coarse_grid_is_reported():
    with pytest.warns(LandscapeWarning, match=r"error of the mean first-passage time is .*%, with nodes=31 .* rates"):
        wb.first_passage_exact(
            Plain(even_well, bowl), (-1, 0), (1, 0), 0.02, radius=0.3, within=[(-1.5, 1.5)] * 2, nodes=31
        )
    with pytest.warns(LandscapeWarning, match=r"error of the rate is .*%"):
        wb.committor(Plain(even_well, bowl), [(-1.5, 1.5)] * 2, (-1, 0), (1, 0), 0.02, radius=0.3, nodes=31)
    with pytest.warns(LandscapeWarning, match=r"error of the relaxation times is .*%"):
        wb.relaxation_times(Plain(even_well, bowl), [(-1.5, 1.5)] * 2, 0.05, nodes=31)


def test_wells_are_taken_out_without_a_change():
    """Where barriers are low, the plain equations −Lτ = 1 can be solved as they stand."""
    heights = heights_of(Plain(even_well, even_well), [(-1.6, 1.6)] * 2, 0.4, 33)
    generator = Generator(heights, [lambda y: 0.2 - y[:, 0]])
    plain = np.diag(generator.total) - generator.rates.toarray()
    found = Hitting(generator)
    np.testing.assert_allclose(found.time[generator.nodes], np.linalg.solve(plain, np.ones(len(plain))), rtol=1e-9)
    np.testing.assert_allclose(found.probability[generator.nodes, 0], 1.0, rtol=1e-12)
    assert found.rounding < 1e-10


def test_more_wells_than_can_be_taken_out_are_noticed():
    many = Plain(*[lambda x: 1 - torch.cos(14 * np.pi * x)] * 2)
    with pytest.raises(LandscapeError, match="rounding errors spoil the answer: barriers between more than 100 wells"):
        wb.first_passage_exact(many, (-0.99, -0.99), (0.7, 0.7), 0.05, radius=0.05, within=[(-1, 1)] * 2, nodes=121)


def test_a_model_in_single_precision_has_the_answers_of_one_in_double(small_fit):
    model = small_fit.model
    single = copy.deepcopy(model).to(torch.float32)
    box, sets, options = [(-0.5, 2.5)] * 2, ((0.41, 1.54), (1.54, 0.41)), {"radius": 0.3, "nodes": 81}
    exact, found = (float(wb.committor(one, box, *sets, 0.2, **options)["rate"]) for one in (model, single))
    assert found == pytest.approx(exact, rel=1e-5)
    assert found != exact


class Tall(PotentialSystem):
    """Four states."""

    state_space = tuple(State(name, box=(-1, 1)) for name in "abcd")

    def potential(self, x):
        return (x**2).sum(-1)


def test_invalid_requests_are_rejected():
    flat, box = Plain(bowl, bowl), [(-1.0, 1.0)] * 2
    sets = ((-0.5, 0.0), (0.5, 0.0))
    with pytest.raises(ValueError, match=r"with radius=… and within=… a grid takes up to three states"):
        wb.first_passage_exact(flat, *sets, 1.0, radius=0.1)
    with pytest.raises(ValueError, match=r"start = \[\[-1.5, 0.0\]\] lies outside the box"):
        wb.first_passage_exact(flat, (-1.5, 0.0), sets[1], 1.0, radius=0.1, within=box)
    with pytest.raises(ValueError, match=r"target = \[\[0.5, 2.0\]\] lies outside the box"):
        wb.first_passage_exact(flat, sets[0], (0.5, 2.0), 1.0, radius=0.1, within=box)
    with pytest.raises(ValueError, match="start lies within radius = 0.1 of target"):
        wb.first_passage_exact(flat, (0.45, 0.0), sets[1], 1.0, radius=0.1, within=box)
    with pytest.raises(ValueError, match=r"start must be one finite state of shape \(2,\)"):
        wb.first_passage_exact(flat, (0.45, np.nan), sets[1], 1.0, radius=0.1, within=box)
    with pytest.raises(ValueError, match="two different finite states"):
        wb.first_passage_exact(Quartic(), 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="radius must be a finite number > 0, got -1"):
        wb.first_passage_exact(flat, *sets, 1.0, radius=-1, within=box)
    with pytest.raises(LandscapeError, match=r"is 2 of its spacings; at least 3 are needed: take nodes=61 or more"):
        wb.first_passage_exact(flat, *sets, 1.0, radius=0.1, within=box, nodes=41)
    with pytest.raises(ValueError, match="nodes must be odd.*got 40"):
        wb.committor(flat, box, *sets, 1.0, radius=0.2, nodes=40)
    with pytest.raises(ValueError, match="makes 4e.06 nodes, more than memory holds; at most 1025"):
        wb.relaxation_times(flat, box, 1.0, nodes=2001)
    with pytest.raises(ValueError, match="nodes must be an integer >= 9, got 5"):
        wb.relaxation_times(flat, box, 1.0, nodes=5)
    with pytest.raises(ValueError, match="around first and second overlap: their centres are 1 apart; reduce radius"):
        wb.committor(flat, box, *sets, 1.0, radius=0.5)
    with pytest.raises(ValueError, match=r"second = \[\[0.0, 0.0\], \[3.0, 0.0\]\] lies outside the box"):
        wb.committor(flat, box, sets[0], [[0.0, 0.0], [3.0, 0.0]], 1.0, radius=0.2)
    with pytest.raises(ValueError, match="first must be finite, with shape"):
        wb.committor(flat, box, [0.0], sets[1], 1.0, radius=0.2)
    for verb in (lambda T: wb.relaxation_times(flat, box, T), lambda T: wb.committor(flat, box, *sets, T, radius=0.2)):
        with pytest.raises(ValueError, match="temperature is T in"):
            verb(0.0)
    with pytest.raises(ValueError, match="count must be an integer >= 1, got 0"):
        wb.relaxation_times(flat, box, 1.0, count=0)
    with pytest.raises(LandscapeError, match="one to three states, got 4: simulate with first_passage"):
        wb.relaxation_times(Tall(), Tall().box, 1.0)
    with pytest.raises(LandscapeError, match="not finite anywhere on the grid"):
        wb.relaxation_times(Plain(lambda x: np.nan * x), [(-1, 1)], 1.0)
    with pytest.raises(LandscapeError, match="no motion from the first set to the second"):
        wb.committor(Plain(even_well), [(-1.5, 1.5)], [-1.0], [1.0], 1e-3, radius=0.2)


def test_heights_are_evaluated_once_for_both_grids():
    heights = heights_of(Plain(double_well, bowl), [(-1.0, 1.0)] * 2, 1.0, 21)
    coarser = heights.coarser()
    assert isinstance(coarser, Heights)
    np.testing.assert_allclose(coarser.value, coarser.at(coarser.rows), rtol=1e-12, atol=1e-12)
