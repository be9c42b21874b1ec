"""The mechanochemical energy: symmetry, wells and saddles at known places, the misprints, and shear conventions."""

import itertools

import numpy as np
import pytest

import systems
import workbench as wb

CRYSTAL = systems.get("mechanochemical")
ROWS = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


def tensor(x):
    E = np.zeros((*x.shape[:-1], 3, 3))
    for k, (i, j) in enumerate(ROWS):
        E[..., i, j] = E[..., j, i] = x[..., k]
    return E


def components(E, c):
    return np.concatenate([np.stack([E[..., i, j] for i, j in ROWS], -1), c[..., None]], -1)


def signed_permutations():
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            yield np.eye(3)[list(order)] * np.array(signs)[:, None]


@pytest.mark.parametrize("variant", ["rudraraju", "eq11"])
def test_energy_has_cubic_symmetry(variant):
    crystal = systems.get("mechanochemical", variant=variant)
    x = np.random.default_rng(0).uniform(-0.2, 0.2, (20, 7))
    for R in signed_permutations():
        turned = components(R @ tensor(x) @ R.T, x[:, 6])
        np.testing.assert_allclose(crystal.value(turned), crystal.value(x), rtol=1e-11, atol=1e-12)


def test_printed_formula_has_neither_symmetry_nor_bound():
    printed = systems.get("mechanochemical", variant="printed")
    x = np.array([[0.1, -0.05, 0.02, 0.0, 0.0, 0.0, 0.3]])
    turned = x[:, [1, 0, 2, 3, 4, 5, 6]]
    assert abs(printed.value(turned) - printed.value(x)) > 1e-3
    far = 1e3 * np.array([1.0, 1.0, 1.0, 0, 0, 0, 1e-3])
    assert printed.value(far) < -1e6
    rows = np.random.default_rng(0).normal(size=(50, 7)) * 1e3
    assert (CRYSTAL.value(rows) > 0).all()


def test_eq11_repaired_is_six_times_all_but_the_harmonic_part():
    eq11 = systems.get("mechanochemical", variant="eq11")
    x = np.random.default_rng(1).uniform(-0.2, 0.2, (9, 7))
    a, b, d = x[:, 0], x[:, 1], x[:, 2]
    c, s, d_e, d_c = x[:, 6], 0.1, 0.1, 2.0
    square = a**2 + b**2 + d**2 - b * d - a * b - a * d
    lines = [
        d_c * (96 * c**2 - 192 * c**3 + 96 * c**4),
        2 * np.sqrt(2 / 3) * d_e / s**3 * (c - 1) * (a + b - 2 * d) * (a - 2 * b + d) * (2 * a - b - d),
        6 * d_e / s**2 * (2 * c - 1) * square,
        4 * d_e / s**4 * square**2,
    ]
    harmonic = d_e / (2 * s**2) * (6 * (x[:, 3:6] ** 2).sum(-1) + (a + b + d) ** 2)
    np.testing.assert_allclose(eq11.value(x), sum(lines) + harmonic, rtol=1e-10)
    np.testing.assert_allclose(CRYSTAL.value(x), sum(lines) / 6 + harmonic, rtol=1e-10)


@pytest.fixture(scope="module")
def found():
    return wb.stationary_points(CRYSTAL, within=[(-0.2, 0.2)] * 6 + [(-0.1, 1.1)], starts=256)


def radius(x):
    return np.sqrt(((x[:, 0] - x[:, 1]) ** 2) / 2 + ((x[:, 0] + x[:, 1] - 2 * x[:, 2]) ** 2) / 6) / 0.1


def test_wells_are_the_cubic_and_three_tetragonal_ones(found):
    wells = found.isel(point=(found["kind"] == "minimum").values)
    x, level = wells["x"].values, wells["potential"].values
    np.testing.assert_allclose(level, [*[-0.10125195611] * 3, 0.0], atol=1e-9)
    np.testing.assert_allclose(x[3], [0, 0, 0, 0, 0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(radius(x[:3]), 1.00620825739, atol=1e-8)
    np.testing.assert_allclose(x[:3, 6], -0.00622107835, atol=1e-8)
    np.testing.assert_allclose(x[:3, :3].sum(-1), 0, atol=1e-9)
    np.testing.assert_allclose(np.sort(x[:3, :3], -1), np.sort(x[0, :3]) + np.zeros((3, 1)), atol=1e-9)
    assert len(np.unique(x[:3, :3].argmax(-1))) == 3 or len(np.unique(x[:3, :3].argmin(-1))) == 3


def test_saddles_of_index_one_are_two_families_of_three(found):
    saddles = found.isel(point=(found["index"] == 1).values)
    x, level = saddles["x"].values, saddles["potential"].values
    for r, c, psi in ((0.247182, 0.500620, 1.999811), (0.500487, -0.000975, -0.015656)):
        family = np.abs(level - psi) < 1e-5
        assert family.sum() == 3
        np.testing.assert_allclose(radius(x[family]), r, atol=2e-6)
        np.testing.assert_allclose(x[family, 6], c, atol=2e-6)
    second = found.isel(point=(found["index"] == 2).values)["x"].values
    assert np.abs(second).max(-1).min() < 1e-9


def test_shear_entries_of_the_gradient_are_twice_the_stress():
    x = np.random.default_rng(0).uniform(-0.1, 0.1, (5, 7))
    gradient, h = CRYSTAL.gradient(x), 1e-6
    S = CRYSTAL.stress(gradient)
    for i, j in ROWS:  # dΨ = S : dE for a symmetric change of E
        change = np.zeros((3, 3))
        change[i, j] = change[j, i] = h
        up, down = (CRYSTAL.value(components(tensor(x) + sign * change, x[:, 6])) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 2, (S * change).sum((-2, -1)), rtol=1e-5, atol=1e-11)
    np.testing.assert_allclose(gradient[:, 3], 2 * S[:, 0, 1], rtol=1e-12)


def test_data_say_what_their_gradient_is():
    data = CRYSTAL.points(10, seed=0)
    assert list(data["state"].values) == ["E11", "E22", "E33", "E12", "E13", "E23", "c"]
    assert "twice the stress" in data["gradient"].attrs["description"]
    assert (np.abs(data["x"].values[:, :6]) <= 0.2).all()
    assert ((data["x"].values[:, 6] >= 0) & (data["x"].values[:, 6] <= 1)).all()
    outside = np.zeros((1, 7))
    outside[0, 6] = 1.2  # allowed: the energy is defined there
    CRYSTAL.check_domain(outside)


def test_concentration_beyond_its_meaning_is_allowed_and_noted():
    inside = CRYSTAL.trajectories(2, time=[0.0, 0.01], seed=0)
    assert "note" not in inside["x"].attrs
    start = [[0, 0, 0, 0, 0, 0, 1.2], [0, 0, 0, 0, 0, 0, 0.5]]
    beyond = CRYSTAL.trajectories(time=[0.0], starts=start)
    assert beyond["x"].attrs["note"] == "c lies outside [0, 1] in 1 of 2 samples"
