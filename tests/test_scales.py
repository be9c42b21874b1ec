"""Simulations, data and fits are free of scale: no answer depends on the units of x, Ψ and t, or on the origin of x.

Everything is asked of a separable double well, Ψ = k [(y₁² − 1)² + y₂²] + m with x = c + s y. Along state i the flow is
that of y in the time t k/sᵢ².
"""

import itertools
from functools import cache, partial

import numpy as np
import pytest
import torch

import systems
import workbench as wb
from workbench.errors import DatasetWarning
from workbench.potentials.box import box_of

HALF = 1.7  # of the sides of the box
STARTS = np.array([[0.03, 0.6], [-0.4, -1.1], [1.5, 0.2]])
TIME = np.array([0.0, 0.2, 0.8, 2.5])


def exact(y, t, u=None):
    """Return y(t), shape (…, 2), from y in closed form, for times t and u of the two states."""
    u = t if u is None else u
    first = np.sign(y[..., 0]) / np.sqrt(1 + (y[..., 0] ** -2 - 1) * np.exp(-8 * t))
    return np.stack([first, y[..., 1] * np.exp(-2 * u)], -1)


def double_well(s=1.0, c=0.0, k=1.0, m=0.0):
    """Return the double well in units of s and k, with the origin at −c and the zero at −m; all in double precision."""
    s, c = (np.broadcast_to(np.asarray(one, dtype=float), 2) for one in (s, c))
    S, C = torch.tensor(s.copy()), torch.tensor(c.copy())

    class Scaled(systems.PotentialSystem):
        """A double well."""

        state_space = tuple(
            systems.State(name, name, box=(c[i] - HALF * s[i], c[i] + HALF * s[i])) for i, name in enumerate("ab")
        )

        def potential(self, x):
            y = (x - C.to(x)) / S.to(x)
            return k * ((y[..., 0] ** 2 - 1) ** 2 + y[..., 1] ** 2) + m

    return Scaled()


class Bare:
    """The three methods of a potential alone: it knows no box."""

    def __init__(self, potential):
        self.value, self.gradient, self.hessian = potential.value, potential.gradient, potential.hessian


class Single(Bare):
    """A potential that computes in single precision."""

    dtype, states, members = torch.float32, ("a", "b"), None


UNITS = {
    "picometres in metres": {"s": 3e-12, "k": 7e-21},
    "large": {"s": 2e12, "k": 5e19},
    "far": {"s": 0.7, "c": (3e6, -8e7)},
    "farther": {"s": 3e-9, "c": 2.0},
    "small and far, high": {"s": 4e-7, "c": 0.3, "k": 1e-20, "m": 1e-14},
    "deep": {"s": 11.0, "k": 3e20, "m": -3e26},
}


def scale_of(units):
    """Return s, c and the unit of time of a well, and the rounding of states, in units of s."""
    s, c = units.get("s", 1.0), np.broadcast_to(np.asarray(units.get("c", 0.0)), 2)
    return s, c, s**2 / units.get("k", 1.0), float(np.finfo(float).eps * np.abs(c).max() / s)


def flowed(potential, units, starts=STARTS, **options):
    """Return a simulated flow in natural units, shape (trajectory, time, 2)."""
    s, c, tau, _ = scale_of(units)
    return (wb.simulate(potential, c + s * starts, tau * TIME, **options).x.values - c) / s


# ---- simulations


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("knows", [double_well, lambda **units: Bare(double_well(**units))], ids=["box", "no box"])
def test_gradient_flow_is_that_of_the_closed_form(knows, units):
    found, amplified = flowed(knows(**units), units), 40 * 100 * scale_of(units)[-1]
    truth = np.stack([exact(STARTS, t) for t in TIME], 1)
    np.testing.assert_allclose(found, truth, rtol=0, atol=3e-6 + amplified)


@pytest.mark.parametrize("knows", [double_well, lambda **units: Bare(double_well(**units))], ids=["box", "no box"])
@pytest.mark.parametrize("s", [(3e-6, 2e-5), (1e12, 1e-12)])
def test_states_of_unlike_units_flow_at_their_own_pace(knows, s):
    """The faster state sets the time; where units are very unlike, the other one does not move meanwhile."""
    s, c = np.array(s), np.array([0.2, -5.0]) * s
    time = TIME[:3] * s.min() ** 2 / 1e-4
    found = (wb.simulate(knows(s=s, c=c, k=1e-4), c + s * STARTS, time).x.values - c) / s
    truth = np.stack([exact(STARTS, *(t * 1e-4 / s**2)) for t in time], 1)
    np.testing.assert_allclose(found, truth, rtol=0, atol=3e-6)


def test_a_start_far_outside_the_box_flows_into_it():
    units = {"s": 2e-10, "c": 1e-4}
    far = np.array([[-4e3, 2.5e7]])  # the potential is steep there, 10²¹ times that of the wells
    found = flowed(double_well(**units), units, far)
    truth = np.stack([exact(far, t) for t in TIME], 1)
    np.testing.assert_allclose(found, truth, rtol=2e-6, atol=3e-6)
    assert np.isfinite(found).all()


def test_a_single_start_on_a_stationary_point_stays():
    for c in (0.0, 3e7):
        run = wb.simulate(Bare(double_well(s=1e-3, c=c)), [c, c], [0.0, 1e-5])
        np.testing.assert_allclose(run.x.values, c, rtol=0, atol=1e-12)


def test_within_takes_the_place_of_the_box():
    units = {"s": 3e-10}
    bare, box = Bare(double_well(**units)), [(-5e-10, 5e-10)] * 2
    np.testing.assert_allclose(flowed(bare, units, within=box), flowed(double_well(**units), units), atol=1e-6)


def test_a_potential_in_single_precision_is_integrated_in_double_precision():
    run = wb.simulate(Single(double_well()), STARTS, TIME)
    assert run.x.dtype == np.float32
    np.testing.assert_allclose(run.x.values, np.stack([exact(STARTS, t) for t in TIME], 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("limit", [None, 2e-7], ids=["default", "given"])
def test_a_trajectory_has_blown_up_far_outside_the_box(limit):
    class Unbounded(systems.PotentialSystem):
        """Bounded on one side."""

        state_space = (systems.State("x", "x", box=(-1e-9, 1e-9)),)

        def potential(self, x):
            return -((x / 1e-9) ** 3).sum(-1) / 3

    tau = 1e-18
    with pytest.warns(wb.SimulationWarning, match="1 of 2 trajectories blew up, such as trajectory 1"):
        run = wb.simulate(Unbounded(), [[-1e-9], [1e-9]], [0.0, 0.5 * tau, 2 * tau], limit=limit)
    np.testing.assert_allclose(run.x.values[0, :, 0], -1e-9 / (1 + np.array([0, 0.5, 2])), rtol=1e-6)
    assert np.isfinite(run.x.values[1, :2]).all()
    with pytest.raises(wb.DatasetError, match="diverges: trajectory 0"):
        Unbounded().trajectories(starts=[[1e-9]], time=[0.0, 2 * tau])


@pytest.mark.parametrize("stretch", [1e-9, 3e8])
def test_kinks_of_a_schedule_move_with_the_time(stretch):
    """Between Ψ = x²/2 and 3x²/2, switched at the time 0.3 in units of `stretch`."""
    units = {"k": 1 / stretch}
    blend = wb.Blend(double_well(**units), double_well(k=3 / stretch), wb.Step(0.3 * stretch))
    found = wb.simulate(blend, STARTS, stretch * TIME[:3]).x.values
    before = exact(STARTS, 0.3)
    truth = np.stack([STARTS, exact(STARTS, 0.2), exact(before, 3 * 0.5)], 1)
    np.testing.assert_allclose(found, truth, rtol=0, atol=3e-6)


def test_a_kink_is_not_missed_by_rounding_of_the_time():
    """Only the right side of the kink is a flow at all; the steps must end on it."""
    at = 1e9 / 3
    still, fast = double_well(k=1e-30), double_well(k=1e-2)
    found = wb.simulate(wb.Blend(still, fast, wb.Step(at)), STARTS, [1e8, at, at + 100.0]).x.values
    np.testing.assert_allclose(found[:, 1], STARTS, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, 2], exact(STARTS, 1.0), rtol=0, atol=3e-6)


# ---- noise


def noisy(units):
    s, c, tau, _ = scale_of(units)
    T = 0.3 * units.get("k", 1.0)
    run = wb.simulate(double_well(**units), c + s * STARTS, tau * TIME, temperature=T, step=0.02 * tau, seed=1)
    return (run.x.values - c) / s


def passages(units):
    s, c, tau, _ = scale_of(units)
    T, start, target = 0.7 * units.get("k", 1.0), c + s * np.array([-1.0, 0.1]), c + s * np.array([1.0, -0.1])
    options = {"radius": 0.4 * s, "end": 60 * tau, "step": 0.05 * tau, "count": 12, "seed": 3}
    return wb.first_passage(double_well(**units), start, target, T, **options).time.values / tau


PLAIN = {question: cache(partial(question, {})) for question in (noisy, passages)}


@pytest.mark.parametrize("units", [{"s": 3e-12, "k": 7e-21}, {"s": 0.7, "c": (3e6, -8e7), "m": 1e6}])
def test_the_same_noise_does_the_same_in_all_units(units):
    np.testing.assert_allclose(noisy(units), PLAIN[noisy](), rtol=0, atol=1e-9 + 1e3 * scale_of(units)[-1])
    np.testing.assert_allclose(passages(units), PLAIN[passages](), rtol=1e-9)


# ---- data


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_trajectories_of_a_system_are_those_of_the_closed_form(units):
    s, c, tau, rounding = scale_of(units)
    data = double_well(**units).trajectories(starts=c + s * STARTS, time=tau * TIME, seed=0)
    truth = np.stack([exact(STARTS, t) for t in TIME], 1)
    np.testing.assert_allclose((data.x.values - c) / s, truth, rtol=0, atol=1e-8 + 40 * 100 * rounding)


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_the_contract_of_systems_holds_in_all_units(units):
    well = double_well(**units)
    type(well).duration = 10 * scale_of(units)[2]
    systems.contract.check_potential(well)
    systems.contract.check_potential_data(well)


def differentiated(s, c, tau, dtype=float):
    """Return smooth states in units of s, their velocities and the errors of those, of a noisy observed decay."""
    time = np.linspace(0, 2, 21)
    y = np.exp(-time)[:, None] * [1.0, -0.4] + 0.01 * np.random.default_rng(0).normal(size=(3, 21, 2))
    found = wb.velocities(wb.dataset.trajectories((np.asarray(c) + np.asarray(s) * y).astype(dtype), tau * time))
    rate = np.asarray(s) / tau
    return [(found.x.values - c) / s, found.velocity.values / rate, found.sigma_velocity.values / rate]


@pytest.mark.parametrize(
    ("s", "c", "tau"), [(1e-12, 0.0, 1e12), (1e9, 0.0, 1e-9), (0.5, 5e7, 1.0), (np.array([1e-9, 1e6]), 0.0, 3e5)]
)
def test_velocities_have_the_units_of_the_data(s, c, tau):
    for found, plain in zip(differentiated(s, c, tau), differentiated(1.0, 0.0, 1.0), strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-5)


def test_a_constant_state_has_an_error_of_its_velocity_in_its_own_units():
    time = np.linspace(0, 2, 21)
    y = np.stack([np.exp(-time), np.full(21, 0.3)], -1)[None]
    plain, tiny = (wb.velocities(wb.dataset.trajectories(s * y, time)) for s in (1.0, 1e-9))
    np.testing.assert_allclose(tiny.sigma_velocity.values, 1e-9 * plain.sigma_velocity.values, rtol=1e-6)
    assert (plain.velocity.values[..., 1] == 0).all()


def test_states_spoiled_by_single_precision_are_reported():
    y = np.random.default_rng(0).uniform(-1.5, 1.5, (50, 2))
    with pytest.warns(DatasetWarning, match=r"x1 ranges over 3 at 2e\+06 and was rounded to single precision"):
        wb.dataset.points((2e6 + y).astype(np.float32))
    for fine in ((1e3 + y).astype(np.float32), 2e6 + y, 2_000_000 + np.arange(9), np.full((3, 2), 1e7)):
        wb.dataset.points(fine)


# ---- boxes of composed potentials


def test_composed_potentials_know_a_box():
    left, right = double_well(c=-1.0), double_well(c=2.0)
    assert wb.Blend(left, right, wb.Ramp(0.0, 1.0)).box == [(-1 - HALF, 2 + HALF)] * 2
    assert wb.WeightedSum([left, Bare(left)], [1.0, 1.0]).box == [(-1 - HALF, -1 + HALF)] * 2
    low, high = box_of(wb.Symmetrised(double_well(c=(1.0, 0.0)), [(1, 0)]))
    np.testing.assert_allclose([low, high], [[-HALF] * 2, [1 + HALF] * 2])
    assert all(torch.isnan(bound).all() for bound in box_of(wb.LSEICNN(2, 2)))


# ---- fits

QUICK = wb.LevenbergMarquardt(steps=40, screening=10)


def fitted(match, s=1.0, c=0.0, k=1.0, m=0.0, dtype=np.float64):
    """Return error, and wells, barrier and flow in natural units, of a fit to noisy samples of the double well."""
    s, c = (np.broadcast_to(np.asarray(one, dtype=float), 2) for one in (s, c))
    rng = np.random.default_rng(5)
    y = rng.uniform(-1.6, 1.6, (150, 2))
    psi = (y[:, 0] ** 2 - 1) ** 2 + y[:, 1] ** 2 + 0.01 * rng.normal(size=150)
    slope = np.stack([4 * y[:, 0] * (y[:, 0] ** 2 - 1), 2 * y[:, 1]], -1) + 0.02 * rng.normal(size=(150, 2))
    x = (c + s * y).astype(dtype)
    data = wb.dataset.points(x, potential=k * psi + m, gradient=k * slope / s, velocity=-k * slope / s)
    fit = wb.fit(wb.LSEICNN(2, 2, (5,)), data, match=match, seed=0, restarts=1, optimiser=QUICK)
    ends = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    level = (fit.model.value(c + s * ends) - m) / k
    return fit.error, np.array([level[1] - level[0], level[1] - level[2]]), fit.model.gradient(c + s * ends) * s / k


SCALED = {
    "small": {"s": 2.0**-30, "k": 2.0**-70},
    "large": {"s": 2.0**30},
    "unlike": {"s": (2.0**-40, 2.0**40), "k": 2.0**66},
}  # powers of 2: the numbers are the same to the last bit
ROUNDED = {"tiny": {"s": 1e-9, "k": 1e-21}, "far": {"c": (1e6, -5e6)}, "high": {"m": 1e6, "k": 3.0}}


@pytest.mark.parametrize("match", ["potential", "gradient", "velocity"])
def test_fits_are_the_same_in_all_units(match):
    """To the last digits; where the data are rounded otherwise, a step of the optimiser may go another way."""
    error, barriers, slopes = fitted(match)
    assert error < 0.1
    for name, units in (SCALED | ROUNDED).items():
        other, rtol = fitted(match, **units), 1e-9 if units is SCALED.get(name) else 0.1
        assert other[0] == pytest.approx(error, rel=rtol), name
        np.testing.assert_allclose(other[1], barriers, rtol=0.2 * rtol, err_msg=name)
        np.testing.assert_allclose(other[2], slopes, atol=0.5 * rtol, err_msg=name)


def test_whole_numbers_far_from_zero_are_fitted():
    """Integers and their single-precision energies: the same numbers as floats, after a shift."""
    n = np.random.default_rng(0).integers(-160, 160, (120, 2))
    psi = ((n[:, 0] / 100) ** 2 - 1) ** 2 + (n[:, 1] / 100) ** 2
    errors = [
        wb.fit(
            wb.LSEICNN(2, 2, (5,)), wb.dataset.points(n + shift, potential=psi), match="potential", seed=0, restarts=1,
            optimiser=wb.LevenbergMarquardt(steps=25, screening=5),
        ).error
        for shift in (0, 1_000_000_000)
    ]  # fmt: skip
    assert errors[1] == pytest.approx(errors[0], rel=0.03)


def test_shooting_is_as_good_in_all_units():
    def shot(s, c, tau):
        well = double_well(s=s, c=c, k=s**2 / tau)
        runs = well.trajectories(6, time=tau * np.linspace(0, 0.4, 5), seed=2)
        quick, brief = wb.LevenbergMarquardt(steps=15, screening=5), wb.LevenbergMarquardt(steps=3)
        first = wb.fit(wb.LSEICNN(2, 2, (4,)), runs, match="velocity", seed=0, restarts=1, optimiser=quick)
        fit = wb.fit(first.ensemble, runs[["x"]], match="trajectory", seed=0, warm_start=True, optimiser=brief)
        return first.error, fit.error

    plain = shot(1.0, 0.0, 1.0)
    np.testing.assert_allclose(shot(1e-9, 1e-3, 1e6), plain, rtol=0.05)


# ---- sweeps


@pytest.mark.slow
@pytest.mark.parametrize("width_away", [0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("s", [1e-12, 1e-5, 1.0, 1e6, 1e12])
def test_flows_at_all_scales_and_origins(s, width_away):
    for k, m in itertools.product([1e-20, 1.0, 1e20], [0.0, 1e6]):
        units = {"s": s, "c": s * 2 * HALF * width_away * np.array([1.0, -0.3]), "k": k, "m": m * k}
        rounding = scale_of(units)[-1]
        truth = np.stack([exact(STARTS, t) for t in TIME], 1)
        found = flowed(double_well(**units), units)
        np.testing.assert_allclose(found, truth, rtol=0, atol=3e-6 + 40 * 100 * rounding)
        if not width_away:
            np.testing.assert_allclose(passages(units), PLAIN[passages](), rtol=1e-9)
            np.testing.assert_allclose(noisy(units), PLAIN[noisy](), rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("match", ["potential", "gradient", "velocity", {"potential": 1.0, "gradient": 1.0}])
def test_fits_at_all_scales_and_origins(match):
    error, barriers, _ = fitted(match)
    for s, away, k, m in itertools.product([1e-9, 1.0, 1e9, (1e-12, 1e12)], [0, 1e6, 1e9], [1e-20, 1e20], [0, 1e6]):
        found = fitted(match, s=s, c=np.asarray(s) * away, k=k, m=m * k)
        assert found[0] == pytest.approx(error, rel=0.1), (s, away, k, m)
        np.testing.assert_allclose(found[1], barriers, rtol=0.02)
