"""Basins against symmetry, an independent integrator and a closed form; descents without a minimum are labelled."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from test_langevin import Quartic

import systems
import workbench as wb
from systems import PotentialSystem, State
from workbench.errors import LandscapeError, LandscapeWarning

BOX = [(0.0, 2.0)] * 2


def test_the_separatrix_of_the_circuit_is_its_diagonal(circuit):
    found = wb.basins(circuit, BOX, resolution=6)
    assert found["label"].dims == ("x1", "x2")
    x1, x2 = np.meshgrid(found["x1"], found["x2"], indexing="ij")
    expected = np.where(x2 > x1, 0, np.where(x2 < x1, 1, -1))
    np.testing.assert_array_equal(found["label"].values, expected)
    x = found["separatrix"].values
    assert len(x) >= 10
    assert np.abs(x[:, 0] - x[:, 1]).max() < 2 / 5 / 1000
    np.testing.assert_allclose(found["basin_fraction"].values, [5 / 12, 5 / 12])


def test_the_separatrix_of_a_tilted_double_well_is_the_line_through_its_saddle():
    well = Quartic(tilt=0.1, stiffness=2.0)
    found = wb.basins(well, [(-2, 2), (-1, 1)], resolution=8)
    assert set(np.unique(found["label"])) == {0, 1}
    crest = np.sort(np.roots([1, 0, -1, 0.1]))[1]
    assert found.sizes["boundary"] == 8
    assert np.abs(found["separatrix"].values[:, 0] - crest).max() < 4 / 7 / 1000
    np.testing.assert_allclose(np.sort(found["well_x"][:, 0]), np.sort(np.roots([1, 0, -1, 0.1]))[[0, 2]], atol=1e-7)


def test_labels_agree_with_an_independent_integrator():
    surface = systems.get("muller_brown")
    x0 = np.random.default_rng(0).uniform(*np.array(surface.box).T, (10, 2))
    found = wb.basins(surface, surface.box, starts=x0)
    np.testing.assert_allclose(found["well_potential"], [-146.6995, -108.1667, -80.7678], atol=1e-3)
    ends = [
        solve_ivp(lambda t, y: -surface.gradient(y), (0, 0.3), x, "LSODA", rtol=1e-6, atol=1e-8).y[:, -1] for x in x0
    ]
    apart = np.linalg.norm(np.array(ends)[:, None] - found["well_x"].values, axis=-1)
    np.testing.assert_array_equal(found["label"].values, apart.argmin(-1))
    assert set(found["label"].values) == {0, 1, 2}


def test_stiff_wells_are_integrated():
    class Stiff(PotentialSystem):
        state_space = (State("x", box=(-2, 2)), State("y", box=(-2, 2)))

        def potential(self, x):
            return (x[..., 0] ** 2 - 1) ** 2 + 1e8 * (x[..., 1] - 0.3 * x[..., 0]) ** 2

    x0 = np.random.default_rng(1).uniform(-2, 2, (50, 2))
    found = wb.basins(Stiff(), Stiff().box, starts=x0)
    side = x0[:, 0] + 0.3 * x0[:, 1] > 0  # the fast motion conserves x + 0.3 y
    np.testing.assert_array_equal(found["well_x"].values[found["label"].values, 0] > 0, side)


def test_members_share_the_labels_of_the_given_wells(small_fit):
    given = [(1.54, 0.41), (0.41, 1.54)]
    found = wb.basins(small_fit.ensemble, BOX, starts=[(0.2, 1.0), (1.0, 0.2)], wells=given)
    assert found["label"].dims == ("member", "start")
    assert found["label"].values.tolist() == [[1, 0], [1, 0]]
    np.testing.assert_allclose(found["well_x"].values, np.tile(given, (2, 1, 1)), atol=0.05)


class Pair(Quartic):
    """Members whose separatrices, x = 0 and x = 0 with a second well in y, have different lengths."""

    members = 2

    def member(self, index):
        return (Quartic(stiffness=2.0), Four())[index]


class Four(PotentialSystem):
    """Four wells at (±1, ±1/2)."""

    state_space = (State("x", box=(-2, 2)), State("y", box=(-1, 1)))

    def potential(self, x):
        return (x[..., 0] ** 2 - 1) ** 2 + (4 * x[..., 1] ** 2 - 1) ** 2


def test_members_may_have_separatrices_of_different_length():
    found = wb.basins(Pair(stiffness=2.0), [(-2, 2), (-1, 1)], resolution=6)
    lengths = [wb.basins(Pair().member(k), [(-2, 2), (-1, 1)], resolution=6).sizes["boundary"] for k in (0, 1)]
    assert found["separatrix"].shape == (2, max(lengths), 2)
    assert lengths[0] < lengths[1]
    assert found["between"].dtype.kind == found["label"].dtype.kind == "i"
    assert (found["between"].values[0, lengths[0] :] == -3).all()
    assert np.isnan(found["separatrix"].values[0, lengths[0] :]).all()
    assert np.isnan(found["well_x"].values[0, 2:]).all()


class Cubic(PotentialSystem):
    """x³ − 3x: a minimum at 1, unbounded below beyond −1."""

    state_space = (State("x", box=(-2.0, 2.0)),)

    def potential(self, x):
        return (x**3 - 3 * x).sum(-1)


def test_descents_to_minus_infinity_are_labelled():
    found = wb.basins(Cubic(), [(-2, 2)], starts=[[-1.5], [-1.0], [-0.5], [1.9]])
    assert found["label"].values.tolist() == [-2, -1, 0, 0]


def test_a_flat_direction_is_divided_out_of_the_basins(recwarn):
    starts = [[x, y] for x in (-1.5, 1.5) for y in (-0.5, 0, 0.5)]
    found = wb.basins(Quartic(stiffness=0.0), [(-2, 2), (-1, 1)], starts=starts)
    assert found["label"].values.tolist() == [0, 0, 0, 1, 1, 1]
    assert not recwarn.list


def test_degenerate_minima_are_reported():
    class Power(PotentialSystem):
        state_space = (State("x", box=(-1, 1)), State("y", box=(-1, 1)))

        def potential(self, x):
            return x[..., 0] ** 4 + x[..., 1] ** 2

    with pytest.warns(LandscapeWarning, match=r"of \d+ minima are degenerate, such as") as record:
        wb.basins(Power(), Power().box, resolution=4)
    assert record[0].filename == __file__


def test_invalid_arguments_are_rejected(circuit):
    with pytest.raises(
        LandscapeError, match=r"none of the 5 starting point\(s\) reaches a minimum: 100% leave the box .* no bottom"
    ):
        wb.basins(Cubic(), [(-3, -2)], resolution=5)
    with pytest.raises(ValueError, match="low < high"):
        wb.basins(circuit, [(0, 2), (2, 0)])
    with pytest.raises(LandscapeError, match="two of wells=… relax to the same minimum"):
        wb.basins(Quartic(), [(-2, 2)], resolution=5, wells=[[1.0], [1.05], [-1.0]])
    with pytest.raises(LandscapeError, match=r"no minimum near \[0.0\] in wells=…"):
        wb.basins(Quartic(), [(-2, 2)], resolution=5, wells=[[1.0], [0.0]])
    with pytest.raises(ValueError, match="resolution must be an integer >= 2, got 1"):
        wb.basins(circuit, BOX, resolution=1)
    with pytest.raises(ValueError, match="100 points per side has 100000000000000 points in 7 dimensions"):
        wb.basins(systems.get("mechanochemical"), systems.get("mechanochemical").box, resolution=100)
    with pytest.raises(ValueError, match=r"starts must be finite, with shape \(row, 2\)"):
        wb.basins(circuit, BOX, starts=[[1.0, 2.0, 3.0]])
