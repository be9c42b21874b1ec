"""Densities: normalisation, evaluation and sampling, and learning from samples."""

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import random_model
from scipy import stats

import systems
import workbench as wb
from workbench.errors import DatasetError
from workbench.losses.likelihood import Likelihood, Samples

WHOLE = wb.Support({"x1": (-3, 12)}, integer=True)
LINE = wb.Support({"x": (-3, 3)})
QUARTIC = systems.get("asymmetric_quartic")


def test_density_is_normalised_and_is_the_potential():
    q = wb.Density(QUARTIC, LINE)
    x, weight = np.polynomial.legendre.leggauss(300)
    assert q.prob(3 * x[:, None]) @ weight * 3 == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(np.diff(q.log_prob([[0.3], [1.0]])), -np.diff(QUARTIC.value([[0.3], [1.0]])), rtol=1e-12)
    assert q.log_prob([[3.01]]) == -np.inf
    whole = wb.Density(random_model(0, dim=1), WHOLE).table()
    assert float(whole.sum()) == pytest.approx(1, abs=1e-13)
    plane = wb.Density(random_model(0), wb.Support({"x1": (0, 1), "x2": (0, 2)}))
    y, w = np.meshgrid(x, x), np.outer(weight, weight)
    grid = np.stack([(y[0] + 1) / 2, y[1] + 1], -1)
    assert (plane.prob(grid) * w).sum() / 2 == pytest.approx(1, abs=1e-9)


class Bowl:
    """x²/2 in three methods alone."""

    def value(self, x):
        return (x**2).sum(-1) / 2

    def gradient(self, x):
        return x

    def hessian(self, x):
        return torch.ones_like(x).unsqueeze(-1)


def test_three_methods_are_enough():
    q = wb.Density(Bowl(), wb.Support({"x1": (-8, 8)}))
    np.testing.assert_allclose(q.prob([[0.0], [1.0]]), stats.norm.pdf([0.0, 1.0]), rtol=1e-9)
    with pytest.raises(ValueError, match="this potential has no support: pass one"):
        wb.Density(Bowl())
    with pytest.raises(TypeError, match="expected a potential"):
        wb.Density(lambda x: x)


class Counted(systems.PotentialSystem):
    state_space = (systems.State("r", "distance", "nm", box=(0, 5)),)

    def potential(self, x):
        return x.sum(-1)


def test_densities_have_the_inverse_unit_of_the_state():
    table = wb.Density(Counted(), wb.Support({"r": (0, 5)})).table()
    assert (table.attrs["units"], table["r"].attrs["units"]) == ("1/nm", "nm")
    masses = wb.Density(Counted(), wb.Support({"r": (0, 5)}, integer=True)).table()
    assert (masses.attrs["units"], masses.attrs["long_name"]) == ("1", "probability")
    unknown = wb.Density(Bowl(), wb.Support({"x1": (-8, 8)})).table()
    assert "units" not in unknown.attrs


def test_ensemble_is_the_mean_of_its_members_densities():
    model = random_model(0, dim=1, members=3)
    each = [wb.Density(model.member(k), WHOLE).table() for k in range(3)]
    xr.testing.assert_allclose(wb.Density(model, WHOLE).table(), sum(each) / 3, rtol=1e-12)


def test_conditions_are_normalised_one_by_one():
    q = wb.Density(random_model(0), wb.Support({"x1": (-3, 12)}, integer=True))
    assert q.conditions == ("x2",)
    for t in (0.0, 0.7):
        table = q.table(x2=t)
        assert float(table.sum()) == pytest.approx(1, abs=1e-13)
        rows = np.column_stack([table["x1"], np.full(16, t)])
        np.testing.assert_allclose(q.prob(rows), table, rtol=1e-12)
    with pytest.raises(ValueError, match="expected values of"):
        q.table()


def test_draws_and_quantiles_follow_the_density():
    for q, expected in (
        (wb.Density(random_model(1, dim=1), WHOLE), None),
        (wb.Density(QUARTIC, LINE), np.linspace(0, 1, 21)),
    ):
        draws = q.sample(20_000, seed=1)[:, 0]
        if expected is None:
            table = q.table().values
            seen = np.bincount(draws.astype(int) + 3, minlength=16)
            few = table * 20_000 < 5
            seen, probability = np.append(seen[~few], seen[few].sum()), np.append(table[~few], table[few].sum())
            assert stats.chisquare(seen, probability / probability.sum() * 20_000).pvalue > 1e-3
            below = np.cumsum(table)
            assert q.quantile(below[4:9] - 1e-9).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
            assert q.quantile(0.0) == -3.0
        else:
            counts = np.histogram(draws, q.quantile(expected))[0]
            assert stats.chisquare(counts).pvalue > 1e-3
            x = np.linspace(-3, q.quantile(0.3), 4001)
            assert np.trapezoid(q.prob(x[:, None]), x) == pytest.approx(0.3, abs=1e-5)
        np.testing.assert_array_equal(draws, q.sample(20_000, seed=1)[:, 0])
    plane = wb.Density(random_model(0), wb.Support({"x1": (0, 1), "x2": (0, 2)}))
    assert ((plane.sample(500, seed=0) >= 0) & (plane.sample(500, seed=0) <= [1, 2])).all()


def problem(prior):
    model = random_model(2, modes=2, hidden=(3,))
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(-3, 13, 30), rng.integers(0, 3, 30) / 2])
    support = wb.Support({"x1": (-3, 12)}, integer=True, nodes=16)
    samples = Samples.of(wb.dataset.points(x, weight=rng.uniform(1, 2, 30)), support, model.u)
    return model, x, Likelihood(model, samples, samples, prior)


@pytest.mark.parametrize("prior", [0.0, 0.3])
def test_gradient_is_that_of_the_loss(prior):
    _, _, likelihood = problem(prior)
    theta = likelihood.vector()
    linear = likelihood.linearise(theta, likelihood.evaluate(theta))
    direction = torch.as_tensor(np.random.default_rng(1).normal(size=len(theta)))
    h = 1e-6
    up, down = (likelihood.loss(likelihood.evaluate(theta + s * h * direction)) for s in (1, -1))
    assert 2 * float(linear.gradient @ direction) == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8)


def test_matrix_is_the_fisher_information():
    model, _, likelihood = problem(0.0)
    likelihood.BLOCK_ENTRIES = 1  # one group at a time
    theta = likelihood.vector()
    expected = 0.0
    for fraction, nodes in zip(likelihood.samples.fraction, likelihood.samples.nodes, strict=True):
        J = torch.autograd.functional.jacobian(lambda t, x=nodes: likelihood.at(t).value(x), theta)
        q = torch.softmax(-model.value(nodes).detach(), 0)
        centred = J - q @ J
        expected = expected + fraction * (centred * q[:, None]).T @ centred
    torch.testing.assert_close(
        2 * likelihood.linearise(theta, likelihood.evaluate(theta)).gram, expected, rtol=1e-9, atol=1e-12
    )


def test_loss_is_the_stated_likelihood():
    model, x, likelihood = problem(0.3)
    theta = likelihood.vector()
    terms = likelihood.terms(likelihood.evaluate(theta))
    q = wb.Density(model, wb.Support({"x1": (-3, 12)}, integer=True))
    weight = np.random.default_rng(0)
    weight.integers(-3, 13, 30), weight.integers(0, 3, 30)
    weight = weight.uniform(1, 2, 30)
    assert terms["likelihood"] == pytest.approx(-(weight * q.log_prob(x)).sum() / weight.sum(), rel=1e-12)
    kl = 0.0
    for t in (0.0, 0.5, 1.0):
        table = q.table(x2=t).values
        kl += weight[x[:, 1] == t].sum() / weight.sum() * (table * np.log(16 * table)).sum()
    assert terms["prior"] == pytest.approx(0.3 * kl, rel=1e-10)


def test_a_mixture_is_learned_to_its_sampling_error(tmp_path):
    rng = np.random.default_rng(0)
    truth = 0.4 * stats.norm(-1.2, 0.3).pdf(x := np.linspace(-3, 3, 2001)) + 0.6 * stats.norm(1, 0.5).pdf(x)
    draws = np.where(rng.random(4000) < 0.4, rng.normal(-1.2, 0.3, 4000), rng.normal(1, 0.5, 4000))
    data = wb.dataset.points(draws, states=["x"])
    steps = wb.LevenbergMarquardt(steps=40, screening=5)
    fit = wb.fit(wb.LSEICNN(dim=1, modes=3), data, match=wb.match.Density(LINE), seed=0, restarts=2, optimiser=steps)
    q = wb.Density(fit.model)
    kl = np.trapezoid(truth * (np.log(truth) - q.log_prob(x[:, None])), x)
    assert 0 <= kl < 0.01  # twenty effective parameters of 4000 samples are 0.0025
    np.testing.assert_allclose(fit.model.log_prob(x[:, None]), -fit.model.value(x[:, None]), atol=1e-9)
    assert fit.error == pytest.approx(
        -q.log_prob(draws[(fit.data["split"] == "validation").values][:, None]).mean(), rel=1e-9
    )
    assert "nats" in repr(fit)
    again = wb.load(wb.save(tmp_path / "density.nc", fits=fit))
    assert again.models["fit"].support == LINE
    np.testing.assert_array_equal(again.models["fit"].log_prob(x[:, None]), fit.model.log_prob(x[:, None]))
    assert again["fits/fit/predictions"]["log_prob"].sizes == {"sample": 4000}


def test_time_is_a_condition_of_trajectories():
    rng, time = np.random.default_rng(0), np.linspace(0.5, 2, 4)
    runs = wb.dataset.trajectories(rng.normal(time, 0.3, (80, 4))[..., None], time, states=["x"])
    steps = wb.LevenbergMarquardt(steps=15, screening=5)
    model = wb.LSEICNN(dim=2, modes=2, hidden=(4,), states=["x", "time"])
    support = wb.Support({"x": (-2, 4)})
    fit = wb.fit(model, runs, match=wb.match.Density(support), seed=0, restarts=1, optimiser=steps)
    q = wb.Density(fit.model)
    medians = [float(q.quantile(0.5, time=t)) for t in time]
    np.testing.assert_allclose(medians, time, atol=0.15)
    folds = wb.dataset.folds(runs, 4, seed=1)
    held = np.array([(fold["split"] == "validation").values for fold in folds])
    assert (held.sum(0) == 1).all()
    assert held.shape == (4, 80)


def test_errors_say_what_is_wrong():
    data = wb.dataset.points(np.arange(8.0), states=["x"])
    model = wb.LSEICNN(dim=1, modes=2)
    with pytest.raises(ValueError, match="needs a support"):
        wb.fit(model, data, match="density", seed=0)
    with pytest.raises(
        DatasetError, match=r"x must lie in its support \[0, 3\], but 4 sample\(s\) do not, the first at 4; widen"
    ):
        wb.fit(model, data, match=wb.match.Density(wb.Support({"x": (0, 3)})), seed=0)
    whole = wb.match.Density(wb.Support({"x": (0, 9)}, integer=True))
    with pytest.raises(DatasetError, match="x = 0.5 is not an integer"):
        wb.fit(model, data.assign(x=data.x + 0.5), match=whole, seed=0)
    with pytest.raises(ValueError, match="the support names .'y'."):
        wb.fit(model, data, match=wb.match.Density(wb.Support({"y": (0, 9)})), seed=0)
    with pytest.raises(ValueError, match="must be matched alone"):
        wb.fit(model, data, match=[wb.match.Density(LINE), "potential"], seed=0)
    with pytest.raises(ValueError, match="prior must be finite and >= 0"):
        wb.match.Density(LINE, prior=-1.0)
    for bounds in ({}, {"x": (1, 0)}, {"x": (0, np.inf)}):
        with pytest.raises(ValueError, match="support"):
            wb.Support(bounds)
    with pytest.raises(ValueError, match="the bounds of an integer support must be integers"):
        wb.Support({"x": (0.5, 3)}, integer=True)
    with pytest.raises(ValueError, match="no support"):
        model.log_prob([[0.0]])
    with pytest.raises(ValueError, match="p must be a probability between 0 and 1"):
        wb.Density(QUARTIC, LINE).quantile(1.5)


@pytest.mark.parametrize("values", [[3.0] * 6, [3.0, 4.0]], ids=["all equal", "two"])
def test_few_or_equal_samples_can_be_fitted(values):
    data = wb.dataset.points(values, states=["x"])
    steps = wb.LevenbergMarquardt(steps=5, screening=2)
    support = wb.Support({"x": (0, 9)}, integer=True)
    fit = wb.fit(
        wb.LSEICNN(dim=1, modes=2, hidden=(3,)),
        data,
        match=wb.match.Density(support),
        seed=0,
        restarts=1,
        optimiser=steps,
    )
    assert np.isfinite(fit.model.log_prob([[3.0], [9.0]])).all()
    with pytest.raises(DatasetError, match="at least 2 are needed"):
        wb.fit(wb.LSEICNN(dim=1, modes=2), data.isel(sample=[0]), match=wb.match.Density(support), seed=0)
