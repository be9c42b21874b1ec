"""Rates and first passages against exact quadrature, known ratios, and synthetic censored distributions."""

import warnings

import numpy as np
import pytest
from test_langevin import Harmonic, Quartic

import systems
import workbench as wb
from systems import PotentialSystem, State
from workbench.dynamics.first_passage import mean_time
from workbench.errors import LandscapeError, LandscapeWarning

BOX = [(-2.0, 2.0)]


@pytest.mark.parametrize(("height", "ratio"), [(3, 1.19), (5, 1.11), (8, 1.06)])
def test_ratio_of_the_exact_time_to_that_of_kramers(height, ratio):
    T = 0.25 / height
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        found = wb.rates(Quartic(), BOX, T)
    exact = wb.first_passage_exact(Quartic(), -1.0, 1.0, T)
    rate = found["rate"].values[2]
    np.testing.assert_allclose(rate, np.sqrt(2) / (2 * np.pi) * np.exp(-height), rtol=1e-9)
    assert exact * rate[0] == pytest.approx(ratio, abs=0.0051)
    assert exact == pytest.approx(wb.first_passage_exact(Quartic(), 1.0, -1.0, T), rel=1e-8)


@pytest.mark.parametrize("tilt", [0.0, 0.05])
@pytest.mark.parametrize("height", [6, 9, 15])
def test_kramers_is_within_a_tenth_at_high_barriers(tilt, height):
    well = Quartic(tilt=tilt)
    points = wb.stationary_points(well, BOX)
    x = points["x"].values[:, 0]
    T = float(points["potential"][2] - points["potential"][1]) / height
    found = wb.rates(well, BOX, T, points=points)
    for side in (0, 1):
        start = int(found["joins"].values[2, side])
        exact = wb.first_passage_exact(well, x[start], x[1 - start], T)
        assert float(found["time"][2, side]) == pytest.approx(exact, rel=0.1)


def test_low_barriers_are_reported():
    with pytest.warns(LandscapeWarning, match=r"2 barrier\(s\) below 6 T, the lowest 5 T .*use first_passage"):
        wb.rates(Quartic(), BOX, 0.05)


def test_quadrature_of_a_harmonic_well_is_known():
    from scipy.integrate import quad
    from scipy.special import erfcx

    exact = quad(lambda y: np.sqrt(np.pi / 2) * erfcx(-y / np.sqrt(2)), 0.0, 1.5, epsabs=1e-13)[0]
    assert wb.first_passage_exact(Harmonic(0.0), 0.0, 1.5, 1.0) == pytest.approx(exact, rel=1e-8)
    assert wb.first_passage_exact(Harmonic(0.0), 0.0, -1.5, 1.0) == pytest.approx(exact, rel=1e-8)


def test_prefactor_accounts_for_the_width_of_the_saddle():
    class Narrow(PotentialSystem):
        """A double well in x with a valley whose stiffness is 1 in the wells and 4 at the saddle."""

        state_space = (State("x", box=(-2, 2)), State("y", box=(-2, 2)))

        def potential(self, x):
            u, v = x[..., 0], x[..., 1]
            return u**4 / 4 - u**2 / 2 + (4 - 3 * u**2 * (2 - u**2)) * v**2 / 2

    rate = wb.rates(Narrow(), Narrow().box, 0.04)["rate"].values[2]
    np.testing.assert_allclose(rate, np.sqrt(2) / (2 * np.pi) * np.sqrt(1 / 4) * np.exp(-0.25 / 0.04), rtol=1e-9)


def test_rates_of_the_published_surface():
    surface = systems.get("muller_brown")
    found = wb.rates(surface, surface.box, temperature=1.4)
    assert found["joins"].values[3:].tolist() == [[2, 1], [2, 0]]
    curvature = [np.linalg.eigvalsh(h) for h in surface.hessian(found["x"].values)]
    by_hand = -curvature[3][0] / (2 * np.pi) * np.sqrt(np.prod(curvature[2]) / -np.prod(curvature[3]))
    by_hand *= np.exp(-float(found["potential"][3] - found["potential"][2]) / 1.4)
    assert float(found["rate"][3, 0]) == pytest.approx(by_hand, rel=1e-9)
    assert np.isnan(found["rate"].values[:3]).all()


@pytest.mark.parametrize("end", [60.0, 2000.0])
def test_interval_of_simulated_passages_contains_the_exact_time(end):
    T = 0.25 / 2
    found = wb.first_passage(Quartic(), -1.0, 1.0, T, radius=0.2, end=end, step=0.05, count=1000, seed=2)
    exact = wb.first_passage_exact(Quartic(), -1.0, 0.8, T)
    assert (found["arrived"].mean() < 0.9) == (end == 60)
    assert float(found["interval"][0]) < exact < float(found["interval"][1])
    assert float(found["interval"][1] / found["interval"][0]) < 1.2


def test_times_are_floats_for_an_integer_end():
    options = {"radius": 0.2, "step": 0.05, "count": 16, "seed": 2}
    whole, real = (wb.first_passage(Quartic(), -1.0, 1.0, 0.2, end=end, **options)["time"] for end in (60, 60.0))
    np.testing.assert_array_equal(whole, real)


@pytest.mark.parametrize("step", [0.1, 0.025])
def test_arrivals_between_two_steps_are_detected(step):
    """The noise per step is half the distance to the target: detection at the ends of steps only would be late."""
    found = wb.first_passage(Harmonic(0.0), 0.0, 1.5, 1.0, radius=0.5, end=60.0, step=step, count=4000, seed=4)
    exact = wb.first_passage_exact(Harmonic(0.0), 0.0, 1.0, 1.0)
    assert float(found["interval"][0]) < exact < float(found["interval"][1])
    assert float(found["interval"][1] / found["interval"][0]) < 1.1


def test_a_small_ball_is_not_missed():
    """In one dimension only the near edge of the target matters, here at 0.51 for both."""
    options = {"end": 60.0, "step": 0.1, "count": 64, "seed": 3}
    small = wb.first_passage(Quartic(), -1.0, 0.52, 0.2, radius=0.01, **options)
    large = wb.first_passage(Quartic(), -1.0, 10.51, 0.2, radius=10.0, **options)
    np.testing.assert_array_equal(small["time"], large["time"])


def test_estimates_and_intervals_of_a_distribution_with_a_lag():
    rng, covered, means = np.random.default_rng(0), [], []
    for _ in range(400):
        time = rng.gamma(2.0, 0.5, 300) + rng.exponential(10.0, 300)  # mean 11
        mean, error = mean_time(np.minimum(time, 8.0), time < 8.0)
        covered.append(abs(np.log(mean / 11.0)) < 1.96 * error / mean)
        means.append(mean)
    assert abs(np.mean(means) - 11.0) < 0.15
    assert 0.92 <= np.mean(covered) <= 0.98
    mean, _ = mean_time(time, np.ones(300, dtype=bool))
    assert mean == pytest.approx(time.mean(), rel=1e-12)


def test_members_and_independence_of_the_count(small_fit):
    options = {"radius": 0.3, "end": 20.0, "step": 0.05, "seed": 1}
    start, target = (0.41, 1.54), (1.54, 0.41)
    both = wb.first_passage(small_fit.ensemble, start, target, 0.2, count=16, **options)
    assert both["time"].dims == ("member", "trajectory")
    assert both["interval"].dims == ("member", "bound")
    more = wb.first_passage(small_fit.ensemble.member(1), start, target, 0.2, count=32, **options)
    np.testing.assert_allclose(both["time"].values[1], more["time"].values[:16])


class Unbounded(PotentialSystem):
    state_space = (State("x", box=(-1.0, 1.0)),)

    def potential(self, x):
        return (x**3 / 3 - x).sum(-1)


def test_invalid_requests_are_rejected():
    with pytest.raises(ValueError, match="temperature is T in"):
        wb.rates(Quartic(), BOX, 0.0)
    with pytest.raises(ValueError, match="temperature is T in"):
        wb.first_passage_exact(Quartic(), -1.0, 1.0, -0.1)
    with pytest.raises(LandscapeError, match="no crossing has a rate: there is no index-1 saddle in the box"):
        wb.rates(Quartic(), [(0.5, 2.0)], 0.05)
    with pytest.raises(LandscapeError, match="unbounded below there"):
        wb.first_passage_exact(Unbounded(), 1.0, 2.0, 0.1)
    with pytest.raises(ValueError, match=r"needs one state and no members, got 2 state\(s\)"):
        wb.first_passage_exact(systems.get("muller_brown"), 0.0, 1.0, 0.1)
    options = {"temperature": 0.05, "radius": 0.1, "end": 2.0, "step": 0.05, "seed": 0}
    with pytest.raises(LandscapeError, match="of 16 trajectories arrive by t = 2, fewer than the 8"):
        wb.first_passage(Quartic(), -1.0, 1.0, count=16, **options)
    with pytest.raises(LandscapeError, match="most arrivals fall within one time step"):
        wb.first_passage(Harmonic(0.0), 1.0, 0.0, count=16, **options | {"radius": 0.99, "end": 9.0, "step": 1.0})
    with pytest.raises(ValueError, match="start lies within radius = 0.1 of target"):
        wb.first_passage(Quartic(), 1.0, 1.0, count=16, **options)
    with pytest.raises(LandscapeError, match="trajectory . diverges at t = .*unbounded below"):
        wb.first_passage(Unbounded(), -1.5, 1.0, count=16, **options | {"end": 20.0})
    with pytest.raises(ValueError, match="count must be an integer >= 8, got 1"):
        wb.first_passage(Quartic(), -1.0, 1.0, count=1, **options)
    with pytest.raises(ValueError, match="step must be a finite number > 0, got 0"):
        wb.first_passage(Quartic(), -1.0, 1.0, count=16, **options | {"step": 0})
