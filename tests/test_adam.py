"""Adam: agreement with torch on the loss of Eq 7 (Jones et al., 2025), independent members, exact resumption."""

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.errors import FitError
from workbench.fitting.adam_training import Training
from workbench.fitting.task import Task
from workbench.losses.match import parsed

PAPER = wb.Initialisation(rho=(2.0,), weights="uniform", scaled=False)


def double_well(count=40, seed=0):
    x = np.random.default_rng(seed).uniform(-2, 2, (count, 1))
    split = ["train"] * (count - 10) + ["validation"] * 10
    return wb.dataset.points(x, potential=((x**2 - 1) ** 2)[:, 0], sigma=1.0, split=split)


def training(members=2, **settings):
    model = wb.LSEICNN(dim=1, modes=3, hidden=(4, 4))
    return training_of(model, np.random.SeedSequence(5).spawn(members), wb.Adam(every=10, **settings))


def training_of(model, seeds, settings):
    """Return the training of all members, which share one problem."""
    (problem,) = Task.of(model, double_well(), parsed("potential"), PAPER).problems(seeds)
    return Training(problem, settings)


def model_of(run):
    """Return the ensemble with the current weights."""
    run.problem.load(run.theta)
    return run.problem.model


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_a_step_is_that_of_eq_7_written_out():
    run = training(members=1, lr=1e-2, slow_rate=1e-3, penalty=0.1)
    model = model_of(run).member(0)
    data = double_well().isel(sample=slice(0, 30))
    x, y = torch.as_tensor(data["x"].values), torch.as_tensor(data["potential"].values)
    fast = [p for name, p in model.named_parameters() if name.startswith("convex")]
    groups = [{"params": fast, "lr": 1e-2}, {"params": [model.u, model.alpha], "lr": 1e-3}]
    optimiser = torch.optim.Adam(groups)
    for _ in range(10):
        optimiser.zero_grad()
        (((model.value(x) - y) ** 2).mean() + 0.1 * model.alpha.abs().sum()).backward()
        optimiser.step()
    run.advance(10)
    for name, values in model.state_dict().items():
        torch.testing.assert_close(model_of(run).member(0).state_dict()[name], values, rtol=1e-9, atol=1e-11)
    mse = ((model.value(x) - y) ** 2).mean().item()
    assert float(run.records[-1]["loss"][0]) == pytest.approx(mse, rel=1e-9)


def test_members_do_not_see_each_other():
    together = training(members=3)
    together.advance(20)
    seeds = np.random.SeedSequence(5).spawn(3)
    alone = training_of(wb.LSEICNN(dim=1, modes=3, hidden=(4, 4)), seeds[1:2], wb.Adam(every=10))
    alone.advance(20)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(model_of(together).value(x)[1], model_of(alone).value(x)[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("epochs", [1, 13, 20])
def test_going_on_from_a_checkpoint_is_going_on(tmp_path, epochs):
    options = {"match": "potential", "seed": 3, "members": 2, "init": PAPER, "progress": False}
    model, path = wb.LSEICNN(dim=1, modes=3, hidden=(4, 4)), tmp_path / "c.ckpt"
    whole = wb.fit(model, double_well(), optimiser=wb.Adam(epochs=40, every=10), **options)
    wb.fit(model, double_well(), optimiser=wb.Adam(epochs=epochs, every=10), checkpoint=path, **options)
    resumed = wb.fit(model, double_well(), optimiser=wb.Adam(epochs=40, every=10), checkpoint=path, **options)
    assert same(whole.ensemble, resumed.ensemble)
    assert whole.history.drop_vars("elapsed").equals(resumed.history.drop_vars("elapsed"))
    with pytest.raises(ValueError, match="is already at epoch 40, beyond epochs=30"):
        wb.fit(model, double_well(), optimiser=wb.Adam(epochs=30, every=10), checkpoint=path, **options)


def test_loss_falls_the_best_is_kept_and_the_penalty_moves_only_the_gauge():
    options = {"match": "potential", "seed": 1, "init": wb.Initialisation(rho=(1.0,)), "progress": False}
    fits = [
        wb.fit(
            wb.LSEICNN(dim=1, modes=3), double_well(), optimiser=wb.Adam(epochs=1000, lr=3e-2, slow_rate=1e-2,
            penalty=penalty, every=50), **options,
        )
        for penalty in (0.0, 0.03)
    ]  # fmt: skip
    for fit in fits:
        assert fit.error < 0.3
        assert float(fit.history["loss"][0, -1]) < 0.01 * float(fit.history["loss"][0, 0])
        kept = fit.history["validation_loss"].min()
        assert fit.error == pytest.approx(float(kept) ** 0.5, rel=1e-12)
        assert fit.history["step"].values.tolist() == list(range(0, 1001, 50))
    gates = [fit.history["gate"].values[0, -1] for fit in fits]
    assert (gates[1] < 0.9).all()
    assert (gates[1] > 1e-6).all()  # the published threshold would call them all active
    assert fits[1].history["active"].values[0, -1] == 3


def poison(run, members):
    """Let the loss of some members become NaN while `on` is True."""
    losses, on = run.problem._losses, [True]
    factor = torch.tensor(
        [torch.nan if k in members else 1.0 for k in range(len(run.step_factor))], dtype=torch.float64
    )
    run.problem._losses = lambda theta: losses(theta) * factor if on[0] else losses(theta)
    return on


def weights_of(run, member):
    return model_of(run).member(member).state_dict()


def test_a_member_that_is_not_finite_goes_back_and_the_others_do_not_notice():
    run, healthy = training(members=2), training(members=2)
    for each in (run, healthy):
        each.advance(10)
    before = weights_of(run, 1)
    on = poison(run, {1})
    run.advance(10)
    healthy.advance(10)
    assert run.epoch == 20
    assert run.step_factor.tolist() == [1.0, 0.5]
    assert all(torch.equal(v, before[k]) for k, v in weights_of(run, 1).items())
    on[0] = False
    run.advance(10)
    healthy.advance(10)
    assert all(torch.equal(v, weights_of(healthy, 0)[k]) for k, v in weights_of(run, 0).items())
    assert not all(torch.equal(v, before[k]) for k, v in weights_of(run, 1).items())
    on[0] = True
    for _ in range(8):
        run.advance(10)
    assert run.step_factor.tolist() == [1.0, 0.0]
    assert torch.isfinite(model_of(run).value(torch.zeros(1, 1, dtype=torch.float64))).all()
    assert all(torch.isfinite(one.model.value(torch.zeros(1, 1, dtype=torch.float64))) for one in run.learned())


def test_half_the_step_factor_is_half_the_step():
    one, two = training(members=1), training(members=1)
    start = weights_of(one, 0)["convex.V.0"].clone()
    two.step_factor[0] = 0.5
    one.advance(1)
    two.advance(1)
    whole, half = (weights_of(run, 0)["convex.V.0"] - start for run in (one, two))
    torch.testing.assert_close(half, whole / 2, rtol=1e-9, atol=1e-14)


def test_when_no_member_can_go_on_the_error_keeps_the_last_good_weights(tmp_path):
    run = training(members=2)
    poison(run, {0, 1})
    for _ in range(5):
        run.advance(10)
    with pytest.raises(FitError, match="the weights of every member became non-finite 6 times"):
        run.advance(10)
    assert run.epoch == 50
    assert torch.isfinite(model_of(run).value(torch.zeros(1, 1, dtype=torch.float64))).all()


def test_an_interrupt_leaves_the_state_before_the_epochs():
    run = training()
    run.advance(10)
    before, step, calls = {k: v.clone() for k, v in model_of(run).state_dict().items()}, run._step, []

    def interrupted():
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        step()

    run._step = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.advance(10)
    assert run.epoch == 10
    assert all(torch.equal(v, before[k]) for k, v in model_of(run).state_dict().items())
    assert {int(state["step"]) for state in run.optimiser.state_dict()["state"].values()} == {10}


def test_the_last_epochs_count_although_they_are_no_multiple():
    options = {"match": "potential", "seed": 3, "init": PAPER, "progress": False}
    model = wb.LSEICNN(dim=1, modes=3, hidden=(4, 4))
    short = wb.fit(model, double_well(), optimiser=wb.Adam(epochs=90, lr=1e-2, every=100), **options)
    assert short.history["step"].values.tolist() == [0, 90]
    assert short.error < float(short.history["validation_loss"][0, 0]) ** 0.5


def test_float32_stays_float32():
    model = wb.LSEICNN(dim=1, modes=2, dtype=torch.float32)
    fit = wb.fit(model, double_well(), match="potential", seed=0, optimiser=wb.Adam(epochs=5, every=5), progress=False)
    assert fit.model.dtype == torch.float32


def test_gradients_and_velocities_are_matched_too(circuit):
    data = circuit.trajectories(20, time=[0.0, 0.4], seed=1)
    optimiser = wb.Adam(epochs=300, lr=1e-2, every=50)
    fit = wb.fit(wb.LSEICNN(dim=2, modes=2, hidden=(6, 6)), data, match="velocity", seed=0, optimiser=optimiser)
    assert fit.error < 0.3
    assert fit.model.value(data["x"].values.reshape(-1, 2)).min() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer >= 1"),
        ({"every": 2.5}, "every must be an integer >= 1"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"penalty": -1e-4}, "penalty must be finite and >= 0"),
        ({"slow_rate": float("nan")}, "slow_rate must be finite and >= 0"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        wb.Adam(**bad)


def test_restarts_and_misplaced_checkpoints_are_refused(tmp_path):
    model = wb.LSEICNN(dim=1, modes=2)
    with pytest.raises(ValueError, match="got restarts=3: increase members instead"):
        wb.fit(model, double_well(), match="potential", restarts=3, optimiser=wb.Adam(epochs=1))
    with pytest.raises(ValueError, match="only fits by Adam can be resumed"):
        wb.fit(model, double_well(), match="potential", seed=0, checkpoint=tmp_path / "c.ckpt")
    short = {"match": "potential", "optimiser": wb.Adam(epochs=1)}
    with pytest.raises(wb.FileError, match="does not exist; create it first"):
        wb.fit(model, double_well(), seed=0, checkpoint=tmp_path / "no" / "c", **short)
    with pytest.raises(ValueError, match="a checkpoint needs a seed"):
        wb.fit(model, double_well(), checkpoint=tmp_path / "c.ckpt", **short)


@pytest.mark.filterwarnings("ignore:the largest number of modes tried, 2,")
def test_modes_are_chosen_with_adam_too():
    optimiser = wb.Adam(epochs=40, lr=3e-2, every=20)
    fit = wb.fit(
        wb.LSEICNN(dim=1, modes=2), double_well(), match="potential", modes="auto", seed=0, optimiser=optimiser
    )
    assert fit.scan.sizes["modes"] == 2


@pytest.mark.slow
def test_compiled_steps_agree():
    eager, compiled = training(), training(compiled=True)
    for run in (eager, compiled):
        run.advance(10)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(eager.model.value(x), compiled.model.value(x), rtol=1e-9, atol=1e-11)
