"""The Schlögl study: its peers and its ways of counting, against what is known."""

import sys

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import studies
import systems
from studies.schlogl import baselines
from studies.schlogl.study import _modes, _second_mode, peaks
from workbench.files import results

X = np.arange(1001)


def test_kernel_estimate_is_the_usual_one():
    x = np.random.default_rng(0).normal(500, 60, 300).round()
    usual = stats.gaussian_kde(x)(X)
    np.testing.assert_allclose(baselines.kernels(x, X), usual / usual.sum(), rtol=1e-10, atol=1e-14)


def test_cross_validation_finds_narrower_kernels_where_there_are_two_modes():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(400) < 0.5, rng.normal(100, 15, 400), rng.normal(600, 40, 400)).round()
    width = baselines.best_width(x)
    assert 3 < width < 20  # optimal for the narrow mode: 15 (4/(3·200))^(1/5) = 5.5, for the wide one 15
    assert width < 0.2 * baselines._scott(x)


def test_mixture_of_two_normals_is_recovered():
    rng = np.random.default_rng(1)
    x = np.where(rng.random(5000) < 0.3, rng.normal(100, 20, 5000), rng.normal(600, 50, 5000)).round()
    truth = 0.3 * stats.norm(100, 20).pdf(X) + 0.7 * stats.norm(600, 50).pdf(X)
    p = baselines.mixture(x, X)
    assert p.sum() == pytest.approx(1)
    assert (truth * np.log(truth / p)).sum() < 5 * 5 / (2 * 5000)  # five parameters: p/(2n) on average
    np.testing.assert_array_equal(baselines.mixture(x.astype(int), X.astype(float)), p)


def test_peaks_are_the_modes_of_the_exact_law():
    law = systems.get("schlogl").stationary()["probability"].values
    assert peaks(law).tolist() == [82, 563]
    assert peaks(np.array([3.0, 1.0, 2.0, 1.99, 1.995])).tolist() == [0, 2]
    assert peaks(np.ones(5)).tolist() in ([2], [0])


def test_second_mode_appears_when_it_stays():
    one, two = stats.norm(300, 50).pdf(X), stats.norm(100, 20).pdf(X) + stats.norm(600, 50).pdf(X)
    rows = np.array([two, one, two, two])
    p = xr.DataArray(rows, {"time": [1.0, 2.0, 3.0, 4.0], "X": X}, ("time", "X"))
    assert _second_mode(p) == 3.0
    assert np.isnan(_second_mode(p.isel(time=[0, 1])))
    both = xr.Dataset({"probability": p.expand_dims(source=["exact", "joint", "kde_scott"])})
    places = _modes(both)["mode_place"].sel(source="joint").values
    np.testing.assert_array_equal(places[1], [300, np.nan, np.nan])
    assert places[2, :2].tolist() == [100, 600]


STUDY = studies.get("schlogl", trajectories=60, times=4, final=1.0, judged=[0.5, 1.0], folds=2, slice_folds=2,
                    modes=2, hidden=[4], steps=6)  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return results.read(STUDY.run(tmp_path_factory.mktemp("schlogl") / "small.nc", seed=3, workers=1))


def test_file_holds_densities_and_their_judgement(tree):
    found = tree["analysis/densities"].to_dataset()
    law = systems.get("schlogl").law(found["time"].values)["probability"]
    np.testing.assert_allclose(found["probability"].sel(source="exact"), law, atol=1e-15)
    np.testing.assert_allclose(found["total"].sel(source="joint"), 1, atol=1e-12)
    assert float(abs(found["divergence"].sel(source="exact")).max()) == 0
    assert (found["divergence"].sel(source=["joint", "kde_scott"]) > 0).all()
    asked = np.isfinite(found["divergence"].sel(source="slice")).values
    assert found["time"].values[asked].tolist() == [0.5, 1.0]
    p, q = (found["probability"].sel(source=s, time=1.0).values for s in ("exact", "joint"))
    expected = stats.entropy(np.maximum(p, 1e-300), np.maximum(q, 1e-300))
    assert float(found["divergence"].sel(source="joint", time=1.0)) == pytest.approx(expected, rel=1e-9)
    x = tree["data/trajectories/x"].values[..., 0]
    np.testing.assert_allclose(found["below_data"], (x < 256).mean(0))
    potential = tree["landscape/potential"]
    np.testing.assert_allclose(np.exp(-potential).sum("X"), 1, atol=1e-12)


def test_metrics_carry_their_units(tree):
    metrics = tree["analysis/metrics"].to_dataset()
    assert "units" not in metrics["value"].attrs
    unit = dict(zip(metrics["quantity"].values.tolist(), metrics["unit"].values.tolist(), strict=True))
    assert (unit["kl_mixture"], unit["normalisation"]) == ("nats", "1")
    assert tree["analysis/densities/divergence"].attrs["units"] == "nats"


def test_without_scikit_learn_its_baselines_are_left_out_and_that_is_said(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    path = STUDY.run(tmp_path / "without.nc", seed=3, workers=1)
    assert "scikit-learn is not installed; the baselines kde_cv and mixture are left out" in capsys.readouterr().err
    without = results.read(path)
    few, all_of_them = (one["analysis/densities"].to_dataset() for one in (without, tree))
    assert few["source"].values.tolist() == ["exact", "joint", "slice", "kde_scott"]
    assert "are left out" in few.attrs["note"]
    assert "note" not in all_of_them.attrs
    xr.testing.assert_equal(few, all_of_them.sel(source=few["source"]))
    names = [set(one["analysis/metrics/quantity"].values.tolist()) for one in (without, tree)]
    assert names[1] - names[0] == {"kl_kde_cv", "kl_mixture"}
    assert len(STUDY.draw(path, tmp_path, ["png"])) == 3
