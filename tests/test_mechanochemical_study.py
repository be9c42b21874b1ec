"""The mechanochemical study: families of stationary points, planes and path against closed forms."""

import numpy as np
import pytest
import xarray as xr

import systems
import workbench as wb
from studies.mechanochemical import metrics, points
from studies.mechanochemical.study import MechanochemicalStudy, path

CRYSTAL = systems.get("mechanochemical")


@pytest.fixture(scope="module")
def true():
    return points.exact(CRYSTAL)


def test_true_points_fall_into_their_families(true):
    families, counts = np.unique(true["family"], return_counts=True)
    assert dict(zip(families, counts, strict=True)) == points.FAMILIES
    level = {name: true["potential"].values[(true["family"] == name).values] for name in families}
    np.testing.assert_allclose(level["tetragonal well"], -0.10125195611, atol=1e-10)
    np.testing.assert_allclose(level["saddle to cubic"], 1.999811, atol=1e-6)
    np.testing.assert_allclose(level["saddle between variants"], -0.015656, atol=1e-6)


def test_truth_is_without_error_and_strangers_belong_to_no_family(true):
    moved = true.copy()
    moved["x"] = moved["x"] + 0.001
    moved["x"][int(np.argmin(true["potential"].values))] += 0.1
    mine = points.by_family({"truth": true, "fit": moved}, true)
    exact, other = (mine.isel(point=(mine["source"] == name).values) for name in ("truth", "fit"))
    assert (exact["strain_error"] == 0).all()
    assert (exact["family"].values == true["family"].values).all()
    assert (other["family"] == "none").sum() == 1
    np.testing.assert_allclose(other["strain_error"].dropna("point"), 0.001)
    np.testing.assert_allclose(exact["level"], true["potential"], atol=1e-12)
    assert points.counted(true, true) == (4, 6, 0)
    assert points.counted(moved, true) == (3, 6, 1)


def test_numbers_of_the_truth_meet_their_bounds_and_of_a_poor_fit_do_not(true):
    good = true.assign_coords(member=("point", np.zeros(true.sizes["point"], int)))
    told = {
        n.name: n
        for n in metrics.of_points(points.by_family({"truth": true, "fit": good, "symmetrised": good}, true), 0, 0.005)
    }
    assert all(not n.value > n.at_most and not n.value < n.at_least for n in told.values())
    poor = good.isel(point=(good["family"] != "cubic well").values)
    told = {
        n.name: n
        for n in metrics.of_points(points.by_family({"truth": true, "fit": poor, "symmetrised": good}, true), 0, 0.005)
    }
    assert told["cubic_well_fit"].value < told["cubic_well_fit"].at_least
    assert told["level_fit"].value > told["level_fit"].at_most


def test_planes_have_the_invariants_they_say():
    planes = points.planes(5)
    e = np.concatenate([CRYSTAL.invariants(_tensor(planes["x"].values)).numpy(), planes["x"].values[..., 6:]], -1)
    names = ["e1", "e2", "e3", "e4", "e5", "e6", "c"]
    for k, plane in enumerate(planes["plane"].values):
        first, second = plane.split("_")
        expected = np.zeros((5, 5, 7))
        expected[..., names.index(first)] = planes["horizontal"].values[k][:, None]
        expected[..., names.index(second)] = planes["vertical"].values[k][None, :]
        np.testing.assert_allclose(e[k], expected, atol=1e-12)
        reach = np.abs(planes["x"].values[k][..., :6]).max()
        assert reach <= 0.2 + 1e-12


def test_path_leaves_the_box_at_one_half():
    x = path(np.array([0.5, 0.51, 1.0]))
    assert x[0, 0] == pytest.approx(0.2)
    assert x[1, 0] > 0.2
    np.testing.assert_allclose(x[2], [0.4, -0.12, -0.12, 0, 0, 0, 1])


def test_coverage_is_that_of_students_law():
    rng = np.random.default_rng(0)
    held = metrics._held(rng.normal(size=(3, 200_000)), np.zeros(200_000))
    share = 0.9258  # P(|t| < 2√3) with two degrees of freedom
    assert abs(held.mean() - share) < 4 * np.sqrt(share * (1 - share) / 200_000)


def test_data_are_split_as_said():
    study = MechanochemicalStudy(samples=50, test=8)
    data = study.data(CRYSTAL, 50, np.random.SeedSequence(3))
    fewer = study.data(CRYSTAL, 20, np.random.SeedSequence(4), test=data)
    for d, sizes in ((data, (45, 5, 8)), (fewer, (18, 2, 8))):
        assert tuple(int((d["split"] == part).sum()) for part in ("train", "validation", "test")) == sizes
    test = [d.isel(sample=(d["split"] == "test").values).drop_vars("sample") for d in (data, fewer)]
    xr.testing.assert_identical(*(t.drop_attrs() for t in test))
    assert not np.isin(fewer["x"].values[:20, 0], data["x"].values[:, 0]).any()


@pytest.mark.parametrize("spoil", ["same", "constant"])
def test_degenerate_data_can_be_fitted(spoil):
    data = CRYSTAL.points(12, seed=0)
    x, g = data["x"].values.copy(), data["gradient"].values.copy()
    if spoil == "same":
        x[:], g[:] = x[0], g[0]
    else:
        x[:, 2], g[:, 5] = 0.1, 0.0
    mine = wb.dataset.points(x, gradient=g, states=CRYSTAL.states)
    fit = wb.fit(_model(), mine, match="gradient", seed=0, restarts=1, optimiser=wb.LevenbergMarquardt(steps=5))
    assert np.isfinite(fit.error)
    assert np.isfinite(fit.model.gradient(x)).all()


def test_wrong_data_are_refused():
    data = CRYSTAL.points(12, seed=0)
    x, g = data["x"].values, data["gradient"].values
    six = wb.dataset.points(x[:, :6], gradient=g[:, :6])
    with pytest.raises(wb.DatasetError, match="6-dimensional states, but the model has dim = 7"):
        wb.fit(_model(), six, match="gradient", seed=0)
    with pytest.raises(wb.DatasetError, match="not finite"):
        wb.dataset.points(x, gradient=np.where(g == g[3, 4], np.nan, g))


def _model():
    return wb.LSEICNN(dim=7, modes=2, hidden=(3, 3), states=CRYSTAL.states)


def _tensor(x):
    import torch

    return torch.tensor(x)
