"""Materials: exact steps, energy balance, derivatives against finite differences, and short fits."""

import numpy as np
import pytest
import torch
from torchdiffeq import odeint

import systems
import workbench as wb
from studies.rossi.metrics import refined
from workbench.dataset.tensors import SHEAR
from workbench.errors import DatasetError, SimulationError
from workbench.materials.generalised_play import clamp_scan
from workbench.potentials.convex import inverse_softplus

AXIS = wb.Invariants(axis=(1.0, 0.0, 0.0))
ROSSI = systems.get("rossi")
DATA = ROSSI.paths(12, loading="random", samples=30, seed=0)
E, S, TIME = DATA["strain"].values, DATA["stress"].values, DATA["time"].values
MODELS = {
    "play": lambda: wb.GeneralisedPlay(AXIS, operators=3, hidden=(4,)),
    "hardening play": lambda: wb.GeneralisedPlay(AXIS, operators=2, hardening=True, hidden=(4,)),
    "elastic": lambda: wb.GeneralisedPlay(wb.Invariants(), operators=0, hidden=(4,)),
    "node": lambda: wb.StateNODE(wb.Invariants(), internal=2, hidden=(4,), widths=(5, 5)),
    "node, rk4": lambda: wb.StateNODE(AXIS, internal=2, hidden=(4,), widths=(5,), method="rk4"),
    "rate-independent node": lambda: wb.StateNODE(AXIS, internal=3, hidden=(4,), widths=(5,), rate_independent=True),
}
PLAYS = ["play", "hardening play"]


def material(name, seed=0):
    model = MODELS[name]()
    model.initialise(np.random.default_rng(seed), E, S, TIME)
    return model.requires_grad_(False)


def true_play():
    """Return the play operator with the dissipative part of the Rossi material: q = −E₀:C:E + Δψ, b = H, k."""
    model = wb.GeneralisedPlay(AXIS, hidden=(4,)).requires_grad_(False)
    model.w.copy_(torch.tensor([[0.1 * 2 / 3, 0.1]]))
    model.d.fill_(0.006)
    model.b.copy_(inverse_softplus(torch.tensor([ROSSI.H], dtype=torch.float64)))
    model.k.copy_(inverse_softplus(torch.tensor([0.006], dtype=torch.float64)))
    return model


def test_scan_is_the_loop():
    rng = np.random.default_rng(0)
    low = torch.as_tensor(rng.uniform(-1, 1, (4, 37, 3)))
    high = low + torch.as_tensor(rng.uniform(0, 0.5, low.shape))
    h = start = torch.as_tensor(rng.uniform(-1, 1, (4, 3)))
    expected = []
    for t in range(37):
        h = torch.minimum(torch.maximum(h, low[:, t]), high[:, t])
        expected.append(h)
    torch.testing.assert_close(clamp_scan(low, high, start), torch.stack(expected, 1), rtol=0, atol=0)


def test_one_play_is_the_phase_of_rossi():
    """The play operator reproduces the phase fraction and the dissipation of the generator."""
    path = ROSSI.paths(30, loading="random", seed=5)
    response = true_play().respond(path["strain"].values)
    np.testing.assert_allclose(response.internal[..., 0], path["phase_fraction"], atol=1e-7)
    np.testing.assert_allclose(response.dissipation, path["dissipation"], atol=1e-9)
    assert path["phase_fraction"].max() > 0.9


@pytest.mark.parametrize("name", PLAYS)
def test_play_does_not_depend_on_steps_or_rate(name):
    model = material(name)
    coarse, fine = model.respond(E), model.respond(refined(E, 5), np.linspace(0, 7, 146))
    np.testing.assert_allclose(fine.internal[:, ::5], coarse.internal, atol=1e-12)
    np.testing.assert_allclose(fine.stress[:, ::5], coarse.stress, atol=1e-12)
    np.testing.assert_allclose(fine.dissipation.sum(-1), coarse.dissipation.sum(-1), atol=1e-14)
    assert np.ptp(coarse.internal) > 0.5


def imbalance(model, by):
    """Return the largest |W − ΔΨ − D| of some paths, refined by a factor, relative to the largest |D|."""
    fine = refined(E[:4], by)
    response = model.respond(fine)
    forces = response.stress
    work = (((forces[:, 1:] + forces[:, :-1]) / 2 * np.diff(fine, axis=1)) @ SHEAR).sum(-1)
    stored, lost = response.potential[:, -1] - response.potential[:, 0], response.dissipation.sum(-1)
    return np.abs(work - stored - lost).max() / np.abs(lost).max()


@pytest.mark.parametrize("name", [*PLAYS, "node", "node, rk4", "rate-independent node"])
def test_dissipation_is_the_work_that_is_not_stored(name):
    coarse, fine = (imbalance(material(name), by) for by in (20, 80))
    assert fine < 1e-3
    assert fine < coarse / 8


@pytest.mark.parametrize("name", PLAYS)
@pytest.mark.parametrize("by", [20, 80])
def test_dissipation_of_play_is_nonnegative(name, by):
    assert (material(name).respond(refined(E[:4], by)).dissipation >= 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_forces_are_derivatives_of_the_energy(name):
    model = material(name)
    strain = torch.as_tensor(E).requires_grad_()
    features = model.features(strain, torch.tensor(TIME).expand(len(E), -1))
    h = model.states(features, None).detach().requires_grad_()
    by_E, *by_h = torch.autograd.grad(model.energy(features, h).sum(), (strain, h) if model.internal else (strain,))
    torch.testing.assert_close(model._stress(features, h), by_E / torch.tensor(SHEAR), rtol=1e-10, atol=1e-12)
    for gradient in by_h:
        torch.testing.assert_close(model.gradients(features, h)[1], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_tangent_is_the_difference_of_responses(name):
    """At steps where no operator switches between rest and motion within the finite difference."""
    model, size, paths = material(name), 1e-6, E[:3, :8]
    tangent, h = model.tangent(paths, TIME[:8]), model.respond(paths, TIME[:8]).internal
    compared = 0
    for t in (1, 4, 7):
        for k in range(6):
            pair = paths[:, t - 1 : t + 1]
            sides = []
            for sign in (1, -1):
                moved = pair.copy()
                moved[:, 1, k] += sign * size
                sides.append(model.respond(moved, TIME[t - 1 : t + 1], start=h[:, t - 1]).stress[:, 1])
            middle = model.respond(pair, TIME[t - 1 : t + 1], start=h[:, t - 1]).stress[:, 1]
            smooth = np.abs(sides[0] + sides[1] - 2 * middle).max(-1) < 1e-3 * size
            expected = (sides[0] - sides[1]) / (2 * size)
            np.testing.assert_allclose(
                tangent[smooth, t, :, k], expected[smooth], rtol=1e-6, atol=1e-6 * np.abs(expected).max()
            )
            compared += smooth.sum()
    assert compared >= 50


@pytest.mark.parametrize("name", MODELS)
def test_tangent_is_finite_where_strain_rests(name):
    """Newton's method starts there; without a strain rate h rests, and the tangent is the elastic one."""
    model = material(name)
    held = np.concatenate([E, E[:, -1:]], 1)
    tangent = model.tangent(held)
    assert np.isfinite(tangent).all()
    if "rate-independent" in name:
        h = torch.as_tensor(model.respond(held).internal[:, -1])
        elastic = np.empty_like(tangent[:, -1])
        for k in range(6):
            sides = []
            for sign in (1, -1):
                at = torch.as_tensor(held[:, -1] + sign * 1e-5 * np.eye(6)[k])
                features = {"x": model.invariants.value(at), "slope": model.invariants.gradient(at)}
                sides.append(model._stress(features, h).numpy())
            elastic[..., k] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(tangent[:, -1], elastic, rtol=1e-6, atol=1e-7)


def test_tangent_of_an_elastic_material_is_symmetric():
    tangent = material("elastic").tangent(E) / SHEAR
    np.testing.assert_allclose(tangent, np.swapaxes(tangent, -1, -2), atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_paths_can_be_taken_in_pieces_and_one_at_a_time(name):
    model = material(name)
    whole = model.respond(E, TIME)
    first = model.respond(E[:, :11], TIME[:11])
    second = model.respond(E[:, 10:], TIME[10:], start=first.internal[:, -1])
    np.testing.assert_allclose(second.stress, whole.stress[:, 10:], atol=1e-13)
    np.testing.assert_allclose(second.dissipation[:, 1:], whole.dissipation[:, 11:], atol=1e-13)
    alone = model.respond(torch.as_tensor(E[3]), torch.tensor(TIME))
    np.testing.assert_allclose(alone.stress.numpy(), whole.stress[3], atol=1e-13)


def test_operators_start_in_sequence():
    """Each starts to move where the one before it ends, in both directions, so that together they are one operator."""
    model = wb.GeneralisedPlay(AXIS, operators=4, hidden=(4,))
    model.initialise(np.random.default_rng(2), E, S, TIME)
    h = model.requires_grad_(False).respond(E).internal
    assert ((1 - h[..., :-1]) * h[..., 1:]).max() < 1e-9
    assert (np.ptp(h, axis=(0, 1)) == 1).any()


@pytest.mark.parametrize("name", PLAYS)
@pytest.mark.parametrize("parts", [1, 3])
def test_divided_operators_are_the_same_material(name, parts):
    whole = material(name)
    divided = whole.divided(parts).requires_grad_(False)
    assert divided.internal == parts * whole.internal
    before, after = whole.respond(E), divided.respond(E)
    assert before.dissipation.sum() > 0
    for quantity in ("stress", "dissipation", "potential"):
        np.testing.assert_allclose(getattr(after, quantity), getattr(before, quantity), atol=1e-12, err_msg=quantity)
    h = after.internal.reshape(*E.shape[:2], whole.internal, parts)
    np.testing.assert_allclose(h.mean(-1), before.internal, atol=1e-12)


def test_fits_go_on_from_a_model():
    model = material("play").divided(2)
    kept = wb.PathTraining(steps=0, polish=0)
    fit = wb.fit(model, DATA, match="stress", seed=0, warm_start=True, optimiser=kept)
    np.testing.assert_array_equal(fit.model.respond(E).stress, model.respond(E).stress)
    assert fit.settings["warm_start"] is True
    assert "no step improved on the start" in repr(fit)
    longer = wb.fit(
        model, DATA, match="stress", seed=0, warm_start=True, optimiser=wb.PathTraining(steps=20, polish=20)
    )
    assert longer.error < fit.error
    assert "no step improved" not in repr(longer)
    for wrong, message in (
        ({"init": wb.Initialisation()}, "init does not apply to a material"),
        ({"restarts": 2}, "omit modes, restarts and members"),
    ):
        with pytest.raises(ValueError, match=message):
            wb.fit(model, DATA, match="stress", **{"warm_start": True} | wrong)


def test_views_of_arrays_are_paths_too():
    model = material("play")
    np.testing.assert_array_equal(model.respond(E[:, ::-1]).stress, model.respond(E[:, ::-1].copy()).stress)


@pytest.mark.parametrize("name", ["play", "node"])
def test_strain_of_another_precision_is_taken(name):
    model, single = material(name), torch.as_tensor(E, dtype=torch.float32)
    np.testing.assert_array_equal(model.respond(single, TIME).stress, model.respond(single.numpy(), TIME).stress)
    assert model.respond(torch.zeros(1, 3, 6, dtype=torch.int64)).stress.dtype == torch.float64


def test_only_the_published_node_feels_the_rate():
    slow = np.sqrt(TIME) * 3
    for name, free in (("node", False), ("rate-independent node", True)):
        model = material(name)
        gap = np.abs(model.respond(E, slow).stress - model.respond(E, TIME).stress).max()
        assert (gap < 1e-12) == free


@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_node_is_the_integral_of_its_equation(method):
    """Against torchdiffeq on dḣ/dt with strain interpolated in time, at a fine step."""
    model = wb.StateNODE(wb.Invariants(), internal=2, hidden=(4,), widths=(5,), method=method)
    model.initialise(np.random.default_rng(1), E, S, TIME)
    model.requires_grad_(False)
    paths, time = torch.as_tensor(E[:2, :6]), torch.tensor(TIME[:6])

    def rate(t, h):
        k = min(int(torch.searchsorted(time, t, right=True)) - 1, 4)
        D = (paths[:, k + 1] - paths[:, k]) / (time[k + 1] - time[k])
        at = paths[:, k] + (t - time[k]) * D
        known = torch.cat([model.invariants.value(at), model.invariants.value(D), model.invariants.joint(at, D)], -1)
        z = torch.cat([(known - model.input_shift) / model.input_scale, h], -1)
        return (torch.tanh(z @ model.W[0].mT + model.b[0]) @ model.W[1].mT + model.b[1]) / model.pace

    h = odeint(rate, torch.zeros(2, 2, dtype=torch.float64), time, method=method, options={"perturb": True})
    np.testing.assert_allclose(model.respond(paths, time).internal, h.movedim(0, 1), atol=1e-12)


def test_blow_up_is_named_by_trajectory_and_step():
    model = material("node")
    model.b[-1].fill_(1e6)
    still = np.zeros((3, 5, 6))
    with pytest.raises(SimulationError, match="internal variables of trajectory 0 blow up in step 2"):
        model.respond(still, np.array([0.0, 1e-3, 1.0, 2.0, 3.0]) * float(model.pace))


def test_bad_paths_are_refused():
    model = material("play")
    for strain in (np.zeros((4, 1, 6)), np.zeros((4, 5, 3)), np.zeros(6), np.zeros((4, 5, 3, 3))):
        with pytest.raises(DatasetError, match="strain has shape .* expected .* at least two samples"):
            model.respond(strain)
    with pytest.raises(DatasetError, match=r"strain is not finite at \[0, 2, 1\]"):
        model.respond(np.where(np.arange(60).reshape(2, 5, 6) == 13, np.nan, 0.0))
    with pytest.raises(DatasetError, match="expected 5 finite, strictly increasing times"):
        model.respond(np.zeros((1, 5, 6)), np.zeros(5))
    with pytest.raises(DatasetError, match=r"start has shape \(1, 2\); expected \(1, 3\)"):
        model.respond(np.zeros((1, 5, 6)), start=np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wb.GeneralisedPlay(AXIS, operators=-1), "operators must be an integer >= 0"),
        (lambda: wb.StateNODE(AXIS, internal=0), "internal must be an integer >= 1"),
        (lambda: wb.StateNODE(AXIS, method="dopri5"), "method must be one of euler, midpoint, rk4"),
        (lambda: wb.PathTraining(batch=0), "batch must be an integer >= 1"),
        (lambda: wb.PathTraining(lr=0.0), "lr must be positive"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


QUICK = wb.PathTraining(steps=80, polish=80, screening=20, every=10)
CYCLES = ROSSI.paths(40, loading="compression", samples=50, seed=1)


@pytest.fixture(scope="module")
def fitted():
    return wb.fit(wb.GeneralisedPlay(AXIS), CYCLES, match="stress", seed=0, optimiser=QUICK)


def test_play_learns_the_stress_and_its_dissipation(fitted):
    """The error is far below that of any elastic material, about 0.5; dissipation was not part of the training data."""
    unseen = ROSSI.paths(40, loading="compression", seed=2)
    response = fitted.model.respond(unseen["strain"].values)
    error = (response.stress - unseen["stress"].values)[..., :3]
    assert np.sqrt((error**2).mean()) / unseen["stress"].values[..., :3].std() < 0.05
    assert response.dissipation.sum() == pytest.approx(float(unseen["dissipation"].sum()), rel=0.05)
    assert fitted.error < 0.05


def test_fit_repeats_and_records(fitted):
    again = wb.fit(wb.GeneralisedPlay(AXIS), CYCLES, match="stress", seed=0, optimiser=QUICK)
    assert again.history.drop_vars("elapsed").identical(fitted.history.drop_vars("elapsed"))
    for one, other in zip(again.model.parameters(), fitted.model.parameters(), strict=True):
        assert torch.equal(one, other)
    history = fitted.history
    assert (np.diff(history["best"].values[0]) <= 0).all()
    assert history["step"].values[-1] <= 160
    assert fitted.restarts.sizes["restart"] == 2
    assert (fitted.data["split"] == "validation").sum() == 8
    assert fitted.match == wb.match.Stress()
    assert not any(p.requires_grad for p in fitted.model.parameters())


@pytest.mark.parametrize(("adam", "polish"), [(30, 0), (0, 30), (7, 0), (0, 7)])
def test_no_step_is_lost_between_evaluations(adam, polish):
    steps = wb.PathTraining(steps=adam, polish=polish, every=20)
    fit = wb.fit(material("play"), CYCLES, match="stress", seed=0, warm_start=True, optimiser=steps)
    assert fit.history["step"].values.tolist() == ([0, 20, 30] if adam + polish == 30 else [0, 7])
    assert (np.diff(fit.history["loss"].values[0]) < 0).all()


def test_elastic_material_learns_a_frozen_phase():
    data = systems.get("rossi", frozen=0.5).paths(20, samples=25, seed=3)
    fit = wb.fit(wb.GeneralisedPlay(AXIS, operators=0), data, match="stress", seed=0, restarts=1, optimiser=QUICK)
    assert fit.error < 0.01


def test_elastic_material_is_scored():
    scores = wb.score(material("elastic"), DATA)
    assert float(scores["stress_relative_error"]) > 0
    assert "internal_state" not in wb.predict(material("elastic"), DATA)


def test_padding_is_not_learned():
    """Samples that pad a shorter path do not enter the loss."""
    short = [E[k, : 30 - 2 * k] for k in range(8)]
    data = ROSSI.paths(strain=short)
    wrong = data.copy(deep=True)
    wrong["stress"] = data["stress"].where(data["valid"], 100.0)
    steps = wb.PathTraining(steps=5, polish=0, every=5)
    fits = [wb.fit(MODELS["play"](), d, match="stress", seed=0, restarts=1, optimiser=steps) for d in (data, wrong)]
    np.testing.assert_array_equal(fits[0].history["validation_loss"], fits[1].history["validation_loss"])


def test_loss_is_its_definition():
    """Squares of all nine tensor entries, relative to the spread or to the noise level, and weighted."""
    model, roles = material("play"), np.repeat(["train", "validation"], [8, 4])
    rng = np.random.default_rng(0)
    sigma, weight = rng.uniform(0.01, 0.1, (2, 12, 30))
    residual = model.respond(E, TIME).stress - S
    spread = (S[:8].reshape(-1, 6).var(0) * SHEAR).sum()
    squares = (residual**2) @ SHEAR / spread
    noisy = ((residual / sigma[..., None]) ** 2).mean(-1)
    steps = wb.PathTraining(steps=0, polish=0)
    for given, each, factor in (
        ({}, squares, np.ones((12, 30))),
        ({"sigma": sigma}, noisy, np.ones((12, 30))),
        ({"weight": weight}, squares, weight),
        ({"sigma": sigma, "weight": weight}, noisy, weight),
    ):
        data = wb.dataset.paths(E, TIME, stress=S, split=roles, **given)
        history = wb.fit(model, data, match="stress", seed=0, warm_start=True, optimiser=steps).history
        for name, part in (("loss", slice(8)), ("validation_loss", slice(8, None))):
            expected = (each[part] * factor[part]).sum() / factor[part].sum()
            assert float(history[name][0, 0]) == pytest.approx(expected, rel=1e-12), (name, given.keys())


@pytest.mark.parametrize(("adam", "polish"), [(5, 0), (0, 5)])
def test_best_weights_on_held_out_paths_are_kept(fitted, adam, polish):
    """The training paths are twice as stiff as the validation paths, so that every step raises the validation loss."""
    data = CYCLES.assign_coords(split=fitted.data["split"])
    train = data["split"] == "train"
    data["stress"] = data["stress"] * (1.0 + train)
    steps = wb.PathTraining(steps=adam, polish=polish, every=5)
    fit = wb.fit(fitted.model, data, match="stress", seed=0, warm_start=True, optimiser=steps)
    best, last = fit.history["validation_loss"].values[0]
    assert last > 2 * best
    held_out, spread = data.isel(trajectory=~train.values), data["stress"].values[train.values].reshape(-1, 6).var(0)
    residual = (fit.model.respond(held_out["strain"].values).stress - held_out["stress"].values) ** 2 @ SHEAR
    assert residual.mean() / (spread * SHEAR).sum() == pytest.approx(best, rel=1e-9)


def test_polishing_begins_at_the_best_weights(fitted):
    steps = wb.PathTraining(steps=5, polish=1, lr=0.5, every=5)
    history = wb.fit(fitted.model, CYCLES, match="stress", seed=0, warm_start=True, optimiser=steps).history
    first, wild, polished = history["loss"].values[0]
    assert wild > 4 * first
    assert polished < first


def test_best_start_is_continued():
    steps = wb.PathTraining(steps=10, polish=0, screening=5, every=5)
    fit = wb.fit(MODELS["play"](), DATA, match="stress", seed=0, restarts=4, optimiser=steps)
    screened = fit.restarts["restart_loss"].values[0]
    assert len(set(screened)) == 4
    assert float(fit.history["best"].sel(step=5)[0]) == screened.min()


@pytest.fixture
def adam(monkeypatch):
    """Return the learning rate and the norm of the gradient at every step that Adam takes."""
    taken, step = [], torch.optim.Adam.step

    def recorded(self, *given):
        (group,) = self.param_groups
        gradients = [p.grad.ravel() for p in group["params"] if p.grad is not None]
        taken.append((group["lr"], float(torch.cat(gradients).norm())))
        return step(self, *given)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    return taken


def test_learning_rate_falls_along_a_cosine_and_gradients_are_clipped(adam):
    steps = wb.PathTraining(steps=20, polish=0, lr=0.01, clip=1e-3, every=5)
    wb.fit(MODELS["play"](), DATA, match="stress", seed=0, restarts=1, optimiser=steps)
    rates, norms = np.array(adam).T
    np.testing.assert_allclose(rates, 0.005 * (1 + np.cos(np.pi * np.arange(20) / 20)))
    np.testing.assert_allclose(norms, 1e-3, rtol=1e-2)


def test_training_that_is_not_finite_rolls_back(monkeypatch, adam):
    """Step 8 fails: step 9 starts where step 6 did, after the last evaluation, with half the learning rate."""
    model, weights = MODELS["play"](), []
    forward = type(model).forward

    def sometimes(self, features):
        stress = forward(self, features)
        if not torch.is_grad_enabled():
            return stress
        weights.append(self.b.detach().clone())
        return stress * np.nan if len(weights) == 8 else stress

    monkeypatch.setattr(type(model), "forward", sometimes)
    steps = wb.PathTraining(steps=20, polish=0, lr=0.01, every=5)
    fit = wb.fit(model, DATA, match="stress", seed=0, restarts=1, optimiser=steps)
    assert np.isfinite(fit.history["loss"]).all()
    assert torch.equal(weights[8], weights[5])
    assert not torch.equal(weights[8], weights[7])
    k = np.delete(np.arange(20), 7)
    np.testing.assert_allclose([rate for rate, _ in adam], 0.005 * (1 + np.cos(np.pi * k / 20)) / (1 + (k > 7)))


class Fragile(wb.GeneralisedPlay):
    """A generalised play whose internal variables are NaN beyond some strain, after some calls."""

    calls = 0

    def states(self, features, start):
        Fragile.calls += 1
        h = super().states(features, start)
        return torch.where((features["x"][..., :1] > 5) & (Fragile.calls > self.good), torch.nan, h)


@pytest.mark.parametrize(
    ("good", "step"),
    [(0, "the starting point is not finite"), (8, "step 12 of Adam: loss or gradient not finite 7 times")],
)
def test_training_that_cannot_be_finite_names_trajectory_and_step(good, step):
    wild = E.copy()
    wild[7, 12:] = 2.0
    data = wb.dataset.paths(wild, TIME, stress=S, split=["train"] * 9 + ["validation"] * 3)
    model = Fragile(AXIS, hidden=(4,))
    Fragile.calls, model.good = 0, good
    with pytest.raises(wb.FitError, match=f"{step}.*trajectory 7 blows up at sample 12"):
        wb.fit(model, data, match="stress", seed=0, restarts=1, optimiser=wb.PathTraining(steps=100, polish=0, every=5))


def test_mismatched_requests_are_refused(circuit):
    play, landscape = MODELS["play"](), wb.LSEICNN(dim=2, modes=2)
    with pytest.raises(
        ValueError, match="a material requires match='stress'; got GeneralisedPlay and match='potential'"
    ):
        wb.fit(play, DATA, match="potential")
    with pytest.raises(ValueError, match="match='stress' requires a material .* got LSEICNN"):
        wb.fit(landscape, DATA, match="stress")
    with pytest.raises(ValueError, match="PathTraining fits materials, not LSEICNN: use workbench.LevenbergMarquardt"):
        wb.fit(landscape, circuit.points(9, seed=0), match="potential", optimiser=wb.PathTraining())
    with pytest.raises(ValueError, match="members does not apply to a material"):
        wb.fit(play, DATA, match="stress", members=3)
    with pytest.raises(DatasetError, match="the data are strain paths: fit a material to them with match='stress'"):
        wb.fit(landscape, DATA, match="potential")
    with pytest.raises(DatasetError, match="needs paths with strain"):
        wb.fit(play, circuit.points(5, seed=0).assign(stress=("sample", np.zeros(5))), match="stress")
    with pytest.raises(DatasetError, match="hold no 'stress'"):
        wb.fit(play, DATA.drop_vars("stress"), match="stress")


def test_paths_without_information_are_refused_by_name():
    still = np.zeros((5, 4, 6))
    with pytest.raises(DatasetError, match="stress of all training paths is 0: there is nothing to learn"):
        wb.fit(MODELS["play"](), wb.dataset.paths(still, stress=still), match="stress", seed=0)
    halves = DATA.assign_coords(split=("time", np.repeat(["train", "validation"], 15)))
    with pytest.raises(DatasetError, match=r"split of paths must mark whole trajectories, .* dimensions \('time',\)"):
        wb.fit(MODELS["play"](), halves, match="stress")


@pytest.mark.parametrize("name", MODELS)
def test_strain_that_rests_can_be_fitted(name):
    data = wb.dataset.paths(np.zeros((5, 4, 6)), stress=np.ones((5, 4, 6)) * [1, 1, 1, 0, 0, 0])
    steps = wb.PathTraining(steps=20, polish=0)
    fit = wb.fit(MODELS[name](), data, match="stress", seed=0, restarts=1, optimiser=steps)
    assert np.isfinite(fit.history["loss"]).all()


def test_scores_are_those_of_the_stress(fitted):
    data = ROSSI.paths(9, loading="compression", samples=40, seed=4)
    predicted, scores = wb.predict(fitted.model, data), wb.score(fitted.model, data)
    response = fitted.model.respond(data["strain"].values)
    np.testing.assert_array_equal(predicted["stress"], response.stress)
    residual = (response.stress - data["stress"].values)[..., :3]
    spread = data["stress"].values[..., :3].std((0, 1))
    np.testing.assert_allclose(scores["stress_relative_rmse"][:3], np.sqrt((residual**2).mean((0, 1))) / spread)
    pooled = np.sqrt((spread**2).mean())
    assert float(scores["stress_relative_error"]) == pytest.approx(np.sqrt((residual**2).mean()) / pooled)
    assert float(scores["stress_worst"]) == pytest.approx(np.abs(residual).max() / pooled)
    by_part = wb.score(fitted.model, fitted.data)
    assert list(by_part["part"].values) == ["train", "validation"]
    assert float(by_part["stress_relative_error"].sel(part="validation")) == pytest.approx(fitted.error, rel=0.05)
    short = ROSSI.paths(strain=[data["strain"].values[0], data["strain"].values[1, :7]])
    whole = wb.score(fitted.model, data.isel(trajectory=[0]))["stress_rmse"].values ** 2 * 40
    part = wb.score(fitted.model, data.isel(trajectory=[1], time=slice(7)))["stress_rmse"].values ** 2 * 7
    np.testing.assert_allclose(
        wb.score(fitted.model, short)["stress_rmse"] ** 2 * 47, whole + part, rtol=1e-9, atol=1e-20
    )
