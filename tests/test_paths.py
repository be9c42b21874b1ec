"""Minimum-energy paths against exact saddles and barriers; ill-posed requests are rejected."""

import numpy as np
import pytest
import torch

import systems
import workbench as wb
from systems import PotentialSystem, State
from workbench.errors import LandscapeError

WELLS = [(0.405621017867140, 1.543999494460613), (1.543999494460613, 0.405621017867140)]


def normal_gradient(potential, x):
    """Return the largest component of the gradient normal to the path, relative to its largest component."""
    tangent = np.gradient(x, axis=0)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    gradient = potential.gradient(x)
    return np.abs(gradient - (gradient * tangent).sum(-1, keepdims=True) * tangent).max() / np.abs(gradient).max()


def test_path_of_the_circuit(circuit):
    path = wb.minimum_energy_path(circuit, (0.3, 1.4), (1.6, 0.5), points=wb.stationary_points(circuit, circuit.box))
    assert path.sizes["image"] == 101
    np.testing.assert_allclose(path["x"].values[[0, -1]], WELLS, atol=1e-10)
    np.testing.assert_allclose(path["saddle"].values, 0.813476835294111, atol=1e-10)
    np.testing.assert_allclose(path["barrier"].values, 0.154710562700, atol=1e-10)
    top = int(path["potential"].values.argmax())
    np.testing.assert_allclose(path["x"].values[top], 0.813476835294111, atol=1e-6)
    assert path["stop"].values[[0, top, -1]].tolist() == ["minimum", "saddle", "minimum"]
    assert float(path["mismatch"]) < 1e-10
    assert np.diff(path["potential"].values[: top + 1]).min() > 0 > np.diff(path["potential"].values[top:]).max()
    assert normal_gradient(circuit, path["x"].values) < 1e-3
    np.testing.assert_allclose(path["x"].values[::-1, ::-1], path["x"].values, atol=1e-4)


def test_path_through_a_third_well():
    surface = systems.get("muller_brown")
    path = wb.minimum_energy_path(surface, (-0.558, 1.442), (0.623, 0.028), images=201)
    stops = path["x"].values[path["stop"].values != ""]
    printed = [(-0.558, 1.442), (-0.822, 0.624), (-0.050, 0.467), (0.212, 0.293), (0.623, 0.028)]
    np.testing.assert_allclose(stops, printed, atol=5.01e-4)
    np.testing.assert_allclose(path["barrier"], [-40.665 + 146.700, -40.665 + 108.167], atol=1.01e-3)
    assert float(path["saddle_residual"]) < 1e-8
    assert normal_gradient(surface, path["x"].values) < 0.01


class Plane:
    states, members = ("x", "y"), None

    def value(self, x):
        return self.formula(*torch.as_tensor(x).unbind(-1))[0]

    def gradient(self, x):
        return torch.stack(self.formula(*torch.as_tensor(x).unbind(-1))[1], -1)

    def hessian(self, x):
        xx, xy, yy = self.formula(*torch.as_tensor(x).unbind(-1))[2]
        return torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], -2)


class Ring(Plane):
    """4 (r² − 1)² + y² + y/5: two wells on a circle, near the angles 0 and π; the upper path has the higher barrier."""

    def formula(self, u, v):
        s = u**2 + v**2 - 1
        hessian = 16 * s + 32 * u**2, 32 * u * v, 16 * s + 32 * v**2 + 2
        return 4 * s**2 + v**2 + v / 5, (16 * s * u, 16 * s * v + 2 * v + 0.2), hessian


class Valley(Plane):
    """(x² − 1)² + 1000 (y − x²)²: a steep and curved valley."""

    def formula(self, x, y):
        d = 1000 * (y - x**2)
        hessian = 12 * x**2 - 4 - 4 * d + 8000 * x**2, -4000 * x, torch.full_like(x, 2000)
        return (x**2 - 1) ** 2 + d**2 / 1000, (4 * x * (x**2 - 1) - 4 * x * d, 2 * d), hessian


def test_via_selects_one_of_two_paths():
    ring, ends = Ring(), ((-1, 0), (1, 0))
    upper, lower = (wb.minimum_energy_path(ring, *ends, via=[(0, y)]) for y in (1.0, -1.0))
    assert upper["saddle"].values[1] > 0.8
    assert lower["saddle"].values[1] < -0.8
    gap = float(upper["saddle_potential"] - lower["saddle_potential"])
    y = np.roots([16, 0, -14, 0.2]).real  # where the gradient along the axis x = 0 vanishes
    exact = np.ptp(ring.value([[0, y.max()], [0, y.min()]]).numpy())
    assert gap == pytest.approx(exact, abs=1e-9)


def test_one_dimension_and_a_stiff_valley():
    well = systems.get("asymmetric_quartic")
    path = wb.minimum_energy_path(well, -1.6, 1.2)
    exact = well.value([[-1.614089026314166], [0.0], [1.239089026314166]])
    np.testing.assert_allclose(path["barrier"], exact[1] - exact[[0, 2]], atol=1e-12)
    path = wb.minimum_energy_path(Valley(), (-1, 1), (1, 1))
    np.testing.assert_allclose(path["barrier"], 1.0, atol=1e-12)
    x, y = path["x"].values.T  # the slow manifold, to first order in 1e-3
    np.testing.assert_allclose(y, x**2 + 4e-3 * x**2 * (x**2 - 1) / (1 + 4 * x**2), atol=1e-4)


def test_each_member_has_its_own_path(small_fit):
    points = wb.stationary_points(small_fit.ensemble, [(0, 2), (0, 2)])
    path = wb.minimum_energy_path(small_fit.ensemble, *WELLS, images=21, points=points)
    assert path["x"].dims == ("member", "image", "state")
    assert path["barrier"].dims == ("member", "way")
    assert path.coords["stop"].dims == ("member", "image")
    np.testing.assert_allclose(path["barrier"], 0.1547, rtol=0.1)
    assert (path["mismatch"] < 1e-8).all()


class Hat(Plane):
    """(r² − 1)²: a circle of minima without a barrier."""

    def formula(self, u, v):
        s = u**2 + v**2 - 1
        return s**2, (4 * s * u, 4 * s * v), (4 * s + 8 * u**2, 8 * u * v, 4 * s + 8 * v**2)


def test_ill_posed_requests_are_rejected(circuit):
    with pytest.raises(LandscapeError, match="start and end lie in the same well"):
        wb.minimum_energy_path(circuit, (0.4, 1.5), (0.5, 1.4))
    with pytest.raises(LandscapeError, match="start and end are the same state"):
        wb.minimum_energy_path(circuit, (0.4, 1.5), (0.4, 1.5))
    with pytest.raises(LandscapeError, match="there is no minimum near the end"):
        wb.minimum_energy_path(circuit, (0.4, 1.5), (-1.5, -1.5))
    with pytest.raises(
        LandscapeError, match="no maximum along the path refines to a saddle: either the potential has a kink"
    ):
        wb.minimum_energy_path(systems.get("min_mixture"), 0.0, 2.0)
    with pytest.raises(LandscapeError, match="start and end lie in one continuous family of minima"):
        wb.minimum_energy_path(Hat(), (-1.0, 0.0), (1.0, 0.0))
    with pytest.raises(ValueError, match=r"end must be finite, with shape \(row, 2\)"):
        wb.minimum_energy_path(circuit, (0.4, 1.5), (0.5, np.nan))
    with pytest.raises(ValueError, match="images must be an integer >= 9, got 3"):
        wb.minimum_energy_path(circuit, *WELLS, images=3)

    class Undefined(PotentialSystem):
        state_space = (State("x", box=(-2, 2)),)

        def potential(self, x):
            return ((x**2 - 1) ** 2 + 0 * (x.abs() - 0.2).sqrt()).sum(-1)

    with pytest.raises(LandscapeError, match="not finite along the path"):
        wb.minimum_energy_path(Undefined(), -1.0, 1.0)


def test_minima_outside_the_box_are_rejected(circuit):
    with pytest.raises(LandscapeError, match="the minimum near the start .* is far outside the box"):
        wb.minimum_energy_path(circuit, WELLS[0], WELLS[1], within=[(5, 9), (5, 9)])
