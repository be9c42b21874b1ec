"""Stationary points and splits against closed forms, in one to ten dimensions."""

import numpy as np
import pytest
import torch

import systems
import workbench as wb
from systems import PotentialSystem, State
from workbench.errors import LandscapeError, LandscapeWarning

BOX = [(0.0, 2.0)] * 2


class Quartics(PotentialSystem):
    """Σ (xᵢ² − 1)²: minima at ±1, maxima at 0 in each coordinate, so 3^dim stationary points."""

    state_space = tuple(State(f"x{i}", box=(-1.6, 1.6)) for i in range(4))

    def potential(self, x):
        return ((x**2 - 1) ** 2).sum(-1)


def test_gene_circuit_points(circuit):
    found = wb.stationary_points(circuit, within=BOX)
    assert list(found["kind"].values) == ["minimum", "minimum", "saddle"]
    expected = [
        (0.405621017867140, 1.543999494460613),
        (1.543999494460613, 0.405621017867140),
        (0.813476835294111,) * 2,
    ]
    np.testing.assert_allclose(found["x"].values, expected, atol=1e-10)
    np.testing.assert_allclose(found["eigenvalue"].values, np.linalg.eigvalsh(circuit.hessian(expected)), rtol=1e-8)
    assert found["residual"].max() < 1e-10
    barrier = float(found["potential"][2] - found["potential"][0])
    assert barrier == pytest.approx(0.154710562700, abs=1e-10)
    assert set(wb.stationary_points(circuit, within=[(-0.5, 2.0)] * 2)["kind"].values) >= {"minimum", "saddle"}


def test_every_point_of_a_separable_landscape_in_4d():
    found = wb.stationary_points(Quartics(), within=Quartics().box, starts=2048)
    assert found.sizes["point"] == 3**4
    np.testing.assert_allclose(np.abs(found["x"].values).round(9) % 1, 0, atol=1e-8)
    index = (np.abs(found["x"].values) < 0.5).sum(-1)
    np.testing.assert_array_equal(found["index"].values, index)
    assert (found["kind"] == "minimum").sum() == 16
    assert (found["kind"] == "maximum").sum() == 1


class DoubleWells:
    """Σ (xᵢ² − 1)² in closed form: 2^dim minima, 3^dim stationary points."""

    members = None

    def __init__(self, dim):
        self.states = tuple(f"x{i}" for i in range(dim))

    def value(self, x):
        return ((torch.as_tensor(x) ** 2 - 1) ** 2).sum(-1)

    def gradient(self, x):
        return 4 * x * (x**2 - 1)

    def hessian(self, x):
        return torch.diag_embed(12 * x**2 - 4)


def test_all_minima_in_ten_dimensions_and_no_false_one():
    found = wb.stationary_points(DoubleWells(10), [(-1.6, 1.6)] * 10, starts=4096, index=0)
    assert found.sizes["point"] == len(np.unique(np.sign(found["x"].values), axis=0)) == 1024
    np.testing.assert_allclose(np.abs(found["x"].values), 1, atol=1e-9)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_points_of_one_index_are_found_by_following_as_many_eigenvectors(index):
    found = wb.stationary_points(DoubleWells(3), [(-1.6, 1.6)] * 3, starts=256, index=index)
    assert set(found["index"].values) == {index}
    assert found.sizes["point"] == [8, 12, 6, 1][index]


def test_further_starting_points_find_what_few_miss():
    wells, box = DoubleWells(6), [(-1.6, 1.6)] * 6
    few = wb.stationary_points(wells, box, starts=np.random.default_rng(0).uniform(-1, 1, (8, 6)), index=0)
    corners = np.array(np.meshgrid(*[[-0.7, 0.7]] * 6)).reshape(6, -1).T
    assert few.sizes["point"] <= 8
    assert wb.stationary_points(wells, box, starts=8, also=corners, index=0).sizes["point"] == 64


def test_points_are_labelled_by_member(small_fit):
    found = wb.stationary_points(small_fit.ensemble, within=BOX)
    assert set(found["member"].values) == {0, 1}
    alone = wb.stationary_points(small_fit.ensemble.member(1), within=BOX)
    np.testing.assert_allclose(found["x"].values[(found["member"] == 1).values], alone["x"].values, atol=1e-8)
    assert found["inside_data"].dtype == bool
    assert "kind" in found.coords


def test_degenerate_and_absent_points():
    class Flat(PotentialSystem):
        state_space = (State("x", box=(-1, 1)), State("y", box=(-1, 1)))

        def potential(self, x):
            return x[..., 0] ** 2 + x[..., 1] ** 4

    found = wb.stationary_points(Flat(), within=[(-1, 1)] * 2)
    assert "degenerate" in found["kind"].values
    assert np.abs(found["x"].values).max() < 0.01
    with pytest.raises(ValueError, match="flat over the box: its gradient is zero at .*; fit a new model first"):
        wb.stationary_points(wb.LSEICNN(dim=2, modes=2), within=[(-1, 1)] * 2)
    none = wb.stationary_points(systems.get("gene_circuit", b=1.0), within=[(1.6, 2.0)] * 2)
    assert none.sizes["point"] == 0
    assert none["kind"].dtype.kind == "U"


class Valley(PotentialSystem):
    """Flat along y: every point of the line x = 0 is stationary."""

    state_space = (State("x", box=(-1, 1)), State("y", box=(-1, 1)))

    def potential(self, x):
        return x[..., 0] ** 2 + 0 * x[..., 1]


def test_a_continuous_family_is_reported():
    expected = "1 of 1 stationary points stand for continuous families, .*: 1 zero mode .nothing depends on y., divided"
    with pytest.warns(LandscapeWarning, match=expected) as record:
        found = wb.stationary_points(Valley(), [(-1, 1)] * 2, starts=64)
    assert record[0].filename == __file__, "the warning points at the line that asked"
    assert found["kind"].values.tolist() == ["minimum"]
    assert found["zero_modes"].values.tolist() == [1]
    np.testing.assert_allclose(found["x"][:, 0], 0, atol=1e-12)


@pytest.mark.parametrize("power", [3, 4])
def test_flat_points_in_one_dimension_are_degenerate(power):
    class Power(PotentialSystem):
        state_space = (State("x", box=(-1, 1)),)

        def potential(self, x):
            return (x**power).sum(-1)

    found = wb.stationary_points(Power(), [(-1, 1.3)])
    assert found["kind"].values.tolist() == ["degenerate"]


def test_a_curved_family_is_reported_and_a_single_flat_point_is_not(recwarn):
    class Hat(PotentialSystem):
        """A circle of minima about a maximum."""

        state_space = (State("x", box=(-2, 2)), State("y", box=(-2, 2)))

        def potential(self, x):
            return ((x**2).sum(-1) - 1) ** 2

    class Flat(Hat):
        def potential(self, x):
            return x[..., 0] ** 2 + x[..., 1] ** 4

    wb.stationary_points(Flat(), Flat().box)
    assert not recwarn.list
    with pytest.warns(LandscapeWarning, match=r"1 of 2 stationary points stand for continuous families"):
        found = wb.stationary_points(Hat(), Hat().box, starts=64)
    assert found["kind"].values.tolist() == ["minimum", "maximum"]
    assert found["zero_modes"].values.tolist() == [1, 0]
    np.testing.assert_allclose(np.linalg.norm(found["x"].values, axis=-1), [1, 0], atol=1e-9)


class Undefined(PotentialSystem):
    """(x − ½)² where x > 0, NaN elsewhere."""

    state_space = (State("x", box=(-1, 1)),)

    def potential(self, x):
        return ((x - 0.5) ** 2 + 0 * x.sqrt()).sum(-1)


def test_values_that_are_not_finite_are_reported():
    with pytest.warns(LandscapeWarning, match=r"not finite at \d+ of 64 starting points, such as .*; they are left"):
        found = wb.stationary_points(Undefined(), [(-1, 1)], starts=64)
    np.testing.assert_allclose(found["x"], [[0.5]], atol=1e-12)
    with pytest.raises(LandscapeError, match="not finite at any of the 64 starting points"):
        wb.stationary_points(Undefined(), [(-1, -0.5)], starts=64)


def test_a_potential_unbounded_below_still_has_its_stationary_points():
    class Cubic(PotentialSystem):
        state_space = (State("x", box=(-2, 2)),)

        def potential(self, x):
            return (x**3 - 3 * x).sum(-1)

    found = wb.stationary_points(Cubic(), [(-2, 2)])
    np.testing.assert_allclose(found["x"].values.ravel(), [1, -1], atol=1e-10)
    assert found["kind"].values.tolist() == ["minimum", "maximum"]


def test_split_of_the_exact_blend():
    weak, strong = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
    blend = wb.Blend(weak, strong, wb.Logistic(rate=0.7, start=0.01))
    split = wb.splitting(blend, within=BOX)
    assert 0 <= float(split["b"]) - (0.359530158212139 - 0.1) / 0.9 <= 1.5e-4
    assert float(split["time"]) == pytest.approx(5.2740, abs=1e-3)
    assert split["minima"].values[0] == 1
    assert split["minima"].values[-1] == 2
    never = wb.splitting(wb.Blend(weak, weak, wb.Ramp(0.0, 1.0)), within=BOX, scan=3)
    assert np.isnan(never["b"])
    assert np.isnan(never["time"])
    at_once = wb.splitting(wb.Blend(strong, strong, wb.Ramp(0.0, 1.0)), within=BOX, scan=3)
    assert float(at_once["b"]) == float(at_once["time"]) == 0


def test_invalid_arguments_are_rejected(circuit):
    with pytest.raises(ValueError, match=r"within must be 2 pairs \(low, high\)"):
        wb.stationary_points(circuit, within=[(0, 2)])
    with pytest.raises(ValueError, match="low < high"):
        wb.stationary_points(circuit, within=[(0, 2), (2, 0)])
    with pytest.raises(ValueError, match="starts must be at least 1"):
        wb.stationary_points(circuit, within=BOX, starts=0)
    with pytest.raises(ValueError, match="index must be between 0 and 2, the number of states; got 3"):
        wb.stationary_points(circuit, within=BOX, index=3)
    with pytest.raises(ValueError, match=r"also must be finite, with shape \(row, 2\)"):
        wb.stationary_points(circuit, within=BOX, also=[[np.nan, 0.0]])


@pytest.mark.parametrize("within", ["ab", [(0, 1), (2,)], None, [(0, 1)] * 3, [(1, 0), (0, 1)], [(0, np.nan), (0, 1)]])
def test_invalid_boxes_are_rejected(within, circuit):
    with pytest.raises(ValueError, match=r"within must be 2 pairs \(low, high\) with low < high"):
        wb.stationary_points(circuit, within)
