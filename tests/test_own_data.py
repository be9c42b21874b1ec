"""User data: trajectories of unequal lengths and times, derivatives, multiple shooting, and the command line."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.integrate import solve_ivp
from typer.testing import CliRunner

import systems
import workbench as wb
from workbench import dataset
from workbench.cli.app import app
from workbench.errors import DatasetError, FileError
from workbench.files import results
from workbench.files.data import read_data
from workbench.fitting.learn import learn
from workbench.fitting.task import Task
from workbench.losses.match import parsed
from workbench.losses.normal_equations import Dual
from workbench.losses.problem import freed
from workbench.losses.shooting import Segments, Shooting, spread_of

WELLS = [[0.405621017867140, 1.543999494460613], [1.543999494460613, 0.405621017867140]]


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


# ---- trajectories of unequal lengths and times


def test_unequal_trajectories_are_what_flat_makes_of_equal_ones():
    time, x = np.linspace(0, 1, 5), np.random.default_rng(0).normal(size=(3, 5, 2))
    grid = wb.dataset.trajectories(x, time, velocity=-x, sigma={"x": 0.1})
    assert wb.dataset.trajectories(list(x), [time] * 3, velocity=list(-x), sigma={"x": 0.1}).identical(grid)
    rows = wb.dataset.trajectories([x[0], x[1][:3]], [time, time[:3]], velocity=[-x[0], -x[1][:3]], sigma={"x": 0.1})
    assert rows["x"].equals(dataset.flat(grid)["x"].isel(sample=slice(0, 8)))
    assert rows["velocity"].values.tolist() == (-rows["x"].values).tolist()


def test_whole_trajectories_are_held_out_and_assigned_to_folds():
    lengths = [3, 1, 4, 2, 5]
    data = wb.dataset.trajectories([np.full((n, 1), k) for k, n in enumerate(lengths)], [np.arange(n) for n in lengths])
    split = dataset.assign_split(data, np.random.SeedSequence(0), 0.4)
    folds = wb.dataset.folds(data, 5)
    for each in (split, *folds):
        for k in range(5):
            assert len(np.unique(each["split"].values[each["trajectory"].values == k])) == 1
    held = [set(fold["trajectory"].values[fold["split"].values == "validation"]) for fold in folds]
    assert sorted(map(len, held)) == [1] * 5
    assert set.union(*held) == set(range(5))


@pytest.mark.parametrize(
    ("x", "time", "message"),
    [
        (
            [np.ones((3, 1)), np.ones((2, 1))],
            np.arange(3.0),
            "expected the times of each, a list of arrays of these lengths",
        ),
        ([np.ones((3, 1)), np.ones((2, 1))], [[0, 1, 2], [1, 0]], "sample 4, of trajectory 1, has 0.0 after 1.0"),
        ([np.ones((3, 1)), np.ones((2, 1))], [[0, 1, 2], [1, np.nan]], "sample 4, of trajectory 1, has nan"),
        ([np.ones((3, 1)), np.ones((2, 2))], [[0, 1, 2], [0, 1]], "dimension"),
    ],
)
def test_bad_trajectories_are_refused(x, time, message):
    with pytest.raises(ValueError, match=message):
        wb.dataset.trajectories(x, time)


def test_trajectories_without_times_and_a_single_one_are_refused():
    bare = xr.Dataset({"x": (("trajectory", "time", "state"), np.ones((2, 3, 1)))})
    with pytest.raises(DatasetError, match="trajectories need times"):
        dataset.check(bare)
    one = wb.velocities(wb.dataset.trajectories(np.exp(-np.linspace(0, 1, 9))[None, :, None], np.linspace(0, 1, 9)))
    with pytest.raises(DatasetError, match="only 1 trajectory: .* cut trajectories into pieces"):
        wb.fit(wb.LSEICNN(1, 1), one, match="velocity", seed=0)


# ---- derivatives


def test_quadratics_are_differentiated_exactly():
    time = np.sort(np.random.default_rng(1).uniform(0, 3, 12))
    x = np.stack([1 + 2 * time - 0.5 * time**2, 3 - time], -1)[None]
    found = wb.velocities(wb.dataset.trajectories(x, time))
    np.testing.assert_allclose(found["velocity"].values[0], np.stack([2 - time, 0 * time - 1], -1), atol=1e-7)


def test_smoothing_is_the_spline_that_scipy_makes_of_a_cubic_penalty():
    """The curve minimises Σ (y − x)² + ratio ∫ x‴² within a basis of splines that contains the minimiser."""
    from scipy.interpolate import BSpline

    from workbench.dataset.velocities import _Curve, _spline

    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 15)
    y = np.sin(5 * t) + 0.1 * rng.normal(size=15)
    spline = _spline(tuple(t.tolist()))
    smooth = _Curve(spline, y[:, None])._state(0, 20.0, 0.1)[0]
    knots = np.concatenate([[0] * 5, t, [1] * 5])  # quintic splines with knots at the samples contain the minimiser
    basis = BSpline(knots, np.eye(len(knots) - 6), 5)
    node, weight = np.polynomial.legendre.leggauss(4)
    fine = (t[:-1, None] + np.diff(t)[:, None] * (node + 1) / 2).ravel()
    third = basis(fine, 3) * np.sqrt((np.diff(t)[:, None] * weight / 2).ravel())[:, None]
    at = basis(t)
    best = at @ np.linalg.solve(at.T @ at + (0.1 / 20.0) ** 2 * third.T @ third, at.T @ y)
    np.testing.assert_allclose(smooth, best, atol=1e-7)


def test_noise_is_estimated_and_errors_are_honest():
    rng, time = np.random.default_rng(0), np.linspace(0, 6, 61)
    phase = rng.uniform(0, 6, (30, 1))
    x, v = np.sin(time + phase), np.cos(time + phase)
    found = wb.velocities(wb.dataset.trajectories((x + 0.05 * rng.normal(size=x.shape))[..., None], time))
    assert json.loads(found.attrs["noise_json"])["level"]["x1"] == pytest.approx(0.05, rel=0.1)
    away = np.abs(found["velocity"].values[..., 0] - v) / found["sigma_velocity"].values[..., 0]
    assert (away < 2).mean() == pytest.approx(0.954, abs=0.05)
    assert np.abs(found["x"].values[..., 0] - x).std() < 0.6 * 0.05
    given = wb.velocities(found.drop_vars(("velocity", "sigma_velocity", "x_observed")), noise=0.05)
    assert json.loads(given.attrs["noise_json"])["source"] == "given"


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (wb.dataset.points(np.ones((4, 1))), {}, "points have no times to differentiate by"),
        (wb.dataset.trajectories(np.ones((2, 4, 1)), np.arange(4.0)), {}, "trajectory 0 has 4 samples; 5 or more"),
        (wb.dataset.trajectories(np.ones((2, 6, 1)), np.arange(6.0)), {"noise": -1.0}, "noise must be positive"),
        (wb.dataset.trajectories(np.ones((2, 6, 1)), np.arange(6.0)), {"floor": 0.0}, "floor must be positive"),
    ],
)
def test_what_cannot_be_differentiated_is_refused(data, options, message):
    with pytest.raises(ValueError, match=message):
        wb.velocities(data, **options)


def test_constant_trajectories_are_differentiated_to_zero():
    found = wb.velocities(wb.dataset.trajectories(np.ones((2, 6, 1)), np.arange(6.0)))
    np.testing.assert_allclose(found["velocity"].values, 0, atol=1e-10)
    assert np.isfinite(found["sigma_velocity"].values).all()


# ---- shooting


@pytest.fixture(scope="module")
def shot():
    """Return a small model and trajectories on its landscape."""
    rng = np.random.default_rng(3)
    x0 = rng.uniform(-1, 1, (4, 2))
    model = wb.LSEICNN(dim=2, modes=2, hidden=(3,))
    model.set_scaling(x0, potential=None, gradient=x0)
    model.initialise(wb.dataset.points(x0, gradient=x0), rng, rho=1.0)
    time = np.linspace(0, 1, 8)
    runs = wb.simulate(model.requires_grad_(False), x0, time, rtol=1e-10, atol=1e-12)
    data = wb.dataset.trajectories(runs["x"].values, time)
    return model, data


def problem_of(model, data):
    samples = dataset.flat(data)
    part = Segments.of(samples, spread_of(samples), model.u)
    return Shooting(freed(model), part, part)


def test_true_landscape_leaves_no_residual(shot):
    model, data = shot
    problem = problem_of(model, data)
    assert (
        problem.loss(problem.evaluate(problem.vector())) ** 0.5 < 1e-4
    )  # a step of 0.6 over the largest curvature has a relative error of 0.6⁵/5!


def test_a_problem_depends_on_theta_and_its_state_alone(shot):
    model, data = shot
    noisy = data.assign(x=data["x"] + 0.05 * np.random.default_rng(0).normal(size=data["x"].shape))
    problem = problem_of(model, noisy)
    theta = problem.vector()
    first = problem.evaluate(theta)
    problem.linearise(theta, first)
    assert len({problem.held_out(theta) for _ in range(4)}) == 1
    assert torch.equal(problem.evaluate(theta)[1], first[1])
    loss, state = problem.validate(theta)
    refined, _ = problem.validate(theta, state)  # initial states of the call before, refined once more
    assert refined < loss == problem.held_out(theta)


def test_flow_and_its_sensitivity_to_the_initial_state_are_those_of_scipy(shot):
    model, data = shot
    problem = problem_of(model, data)
    x, phi = problem._flow(problem.vector(), problem.segments.y[:, 0], problem.segments)
    start, interval = problem.segments.y[0, 0].numpy(), float(problem.segments.interval[0, 0])

    def end(x0):
        return solve_ivp(lambda t, x: -model.gradient(x), (0, interval), x0, rtol=1e-11, atol=1e-12).y[:, -1]

    x, phi = x.detach(), phi.detach()
    np.testing.assert_allclose(x[0, 0, -1].numpy(), end(start), atol=1e-5)
    derivative = np.stack([(end(start + d) - end(start - d)) / 2e-5 for d in 1e-5 * np.eye(2)], -1)
    np.testing.assert_allclose(phi[0, 0, -1].numpy(), derivative, atol=1e-4)


def test_gradient_of_the_best_starts_is_that_of_the_loss(shot):
    model, data = shot
    noisy = data.assign(x=data["x"] + 0.05 * np.random.default_rng(0).normal(size=data["x"].shape))
    problem = problem_of(model, noisy)
    theta, state = problem.vector(), problem.initial_state()
    for _ in range(4):  # until the initial states are optimal
        evaluated = problem.evaluate(theta, state)
        linear, state = problem.linearise(theta, evaluated), problem.state_after(evaluated, state)
    gradient = linear.jacobian.T @ linear.residuals if isinstance(linear, Dual) else linear.gradient
    direction = torch.as_tensor(np.random.default_rng(1).normal(size=len(theta)))

    def loss(step):
        return problem.loss(problem.evaluate(theta + step * direction, state))

    difference = (loss(1e-4) - loss(-1e-4)) / 2e-4
    assert 2 * float(gradient @ direction) == pytest.approx(difference, rel=1e-3)


def test_polishing_starts_from_the_model_and_lowers_the_loss(small_fit, circuit):
    runs = circuit.trajectories(6, time=np.linspace(0, 1, 5), seed=4)
    data = wb.dataset.trajectories(runs["x"].values, runs["time"].values)
    quick = wb.LevenbergMarquardt(steps=2)
    done = wb.fit(small_fit.ensemble, data, match="trajectory", warm_start=True, seed=0, optimiser=quick)
    assert done.ensemble.members == 2
    assert done.settings["warm_start"] is True
    assert (done.history["loss"].isel(step=-1) < 0.5 * done.history["loss"].isel(step=0)).all()
    path = wb.save("polished.nc", fits=done)
    again = wb.load(path)
    assert again["fits/fit/predictions/velocity"].dims == ("member", "trajectory", "time", "state")
    assert bool((again.models["fit"].value([0.3, 0.4]) == done.model.value([0.3, 0.4])).all())


def test_segments_of_unequal_trajectories_are_padded_by_intervals_of_zero():
    data = wb.dataset.trajectories([np.arange(8.0)[:, None], np.arange(3.0)[:, None]], [np.arange(8.0), [0, 0.5, 2.0]])
    part = Segments.of(data, np.ones(1), torch.zeros(1, dtype=torch.float64))
    assert part.y[..., 0].tolist() == [[0, 1, 2, 3, 4, 5], [5, 6, 7, 7, 7, 7], [0, 1, 2, 2, 2, 2]]
    assert part.interval.tolist()[2] == [0.5, 1.5, 0, 0, 0]
    entries = (part.factor > 0).sum()
    assert float(part.factor.square().sum()) == pytest.approx(int(entries) / int(entries - 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"match": "trajectory"}, "match='trajectory' refines a fitted model"),
        ({"match": "trajectory", "warm_start": True}, "requires a fitted model, this one is not"),
        ({"match": {"trajectory": 1, "velocity": 1}}, "'trajectory' must be matched alone"),
        ({"match": "velocity", "init": "modle"}, "init must be an Initialisation, got 'modle'"),
        ({"match": "velocity", "warm_start": True, "restarts": 3}, "omit modes, restarts and members"),
        ({"match": "velocity"}, r"estimate it from trajectories with workbench.velocities\(data\)"),
    ],
)
def test_errors_of_fits_say_what_to_do(options, message):
    data = wb.dataset.trajectories(np.random.default_rng(0).normal(size=(3, 6, 1)), np.arange(6.0))
    with pytest.raises(ValueError, match=message):
        wb.fit(wb.LSEICNN(1, 1), data, seed=0, **options)


def test_smoothed_states_are_not_accepted_as_observations(small_fit, circuit):
    runs = circuit.trajectories(3, time=np.linspace(0, 1, 6), seed=4)
    smooth = wb.velocities(wb.dataset.trajectories(runs["x"].values, runs["time"].values))
    with pytest.raises(DatasetError, match="x was smoothed"):
        wb.fit(small_fit.ensemble, smooth, match="trajectory", warm_start=True, seed=0)


# ---- resampling


def test_bootstrap_reweights_whole_trajectories():
    data = wb.dataset.trajectories([np.ones((3, 1)), np.zeros((2, 1)), np.ones((4, 1))], [range(3), range(2), range(4)])
    data = data.assign(velocity=data["x"], weight=xr.full_like(data["x"].isel(state=0, drop=True), 2.0))
    data = data.assign_coords(split=("sample", ["train"] * 5 + ["validation"] * 4))
    task = Task.of(wb.LSEICNN(1, 1), data, parsed("velocity"), wb.Initialisation(), bootstrap=True)
    seeds = np.random.SeedSequence(0).spawn(2)
    one, other = (task.of_member(k, seed).parts for k, seed in enumerate(seeds))
    w = one["train"]["weight"].values
    assert len(np.unique(w)) == 2
    assert w.mean() == pytest.approx(2.0)
    assert not np.array_equal(w, other["train"]["weight"].values)
    assert (one["validation"]["weight"] == 2).all()
    assert seeds[0].n_children_spawned == 0


def test_resampled_means_spread_as_the_bayesian_bootstrap_says():
    """The variance of a weighted mean is s²/(n + 1), with s² the variance of the n samples."""
    y = np.random.default_rng(0).normal(size=(50, 1))
    data = wb.dataset.points(y, gradient=y, split=["train"] * 50).pipe(
        lambda one: xr.concat([one, one.isel(sample=[0]).assign_coords(split=("sample", ["validation"]))], "sample")
    )
    task = Task.of(wb.LSEICNN(1, 1), data, parsed("gradient"), wb.Initialisation(), bootstrap=True)
    means = []
    for k, seed in enumerate(np.random.SeedSequence(1).spawn(400)):
        train = task.of_member(k, seed).parts["train"]
        means.append(np.average(train["x"].values[:, 0], weights=train["weight"].values))
    assert np.std(means) == pytest.approx(y.std() / np.sqrt(51), rel=3 / np.sqrt(2 * 400))


# ---- files and the command line


def exported(path, count=30, noise=0.0, seed=0):
    """Write trajectories of the gene circuit as other software would: plain xarray, other names, netCDF-3."""
    runs = systems.get("gene_circuit", b=1.0).trajectories(count, time=np.linspace(0, 3, 25), seed=seed, spread="edges")
    x = runs["x"].values + noise * np.random.default_rng(seed).normal(size=runs["x"].shape)
    size = ("trajectory", "time")
    plain = xr.Dataset({"a": (size, x[..., 0]), "b": (size, x[..., 1])}, coords={"time": runs["time"].values})
    plain.to_netcdf(path, format="NETCDF3_64BIT")
    return runs


def test_plain_trajectories_go_to_the_right_wells():
    exported("mine.nc")
    wanted = ["--states", "a, b", "--match", "velocity", "--differentiate", "--modes", 3, "--hidden", "6,6"]
    small = ["--steps", 60, "--restarts", 1, "--workers", 1, "--seed", 0]
    done = call("fit", "mine.nc", *wanted, *small, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["file"].endswith("mine-fit.nc")
    found = results.read("mine-fit.nc")["analysis/stationary_points"].to_dataset()
    assert found["kind"].values.tolist() == ["minimum", "minimum", "saddle"]
    order = np.argsort(found["x"].values[:2, 0])
    np.testing.assert_allclose(found["x"].values[:2][order], WELLS, atol=0.01)
    data = read_data("mine.nc", states=["a", "b"])
    learned = learn(data, match="velocity", differentiate=True, modes=3, hidden=(6, 6), restarts=1, seed=0,
                    optimiser=wb.LevenbergMarquardt(steps=60))  # fmt: skip
    assert learned["analysis"]["stationary_points"]["x"].values.tolist() == found["x"].values.tolist()
    asked = call("analyse", "mine-fit.nc", "--question", "paths", "--within", "0,2", "--within", "0,2", "--json")
    assert asked.exit_code == 0, asked.output
    tree = results.read("mine-fit-analysis.nc")
    np.testing.assert_allclose(tree["analysis/paths/barrier"].values, 0.1547, rtol=0.1)
    assert {"stationary_points", "graph", "paths"} <= set(tree["analysis"].children)
    assert tree["landscape"].to_dataset().equals(results.read("mine-fit.nc")["landscape"].to_dataset())
    assert "exists; choose another name" in call("analyse", "mine-fit.nc").stderr
    run = call("simulate", "mine-fit.nc", "--start", "0.9,1.1", "--until", 20, "--json")
    np.testing.assert_allclose(json.loads(run.stdout)["ends"], [WELLS[0]], atol=0.01)
    assert call("validate", "mine-fit-analysis.nc").exit_code == 0
    assert call("analyse", "mine-fit.nc", "--question", "pahts", "-o", "no.nc").exit_code == 2
    assert call("analyse", "mine-fit.nc", "--fit", "psi", "-o", "no.nc").exit_code == 2
    assert call("analyse", "mine-fit.nc", "--question", "rates", "-o", "no.nc").exit_code == 2
    assert "neither of which is requested" in call("analyse", "mine-fit.nc", "--temperature", 0.1, "-o", "no.nc").stderr
    assert call("simulate", "mine-fit.nc", "--start", "0.9", "-o", "no.nc").exit_code == 2


def test_units_of_the_data_are_kept():
    time = xr.Variable("time", np.linspace(0, 2, 9), {"units": "h"})
    genes = {}
    for k, name in ((1, "a"), (2, "b")):
        attrs = {"units": "nM", "long_name": f"gene {k}"}
        genes[name] = (("trajectory", "time"), np.exp(-k * time.values)[None], attrs)
    xr.Dataset(genes, {"time": time}).to_netcdf("units.nc")
    data = read_data("units.nc", states=["a", "b"])
    assert data["x"].attrs["units"] == "nM"
    assert "gene" not in data["x"].attrs.get("long_name", "")
    seen = wb.velocities(data)
    units = {name: seen[name].attrs["units"] for name in ("x", "sigma_x", "velocity", "sigma_velocity")}
    assert units == {"x": "nM", "sigma_x": "nM", "velocity": "nM/h", "sigma_velocity": "nM/h"}


def test_data_of_no_gradient_flow_are_reported():
    time = np.linspace(0, 6, 30)
    phase = time + np.linspace(0, 5, 8)[:, None]
    circles = np.stack([np.cos(phase), np.sin(phase)], -1)
    xr.Dataset({"x": (("trajectory", "time", "state"), circles)}, {"time": time}).to_netcdf("circles.nc")
    small = ["--modes", 2, "--hidden", "4", "--steps", 20, "--restarts", 1, "--seed", 0]
    done = call("fit", "circles.nc", "--match", "velocity", "--differentiate", *small)
    assert done.exit_code == 0, done.output
    assert "or the system is not the gradient flow of a potential" in done.stderr
    assert "do not trust its wells" in results.read("circles-fit.nc").attrs["caveat"]


def test_a_good_fit_has_no_caveat(small_fit):
    assert small_fit.caveat is None


@pytest.fixture
def saved(small_fit):
    wb.save("two.nc", fits=small_fit)
    return small_fit.model


def test_analyses_are_printed_as_numbers(saved):
    requested = ("stationary_points", "wells", "paths", "basins", "rates", "transition_times")
    questions = [argument for name in requested for argument in ("--question", name)]
    done = call("analyse", "two.nc", *questions, "--temperature", 0.02, "-o", "all.nc", "--json")
    assert done.exit_code == 0, done.output
    printed, found = json.loads(done.stdout), results.read("all.nc")["analysis"]
    rates = found["rates"].to_dataset().isel(point=2)
    for k, side in enumerate(printed["rates"][2]["sides"]):
        here = rates.isel(side=k)
        numbers = {name: float(here[name]) for name in ("barrier", "rate", "time")}
        assert side == {"minimum": int(here["joins"])} | numbers
        assert printed["graph"][2]["sides"][k] == {name: side[name] for name in ("minimum", "barrier")}
    assert printed["paths"][0]["barrier"] == found["paths/barrier"].values[0].tolist()
    assert sorted(printed["paths"][0]["joins"]) == [0, 1]
    assert [row["prominence"] for row in printed["wells"]] == [None, float(found["wells/prominence"][1])]
    assert [row["mode_weight"] for row in printed["wells"]] == found["wells/mode_weight"].values.tolist()
    labels = found["basins/label"].values
    assert [row["starts"] for row in printed["basins"]][:2] == [(labels == k).sum() for k in (0, 1)]
    assert sum(row["starts"] for row in printed["basins"]) == labels.size
    times = found["transition_times"].to_dataset()
    assert [row["time"] for row in printed["transition_times"]] == times["time"].values.tolist()
    assert [row["committor"] for row in printed["transition_times"]] == [0, 1]
    matched = printed["stationary_points_summary"]
    assert [(row["kind"], row["members"]) for row in matched] == [("minimum", 2), ("minimum", 2), ("saddle", 2)]


def test_analyses_are_printed_as_lines(saved):
    questions = ["--question", "rates", "--question", "stationary_points"]
    done = call("analyse", "two.nc", *questions, "--temperature", 0.02, "-o", "all.nc")
    assert done.exit_code == 0, done.output
    assert "stationary_points_summary  point 0, minimum: x = 0.4" in done.stdout
    side = results.read("all.nc")["analysis/rates"].to_dataset().isel(point=2, side=0)
    numbers = ", ".join(f"{name} {float(side[name]):.6g}" for name in ("barrier", "rate", "time"))
    assert f"from minimum {int(side['joins'])}: {numbers}" in done.stdout


def test_simulations_that_leave_the_data_are_reported(saved):
    (low, high), _ = saved.box
    inside, outside = f"{(low + high) / 2},{(low + high) / 2}", f"{low - 1},{low}"
    done = call("simulate", "two.nc", "--start", inside, "--start", outside, "--until", 0.1, "--samples", 3, "--json")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert (printed["outside_data"], printed["first_outside"], printed["blown_up"]) == (1, 0.0, 0)
    assert "1 of 2 trajectories leave the box of the data, the first by t = 0;" in done.stderr
    quiet = call("simulate", "two.nc", "--start", inside, "--until", 0.1, "--samples", 3, "-o", "quiet.nc")
    assert "leave the box" not in quiet.stderr
    long = ["--start", inside, "--temperature", 0.1, "--step", 50, "--until", 1000, "--samples", 3, "-o", "long.nc"]
    steep = call("simulate", "two.nc", *long)
    assert (steep.exit_code, "steps of 50 are unstable" in steep.stderr) == (2, True), steep.output


@pytest.mark.parametrize("name", ["asymmetric_quartic", "gene_circuit"])
def test_landscapes_of_files_without_a_study_are_drawn(name):
    from workbench.landscape.grid import grid

    model = systems.get(name)
    box = [(-2, 2)] if name == "asymmetric_quartic" else [(0, 2), (0, 2)]
    data, points = model.points(20, seed=0), wb.stationary_points(model, box)
    wb.save("mine.nc", data=data, landscape=grid(model, box), analysis={"stationary_points": points})
    done = call("plot", "mine.nc", "-o", "drawn")
    assert done.exit_code == 0, done.output
    with open("drawn/mine-landscape.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"
    (axes, *_) = wb.overview(results.read("mine.nc")).axes
    drawn = np.concatenate(
        [np.asarray(marks.get_offsets()) for marks in axes.collections if marks.get_label()[0] != "_"]
    )
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(points["x"].values[:, 0]))


def test_trajectories_are_polished_from_the_command_line():
    exported("mine.nc", count=6)
    small = ["--modes", 2, "--hidden", "3", "--members", 2, "--steps", 8, "--restarts", 1, "--workers", 1]
    done = call(
        "fit", "mine.nc", "--states", "a,b", "--match", "trajectory", *small, "--bootstrap", "--seed", 0, "--json"
    )
    assert done.exit_code == 0, done.output
    tree = results.read("mine-fit.nc")
    assert set(tree["fits"].children) == {"velocity", "trajectory"}
    loss = tree["fits/trajectory/history/validation_loss"].values
    assert (np.nanmin(loss, -1) < loss[:, 0]).all()
    assert json.loads(call("validate", "mine-fit.nc", "--json").stdout)
    assert tree["fits/trajectory"].attrs["match"] == '{"trajectory": 1.0}'


def test_padded_samples_are_dropped_on_request():
    x = np.random.default_rng(0).normal(size=(2, 4, 1))
    x[1, 2:] = np.nan
    xr.Dataset({"x": (("trajectory", "time", "state"), x)}, {"time": np.arange(4.0)}).to_netcdf("padded.nc")
    with pytest.raises(DatasetError, match="padded.nc: x holds 2 values that are not finite"):
        read_data("padded.nc")
    data = read_data("padded.nc", drop_missing=True)
    assert data["trajectory"].values.tolist() == [0, 0, 0, 0, 1, 1]
    assert data.attrs["dropped_samples"] == 2
    refused = call("validate", "padded.nc")
    assert refused.exit_code == 1
    assert "'state': 'x1'}; remove or repair such samples; when reading a file, --drop-missing" in refused.stderr
    assert json.loads(call("validate", "padded.nc", "--drop-missing", "--json").stdout)["sizes"]["sample"] == 6
    xr.Dataset({"x": (("sample", "state"), x[1])}).to_netcdf("points.nc")
    assert read_data("points.nc", drop_missing=True).sizes["sample"] == 2


def test_variables_that_may_be_the_states_are_named():
    size = ("trajectory", "time")
    plain = xr.Dataset({"GATA1": (size, np.ones((2, 3))), "PU1": (size, np.ones((2, 3)))}, {"time": [0.0, 1.0, 2.0]})
    plain.assign(dose=("trajectory", [1.0, 2.0])).to_netcdf("genes.nc")
    with pytest.raises(
        DatasetError, match=r"no 'x'. They hold: .*PU1, dose; name its states: states=\['GATA1', 'PU1'\]$"
    ):
        read_data("genes.nc")
    assert read_data("genes.nc", states=["GATA1", "PU1"]).sizes["state"] == 2


def test_unnamed_states_are_numbered_as_those_of_arrays():
    xr.Dataset({"x": (("sample", "state"), np.zeros((4, 2)))}).to_netcdf("unnamed.nc")
    assert read_data("unnamed.nc")["state"].values.tolist() == ["x1", "x2"]


@pytest.mark.parametrize("form", ["NETCDF3_64BIT", "NETCDF4"])
def test_plain_data_are_not_taken_for_a_damaged_result(form):
    dataset.points([1.0, 2.0]).to_netcdf("plain.nc", format=form)
    for command in ("analyse", "info"):
        done = call(command, "plain.nc")
        assert done.exit_code == 1
        assert "plain.nc holds plain data and no fit; fit them first: workbench fit plain.nc" in done.stderr


@pytest.mark.parametrize("content", [b"", b"text, not data\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(99), b"PK\x03\x04zip"])
def test_what_is_no_netcdf_is_refused(content):
    with open("odd.nc", "wb") as file:
        file.write(content)
    with pytest.raises(FileError, match="odd.nc is no readable netCDF file"):
        read_data("odd.nc")
    done = call("validate", "odd.nc")
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_damaged_result_is_not_taken_for_plain_data(small_fit):
    path = wb.save("fit.nc", fits=small_fit)
    assert dataset.kind_of(read_data(path)) == "trajectories"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(FileError, match="damaged"):
        read_data(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_with_noise_the_wells_are_right_and_the_error_bar_is_honest():
    inside = []
    for seed in range(10):
        exported("noisy.nc", noise=0.02, seed=seed)
        found = learn(read_data("noisy.nc", states=["a", "b"]), match="trajectory", modes=3, hidden=(5, 5), members=12,
                      restarts=1, bootstrap=True, seed=seed,
                      optimiser=wb.LevenbergMarquardt(steps=50, patience=8))  # fmt: skip
        points = found["analysis"]["stationary_points_summary"]
        wells = points.isel(point=((points["index"] == 0) & (points["count"] == 12)).values)
        assert wells.sizes["point"] == 2
        order = np.argsort(wells["x"].values[:, 0])
        np.testing.assert_allclose(wells["x"].values[order], WELLS, atol=0.02)
        away = np.abs(wells["x"].values[order] - WELLS) / wells["x_std"].values[order]
        inside.append((away < 2).all(-1))
    assert (np.mean(inside, axis=0) >= 0.8).all()
