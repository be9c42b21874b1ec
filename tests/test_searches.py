"""What searches find where it is hard: plains, walls, close wells, many points, symmetries; and what they say of it."""

import numpy as np
import pytest
import torch

import workbench as wb
from systems import PotentialSystem, State, parameter
from workbench.errors import LandscapeError, LandscapeWarning


def system(formula, *box, names=None):
    """Return a potential system with a formula and a box."""
    names = names or [f"x{k + 1}" for k in range(len(box))]
    space = tuple(State(name, box=side) for name, side in zip(names, box, strict=True))
    return type("Formula", (PotentialSystem,), {"state_space": space, "potential": lambda self, x: formula(x)})()


CENTRES = np.array([[2.0, 1.0], [-1.0, 2.2], [0.5, -2.0]])


def dents(width):
    """Return three Gaussian wells in a plain."""

    def formula(x):
        return -sum(torch.exp(-((x - torch.tensor(c)) ** 2).sum(-1) / (2 * width**2)) for c in CENTRES)

    return system(formula, (-3.0, 3.0), (-3.0, 3.0))


@pytest.mark.parametrize("width", [0.25, 0.08])
def test_wells_in_a_plain_are_found_and_the_plain_is_one_line(width):
    well = dents(width)
    with pytest.warns(LandscapeWarning, match="no slope in [0-9]+% of the box") as record:
        found = wb.stationary_points(well, well.box)
    assert len(record) == 1
    minima = found["x"].values[(found["kind"] == "minimum").values]
    order = [np.linalg.norm(minima - c, axis=-1).argmin() for c in CENTRES]
    assert len(minima) == 3
    np.testing.assert_allclose(minima[order], CENTRES, atol=1e-6)
    assert "degenerate" not in found["kind"]
    assert 0.1 < found.attrs["flat"] < 1


@pytest.mark.parametrize("stiffness", [3.0, 14.0, 40.0])
def test_walls_and_valleys_to_infinity_hold_no_points(stiffness):
    def formula(x):
        return (1 - torch.exp(-stiffness * (x[..., 0] - 0.7))) ** 2 + 2 * (x[..., 1] - 0.1) ** 2

    well = system(formula, (0.0, 5.0), (-1.0, 1.0))
    with pytest.warns(LandscapeWarning) if stiffness > 10 else _nothing():
        found = wb.stationary_points(well, well.box)
    assert found["kind"].values.tolist() == ["minimum"]
    np.testing.assert_allclose(found["x"].values[0], [0.7, 0.1], atol=1e-9)


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_an_exponential_wall_does_not_hide_the_wells():
    def formula(x):
        u = x[..., 0]
        return torch.exp(-60 * u) + torch.exp(60 * (u - 3)) + 4 * ((u - 1.5) ** 2 - 0.25) ** 2 + x[..., 1] ** 2

    well = system(formula, (-0.4, 3.4), (-1.0, 1.0))
    found = wb.stationary_points(well, well.box)
    assert found["kind"].values.tolist() == ["minimum", "minimum", "saddle"]
    np.testing.assert_allclose(found["x"].values[:, 0], [1, 2, 1.5], atol=1e-6)


@pytest.mark.parametrize("power", [4, 6])
def test_a_flat_bottom_is_one_degenerate_point(power):
    well = system(lambda x: (x**power).sum(-1), (-1.0, 1.7), (-1.2, 1.0))
    found = wb.stationary_points(well, well.box)
    assert found["kind"].values.tolist() == ["degenerate"]
    np.testing.assert_allclose(found["x"].values, 0, atol=1e-3)


def test_close_wells_and_the_saddle_between_them_are_told_apart():
    half = 0.004
    well = system(lambda x: 1e6 * ((x[..., 0] - 0.2) ** 2 - half**2) ** 2 + x[..., 1] ** 2, (-1.0, 1.0), (-1.0, 1.0))
    found = wb.graph(well, well.box)
    np.testing.assert_allclose(found["x"].values, [[0.196, 0], [0.204, 0], [0.2, 0]], atol=1e-7)
    assert sorted(found["joins"].values[2]) == [0, 1]
    np.testing.assert_allclose(found["barrier"].values[2], 1e6 * half**4, rtol=1e-6)


def test_the_saddles_of_a_sharp_soft_minimum_join_its_wells():
    centres = torch.tensor([[-0.5, -0.4], [0.4, -0.3], [0.1, 0.5]], dtype=torch.float64)
    levels = torch.tensor([0.0, 0.03, 0.06], dtype=torch.float64)

    def formula(x):
        modes = 2 * ((x[..., None, :] - centres) ** 2).sum(-1) + levels
        return -torch.logsumexp(-400 * modes, -1) / 400

    well = system(formula, (-1.0, 1.0), (-1.0, 1.0))
    found = wb.graph(well, well.box)
    assert found["index"].values.tolist() == [0, 0, 0, 1, 1, 1]
    pairs = {tuple(sorted(pair)) for pair in found["joins"].values[3:].tolist()}
    assert pairs == {(0, 1), (0, 2), (1, 2)}


def chain(dim, coupling=0.08):
    """Return a chain of double wells."""

    def formula(x):
        return ((x**2 - 1) ** 2).sum(-1) + coupling * (x[..., 1:] * x[..., :-1]).sum(-1)

    return system(formula, *[(-1.6, 1.6)] * dim)


def test_searches_go_on_until_the_saddles_of_a_chain_are_found():
    five = chain(5)
    found = wb.stationary_points(five, five.box, starts=64, index=1)
    assert found.sizes["point"] == 5 * 2**4
    assert found.attrs["missing_saddles"] < 0.5
    assert found.attrs["starts"] > 64
    few = wb.stationary_points(five, five.box, starts=64, index=1, budget=1)
    assert few.sizes["point"] < 5 * 2**4
    assert few.attrs["missing_saddles"] > 5
    with pytest.warns(LandscapeWarning, match="index-1 saddles are probably missing"):
        wb.graph(five, five.box, points=few)


def test_a_flat_direction_is_named_and_divided_out():
    well = system(lambda x: (x[..., 0] ** 2 - 1) ** 2 + 3 * x[..., 2] ** 2, *[(-2.0, 2.0)] * 3, names="abc")
    with pytest.warns(LandscapeWarning, match="nothing depends on b"):
        found = wb.rates(well, well.box, 0.1)
    assert found["zero_modes"].values.tolist() == [1, 1, 1]
    assert found["index"].values.tolist() == [0, 0, 1]
    expected = np.sqrt(4 * 8) / (2 * np.pi) * np.exp(-10)  # that of the double well, by Kramers
    np.testing.assert_allclose(found["rate"].values[2], expected, rtol=1e-6)
    with pytest.warns(LandscapeWarning, match="nothing depends on b"):
        assert wb.wells(well, well.box).sizes["point"] == 2
    path = wb.minimum_energy_path(well, [-1, 0.5, 0.1], [1, -0.7, 0])
    np.testing.assert_allclose(path["barrier"], 1, atol=1e-9)


def pairs_of(x, count):
    """Return the squared distances of `count` particles, shape (…, pair), from their coordinates, (…, dim)."""
    r = x.reshape(*x.shape[:-1], count, -1)
    first, second = np.triu_indices(count, 1)
    return ((r[..., first, :] - r[..., second, :]) ** 2).sum(-1)


@pytest.mark.parametrize(("space", "modes"), [(2, 3), (3, 6)])
def test_translations_and_rotations_of_a_cluster_are_zero_modes(space, modes):
    def formula(x):  # Lennard-Jones: four particles, or three in the plane, at equal distances 2^(1/6)
        s = pairs_of(x, space + 1) ** -3
        return 4 * (s**2 - s).sum(-1)

    cluster = system(formula, *[(-1.3, 1.3)] * (space * (space + 1)))
    with pytest.warns(LandscapeWarning, match=f"{modes} zero modes"):
        found = wb.stationary_points(cluster, cluster.box, starts=64, index=0)
    lowest = found.isel(point=0)
    np.testing.assert_allclose(lowest["potential"], -space * (space + 1) / 2, rtol=1e-10)
    assert int(lowest["zero_modes"]) == modes
    assert int(lowest["index"]) == 0
    assert str(lowest["kind"].values) == "minimum"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Ψ does not change along a valley")
def test_the_lowest_cluster_of_thirteen_is_found_in_all_its_coordinates():
    """The icosahedron of 13 Lennard-Jones particles, from the default call in 39 coordinates."""

    def formula(x):
        s = pairs_of(x, 13) ** -3
        return 4 * (s**2 - s).sum(-1)

    cluster = system(formula, *[(-2.0, 2.0)] * 39)
    with pytest.warns(LandscapeWarning, match="6 zero modes"):
        found = wb.stationary_points(cluster, cluster.box)
    lowest = found.isel(point=0)
    np.testing.assert_allclose(lowest["potential"], -44.326801, atol=1e-6)
    assert (int(lowest["index"]), int(lowest["zero_modes"]), str(lowest["kind"].values)) == (0, 6, "minimum")


def test_rates_across_rings_count_their_radii():
    class Rings(PotentialSystem):
        """Two rings of minima, and one of saddles between them: a double well of the radius."""

        state_space = (State("x", box=(-3, 3)), State("y", box=(-3, 3)))

        def potential(self, x):
            return 4 * (((x**2).sum(-1) + 1e-12).sqrt() - 1.5).square().sub(0.49).square()

        def zero_modes(self, x):
            return np.stack([-x[..., 1], x[..., 0]], -1)[..., None, :]

    rings = Rings()
    with pytest.warns(LandscapeWarning, match="1 zero mode"):
        found = wb.rates(rings, rings.box, 0.1)
    radius = np.linalg.norm(found["x"].values, axis=-1)
    ring = np.flatnonzero(found["zero_modes"].values == 1)
    np.testing.assert_allclose(np.sort(radius[ring]), [0.8, 1.5, 2.2], atol=1e-6)
    saddle = ring[np.argsort(radius[ring])[1]]
    inner, outer = 16 * 2 * 0.49, 16 * 0.49  # second derivatives of Ψ(r) at the minima and, negative, at the saddle
    one_dimensional = np.sqrt(inner * outer) / (2 * np.pi) * np.exp(-4 * 0.49**2 / 0.1)
    for minimum, rate in zip(found["joins"].values[saddle], found["rate"].values[saddle], strict=True):
        np.testing.assert_allclose(rate, one_dimensional * 1.5 / radius[minimum], rtol=1e-6)
    with pytest.warns(LandscapeWarning, match="1 zero mode"):
        weights = wb.transition_times(rings, 0.1)
    order = np.linalg.norm(weights["x"].values, axis=-1).argsort()
    np.testing.assert_allclose(weights["probability"].values[order], [0.8 / 3, 2.2 / 3], rtol=1e-6)


def three_holes(x):
    """Return a potential with two deep wells, joined directly, and by a lower way through a third."""
    u, v = x[..., 0], x[..., 1]
    return (
        3.2 * torch.exp(-(u**2) - (v - 0.3) ** 2)
        - 2.8 * torch.exp(-(u**2) - (v - 1.6) ** 2)
        - 5 * torch.exp(-((u - 1) ** 2) - v**2)
        - 5 * torch.exp(-((u + 1) ** 2) - v**2)
        + 0.2 * u**4
        + 0.2 * (v - 0.3) ** 4
    )


def test_all_points_of_published_surfaces_are_found():
    """Wolfe and Quapp's surface, whose points are the roots of a polynomial of degree 9, and Cerjan and Miller's."""

    def wolfe_quapp(x):
        u, v = x[..., 0], x[..., 1]
        return u**4 + v**4 - 2 * u**2 - 4 * v**2 + u * v + 0.3 * u + 0.1 * v

    quapp = system(wolfe_quapp, (-2.0, 2.0), (-2.0, 2.0))
    v = np.polynomial.Polynomial([-0.3, 4, 0, -4])  # ∂Ψ/∂u = 0
    roots = (4 * v**3 - 8 * v + np.polynomial.Polynomial([0.1, 1])).roots()  # ∂Ψ/∂v = 0
    u = np.sort(roots[np.abs(roots.imag) < 1e-9].real)
    found = wb.stationary_points(quapp, quapp.box)
    order = np.argsort(found["x"].values[:, 0])
    np.testing.assert_allclose(found["x"].values[order], np.column_stack([u, v(u)]), atol=1e-8)
    exact = np.linalg.eigvalsh(quapp.hessian(found["x"].values))
    assert found["index"].values.tolist() == (exact < 0).sum(-1).tolist()

    def cerjan_miller(x):
        u, v = x[..., 0], x[..., 1]
        return (1 - v**2) * u**2 * torch.exp(-(u**2)) + v**2 / 2

    miller = system(cerjan_miller, (-1.6, 1.6), (-0.9, 0.9))
    found = wb.graph(miller, miller.box)
    np.testing.assert_allclose(found["x"].values, [[0, 0], [-1, 0], [1, 0]], atol=1e-8)
    np.testing.assert_allclose(found["potential"].values[1:], np.exp(-1), rtol=1e-12)
    assert found["joins"].values.tolist() == [[-1, -1], [0, -1], [-1, 0]]


def test_the_lowest_way_may_lead_through_a_third_well():
    holes = system(three_holes, (-2.0, 2.0), (-1.5, 2.5))
    lowest = wb.minimum_energy_path(holes, [-1, 0], [1, 0], within=holes.box)
    direct = wb.minimum_energy_path(holes, [-1, 0], [1, 0], within=holes.box, direct=True)
    assert bool(lowest["lowest"])
    assert not bool(direct["lowest"])
    assert lowest.sizes["pass"] == 2
    assert direct.sizes["pass"] == 1
    assert float(lowest["barrier"][0]) < float(direct["barrier"][0]) - 0.1
    found = wb.graph(holes, holes.box)
    levels = sorted(found["potential"].values[(found["index"] == 1).values])
    np.testing.assert_allclose(lowest["via_potential"], levels[0], atol=1e-9)  # the two are mirror images
    np.testing.assert_allclose(direct["saddle_potential"], levels[-1], atol=1e-9)
    np.testing.assert_allclose(lowest["via_barrier"][0], lowest["barrier"][0], atol=1e-9)


def test_a_straight_string_is_bent_off_a_maximum():
    hat = system(lambda x: ((x**2).sum(-1) - 1) ** 2 + 0.2 * x[..., 1] ** 2, (-2.0, 2.0), (-2.0, 2.0))
    path = wb.minimum_energy_path(hat, [-1, 0], [1, 0], direct=True)
    np.testing.assert_allclose(np.abs(path["saddle"]), [0, np.sqrt(0.9)], atol=1e-8)
    np.testing.assert_allclose(path["barrier"], 0.2 - 0.01, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*probably missing.*")
def test_times_of_a_chain_of_wells_are_those_of_its_markov_chain():
    five = system(lambda x: 0.5 * (1 - torch.cos(2 * np.pi * x[..., 0])) + 0.05 * x[..., 0] ** 2, (-2.4, 2.4))
    temperature = 0.06
    found = wb.rates(five, five.box, temperature)
    times = wb.transition_times(five, temperature)
    wells = np.flatnonzero(found["index"].values == 0)
    generator = np.zeros((len(wells), len(wells)))
    for joins, rate in zip(found["joins"].values, found["rate"].values, strict=True):
        if (joins >= 0).all():
            generator[joins[0], joins[1]] += rate[0]
            generator[joins[1], joins[0]] += rate[1]
    generator -= np.diag(generator.sum(-1))
    for target in wells:
        others = np.setdiff1d(wells, target)
        expected = np.linalg.solve(generator[np.ix_(others, others)], -np.ones(len(others)))
        np.testing.assert_allclose(times["time"].values[others, target], expected, rtol=1e-8)
    ends = np.argsort(times["x"].values[:, 0])[[0, -1]]
    committor = wb.transition_times(five, temperature, between=tuple(ends.tolist()))["committor"].values
    assert (np.diff(committor[np.argsort(times["x"].values[:, 0])]) > 0).all()
    assert committor[ends].tolist() == [0, 1]
    np.testing.assert_allclose(times["probability"].values @ generator, 0, atol=1e-12 * np.abs(generator).max())
    assert times.identical(wb.transition_times(wb.graph(five, five.box), temperature))


@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
def test_times_between_three_wells_are_those_of_the_exact_generator():
    holes = system(three_holes, (-2.6, 2.6), (-2.0, 3.0))
    found = wb.graph(holes, holes.box)
    lowest = np.nanmin(found["barrier"].values)
    for temperature in (lowest / 6, lowest / 9):
        times = wb.transition_times(found, temperature)
        for start, target in ((0, 1), (2, 0)):
            ends = times["x"].values[[start, target]]
            exact = wb.first_passage_exact(holes, *ends, temperature, radius=0.2, within=holes.box)
            np.testing.assert_allclose(times["time"].values[start, target], exact, rtol=0.1)


@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
def test_simulated_passages_between_three_wells_are_those_of_the_exact_generator():
    holes = system(three_holes, (-2.6, 2.6), (-2.0, 3.0))
    for temperature, seed in ((1.2, 3), (1.8, 4)):
        options = {"radius": 0.3, "count": 256, "end": 40.0, "step": 0.02, "seed": seed}
        run = wb.first_passage(holes, [-1, 0], [1, 0], temperature, **options)
        exact = wb.first_passage_exact(holes, [-1, 0], [1, 0], temperature, radius=0.3, within=holes.box)
        error = np.log(run["interval"].values[1] / float(run["mean"])) / 1.96  # standard error of the logarithm
        assert abs(np.log(float(run["mean"]) / exact)) < 3 * error


@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
def test_the_error_of_times_is_proportional_to_the_temperature():
    wells = [(-1.0, 0.0, 1.0), (1.0, 0.2, 1.1), (0.1, 1.5, 0.9)]

    def formula(x):
        dents = sum(d * torch.exp(-3 * ((x[..., 0] - a) ** 2 + (x[..., 1] - b) ** 2)) for a, b, d in wells)
        return -3 * dents + 0.15 * (x**4).sum(-1)

    three = system(formula, (-2.2, 2.2), (-1.5, 2.5))
    found = wb.graph(three, three.box)
    lowest = np.nanmin(found["barrier"].values)
    ratios = []
    for height in (8, 16):  # barriers, in units of T, of which the error of the formula is the inverse to first order
        times = wb.transition_times(found, lowest / height)
        start, target = times["x"].values[2], times["x"].values[0]
        exact = wb.first_passage_exact(three, start, target, lowest / height, radius=0.2, within=three.box)
        ratios.append(float(times["time"][2, 0]) / exact)
        assert abs(ratios[-1] - 1) < 2 / height
    np.testing.assert_allclose(2 * ratios[1] - ratios[0], 1, atol=0.03)


def test_wells_that_no_saddle_joins_and_high_temperatures_are_said(recwarn):
    well = system(lambda x: ((x**2 - 1) ** 2).sum(-1), (-1.5, 1.5))
    found = wb.graph(well, well.box)
    with pytest.warns(LandscapeWarning, match="exceeds every barrier, of which the highest is 1"):
        wb.rates(well, well.box, 2.0)
    cut = found.isel(point=[0, 1])
    with pytest.warns(LandscapeWarning, match="2 of 2 wells are joined to no other"):
        times = wb.transition_times(cut, 0.1)
    assert times["time"].values.tolist() == [[0, np.inf], [np.inf, 0]]
    with pytest.raises(ValueError, match="between must be two different wells"):
        wb.transition_times(found, 0.1, between=(1, 1))
    with pytest.raises(ValueError, match="not a graph"):
        wb.transition_times(wb.stationary_points(well, well.box), 0.1)


def test_open_valleys_and_potentials_without_a_bottom_are_named():
    ramp = system(lambda x: -x[..., 0] + x[..., 1] ** 2, (-1.0, 1.0), (-1.0, 1.0))
    with pytest.raises(LandscapeError, match="no minimum lies in the box: the valleys go on outside, or the .* bottom"):
        wb.rates(ramp, ramp.box, 0.1)
    with pytest.raises(LandscapeError, match="the descent leaves the box, .* widen within"):
        wb.minimum_energy_path(ramp, [-0.5, 0], [0.5, 0], within=ramp.box)
    with pytest.raises(LandscapeError, match="100% leave the box"):
        wb.basins(ramp, ramp.box, resolution=3)


def test_regions_that_are_not_finite_are_left_out_and_counted():
    def formula(x):
        return ((x**2).sum(-1) - 0.25) ** 2 + 0.02 * x[..., 0] + 0 * (x[..., 1] + 0.6).sqrt()

    cut = system(formula, (-1.0, 1.0), (-1.0, 1.0))
    with pytest.warns(LandscapeWarning, match="not finite at [0-9]+ of 256 starting points"):
        found = wb.stationary_points(cut, cut.box)
    assert found["kind"].values.tolist() == ["minimum", "saddle", "maximum"]


FAMILIES = {
    "transcritical": (lambda e: lambda x, p: e * x**3 / 3 + x**4 / 4 - p * x**2 / 2),
    "pitchfork": (lambda e: lambda x, p: x**4 / 4 - (p - e) * x**2 / 2),
    "fold": (lambda e: lambda x, p: x**3 / 3 - (p - e) * x),
}


def bifurcations(formula, between, **options):
    """Return the bifurcations of a family of one state, each (kind, b, x), sorted."""

    class Family(PotentialSystem):
        state_space = (State("x", box=(-2, 2)),)
        p: float = parameter(0.0, "parameter")

        def potential(self, x):
            return formula(x[..., 0], self.p)

    found = wb.branches(lambda p: Family(p=float(p)), [(-2, 2)], between, **options)
    columns = (found["bifurcation_kind"], found["bifurcation_b"], found["bifurcation_x"][:, 0])
    return sorted(zip(*(column.values.tolist() for column in columns), strict=True)), found


@pytest.mark.parametrize("e", [0.02, -0.3, 0.004])
def test_a_transcritical_point_is_told_from_a_pitchfork_and_its_fold_is_found(e):
    found, _ = bifurcations(FAMILIES["transcritical"](e), (-0.8, 1.0), starts=32)
    assert [kind for kind, *_ in found] == ["fold", "transcritical"]
    np.testing.assert_allclose([b for _, b, _ in found], [-(e**2) / 4, 0], atol=1e-9)
    np.testing.assert_allclose([x for *_, x in found], [-e / 2, 0], atol=1e-6)


@pytest.mark.parametrize(("kind", "side"), [("pitchfork", 0), ("pitchfork", 1), ("fold", 0), ("fold", 1)])
def test_a_bifurcation_at_an_end_of_the_range_is_found(kind, side):
    between = ((0.3, 1.1), (-0.5, 0.3))[side]
    formula = FAMILIES[kind](0.3)
    if side:  # the branches lie below
        formula = lambda x, p: FAMILIES[kind](-0.3)(x, -p)  # noqa: E731
    found, data = bifurcations(formula, between, starts=32)
    assert [one for one, *_ in found] == [kind]
    assert np.bincount(data["branch"].values).min() > 10  # none of no length
    np.testing.assert_allclose(found[0][1:], [0.3, 0], atol=1e-8)


@pytest.mark.parametrize("width", [4e-6, 3e-4])
def test_two_folds_within_a_step_are_found(width):
    tilt = 3 * (width / 4) ** (2 / 3)  # x⁴/4 − a x²/2 − p x has folds at p = ±2 (a/3)^{3/2}
    found, data = bifurcations(lambda x, p: x**4 / 4 - tilt * x**2 / 2 - p * x, (-0.5, 0.6), starts=32)
    assert [kind for kind, *_ in found] == ["fold", "fold"]
    np.testing.assert_allclose([b for _, b, _ in found], [-width / 2, width / 2], atol=1e-10)
    np.testing.assert_allclose([x for *_, x in found], [(tilt / 3) ** 0.5, -((tilt / 3) ** 0.5)], atol=1e-6)
    assert data["branch"].values.max() == 0


def test_small_loops_are_listed_once_and_the_search_is_stated():
    def formula(x, p):
        return x**3 / 3 + ((p - 0.25) ** 2 - 0.008**2) * ((p + 0.25) ** 2 - 0.012**2) * 8 * x

    found, data = bifurcations(formula, (-0.5, 0.5), seeds=5, step=0.05)
    np.testing.assert_allclose([b for _, b, _ in found], [-0.262, -0.238, 0.242, 0.258], atol=1e-8)
    assert data["branch"].values.max() == 1
    assert {name: data.attrs[name] for name in ("step", "seeds", "starts")} == {"step": 0.05, "seeds": 5, "starts": 64}
