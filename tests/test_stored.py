"""Models of a user's own: stored without registration, rebuilt if their class is there, refused before a fit if not."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import systems
import workbench as wb

QUICK = wb.PathTraining(steps=2, polish=0, every=2)


class Stiffened(wb.GeneralisedPlay):
    """A play model with a stiffness of its own, and a constructor of its own."""

    def __init__(self, invariants, stiffness, *, names=("a", "b"), **settings):
        super().__init__(invariants, **settings)
        self.stiffness, self.names = stiffness, names
        self.extra = nn.Parameter(torch.full((2, 1), float(stiffness), dtype=torch.float64))

    def energy(self, features, h):
        return super().energy(features, h) + self.extra.sum()


class Shifted(wb.LSEICNN):
    """A landscape with another value, and the constructor of its base."""

    def value(self, x):
        return super().value(x) + 1.0


class Elastic(wb.Material):
    """A material written from scratch: Ψ = (c/2) (tr E)², without internal variables or a network."""

    internal = 0

    def __init__(self, modulus=1.0):
        super().__init__()
        self.invariants = wb.Invariants()
        self.modulus = nn.Parameter(torch.tensor(float(modulus), dtype=torch.float64))

    def features(self, E, time):
        return {"x": self.invariants.value(E), "slope": self.invariants.gradient(E)}

    def states(self, features, start):
        return features["x"][..., :0]

    def gradients(self, features, h):
        trace = features["x"][..., :1]
        return torch.cat([self.modulus * trace, torch.zeros_like(features["x"][..., 1:])], -1), h

    def dissipated(self, features, h):
        return torch.zeros_like(features["x"][..., 0])

    def energy(self, features, h):
        return 0.5 * self.modulus * features["x"][..., 0] ** 2

    def initialise(self, rng, strain, stress, time):
        with torch.no_grad():
            self.modulus.fill_(rng.uniform(0.5, 1.5))


@pytest.fixture(scope="module")
def paths():
    return systems.get("rossi").paths(6, samples=8, seed=0)


def test_a_material_of_ones_own_comes_back(paths, tmp_path):
    model = Stiffened(wb.Invariants(axis=(1, 0, 0)), 2.5, names=("c", "d"), operators=2, hidden=(4,))
    fit = wb.fit(model, paths, match="stress", seed=0, restarts=1, optimiser=QUICK)
    again = wb.load(wb.save(tmp_path / "own.nc", fits=fit)).models["fit"]
    assert type(again) is Stiffened
    assert (again.stiffness, again.names, again.internal) == (2.5, ("c", "d"), 2)
    for one, other in zip(again.respond(paths.strain.values), fit.model.respond(paths.strain.values), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_material_from_scratch_is_fitted_and_comes_back(tmp_path):
    strain = np.random.default_rng(0).normal(0, 0.1, (6, 8, 6))
    strain[:, 0] = 0
    stress = 3.0 * strain[..., :3].sum(-1, keepdims=True) * np.array([1.0, 1, 1, 0, 0, 0])
    data = wb.dataset.paths(strain, stress=stress)
    steps = wb.PathTraining(steps=0, polish=20)
    fit = wb.fit(Elastic(), data, match="stress", seed=0, restarts=1, optimiser=steps)
    again = wb.load(wb.save(tmp_path / "own.nc", fits=fit)).models["fit"]
    assert float(again.modulus) == float(fit.model.modulus) == pytest.approx(3.0, rel=1e-6)


def test_a_landscape_of_ones_own_comes_back(tmp_path):
    x = np.linspace(-2, 2, 40)
    data = wb.dataset.points(x, potential=(x**2 - 1) ** 2, states=["q"])
    quick = wb.LevenbergMarquardt(steps=5, screening=2)
    fit = wb.fit(Shifted(1, 2, (4,)), data, match="potential", seed=0, members=2, restarts=1, optimiser=quick)
    result = wb.load(wb.save(tmp_path / "own.nc", fits=fit))
    assert type(result.ensembles["fit"]) is type(result.models["fit"]) is type(fit.model) is Shifted
    np.testing.assert_array_equal(result.models["fit"].value(x[:, None]), fit.model.value(x[:, None]))
    assert result.models["fit"].states == ("q",)


def test_arguments_that_no_file_can_hold_are_refused_before_the_fit(paths, tmp_path):
    model = Stiffened(wb.Invariants(), 1.0, names=object(), hidden=(4,))
    message = "the argument names of Stiffened is of the type object and cannot be stored"
    with pytest.raises(TypeError, match=message):
        wb.fit(model, paths, match="stress", seed=0, optimiser=QUICK)
    with pytest.raises(TypeError, match=message):
        wb.save(tmp_path / "own.nc", fits=model)


def test_half_written_materials_cannot_be_made():
    class Empty(wb.Material):
        pass

    with pytest.raises(TypeError, match="Can.t instantiate abstract class Empty .*dissipated.*energy.*features"):
        Empty()


def test_a_file_names_the_class_that_is_not_loaded_and_imports_nothing(tmp_path):
    path = wb.save(tmp_path / "own.nc", fits=Shifted(1, 2, (4,)))
    code = f"""
import sys, workbench as wb
try:
    wb.load({str(path)!r})
except wb.FileError as error:
    print(error)
print("test_stored" in sys.modules)
print(wb.load.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert f"of the class Shifted of the module {Shifted.__module__}, which is not loaded: import it" in done.stdout
    assert "False" in done.stdout
