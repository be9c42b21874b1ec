"""The Schlögl reactions against published numbers and their exact law."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.sparse.linalg import expm_multiply
from test_reactions import assert_follows, assert_moments

import systems
from systems import ParameterError

N = np.arange(1001)
COUNTS = N.astype(float)


@pytest.fixture(scope="module")
def schlogl():
    return systems.get("schlogl")


def test_propensities_count_pairs_and_triples(schlogl):
    x = 250
    expected = [3e-7 * 1e5 * x * (x - 1) / 2, 1e-4 * x * (x - 1) * (x - 2) / 6, 1e-3 * 2e5, 3.5 * x]
    np.testing.assert_allclose(schlogl.propensities([x]), expected, rtol=1e-14)
    np.testing.assert_array_equal(schlogl.propensities([[0], [1]]), [[0, 0, 200, 0], [0, 0, 200, 3.5]])
    assert schlogl.changes.tolist() == [[1], [-1], [1], [-1]]


def roots(drift):
    return [brentq(drift, *bracket, xtol=1e-12) for bracket in ((10, 150), (150, 400), (400, 900))]


def test_rate_equation_rests_where_published(schlogl):
    assert roots(lambda x: schlogl.rate([x])[0]) == pytest.approx([85.49, 247.60, 566.91], abs=0.005)
    by_counts = roots(lambda x: (schlogl.propensities([x]) @ schlogl.changes)[0])
    assert by_counts == pytest.approx([84.79, 248.35, 569.86], abs=0.005)


def test_stationary_law(schlogl):
    p = schlogl.stationary()["probability"].values
    peaks = np.flatnonzero((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:])) + 1
    assert peaks.tolist() == [82, 563]
    assert 82 + p[82:564].argmin() == 256
    assert p[:256].sum() == pytest.approx(0.220260, abs=5e-7)
    births, deaths = (schlogl.propensities(N[:, None])[:, k].sum(-1) for k in ([0, 2], [1, 3]))
    np.testing.assert_allclose(p[:-1] * births[:-1], p[1:] * deaths[1:], rtol=1e-9)


def test_transient_law(schlogl):
    law = schlogl.law([0.0, 10.0])
    p = law["probability"].values
    assert p[0, 250] == 1 == p[0].sum()
    mean = p[1] @ COUNTS
    assert mean == pytest.approx(316.5917, abs=5e-5)
    assert p[1] @ (COUNTS - mean) ** 2 == pytest.approx(56677.17, abs=5e-3)
    assert p[1, :256].sum() == pytest.approx(0.513318, abs=5e-7)
    assert law["lost"].max() < 1e-10


def test_law_is_that_of_expm_multiply(schlogl):
    end, Q = 0.2, schlogl.master_equation().Q
    start = np.eye(1, 1001, 250)[0]
    other = expm_multiply(Q.T * end, start, traceA=end * Q.trace())
    np.testing.assert_allclose(schlogl.law([end])["probability"].values[0], other, rtol=0, atol=1e-10)


def test_mean_obeys_the_exact_moment_equation_at_all_times(schlogl):
    time = np.linspace(0, 20, 401)
    p = schlogl.law(time)["probability"].values
    drift = (schlogl.propensities(N[:, None]) @ schlogl.changes)[:, 0]
    mean, slope, h = p @ COUNTS, p @ drift, time[1]
    simpson = h / 3 * (slope[:-2] + 4 * slope[1:-1] + slope[2:])[20:]
    np.testing.assert_allclose((mean[2:] - mean[:-2])[20:], simpson, atol=2e-5)


def test_trajectory_takes_about_94000_reactions(schlogl):
    time = np.linspace(0, 20, 2001)
    total = schlogl.propensities(N[:, None]).sum(-1)
    assert np.trapezoid(schlogl.law(time)["probability"].values @ total, time) == pytest.approx(94_000, rel=0.01)


def test_simulation_follows_the_law(schlogl):
    time = [0.1, 0.2, 0.3, 0.4, 0.5]
    x = schlogl.trajectories(20_000, time=time, seed=11)["x"].values
    assert_follows(x, schlogl.law(time))


def test_smaller_vessel_is_bistable_and_follows_the_law():
    small = systems.get("schlogl", c1=8 * 3e-7, c2=64 * 1e-4, c3=1e-3 / 8, X0=31)
    time = [1.0, 2.0, 3.0, 4.0, 5.0]
    x, law = small.trajectories(20_000, time=time, seed=12)["x"].values, small.law(time, within=[(0, 250)])
    assert_follows(x, law)
    assert_moments(x[..., 0], law["probability"].values)


def test_sampling_from_the_law_follows_the_law(schlogl):
    time = np.linspace(0, 20, 101)
    x = schlogl.trajectories(20_000, time=time, seed=13, method="law")["x"].values[:, [10, 25, 50, 75, 100]]
    law = schlogl.law(time[[10, 25, 50, 75, 100]])
    assert_follows(x, law)
    assert_moments(x[..., 0], law["probability"].values)


@pytest.mark.slow
def test_long_simulation_follows_the_law(schlogl):
    time = [2.0, 5.0, 10.0, 15.0, 20.0]
    x, law = schlogl.trajectories(20_000, time=time, seed=14)["x"].values, schlogl.law(time)
    assert_follows(x, law)
    assert_moments(x[..., 0], law["probability"].values)


@pytest.mark.parametrize("name", ["c1", "c2", "c3", "c4", "N1", "N2"])
def test_bad_rates_are_refused(name):
    for value in (0, -1, np.nan, np.inf):
        with pytest.raises(ParameterError, match=f"{name} of schlogl"):
            systems.get("schlogl", **{name: value})


@pytest.mark.parametrize(("name", "value"), [("X0", -1), ("X0", 2.5), ("N1", 0.5), ("X0", np.nan)])
def test_bad_counts_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} of schlogl"):
        systems.get("schlogl", **{name: value})
