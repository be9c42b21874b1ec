"""Fits to many samples: blocks of bounded memory, and subsamples that grow."""

import numpy as np
import pytest
import torch
from conftest import random_model

import workbench as wb
from workbench import dataset
from workbench.fitting import subsamples
from workbench.losses import least_squares
from workbench.losses.match import parsed


def problem_of(data, match, model=None):
    samples = dataset.flat(data)
    return parsed(match).problem(model or random_model(0), {"train": samples, "validation": samples})


@pytest.mark.parametrize("match", ["gradient", ["potential", "gradient"]])
def test_blocks_and_pieces_change_nothing(match, circuit, monkeypatch):
    data = circuit.points(150, seed=0)
    whole = problem_of(data, match)
    theta = whole.vector()
    r = whole.evaluate(theta)
    expected = whole.linearise(theta, r)
    monkeypatch.setattr(least_squares, "PIECE", 40)
    small = problem_of(data, match)
    small.memory = 20 * r.shape[1] * len(theta) * 8
    torch.testing.assert_close(small.evaluate(theta), r, rtol=1e-13, atol=1e-13)
    found = small.linearise(theta, r)
    torch.testing.assert_close(found.gram, expected.gram, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found.pull_back(r**2), expected.pull_back(r**2), rtol=1e-10, atol=1e-12)


def test_groups_of_nodes_may_be_split():
    x = np.random.default_rng(0).normal(0, 1, (60, 2))
    match = wb.match.Density(wb.Support({"x1": (-4, 4), "x2": (-4, 4)}, nodes=20), prior=0.3)
    samples = dataset.flat(wb.dataset.points(x))
    problem = match.problem(random_model(0), {"train": samples, "validation": samples})
    theta = problem.vector()
    evaluated = problem.evaluate(theta)
    whole = problem.linearise(theta, evaluated)
    problem.memory = 37 * len(theta) * 8
    split = problem.linearise(theta, evaluated)
    scale = float(whole.gram.abs().max())
    torch.testing.assert_close(split.gram, whole.gram, rtol=1e-10, atol=1e-12 * scale)
    torch.testing.assert_close(split.gradient, whole.gradient, rtol=1e-10, atol=1e-12)


def test_a_budget_too_small_for_one_block_is_named(circuit):
    data = circuit.points(30, seed=0)
    tiny = wb.LevenbergMarquardt(memory=1e-4)
    said = r"memory=0.0001 MiB is too small .* one sample with \d+ parameters takes .* MiB"
    with pytest.raises(ValueError, match=said):
        wb.fit(wb.LSEICNN(2, 2, (4,)), data, match="gradient", seed=0, restarts=1, optimiser=tiny)


def test_subsamples_estimate_the_loss(circuit):
    problem = problem_of(circuit.points(3000, seed=0), "gradient")
    theta = problem.vector()
    losses = [
        part.loss(part.evaluate(theta))
        for part in (problem.subset(1000, np.random.default_rng(seed)) for seed in range(20))
    ]
    each = problem.evaluate(theta).square().sum(-1)
    deviation = float(each.std() * 3000 / 1000**0.5)
    expected = problem.loss(problem.evaluate(theta))
    assert abs(np.mean(losses) - expected) < 4 * deviation / 20**0.5
    assert 0.3 * deviation < np.std(losses) < 2 * deviation
    whole = problem.subset(3000, np.random.default_rng(0))
    assert whole.loss(whole.evaluate(theta)) == pytest.approx(expected, rel=1e-12)


def test_a_fit_to_many_samples_begins_with_few(circuit, monkeypatch):
    monkeypatch.setattr(subsamples, "FIRST", 100)
    monkeypatch.setattr(subsamples, "PER_PARAMETER", 1)
    data = circuit.points(1200, seed=0)
    model, optimiser = wb.LSEICNN(2, 2, (4, 4)), wb.LevenbergMarquardt(steps=24, screening=4)
    fit = wb.fit(model, data, match="gradient", seed=0, restarts=2, optimiser=optimiser)
    history = fit.history.isel(member=0)
    samples = history["samples"].values
    assert sorted(set(samples)) == [100, 400, 960]
    assert (np.diff(samples) >= 0).all()
    assert (samples == 100).sum() <= 25
    for size in (100, 400, 960):
        own = history["loss"].values[samples == size]
        assert (np.diff(own) <= 0).all()
    again = wb.fit(model, data, match="gradient", seed=0, restarts=2, optimiser=optimiser)
    np.testing.assert_array_equal(again.history["loss"], fit.history["loss"])
    at, parts = fit.data["x"].values, fit.data["split"].values == "validation"
    predicted = fit.model.gradient(at[parts])
    observed = fit.data["gradient"].values
    spread = np.sqrt((observed[~parts] ** 2).mean(0))
    error = np.sqrt((((predicted - observed[parts]) / spread) ** 2).mean())
    assert fit.error == pytest.approx(error, rel=1e-9)
