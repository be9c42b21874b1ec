"""Points matched over members: known shifts are recovered as mean and spread, and no point is lost."""

import numpy as np
import pytest

import systems
import workbench as wb
from systems import PotentialSystem, State, parameter
from workbench.potentials.ensembles import joined_members


class Tilted(PotentialSystem):
    """A quartic double well in x, with wells at ±a and a saddle between, a parabola in y, and an offset."""

    state_space = (State("x", box=(-2, 2)), State("y", box=(-2, 2)))
    a: float = parameter(1.0, "position of the wells")
    tilt: float = parameter(0.05, "asymmetry")
    offset: float = parameter(0.0, "constant")

    def potential(self, x):
        return ((x[..., 0] ** 2 - self.a**2) ** 2) / 4 + self.tilt * x[..., 0] + x[..., 1] ** 2 + self.offset


def points_of(members):
    return joined_members([wb.stationary_points(one, one.box, starts=64) for one in members])


def test_mean_and_spread_are_those_of_the_members():
    members = [Tilted(a=a, offset=c) for a, c in ((0.9, 3.0), (1.0, -1.0), (1.1, 7.0))]
    both = wb.summary(points_of(members))
    assert both["index"].values.tolist() == [0, 0, 1]
    assert both["count"].values.tolist() == [3, 3, 3]
    roots = np.array([np.sort(np.roots([1, 0, -(m.a**2), m.tilt]).real) for m in members])
    for row, column in ((0, 0), (1, 2), (2, 1)):
        assert float(both["x"][row, 0]) == pytest.approx(roots[:, column].mean(), abs=1e-9)
        assert float(both["x_std"][row, 0]) == pytest.approx(roots[:, column].std(ddof=1), abs=1e-9)
    at = np.stack([roots, 0 * roots], -1)
    level = np.array([m.value(x) for m, x in zip(members, at, strict=True)])
    assert float(both["above"][0]) == 0
    assert float(both["above"][2]) == pytest.approx((level[:, 1] - level[:, 0]).mean(), abs=1e-9)
    assert float(both["above_std"][2]) == pytest.approx((level[:, 1] - level[:, 0]).std(ddof=1), abs=1e-9)
    assert float(both["potential_std"][2]) > 3


def test_no_point_is_lost_where_members_differ():
    weak, strong = systems.get("gene_circuit", b=0.2), systems.get("gene_circuit", b=1.0)
    found = joined_members([wb.stationary_points(one, one.box) for one in (strong, weak, strong)])
    both = wb.summary(found)
    assert sorted(both["count"].values.tolist()) == [1, 2, 2, 2]
    assert int(both["count"].sum()) == found.sizes["point"]
    which = both["which"].values
    np.testing.assert_array_equal(np.sort(which[which >= 0]), np.arange(found.sizes["point"]))
    alone = int(np.flatnonzero(both["count"] == 1)[0])
    assert which[alone].tolist()[::2] == [-1, -1]
    np.testing.assert_allclose(both["x"].values[alone], weak_well(weak), atol=1e-9)
    assert np.isnan(both["x_std"].values[alone]).all()
    assert np.isnan(both["above"].values).all()


def weak_well(circuit):
    return wb.stationary_points(circuit, circuit.box)["x"].values[0]


def test_points_of_a_fitted_ensemble(small_fit):
    both = wb.summary(wb.stationary_points(small_fit.ensemble, [(0, 2), (0, 2)]))
    assert both["count"].values.tolist() == [2, 2, 2]
    np.testing.assert_allclose(both["x"].values[2], 0.813476835294111, atol=0.05)
    assert (both["x_std"] < 0.05).all()


def test_invalid_arguments_are_rejected(circuit):
    found = wb.stationary_points(circuit, circuit.box)
    with pytest.raises(ValueError, match="summary needs the stationary points of an ensemble"):
        wb.summary(found)
    with pytest.raises(ValueError, match="distance must be positive, got 0"):
        wb.summary(found.assign_coords(member=("point", [0, 0, 1])), distance=0)
