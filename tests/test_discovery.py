"""Selection of the number of modes by held-out loss: the rule, and the scan for every match."""

import numpy as np
import pytest

import systems
import workbench as wb
from workbench.fitting.modes import smallest

QUICK = wb.LevenbergMarquardt(steps=100, screening=25)


def test_rule_takes_the_smallest_within_one_standard_error():
    loss, error = np.array([9.0, 1.2, 1.0, 1.1]), np.array([1.0, 0.1, 0.3, 0.1])
    assert smallest(loss, error, floor=0.0) == 1
    assert smallest(loss, error / 10, floor=0.0) == 2
    assert smallest(loss, error, floor=10.0) == 0
    assert smallest(loss, error / 10, floor=np.where(np.arange(len(loss)) == 1, loss[1], 0.0)) == 1
    assert smallest(np.array([3.0]), np.array([np.inf]), floor=0.0) == 0


@pytest.mark.parametrize(
    ("name", "wells", "levels"), [("asymmetric_quartic", 2, (0.0, 0.05)), ("min_mixture", 3, (0.0,))]
)
def test_wells_are_found_without_and_with_noise(name, wells, levels):
    system = systems.get(name)
    for noise in levels:
        data = system.points(200, seed=77)
        data["potential"] += np.random.default_rng(7).normal(0, noise * float(data["potential"].std()), 200)
        fit = wb.fit(wb.LSEICNN(dim=1, modes=5), data, match="potential", modes="auto", seed=7, optimiser=QUICK)
        assert fit.model.modes == wells
        assert wb.mode_counts(fit)["wells"].values.tolist() == [wells]
        scan = fit.scan
        assert scan["modes"].values[scan["chosen"].values == 1].tolist() == [wells]
        assert (fit.ensemble.rho > 2.0).all()
        kept = wb.wells(fit.model, [(-3, 3)])
        assert (kept["mode_weight"] > 0.9).all()
        assert scan["validation_loss"].sel(modes=wells) == pytest.approx(fit.error**2, rel=1e-9)


@pytest.mark.filterwarnings("ignore:the largest number of modes tried, 2,")
def test_modes_are_chosen_from_gradients_in_two_dimensions(circuit):
    data = circuit.trajectories(60, time=[0.0, 0.4], seed=3, spread="sobol")
    fit = wb.fit(
        wb.LSEICNN(dim=2, modes=2, hidden=(6, 6)), data, match="velocity", modes="auto", seed=0, optimiser=QUICK
    )
    assert fit.model.modes == 2
    assert wb.mode_counts(fit)["wells"].values.tolist() == [2]
    joint = circuit.points(60, seed=1)
    fit = wb.fit(wb.LSEICNN(dim=2, modes=2, hidden=(4,)), joint, match={"potential": 1, "gradient": 1}, modes="auto",
                 seed=0, restarts=1, optimiser=wb.LevenbergMarquardt(steps=20, screening=5), members=2)  # fmt: skip
    assert fit.ensemble.members == 2
    assert fit.scan.sizes["modes"] == 2


def test_scan_ends_where_nothing_can_change():
    x, model, options = np.linspace(-1, 1, 60), wb.LSEICNN(dim=1, modes=9), {"match": "potential", "modes": "auto"}
    fit = wb.fit(model, wb.dataset.points(x, potential=x**2), seed=0, optimiser=QUICK, **options)
    assert fit.scan.sizes["modes"] == 1  # one mode is good enough: below the floor
    noise = wb.dataset.points(x, potential=np.random.default_rng(0).normal(0, 1, 60))
    fit = wb.fit(model, noise, seed=0, optimiser=wb.LevenbergMarquardt(steps=20, screening=5), **options)
    assert fit.scan.sizes["modes"] < 9


def test_a_bound_of_the_model_is_kept_and_the_scan_is_saved(tmp_path):
    x = np.linspace(-1, 1, 60)
    data = wb.dataset.points(x, potential=x**2)
    model = wb.LSEICNN(dim=1, modes=2, rho_lo=0.5)
    fit = wb.fit(model, data, match="potential", modes="auto", seed=0, optimiser=QUICK)
    assert fit.model.rho_lo == 0.5
    path = wb.save(tmp_path / "auto.nc", fits=fit)
    assert wb.load(path)["fits/fit/scan"].to_dataset(inherit=False).equals(fit.scan)
    with pytest.raises(ValueError, match="modes must be 'auto', or None .*; got 3"):
        wb.fit(model, data, match="potential", modes=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asymmetric_quartic", "cosine_quadratic", "min_mixture"])
def test_modes_and_wells_are_right_for_nine_of_ten_data_sets(name):
    wells = {"asymmetric_quartic": 2, "cosine_quadratic": 4, "min_mixture": 3}[name]
    system, x = systems.get(name), np.linspace(-3, 3, 200)[:, None]
    clean, noisy = 0, 0
    for seed in range(400, 410):
        data = system.points(200, seed=seed)
        fit = wb.fit(wb.LSEICNN(dim=1, modes=10), data, match="potential", modes="auto", seed=seed)
        found = wb.wells(fit.ensemble, [(-3, 3)])
        right = fit.model.modes == wells == int(wb.mode_counts(fit, found=found)["wells"][0])
        mse = ((fit.model.value(x) - system.value(x)) ** 2).mean()
        clean += right and bool((found["mode_weight"] >= 0.9).all()) and mse <= 5e-6
        spread = 0.05 * float(data["potential"].std())
        data["potential"] += np.random.default_rng(seed).normal(0, spread, 200)
        fit = wb.fit(wb.LSEICNN(dim=1, modes=10), data, match="potential", modes="auto", seed=seed)
        noisy += int(wb.mode_counts(fit)["wells"][0]) == wells
    assert clean >= 9
    assert noisy >= 9


def test_steep_walls_do_not_hide_wells():
    x = np.random.default_rng(3).uniform(-2.6, 2.6, (200, 1))
    data = wb.dataset.points(x, potential=(x**2 * (x**2 - 1.5) ** 2 + 0.2 * x)[:, 0])
    fit = wb.fit(wb.LSEICNN(dim=1, modes=5), data, match="potential", modes="auto", seed=0)
    assert fit.model.modes == 3
    found = wb.wells(fit.model, [(-2.6, 2.6)])
    np.testing.assert_allclose(np.sort(found["x"].values[:, 0]), [-1.2365, -0.0427, 1.2136], atol=0.02)
    assert "3 modes chosen of 3 tried" in repr(fit)


def test_an_unreliable_choice_is_a_warning():
    x = np.linspace(-2, 2, 60)
    wavy = wb.dataset.points(x, potential=np.cos(4 * x))
    with pytest.warns(
        UserWarning, match="the largest number of modes tried, 2, still improves the held-out loss: increase modes"
    ):
        wb.fit(wb.LSEICNN(dim=1, modes=2), wavy, match="potential", modes="auto", seed=0, optimiser=QUICK)
    few = wb.dataset.points(x[::6], potential=x[::6] ** 2)
    with pytest.warns(UserWarning, match=r"chosen with fewer than 10 held-out samples \(2\)"):
        wb.fit(wb.LSEICNN(dim=1, modes=3), few, match="potential", modes="auto", seed=0, optimiser=QUICK)


def test_a_model_in_place_of_a_fit_is_refused(small_fit):
    with pytest.raises(TypeError, match="mode_counts needs a Fit of an LSEICNN, which holds the data, got LSEICNN"):
        wb.mode_counts(small_fit.model)
    with pytest.raises(TypeError, match="Fit"):
        wb.wells(small_fit, [(0, 2), (0, 2)])
    with pytest.raises(ValueError, match="optimiser must be one of workbench.LevenbergMarquardt"):
        wb.fit(small_fit.model, small_fit.data, match="velocity", optimiser="adam")
