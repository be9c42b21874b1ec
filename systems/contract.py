"""What every system keeps: for the tests of this package, and for those of authors of their own.

    import systems
    systems.contract.check("double_well")       # AssertionError, and a sentence, for what is not kept
    systems.contract.check(DoubleWell(depth=2.0))

`check` runs the parts that apply: all systems are declared, potential systems have derivatives that are those of the
formula and repeat their data, symmetries leave the potential alone, networks count.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from systems.families.base import SYSTEMS, System
from systems.families.potential import PotentialSystem
from systems.families.reactions import ReactionNetwork
from workbench.errors import DatasetError

__all__ = ["check", "check_declared", "check_network", "check_potential", "check_potential_data"]


def check(system: System | str) -> None:
    """Raise `AssertionError`, with what was expected and what came, unless the system keeps its contract.

    A name stands for the registered system with its defaults.

    >>> import systems
    >>> systems.contract.check("gene_circuit")
    >>> systems.contract.check(systems.get("gene_circuit", b=0.1))
    """
    system = SYSTEMS[system]() if isinstance(system, str) else system
    check_declared(system)
    if isinstance(system, PotentialSystem):
        check_potential(system)
        check_potential_data(system)
    if isinstance(system, ReactionNetwork):
        check_network(system)


def check_declared(system: System) -> None:
    """Check that states and parameters are declared, and that the parameters rebuild the system."""
    assert system.dim > 0, f"{system.name} declares no states: state_space = (systems.State('x', …), …)"
    assert len(set(system.states)) == system.dim, f"{system.name} names a state twice: {system.states}"
    for name, parameter in system.declared().items():
        assert parameter["meaning"], f"{system.name}: the parameter {name} has no meaning; say it in a few words"
    assert type(system)(**system.model_dump()) == system, f"{system.name} is not rebuilt by its parameters"


def check_potential(system: PotentialSystem) -> None:
    """Check value, gradient and Hessian: shapes, and the derivatives by automatic differentiation."""
    import torch

    try:
        x = torch.as_tensor(system.points(7, seed=0)["x"].values).requires_grad_()
        value, gradient, hessian = system.value(x), system.gradient(x), system.hessian(x)
        system.value(np.zeros((2, 3, system.dim)) + x[0].detach().numpy())
    except DatasetError as error:  # no tensor, or of another shape
        raise AssertionError(str(error)) from None
    assert torch.isfinite(value).all(), f"{system.name}: the potential is not finite in its box: {value.tolist()}"
    (slope,) = torch.autograd.grad(value.sum(), x)
    _near(system, "gradient", gradient, slope, 1e-12, 1e-13)
    bend = [torch.autograd.grad(gradient[:, k].sum(), x, retain_graph=True)[0] for k in range(system.dim)]
    _near(system, "hessian", hessian, torch.stack(bend, -2), 1e-12, 1e-12)


def check_potential_data(system: PotentialSystem) -> None:
    """Check that samples repeat and stay in the box, and that trajectories are the gradient flow, downhill."""
    points = system.points(6, seed=3)
    _repeats(system, lambda seed: system.points(6, seed=seed))
    low, high = np.array(system.box).T
    x = points["x"].values
    assert ((x >= low) & (x <= high)).all(), f"{system.name}: samples leave the box {system.box}"
    runs = system.trajectories(3, time=[0.0, 0.1, 0.3], seed=3)
    _near(system, "start of trajectories", runs["x"].values[:, 0], x[:3], 1e-7, 0.0)
    _near(system, "velocity", runs["velocity"].values, -system.gradient(runs["x"].values), 1e-7, 0.0)
    told = json.loads(runs.attrs["parameters_json"])
    assert told == system.model_dump(), f"{system.name}: data say the parameters {told}"
    rise = np.diff(system.value(runs["x"].values), axis=1).max()
    assert rise <= 1e-12, f"{system.name}: the potential rises along trajectories, by {rise:.2g}"


def check_network(system: ReactionNetwork) -> None:
    """Check that trajectories of counts repeat, start where they should, and stay whole and not negative."""
    time = np.array([0.0, 0.01, 0.02]) * system.duration
    _repeats(system, lambda seed: system.trajectories(5, time=time, seed=seed))
    runs = system.trajectories(5, time=time, seed=3)
    x = runs["x"].values
    _near(system, "start", x[:, 0], np.broadcast_to(system.start(), (5, system.dim)), 0.0, 0.0)
    assert ((x >= 0) & (x == np.round(x))).all(), f"{system.name}: counts are not whole, or negative"
    assert json.loads(runs.attrs["parameters_json"]) == system.model_dump(), f"{system.name}: other parameters in data"
    assert "SSA" in runs.attrs["method"], f"{system.name}: data do not say how they were made"
    shape = system.propensities(x).shape
    assert shape == (5, 3, len(system.changes)), f"{system.name}: propensities have shape {shape}"
    assert system.rate(x).shape == x.shape, f"{system.name}: rate has shape {system.rate(x).shape}"


def _repeats(system: System, generate: Callable[[int], Any]) -> None:
    assert generate(3).identical(generate(3)), f"{system.name}: the same seed gives other data"
    assert not generate(3)["x"].equals(generate(4)["x"]), f"{system.name}: another seed gives the same data"


def _near(system: System, name: str, found: Any, expected: Any, rtol: float, atol: float) -> None:
    found, expected = (np.asarray(a.detach() if hasattr(a, "detach") else a) for a in (found, expected))
    away = np.abs(found - expected) - rtol * np.abs(expected)
    worst = float(away.max()) if away.size else 0.0
    assert worst <= atol, f"{system.name}: {name} differs from what was expected by {worst:.2g}, more than {atol:.2g}"
