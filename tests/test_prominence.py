"""Prominence against closed forms and SciPy's peak prominences; the three mode counts."""

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks, peak_prominences

import systems
import workbench as wb
from workbench.dataset import points


class Waves:
    """A sum of cosines on a parabola: a one-dimensional potential with many wells."""

    states, members = ("x",), None

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        spans = ((1, 9), (0.1, 1), (0, 6))
        self.k, self.a, self.p = (torch.as_tensor(rng.uniform(*span, 6)) for span in spans)

    def _x(self, x):
        return torch.as_tensor(x, dtype=torch.float64)

    def value(self, x):
        return (self._x(x) ** 2 / 2 + (self.a * torch.cos(self.k * self._x(x) + self.p)).sum(-1, keepdim=True))[..., 0]

    def gradient(self, x):
        y = self._x(x)
        return y - (self.a * self.k * torch.sin(self.k * y + self.p)).sum(-1, keepdim=True)

    def hessian(self, x):
        y = self._x(x)
        return (1 - (self.a * self.k**2 * torch.cos(self.k * y + self.p)).sum(-1, keepdim=True)).unsqueeze(-1)


@pytest.mark.parametrize("seed", range(6))
def test_prominence_in_one_dimension_is_that_of_scipy(seed):
    psi, grid = Waves(seed), np.linspace(-9, 9, 900_001)
    y = -psi.value(grid[:, None]).numpy()
    peaks, _ = find_peaks(y)
    expected = peak_prominences(y, peaks)[0]
    found = wb.wells(psi, [(-8, 8)], starts=1024)
    assert found.sizes["point"] == (np.abs(grid[peaks]) <= 8).sum() > 2
    assert np.isinf(found["prominence"].values[0])
    for x, prominence in zip(found["x"].values[1:, 0], found["prominence"].values[1:], strict=True):
        nearest = np.abs(grid[peaks] - x).argmin()
        assert prominence == pytest.approx(expected[nearest], abs=1e-6)


def test_prominence_in_two_dimensions_is_the_barrier(circuit):
    found = wb.wells(circuit, [(0, 2), (0, 2)])
    np.testing.assert_allclose(found["prominence"].values, [np.inf, 0.154710562700], atol=1e-9)
    assert "mode_weight" not in found


def test_prominence_follows_the_saddles_of_a_known_surface():
    found = wb.wells(systems.get("muller_brown"), [(-1.5, 1.2), (-0.2, 2.0)])
    np.testing.assert_allclose(found["potential"], [-146.6995, -108.1667, -80.7678], atol=1e-3)
    expected = [np.inf, -40.6648 + 108.1667, -72.2489 + 80.7678]
    np.testing.assert_allclose(found["prominence"], expected, atol=1e-3)


def test_mode_weight_is_that_of_the_dominant_mode(small_fit):
    found = wb.wells(small_fit.ensemble, [(0, 2), (0, 2)])
    assert set(found["member"].values) == {0, 1}
    for k in range(found.sizes["point"]):
        one = found.isel(point=k)
        weights = small_fit.ensemble.member(int(one["member"])).mode_weights(one["x"].values)
        assert float(one["mode_weight"]) == pytest.approx(weights.max(), rel=1e-12)


def test_counts_of_a_fit(small_fit):
    counts = wb.mode_counts(small_fit)
    assert counts["gates"].values.tolist() == [2, 2]
    assert (counts["dominant"] <= 2).all()
    assert counts["wells"].values.tolist() == [2, 2]
    shallow = wb.wells(small_fit.ensemble, [(0, 2), (0, 2)])
    shallow["prominence"][:] = counts["resolution"].values.min() / 2
    assert wb.mode_counts(small_fit, found=shallow)["wells"].values.tolist() == [0, 0]
    assert wb.mode_counts(small_fit, gate=0.995)["gates"].values.tolist() == [0, 0]


def test_resolution_is_the_error_of_the_potential():
    x = np.random.default_rng(0).uniform(-2, 2, (80, 1))
    data = points(x, potential=((x**2 - 1) ** 2)[:, 0])
    quick = wb.LevenbergMarquardt(steps=15, screening=5)
    fit = wb.fit(wb.LSEICNN(dim=1, modes=2), data, match="potential", seed=0, restarts=1, optimiser=quick)
    rmse = wb.score(fit.model, fit.data)["potential_rmse"].sel(part="validation")
    assert float(wb.mode_counts(fit)["resolution"][0]) == pytest.approx(float(rmse), rel=1e-9)


def test_a_well_shallower_than_the_error_does_not_count():
    printed = systems.get("min_mixture", variant="printed")
    assert wb.wells(printed, [(-3, 3)])["prominence"].values[1] == pytest.approx(8e-4, abs=1e-4)
    data, seen = printed.points(250, seed=3), []
    for steps in (8, 30, 300):
        optimiser = wb.LevenbergMarquardt(steps=steps, screening=min(30, steps), patience=100)
        fit = wb.fit(wb.LSEICNN(dim=1, modes=10), data, match="potential", seed=1, restarts=2, optimiser=optimiser)
        counts = wb.mode_counts(fit)
        seen.append(int(counts["wells"][0]))
        assert seen[-1] == (2 if float(counts["resolution"][0]) < 8e-4 else 1)
    assert seen[0] == 1
    assert seen[-1] == 2
