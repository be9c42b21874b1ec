"""The two-phase material: published thresholds, exact constitutive laws, and energy balance."""

import numpy as np
import pytest

import systems
from systems.rossi import SHEAR

ROSSI = systems.get("rossi")
HARD = systems.get("rossi", hardening=1.2, k_forward=0.005)
BOTH = pytest.mark.parametrize("rossi", [ROSSI, HARD], ids=["plain", "hardening"])


def uniaxial(E11):
    return np.multiply.outer(np.asarray(E11, dtype=float), np.eye(6)[0])


def refined(strain, by):
    """Return the same path with every step divided into `by` equal steps."""
    fraction = np.arange(by)[:, None] / by
    steps = strain[..., :-1, None, :] * (1 - fraction) + strain[..., 1:, None, :] * fraction
    return np.concatenate([steps.reshape(*strain.shape[:-2], -1, 6), strain[..., -1:, :]], -2)


def test_thresholds_are_the_published_ones():
    E11 = [-0.072, -0.122, -0.172, -0.25, -0.1, -0.05, 0.0, 0.2]
    c = ROSSI.respond(uniaxial(E11))["phase_fraction"]
    np.testing.assert_allclose(c, [0, 0.5, 1, 1, 1, 0.5, 0, 0], atol=1e-12)
    just_before = ROSSI.respond(uniaxial([-0.0719, -0.1719, -0.1001, -0.0001]))["phase_fraction"]
    assert just_before[0] == 0
    assert 0 < just_before[3] < just_before[1] < 1
    assert just_before[2] == just_before[1]


def test_rest_is_marginal():
    c = ROSSI.respond(uniaxial([-0.172, 0.0]) * (1 + 1e-15))["phase_fraction"]
    assert c[1] == pytest.approx(0, abs=1e-12)


def test_stress_is_the_published_law():
    E = np.random.default_rng(0).uniform(-0.2, 0.2, (4, 30, 6))
    answer = ROSSI.respond(E)
    tensor = (E - answer["phase_fraction"][..., None] * uniaxial(-0.1))[..., [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
    identity = np.eye(3)
    deviator = tensor - tensor.trace(axis1=-2, axis2=-1)[..., None, None] * identity / 3
    S = tensor.trace(axis1=-2, axis2=-1)[..., None, None] * identity + 2 * 0.5 * deviator
    np.testing.assert_allclose(answer["stress"][..., [[0, 3, 4], [3, 1, 5], [4, 5, 2]]], S, atol=1e-15)


@BOTH
def test_steps_of_any_size_give_the_same(rossi):
    coarse = rossi.paths(20, loading="random", samples=40, seed=1)["strain"].values
    one, other = rossi.respond(coarse), rossi.respond(refined(coarse, 7))
    for name in ("phase_fraction", "stress", "potential"):
        np.testing.assert_allclose(other[name][:, ::7], one[name], rtol=0, atol=1e-12)
    np.testing.assert_allclose(other["dissipation"].sum(-1), one["dissipation"].sum(-1), atol=1e-12)
    assert np.ptp(one["phase_fraction"]) > 0.8


def test_full_loop_dissipates_both_bounds():
    path = uniaxial(np.interp(np.linspace(0, 2, 41), [0, 1, 2], [0, -0.25, 0]))
    assert ROSSI.respond(path)["dissipation"].sum() == pytest.approx(0.012, abs=1e-15)
    loop = 0.005 * (1 + 1.2 / 3) + 0.006 * (1 + 1.2 / 3)
    assert HARD.respond(path)["dissipation"].sum() == pytest.approx(loop, abs=1e-15)


@BOTH
def test_driving_force_stays_within_its_bounds(rossi):
    E = rossi.paths(50, loading="random", seed=2)["strain"].values
    answer = rossi.respond(E)
    c, S = answer["phase_fraction"], answer["stress"]
    force = rossi.e0 * S[..., 0] - rossi.gap
    rise = 1 + rossi.hardening * c**2
    inside = (c > 0) & (c < 1)
    assert (force[c < 1] <= (rossi.k_forward * rise)[c < 1] + 1e-15).all()
    assert (force[c > 0] >= -(rossi.k_back * rise)[c > 0] - 1e-15).all()
    change = np.diff(c, axis=-1, prepend=0)
    np.testing.assert_allclose(
        force[inside & (change > 0)], (rossi.k_forward * rise)[inside & (change > 0)], atol=1e-15
    )
    np.testing.assert_allclose(force[inside & (change < 0)], (-rossi.k_back * rise)[inside & (change < 0)], atol=1e-15)
    assert (inside & (change > 0)).any()
    assert (inside & (change < 0)).any()


@BOTH
def test_work_less_energy_is_dissipated(rossi):
    """The trapezoidal rule errs at kinks, by less than h²/8 times the jump in the derivative: second order."""
    E = rossi.paths(10, loading="random", samples=30, seed=3)["strain"].values
    for by in (4, 16, 64, 256):
        fine = refined(E, by)
        answer = rossi.respond(fine)
        S = answer["stress"]
        work = ((S[:, 1:] + S[:, :-1]) / 2 * np.diff(fine, axis=1)) @ SHEAR
        stored = np.diff(answer["potential"], axis=1)
        gap = (work - stored).sum(-1) - answer["dissipation"][:, 1:].sum(-1)
        assert np.abs(gap).max() * by**2 < 2e-3
    assert (answer["dissipation"] >= 0).all()


def test_shear_does_not_change_the_phase():
    shear = np.random.default_rng(0).uniform(-0.3, 0.3, (5, 40, 6)) * [0, 0, 0, 1, 1, 1]
    compression = uniaxial(np.linspace(0, -0.2, 40))
    c = ROSSI.respond(compression + shear)["phase_fraction"]
    np.testing.assert_array_equal(c, np.tile(ROSSI.respond(compression)["phase_fraction"], (5, 1)))


def test_tension_is_elastic():
    answer = ROSSI.respond(uniaxial(np.linspace(0, 0.25, 20)))
    np.testing.assert_allclose(answer["stress"][:, 0], 5 / 3 * np.linspace(0, 0.25, 20), rtol=1e-13)
    assert not answer["phase_fraction"].any()


def test_frozen_phase_is_elastic():
    frozen = systems.get("rossi", frozen=0.5)
    answer = frozen.respond(uniaxial([0.0, -0.2, 0.0]))
    assert (answer["phase_fraction"] == 0.5).all()
    assert not answer["dissipation"].any()
    S = answer["stress"]
    np.testing.assert_array_equal(S[0], S[2])
    assert S[0, 0] - S[0, 1] == pytest.approx(2 * 0.5 * 0.05)


def test_hardening_solves_its_equation():
    """Against bisection of the threshold equation, at strains along the whole transition."""
    E11 = np.linspace(-0.02, -0.3, 60)
    c = HARD.respond(uniaxial(E11))["phase_fraction"]
    e = -0.1 * 5 / 3 * E11 - 0.006
    low, high = np.zeros(60), np.ones(60)
    for _ in range(60):
        middle = (low + high) / 2
        above = middle * HARD.H + 0.005 * (1 + 1.2 * middle**2) > e
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    np.testing.assert_allclose(c, (low + high) / 2, atol=1e-12)


def test_parameters_that_do_not_go_together_are_refused():
    with pytest.raises(systems.ParameterError, match=r"hardening of rossi must be at most .* = 1.38889, .* got 2"):
        systems.get("rossi", hardening=2.0)
    with pytest.raises(systems.ParameterError, match="e0 of rossi must not be 0"):
        systems.get("rossi", e0=0.0)
    with pytest.raises(
        systems.ParameterError, match=r"gap of rossi must be at least -k_forward = -0.006, .* got -0.02"
    ):
        systems.get("rossi", gap=-0.02)
    assert systems.get("rossi", gap=-0.02, frozen=0.5).respond(np.zeros((3, 6)))["dissipation"].sum() == 0
    with pytest.raises(systems.ParameterError, match="frozen of rossi: .*less than or equal to 1"):
        systems.get("rossi", frozen=1.5)


def test_loading_has_the_documented_spread():
    spread = {
        kind: ROSSI.paths(400, loading=kind, seed=0)["stress"].values[..., :3].std()
        for kind in ("sawtooth", "compression")
    }
    assert spread["sawtooth"] == pytest.approx(0.091, abs=0.003)
    assert spread["compression"] == pytest.approx(0.041, abs=0.003)
