"""The saddle graph against known surfaces."""

import numpy as np
import pytest

import systems
import workbench as wb
from systems import PotentialSystem, State
from workbench.errors import LandscapeWarning


def test_graph_of_the_published_surface():
    surface = systems.get("muller_brown")
    found = wb.graph(surface, surface.box)
    printed = {(1, 2): (-108.167, -80.768, -72.249), (0, 2): (-146.700, -80.768, -40.665)}
    for row in (3, 4):
        ends = found["joins"].values[row]
        levels = printed[tuple(sorted(int(k) for k in ends))]
        expected = [levels[2] - levels[int(k > ends.min())] for k in ends]
        np.testing.assert_allclose(found["barrier"].values[row], expected, atol=1.01e-3)
    assert (found["joins"].values[:3] == -1).all()
    assert np.isnan(found["barrier"].values[:3]).all()


def test_every_edge_of_a_cube_of_wells():
    class Cube(PotentialSystem):
        state_space = tuple(State(f"x{i}", box=(-1.5, 1.5)) for i in range(3))

        def potential(self, x):
            return ((x**2 - 1) ** 2).sum(-1)

    found = wb.graph(Cube(), Cube().box)
    saddles = found["index"].values == 1
    ends = np.sign(found["x"].values[found["joins"].values[saddles]])
    assert len({tuple(sorted(pair)) for pair in found["joins"].values[saddles].tolist()}) == 12
    assert (np.abs(ends[:, 0] - ends[:, 1]).sum(-1) == 2).all()
    np.testing.assert_allclose(found["barrier"].values[saddles], 1, atol=1e-12)


def test_a_side_that_descends_without_bound_has_no_barrier():
    class Cubic(PotentialSystem):
        state_space = (State("x", box=(-2, 2)),)

        def potential(self, x):
            return (x**3 - 3 * x).sum(-1)

    found = wb.graph(Cubic(), [(-2, 2)])
    assert found["joins"].values.tolist() == [[-1, -1], [0, -1]]
    np.testing.assert_allclose(found["barrier"].values[1], [4, np.nan])


def test_members_keep_their_own_points(small_fit):
    found = wb.graph(small_fit.ensemble, [(0, 2), (0, 2)])
    for row in np.flatnonzero(found["index"].values == 1):
        ends = found["joins"].values[row]
        assert (found["member"].values[ends] == found["member"].values[row]).all()
        np.testing.assert_allclose(
            found["barrier"].values[row], found["potential"].values[row] - found["potential"].values[ends]
        )
    assert (found["joins"].values >= 0).all(-1).sum() == 2


def test_points_of_an_ensemble_must_tell_their_member(small_fit):
    points = wb.stationary_points(small_fit.ensemble, [(0, 2), (0, 2)])
    given = wb.graph(small_fit.ensemble, [(0, 2), (0, 2)], points=points)
    assert given.identical(wb.graph(small_fit.ensemble, [(0, 2), (0, 2)]))
    with pytest.raises(ValueError, match=r"the points of an ensemble need the coordinate member\(point\)"):
        wb.graph(small_fit.ensemble, [(0, 2), (0, 2)], points=points.drop_vars("member"))


def test_degenerate_points_are_reported():
    class Power(PotentialSystem):
        state_space = (State("x", box=(-1, 1)),)

        def potential(self, x):
            return (x**4).sum(-1)

    with pytest.warns(LandscapeWarning, match=r"1 of 1 stationary points are degenerate") as record:
        assert wb.graph(Power(), [(-1, 1.3)]).sizes["point"] == 0
    assert record[0].filename == __file__
