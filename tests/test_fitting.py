"""`fit`: results, reproducibility, rejected input and degenerate data."""

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.errors import DatasetError
from workbench.fitting.outcome import Outcome

QUICK = wb.LevenbergMarquardt(steps=40, screening=10)


def double_well(count=80, seed=0):
    x = np.random.default_rng(seed).uniform(-2, 2, (count, 1))
    return wb.dataset.points(x, potential=((x**2 - 1) ** 2)[:, 0], gradient=4 * x * (x**2 - 1))


@pytest.mark.parametrize("match", ["potential", "gradient", {"potential": 1, "gradient": 10}])
def test_double_well_is_learned(match):
    fit = wb.fit(
        wb.LSEICNN(dim=1, modes=3), double_well(), match=match, seed=0, optimiser=wb.LevenbergMarquardt(steps=150)
    )
    x = np.linspace(-1.9, 1.9, 101)[:, None]
    error = fit.model.gradient(x) - 4 * x * (x**2 - 1)
    assert np.sqrt((error**2).mean()) < 0.02
    wells = wb.stationary_points(fit.model, within=[(-2, 2)])
    np.testing.assert_allclose(np.sort(wells["x"].values[:, 0]), [-1, 0, 1], atol=0.01)
    barrier = float(wells["potential"][-1] - wells["potential"][0])
    assert barrier == pytest.approx(1.0, abs=0.01)


def test_velocity_is_minus_gradient():
    data = double_well()
    flow = wb.dataset.points(data["x"].values, velocity=-data["gradient"].values)
    one = wb.fit(wb.LSEICNN(dim=1, modes=2), data, match="gradient", seed=3, optimiser=QUICK)
    two = wb.fit(wb.LSEICNN(dim=1, modes=2), flow, match="velocity", seed=3, optimiser=QUICK)
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_array_equal(one.model.gradient(x), two.model.gradient(x))


def test_seed_repeats_and_the_given_model_is_left_alone():
    model = wb.LSEICNN(dim=1, modes=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fits = [wb.fit(model, double_well(), match="potential", seed=s, restarts=2, optimiser=QUICK) for s in (5, 5, 6)]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_array_equal(fits[0].model.value(x), fits[1].model.value(x))
    assert not np.array_equal(fits[0].model.value(x), fits[2].model.value(x))
    assert fits[0].seed == "5"
    drawn = wb.fit(model, double_well(), match="potential", restarts=1, optimiser=QUICK)
    again = wb.fit(model, double_well(), match="potential", seed=int(drawn.seed), restarts=1, optimiser=QUICK)
    np.testing.assert_array_equal(drawn.model.value(x), again.model.value(x))


def test_processes_give_the_same_bits():
    one, two = (
        wb.fit(wb.LSEICNN(dim=1, modes=2), double_well(), match="potential", seed=1, members=2, restarts=1,
               optimiser=QUICK, workers=workers)
        for workers in (1, 2)
    )  # fmt: skip
    for a, b in zip(one.ensemble.state_dict().values(), two.ensemble.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_best_member_has_the_lowest_held_out_loss(small_fit):
    lowest = small_fit.history["best"].min("step").values
    assert small_fit.best == lowest.argmin()
    assert small_fit.ensemble.members == 2
    x = np.ones((3, 2))
    np.testing.assert_allclose(small_fit.ensemble.value(x)[small_fit.best], small_fit.model.value(x), rtol=1e-12)
    assert small_fit.restarts.sizes == {"member": 2, "restart": 2}
    assert "validation error" in repr(small_fit)
    assert small_fit.training_error < small_fit.error


def test_held_out_loss_is_that_of_the_returned_model(small_fit):
    scores = wb.score(small_fit.model, small_fit.data).sel(part="validation")
    train = small_fit.data.isel(trajectory=(small_fit.data["split"] == "train").values)["velocity"]
    scale = np.sqrt((train**2).mean(["trajectory", "time"]))
    expected = np.sqrt(((scores["velocity_rmse"] / scale) ** 2).mean())
    assert small_fit.error == pytest.approx(float(expected), rel=1e-9)


def test_test_samples_are_never_seen():
    data = double_well()
    split = np.where(np.arange(80) < 60, "train", np.where(np.arange(80) < 70, "validation", "test"))
    data = data.assign_coords(split=("sample", split))
    spoiled = data.copy(deep=True)
    spoiled["potential"][70:] = 1e6
    spoiled["x"][70:] = 500.0
    x = np.linspace(-2, 2, 9)[:, None]
    one, two = (
        wb.fit(wb.LSEICNN(dim=1, modes=2), d, match="potential", seed=0, restarts=1, optimiser=QUICK)
        for d in (data, spoiled)
    )
    np.testing.assert_array_equal(one.model.value(x), two.model.value(x))


def test_physical_units_do_not_matter():
    data = double_well()
    scaled = wb.dataset.points(1e3 * data["x"].values + 7, gradient=1e-5 * data["gradient"].values)
    one = wb.fit(wb.LSEICNN(dim=1, modes=2), data, match="gradient", seed=0, restarts=1, optimiser=QUICK)
    two = wb.fit(wb.LSEICNN(dim=1, modes=2), scaled, match="gradient", seed=0, restarts=1, optimiser=QUICK)
    assert two.error == pytest.approx(one.error, rel=0.05)
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_allclose(1e5 * two.model.gradient(1e3 * x + 7), one.model.gradient(x), rtol=0.05, atol=0.05)


def test_without_potential_data_the_lowest_sample_is_zero(small_fit):
    train = small_fit.data.isel(trajectory=(small_fit.data["split"] == "train").values)
    assert small_fit.model.value(train["x"].values).min() == pytest.approx(0, abs=1e-12)


def test_sharpness_keeps_its_bound_and_members_their_number():
    model = wb.LSEICNN(dim=1, modes=2, rho_lo=1.0, members=2)
    fit = wb.fit(model, double_well(), match="potential", seed=0, restarts=1, optimiser=QUICK)
    assert fit.ensemble.members == 2
    assert (fit.ensemble.rho >= 1.0).all()
    assert fit.model.rho_lo == 1.0
    assert (fit.history["rho"] >= 1.0).all()


def test_states_are_matched_by_name():
    x = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    data = wb.dataset.points(x, gradient=x * [1.0, 5.0], states=["a", "b"])
    fit = wb.fit(
        wb.LSEICNN(dim=2, modes=1, states=["b", "a"]), data, match="gradient", seed=0, restarts=1, optimiser=QUICK
    )
    assert fit.model.states == ("b", "a")
    assert float(wb.score(fit.model, data).gradient_relative_l2) < 0.05
    assert float(wb.score(fit.model, data.sel(state=["b", "a"])).gradient_relative_l2) < 0.05
    with pytest.raises(DatasetError, match=r"the data have the states \['a', 'b'\], the model \['c', 'd'\]"):
        wb.fit(wb.LSEICNN(dim=2, modes=1, states=["c", "d"]), data, match="gradient")


def test_weights_are_relative_and_errors_do_not_depend_on_their_scale():
    one, two = (
        wb.fit(wb.LSEICNN(dim=1, modes=2), double_well(), match=match, seed=0, restarts=1, optimiser=QUICK)
        for match in ({"potential": 1, "gradient": 10}, {"potential": 100, "gradient": 1000})
    )
    assert two.error == pytest.approx(one.error, rel=1e-6)


def test_a_split_may_be_a_variable_or_a_keyword():
    labels = np.where(np.arange(80) < 60, "train", np.where(np.arange(80) < 70, "validation", "test"))
    data = double_well()
    variable = data.assign(split=("sample", labels))
    fit = wb.fit(wb.LSEICNN(dim=1, modes=1), variable, match="potential", seed=0, restarts=1, optimiser=QUICK)
    assert fit.data["split"].values.tolist() == labels.tolist()
    keyword = wb.dataset.points(data["x"].values, potential=data["potential"].values, split=labels)
    assert keyword["split"].values.tolist() == labels.tolist()


def test_a_fit_is_repeated_from_the_seed_of_its_branch():
    branch = np.random.SeedSequence(4).spawn(3)[2]
    model = wb.LSEICNN(dim=1, modes=1)
    fit = wb.fit(model, double_well(), match="potential", seed=branch, restarts=1, optimiser=QUICK)
    assert fit.seed == "4/2"
    entropy, *key = map(int, fit.seed.split("/"))
    again = wb.fit(model, double_well(), match="potential", seed=np.random.SeedSequence(entropy, spawn_key=key),
                   restarts=1, optimiser=QUICK)  # fmt: skip
    assert again.error == fit.error


def test_samples_are_weighted_by_their_noise_levels():
    data = double_well(200)
    wrong = np.arange(200) % 2 == 0
    data["potential"][wrong] += 5.0
    believed = data.assign(sigma=("sample", np.where(wrong, 1e3, 1e-2)))
    fit = wb.fit(
        wb.LSEICNN(dim=1, modes=3), believed, match="potential", seed=0, optimiser=wb.LevenbergMarquardt(steps=80)
    )
    x = np.linspace(-1.8, 1.8, 50)[:, None]
    assert np.abs(fit.model.value(x) - ((x**2 - 1) ** 2)[:, 0]).max() < 0.1


@pytest.mark.parametrize(
    ("data", "runs"),
    [
        (wb.dataset.points(np.ones((12, 2)), potential=np.ones(12)), True),
        (wb.dataset.points(np.ones((12, 2)), gradient=np.zeros((12, 2))), True),
        (wb.dataset.points(np.arange(12.0), potential=np.full(12, 3.0)), True),
        (wb.dataset.points(np.random.default_rng(0).normal(size=(12, 2)), gradient=np.tile([1.0, 0.0], (12, 1))), True),
        (wb.dataset.points([[0.0], [1.0]], potential=[0.0, 1.0]), True),
        (wb.dataset.points([[0.0]], potential=[0.0]), False),
    ],
)
def test_degenerate_data_run_or_say_so(data, runs):
    model = wb.LSEICNN(dim=data.sizes["state"], modes=4, hidden=(3,))
    match = "potential" if "potential" in data else "gradient"
    if not runs:
        with pytest.raises(DatasetError, match="only 1 sample: at least 2 are needed"):
            wb.fit(model, data, match=match, seed=0)
        return
    fit = wb.fit(model, data, match=match, seed=0, restarts=1, optimiser=QUICK)
    assert np.isfinite(fit.model.value(data["x"].values)).all()
    assert fit.error < 1.5


def test_progress_may_be_a_function():
    seen = []
    wb.fit(wb.LSEICNN(dim=1, modes=1), double_well(), match="potential", seed=0, restarts=1, optimiser=QUICK,
           progress=lambda done, total, text: seen.append((done, total)))  # fmt: skip
    assert seen[-1][0] == seen[-1][1]
    assert all(a <= b for (a, _), (b, _) in zip(seen, seen[1:], strict=False))


def test_bad_requests_are_refused():
    model, data = wb.LSEICNN(dim=1, modes=2), double_well()
    with pytest.raises(
        ValueError, match=r"cannot match 'potental', did you mean 'potential'\? Known: .*density, gradient, potential"
    ):
        wb.fit(model, data, match="potental")
    with pytest.raises(DatasetError, match="hold 'gradient' but no 'velocity': use match='gradient'"):
        wb.fit(model, data, match="velocity")
    with pytest.raises(DatasetError, match="the data have 1-dimensional states, but the model has dim = 2"):
        wb.fit(wb.LSEICNN(dim=2, modes=2), data, match="potential")
    with pytest.raises(DatasetError, match="a joint match needs the noise level of every quantity by name"):
        wb.fit(model, data.assign(sigma=("sample", np.ones(80))), match={"potential": 1, "gradient": 1})
    with pytest.raises(DatasetError, match="a joint match needs the noise level of every quantity by name"):
        wb.fit(model, data.assign(sigma_gradient=("sample", np.ones(80))), match={"potential": 1, "gradient": 1})
    with pytest.raises(DatasetError, match="sigma_potental refers to no known quantity, did you mean 'potential'"):
        wb.dataset.points([1.0, 2.0], potential=[1.0, 2.0], sigma={"potental": 1.0})
    with pytest.raises(
        DatasetError, match="hold no 'velocity': estimate it from trajectories with workbench.velocities"
    ):
        wb.fit(model, wb.dataset.points([1.0, 2.0]), match="velocity")
    with pytest.raises(ValueError, match="weight of 'gradient' must be positive"):
        wb.fit(model, data, match={"gradient": -1})
    with pytest.raises(ValueError, match="match is empty"):
        wb.fit(model, data, match={})
    with pytest.raises(ValueError, match="members must be an integer >= 1, got 0"):
        wb.fit(model, data, match="potential", members=0)
    with pytest.raises(ValueError, match="workers must be an integer >= 1"):
        wb.fit(model, data, match="potential", workers=0)
    with pytest.raises(ValueError, match="validation_fraction must lie between 0 and 1"):
        wb.fit(model, data, match="potential", validation_fraction=1.5)
    with pytest.raises(DatasetError, match="split marks no 'validation' samples"):
        wb.fit(model, data.assign_coords(split=("sample", ["train"] * 80)), match="potential")
    spoiled = data.copy(deep=True)
    spoiled["potential"][3] = np.nan
    with pytest.raises(DatasetError, match=r"potential holds 1 value that is not finite, the first at \{'sample': 3\}"):
        wb.fit(model, spoiled, match="potential")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.linspace(-1, 1, 4), np.linspace(-1, 1, 4) ** 2),  # fewer samples than modes
        (np.linspace(-1, 1, 2), np.array([0.0, 1.0])),  # one training and one validation sample
        (np.linspace(-1, 1, 20), np.full(20, 3.0)),  # constant
        (np.full(20, 0.5), np.full(20, 3.0)),  # one point, repeated
        (np.repeat([0.0, 1.0], 10), np.repeat([1.0, 2.0], 10)),  # two points, repeated
    ],
    ids=["few", "two", "constant", "one point", "two points"],
)
@pytest.mark.parametrize("optimiser", [wb.LevenbergMarquardt(steps=10, screening=5), wb.Adam(epochs=10, every=5)])
def test_poor_data_run_sensibly(x, y, optimiser):
    data = wb.dataset.points(x, potential=y)
    fit = wb.fit(wb.LSEICNN(dim=1, modes=6), data, match="potential", seed=0, optimiser=optimiser, progress=False)
    assert np.isfinite(fit.model.value(np.linspace(-2, 2, 9)[:, None])).all()
    assert np.isfinite(fit.history["loss"]).all()


def test_one_sample_and_impossible_models_are_refused():
    with pytest.raises(DatasetError, match="at least 2 are needed, one of them for validation"):
        wb.fit(wb.LSEICNN(dim=1, modes=2), wb.dataset.points([1.0], potential=[2.0]), match="potential")
    with pytest.raises(ValueError, match="modes"):
        wb.LSEICNN(dim=1, modes=0)


def test_tolerance_is_of_training_and_held_out_error():
    optimiser = wb.LevenbergMarquardt(steps=300, tolerance=1e-3)
    fit = wb.fit(wb.LSEICNN(dim=1, modes=3), double_well(), match="potential", seed=0, optimiser=optimiser)
    assert fit.outcome is Outcome.TOLERANCE
    assert fit.error <= 1e-3
    assert fit.training_error <= 1e-3
    last = fit.history.isel(member=0).dropna("step")
    assert float(max(last["loss"][-2], last["validation_loss"][-2])) > 1e-6


def test_history_records_elapsed_time_as_wall_clock(small_fit):
    elapsed = small_fit.history["elapsed"].isel(member=0).dropna("step").values
    assert (np.diff(elapsed) > 0).all()
    assert small_fit.history["elapsed"].attrs["wall_clock"] == 1


def test_members_fitted_apart_are_joined():
    model, options = wb.LSEICNN(dim=1, modes=2), {"match": "potential", "restarts": 1, "optimiser": QUICK}
    split = np.where(np.arange(80) < 60, "train", "validation")
    data = double_well().assign_coords(split=("sample", split))
    whole = wb.fit(model, data, seed=4, members=3, **options)
    longer = wb.LevenbergMarquardt(steps=50, screening=10)
    parts = [wb.fit(model, data, seed=s, **{**options, "optimiser": longer}) for s in (7, 8)]
    joined = wb.Fit.joined([whole, *parts])
    assert joined.ensemble.members == 5
    assert joined.history.sizes["member"] == 5
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_allclose(joined.ensemble.value(x)[:3], whole.ensemble.value(x), rtol=1e-12)
    np.testing.assert_allclose(joined.ensemble.value(x)[4], parts[1].model.value(x), rtol=1e-12)
    np.testing.assert_allclose(joined.model.value(x), joined.ensemble.value(x)[joined.best], rtol=1e-12)
    assert joined.error == min(whole.error, *(part.error for part in parts))
    assert len(joined.outcomes) == 5
    with pytest.raises(ValueError, match="only fits of the same data and match can be joined"):
        wb.Fit.joined([whole, wb.fit(model, double_well(seed=1), seed=0, **options)])
