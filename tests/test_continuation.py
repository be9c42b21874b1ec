"""Branches and their bifurcations against closed forms: folds, pitchforks, transcritical points, loops."""

import numpy as np
import pytest
import torch
from test_langevin import Quartic

import systems
import workbench as wb

PITCHFORK = 0.359530158212139


class Family1D:
    """A potential of x given by the coefficients of its gradient, highest power first."""

    states, members = ("x",), None

    def __init__(self, *coefficients):
        self.derivative = np.poly1d(coefficients)

    def _at(self, polynomial, x):
        y = torch.zeros_like(x)
        for c in polynomial.coeffs:
            y = y * x + c
        return y

    def value(self, x):
        return self._at(self.derivative.integ(), torch.as_tensor(x))[..., 0]

    def gradient(self, x):
        return self._at(self.derivative, torch.as_tensor(x))

    def hessian(self, x):
        return self._at(self.derivative.deriv(), torch.as_tensor(x)).unsqueeze(-1)


def check_residual(family, found):
    for x, b in zip(found["x"].values[::7], found["b"].values[::7], strict=True):
        assert np.abs(np.asarray(family(b).gradient(x))).max() < 1e-11


def test_pitchfork_of_the_circuit():
    def family(b):
        return systems.get("gene_circuit", b=b)

    found = wb.branches(family, [(0, 2)] * 2, between=(0.1, 1.0), step=0.05)
    assert found["bifurcation_kind"].values.tolist() == ["pitchfork"]
    assert float(found["bifurcation_b"][0]) == pytest.approx(PITCHFORK, abs=1e-9)
    assert np.ptp(found["bifurcation_x"].values) < 1e-9
    check_residual(family, found)
    late = found.isel(point=np.flatnonzero(np.abs(found["b"] - 1.0) < 1e-12))
    known = wb.stationary_points(family(1.0), [(0, 2)] * 2)
    np.testing.assert_allclose(np.sort(late["x"].values, 0), np.sort(known["x"].values, 0), atol=1e-9)
    diagonal = found.isel(point=np.flatnonzero(np.ptp(found["x"].values, -1) < 1e-9))
    np.testing.assert_array_equal(diagonal["index"], diagonal["b"] > PITCHFORK)
    assert set(found["kind"].values) == {"minimum", "saddle"}


def test_folds_of_the_tilted_double_well():
    found = wb.branches(lambda b: Quartic(tilt=b), [(-1.8, 1.8)], between=(-1.0, 1.0))
    assert found["bifurcation_kind"].values.tolist() == ["fold"] * 2
    exact = 2 / np.sqrt(27)
    np.testing.assert_allclose(np.sort(found["bifurcation_b"]), [-exact, exact], atol=1e-9)
    np.testing.assert_allclose(np.sort(found["bifurcation_x"], 0)[:, 0], [-(3**-0.5), 3**-0.5], atol=1e-9)
    assert found["branch"].values.max() == 0
    np.testing.assert_allclose(found["b"], (found["x"] - found["x"] ** 3)[:, 0], atol=1e-10)
    np.testing.assert_array_equal(found["index"], np.abs(found["x"][:, 0]) < 3**-0.5)


@pytest.mark.parametrize(
    ("coefficients", "kind", "at"),
    [
        (lambda b: (1, 0, -b, 0), "pitchfork", 0.0),
        (lambda b: (1, 0, -b, 0.01), "fold", 3 * 0.005 ** (2 / 3)),
        (lambda b: (1, -b, 0), "transcritical", 0.0),
    ],
)
def test_normal_forms(coefficients, kind, at):
    found = wb.branches(lambda b: Family1D(*coefficients(b)), [(-1.5, 1.5)], between=(-0.9, 1.0))
    assert found["bifurcation_kind"].values.tolist() == [kind]
    assert float(found["bifurcation_b"][0]) == pytest.approx(at, abs=1e-9)
    assert found["branch"].values.max() == 1
    check_residual(lambda b: Family1D(*coefficients(b)), found)


@pytest.mark.parametrize(
    ("coefficients", "kind", "at"),
    [
        (lambda b: (1, 0, (b - 0.25) ** 2 - 0.02, 0), "pitchfork", 0.25 + 0.02**0.5 * np.array([-1, 1])),
        (lambda b: (1, (b - 0.25) ** 2 - 0.02, 0), "transcritical", 0.25 + 0.02**0.5 * np.array([-1, 1])),
    ],
)
def test_branches_between_two_seeds_are_found_from_branch_points(coefficients, kind, at):
    """The branches of the second family leave the box."""
    box = (-0.9, 1.0) if kind == "pitchfork" else (-0.01, 0.05)
    found = wb.branches(lambda b: Family1D(*coefficients(b)), [box], between=(0.0, 1.0), seeds=2)
    assert found["bifurcation_kind"].values.tolist() == [kind] * 2
    np.testing.assert_allclose(np.sort(found["bifurcation_b"]), at, atol=1e-9)
    assert found["branch"].values.max() >= 1
    top = found.isel(point=int(found["x"].values[:, 0].argmax()))
    assert float(top["x"][0]) == pytest.approx(0.02**0.5 if kind == "pitchfork" else 0.02, abs=1e-3)
    check_residual(lambda b: Family1D(*coefficients(b)), found)


def test_loops_are_closed_and_need_a_seed_inside():
    def family(b):
        return Family1D(1, 0, b**2 - 0.36)

    found = wb.branches(family, [(-1, 1)], between=(-1, 1))
    np.testing.assert_allclose(np.sort(found["bifurcation_b"]), [-0.6, 0.6], atol=1e-9)
    assert found["branch"].values.max() == 0
    np.testing.assert_allclose(found["x"][:, 0] ** 2 + found["b"] ** 2, 0.36, atol=1e-10)
    np.testing.assert_allclose(found["x"].values[0], found["x"].values[-1], atol=1e-8)
    assert wb.branches(family, [(-1, 1)], between=(-1, 1), seeds=2).sizes["point"] == 0


def test_a_branch_ends_at_the_edge_of_the_box():
    found = wb.branches(lambda b: Quartic(tilt=b), [(-1.8, 0.9)], between=(-1.0, 1.0))
    assert found["x"].values.max() < 0.95
    assert sorted(found["bifurcation_kind"].values) == ["fold", "fold"]


class Pair(Family1D):
    """Two members, x³ − (1 + k) x."""

    members = 2

    def __init__(self):
        super().__init__(1, 0, -1, 0)

    def member(self, k):
        return Family1D(1, 0, -(1 + k), 0)


def test_members_of_a_blend_have_their_own_bifurcations():
    blend = wb.Blend(Family1D(1, 0, 1, 0), Pair(), wb.Ramp(0.0, 1.0))
    found = wb.branches(blend, [(-1.6, 1.6)])
    assert found["bifurcation_member"].values.tolist() == [0, 1]
    np.testing.assert_allclose(found["bifurcation_b"], [1 / 2, 1 / 3], atol=1e-9)
    assert found["bifurcation_kind"].values.tolist() == ["pitchfork"] * 2
    assert set(found["member"].values) == {0, 1}


class Softening:
    """x³ + (1 − 2 load) x, a landscape that changes in time and is no blend."""

    states, members, parameter, schedule = ("x",), None, "load", wb.Ramp(0.0, 10.0)

    def at(self, *, time=None, load=None):
        return Family1D(1, 0, 1 - 2 * (self.schedule(time) if load is None else load), 0)


@pytest.mark.parametrize(
    "family",
    [wb.Blend(Family1D(1, 0, 1, 0), Family1D(1, 0, -1, 0), wb.Ramp(0.0, 1.0), parameter="load"), Softening()],
    ids=lambda one: type(one).__name__,
)
def test_the_parameter_has_the_name_of_the_family(family):
    found = wb.branches(family, [(-1.6, 1.6)], step=0.05)
    assert found.attrs["parameter"] == "load"
    np.testing.assert_allclose(found["bifurcation_load"], [1 / 2], atol=1e-9)
    assert found["load"].dims == ("point",)
    assert "b" not in found
    assert found["load"].attrs.get("units") == ("1" if isinstance(family, wb.Blend) else None)
    split = wb.splitting(family, [(-1.6, 1.6)], scan=5, starts=8, tolerance=1e-3)
    assert 0 <= float(split["load"]) - 1 / 2 < 2e-3
    assert split["minima"].dims == ("load_scanned",)
    assert float(split["time"]) == family.schedule.when(float(split["load"]))


def test_kinds_are_coordinates():
    found = wb.branches(lambda b: Family1D(1, 0, -b, 0), [(-1.5, 1.5)], between=(-0.5, 1.0), step=0.1)
    assert {"kind", "branch", "bifurcation_kind"} <= set(found.coords)
    assert "units" not in found["b"].attrs


def test_members_split_at_different_times():
    blend = wb.Blend(Family1D(1, 0, 1, 0), Pair(), wb.Ramp(0.0, 10.0))
    found = wb.splitting(blend, [(-1.6, 1.6)], scan=5, starts=8)
    assert found["minima"].dims == ("member", "b_scanned")
    for k, exact in enumerate((1 / 2, 1 / 3)):
        alone = wb.splitting(blend.member(k), [(-1.6, 1.6)], scan=5, starts=8)
        assert 0 <= float(alone["b"]) - exact < 2e-4
        assert alone.identical(found.sel(member=k, drop=True))


def test_invalid_splits_are_rejected():
    with pytest.raises(TypeError, match="expected a landscape that changes in time, such as a Blend, got Family1D"):
        wb.splitting(Family1D(1, 0, 1, 0), [(-1, 1)])
    blend = wb.Blend(Family1D(1, 0, 1, 0), Family1D(1, 0, -1, 0), wb.Ramp(0.0, 10.0))
    with pytest.raises(ValueError, match="scan must be an integer >= 2, got 1"):
        wb.splitting(blend, [(-1, 1)], scan=1)
    with pytest.raises(ValueError, match="low < high"):
        wb.splitting(blend, [(1, -1)])
    headless = Softening()
    headless.members = 2
    with pytest.raises(TypeError, match=r"Softening has 2 members, but no method member\(index\)"):
        wb.splitting(headless, [(-1, 1)])


def test_steps_too_long_to_keep_branches_apart_are_shortened():
    found = wb.branches(lambda b: Family1D(1, 0, -b, 1e-4), [(-1.5, 1.5)], between=(-0.9, 1.0), step=0.2)
    assert found["bifurcation_kind"].values.tolist() == ["fold"]
    assert float(found["bifurcation_b"][0]) == pytest.approx(3 * (5e-5) ** (2 / 3), abs=1e-9)


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match=r"between must be two finite numbers \(low, high\) with low < high"):
        wb.branches(lambda b: Quartic(tilt=b), [(-1, 1)], between=(1.0, 0.0))
    with pytest.raises(ValueError, match="seeds must be an integer >= 2"):
        wb.branches(lambda b: Quartic(tilt=b), [(-1, 1)], seeds=1)
    with pytest.raises(ValueError, match="low < high"):
        wb.branches(lambda b: Quartic(tilt=b), [(1, -1)])
    with pytest.raises(TypeError, match="expected a potential"):
        wb.branches(lambda b: b, [(-1, 1)])
