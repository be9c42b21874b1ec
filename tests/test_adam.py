"""Adam on Eq 7: against torch's own on the formula written out, members on their own, resumed to the last bit."""

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.adam import Training
from workbench.task import FitError, Task

PAPER = wb.Start(rho=(2.0,), weights="uniform", scaled=False)


def double_well(count=40, seed=0):
    x = np.random.default_rng(seed).uniform(-2, 2, (count, 1))
    split = ["train"] * (count - 10) + ["validation"] * 10
    return wb.dataset.points(x, potential=((x**2 - 1) ** 2)[:, 0], sigma=1.0, split=split)


def training(members=2, **settings):
    model = wb.LSEICNN(dim=1, modes=3, hidden=(4, 4))
    task = Task.of(model, double_well(), {"potential": 1.0}, PAPER)
    return Training(task, np.random.SeedSequence(5).spawn(members), wb.Adam(every=10, **settings))


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_a_step_is_that_of_eq_7_written_out():
    run = training(members=1, rate=1e-2, slow_rate=1e-3, penalty=0.1)
    model = run.model.member(0)
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
        torch.testing.assert_close(run.model.member(0).state_dict()[name], values, rtol=1e-9, atol=1e-11)
    mse = ((model.value(x) - y) ** 2).mean().item()
    assert float(run.records[-1]["loss"][0]) == pytest.approx(mse, rel=1e-9)


def test_members_do_not_see_each_other():
    together = training(members=3)
    together.advance(20)
    seeds = np.random.SeedSequence(5).spawn(3)
    task = Task.of(wb.LSEICNN(dim=1, modes=3, hidden=(4, 4)), double_well(), {"potential": 1.0}, PAPER)
    alone = Training(task, seeds[1:2], wb.Adam(every=10))
    alone.advance(20)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(together.model.value(x)[1], alone.model.value(x)[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("epochs", [1, 13, 20])
def test_going_on_from_a_checkpoint_is_going_on(tmp_path, epochs):
    options = {"match": "potential", "seed": 3, "members": 2, "start": PAPER, "progress": False}
    model, path = wb.LSEICNN(dim=1, modes=3, hidden=(4, 4)), tmp_path / "c.ckpt"
    whole = wb.fit(model, double_well(), optimiser=wb.Adam(epochs=40, every=10), **options)
    wb.fit(model, double_well(), optimiser=wb.Adam(epochs=epochs, every=10), checkpoint=path, **options)
    resumed = wb.fit(model, double_well(), optimiser=wb.Adam(epochs=40, every=10), checkpoint=path, **options)
    assert same(whole.ensemble, resumed.ensemble)
    assert whole.history.drop_vars("elapsed").equals(resumed.history.drop_vars("elapsed"))
    with pytest.raises(ValueError, match="is at epoch 40 already, past 30"):
        wb.fit(model, double_well(), optimiser=wb.Adam(epochs=30, every=10), checkpoint=path, **options)


def test_loss_falls_the_best_is_kept_and_the_penalty_moves_only_the_gauge():
    options = {"match": "potential", "seed": 1, "start": wb.Start(rho=(1.0,)), "progress": False}
    fits = [
        wb.fit(
            wb.LSEICNN(dim=1, modes=3), double_well(), optimiser=wb.Adam(epochs=600, rate=1e-2, slow_rate=1e-2,
            penalty=penalty, every=50), **options,
        )
        for penalty in (0.0, 0.03)
    ]  # fmt: skip
    for fit in fits:
        assert fit.error < 0.3
        assert float(fit.history["loss"][0, -1]) < 0.01 * float(fit.history["loss"][0, 0])
        kept = fit.history["validation_loss"].min()
        assert fit.error == pytest.approx(float(kept) ** 0.5, rel=1e-12)
        assert fit.history["epoch"].values.tolist() == list(range(0, 601, 50))
    gates = [fit.history["gate"].values[0, -1] for fit in fits]
    assert (gates[1] < 0.9).all()
    assert (gates[1] > 1e-6).all()  # the published threshold would call them all active
    assert fits[1].history["active"].values[0, -1] == 3


def test_what_is_not_finite_is_undone_with_lower_rates(monkeypatch):
    run = training(members=2)
    run.advance(10)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    loss, poisoned = run.loss, [True]
    run.loss = lambda: loss() * (float("nan") if poisoned[0] else 1.0)
    run.advance(10)
    assert run.epoch == 10
    assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())
    assert [group["lr"] for group in run.optimiser.param_groups] == [5e-4, 5e-5]
    poisoned[0] = False
    run.advance(10)
    assert run.epoch == 20
    poisoned[0] = True
    for _ in range(5):
        run.advance(10)
    with pytest.raises(FitError, match="weights were not finite 6 times") as caught:
        run.advance(10)
    assert torch.isfinite(caught.value.model.value(torch.zeros(1, 1, dtype=torch.float64))).all()


def test_float32_stays_float32():
    model = wb.LSEICNN(dim=1, modes=2, dtype=torch.float32)
    fit = wb.fit(model, double_well(), match="potential", seed=0, optimiser=wb.Adam(epochs=5, every=5), progress=False)
    assert fit.model.dtype == torch.float32


def test_gradients_and_velocities_are_matched_too(circuit):
    data = circuit.trajectories(20, time=[0.0, 0.4], seed=1)
    optimiser = wb.Adam(epochs=300, rate=1e-2, every=50)
    fit = wb.fit(wb.LSEICNN(dim=2, modes=2, hidden=(6, 6)), data, match="velocity", seed=0, optimiser=optimiser)
    assert fit.error < 0.3
    assert fit.model.value(data["x"].values.reshape(-1, 2)).min() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number >= 1"),
        ({"every": 2.5}, "every must be a whole number >= 1"),
        ({"rate": 0.0}, "rate must be positive"),
        ({"penalty": -1e-4}, "penalty must be positive and finite"),
        ({"slow_rate": float("nan")}, "slow_rate must be positive and finite"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        wb.Adam(**bad)


def test_restarts_and_misplaced_checkpoints_are_refused(tmp_path):
    model = wb.LSEICNN(dim=1, modes=2)
    with pytest.raises(ValueError, match="ask for more members instead of restarts"):
        wb.fit(model, double_well(), match="potential", restarts=3, optimiser=wb.Adam(epochs=1))
    with pytest.raises(ValueError, match="only Adam's long fits can be resumed"):
        wb.fit(model, double_well(), match="potential", checkpoint=tmp_path / "c.ckpt")
    with pytest.raises(wb.FileError, match="does not exist; create it first"):
        wb.fit(model, double_well(), match="potential", optimiser=wb.Adam(epochs=1), checkpoint=tmp_path / "no" / "c")


@pytest.mark.slow
def test_compiled_steps_agree():
    eager, compiled = training(), training(compiled=True)
    for run in (eager, compiled):
        run.advance(10)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(eager.model.value(x), compiled.model.value(x), rtol=1e-9, atol=1e-11)
