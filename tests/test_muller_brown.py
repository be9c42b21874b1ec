"""The Müller–Brown surface against its published stationary points."""

import numpy as np
import pytest

import systems
import workbench as wb

MINIMA = [(-0.558, 1.442, -146.700), (0.623, 0.028, -108.167), (-0.050, 0.467, -80.768)]
SADDLES = [(0.212, 0.293, -72.249), (-0.822, 0.624, -40.665)]


def test_stationary_points_are_the_published_ones():
    surface = systems.get("muller_brown")
    found = wb.stationary_points(surface, within=surface.box)
    assert found["kind"].values.tolist() == ["minimum"] * 3 + ["saddle"] * 2
    printed = np.array(MINIMA + SADDLES)
    np.testing.assert_allclose(found["x"].values, printed[:, :2], rtol=0, atol=5.01e-4)
    np.testing.assert_allclose(found["potential"].values, printed[:, 2], rtol=0, atol=5.01e-4)


@pytest.mark.parametrize("scale", [0.05, 2.0])
def test_scale_is_a_factor(scale):
    x = systems.get("muller_brown").points(5, seed=0)["x"].values
    one, other = systems.get("muller_brown"), systems.get("muller_brown", scale=scale)
    np.testing.assert_allclose(other.gradient(x), scale * one.gradient(x), rtol=1e-14)
