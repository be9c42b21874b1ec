"""The three 1-D wells against their closed forms, and the misprint of Eq 10."""

import numpy as np
import pytest

import systems
import workbench as wb

WELLS = {
    "asymmetric_quartic": [-1.614089026314166, 1.239089026314166],
    "cosine_quadratic": [-2.169902726162932, -0.7280192237058791, 0.7280192237058791, 2.169902726162932],
    "min_mixture": [-1.0, 0.0, 2.0],
}
GRID = np.linspace(-3, 3, 200001)


@pytest.mark.parametrize("name", WELLS)
def test_wells_are_where_they_should_be(name):
    found = wb.stationary_points(systems.get(name), within=[(-3, 3)])
    minima = found["x"].values[(found["kind"] == "minimum").values, 0]
    np.testing.assert_allclose(np.sort(minima), WELLS[name], atol=1e-10)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("asymmetric_quartic", lambda x: 2 / 5 * (x**4 / 4 - x**2 + x**3 / 8)),
        ("cosine_quadratic", lambda x: (x**2 + 1.6 * np.cos(4 * x) + 1) / 20),
    ],
)
def test_formula(name, formula):
    x = GRID[::1000]
    np.testing.assert_allclose(systems.get(name).value(x[:, None]), formula(x), rtol=1e-13, atol=1e-15)


def minima_on_the_grid(y):
    return np.flatnonzero((y[1:-1] < y[:-2]) & (y[1:-1] < y[2:])) + 1


def test_scaled_mixture_has_three_wells_and_its_kinks():
    mixture = systems.get("min_mixture")
    y = mixture.value(GRID[:, None])
    np.testing.assert_allclose(GRID[minima_on_the_grid(y)], WELLS["min_mixture"], atol=1e-4)
    slope = np.diff(y) / np.diff(GRID)
    kinks = GRID[np.flatnonzero(np.diff(slope) < -0.05)]
    assert {round(float(k), 2) for k in kinks} == {-0.68, 0.89}
    for kink in (-0.681595376, 0.893959226):
        left, right = mixture.gradient([[kink - 1e-6], [kink + 1e-6]])[:, 0]
        assert left > 0 > right


def test_printed_mixture_has_two_minima_one_of_them_very_shallow():
    printed = systems.get("min_mixture", variant="printed")
    y = printed.value(GRID[:, None])
    found = minima_on_the_grid(y)
    np.testing.assert_allclose(GRID[found], [0.0, 2.0], atol=1e-4)
    ridge = y[found[0] : found[1]].max()
    assert ridge - y[found[1]] == pytest.approx(8e-4, abs=1e-4)
    with pytest.raises(systems.ParameterError, match="variant of min_mixture: .*'scaled' or 'printed', got 'print'"):
        systems.get("min_mixture", variant="print")
