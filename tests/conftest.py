"""One thread, fixed seeds, and landscapes shared by the tests."""

import sys

import numpy as np
import pytest
import torch

import systems
import workbench as wb
import workbench.losses.match  # noqa: F401  (defines all matches, before a test is left with its own alone)
from workbench import plugins
from workbench.losses.contract import MATCHES

torch.set_num_threads(1)

collect_ignore = ["plugins"]  # toys, which tests load as plug-ins


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def plugins_and_matches_of_the_test_alone():
    """Forget the plug-ins that a test loads, and the matches that it defines: another may use the same names."""
    loaded, matches = dict(plugins.LOADED), dict(MATCHES)
    yield
    for name in set(plugins.LOADED) - set(loaded):
        del plugins.LOADED[name]
        sys.modules.pop(name, None)
    MATCHES.clear()
    MATCHES.update(matches)


@pytest.fixture(scope="session")
def circuit():
    return systems.get("gene_circuit", b=1.0)


def random_model(seed=0, *, dim=2, modes=3, hidden=(5, 4), members=None, **options):
    """Return a model with a scattered start and scales that are not 1."""
    rng = np.random.default_rng(seed)
    model = wb.LSEICNN(dim=dim, modes=modes, hidden=hidden, members=members, **options)
    x = rng.uniform(-1, 3, (40, dim))
    model.set_scaling(x, potential=None, gradient=3 * np.sin(x))
    return model.initialise(wb.dataset.points(x, gradient=3 * np.sin(x)), rng, rho=2.0)


@pytest.fixture(scope="session")
def small_fit(circuit):
    """Return a quick fit of the circuit's velocities, good to a few percent."""
    data = circuit.trajectories(40, time=[0.0, 0.4], seed=1, spread="sobol")
    model = wb.LSEICNN(dim=2, modes=2, hidden=(6, 6))
    optimiser = wb.LevenbergMarquardt(steps=60, screening=15)
    return wb.fit(model, data, match="velocity", seed=0, members=2, restarts=2, optimiser=optimiser)
