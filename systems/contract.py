"""The contract of systems, for the tests of this package and of users' own systems.

    import systems
    systems.contract.check("double_well")       # AssertionError with an explanation if the contract is broken
    systems.contract.check(DoubleWell(depth=2.0))

`check` runs the parts that apply. Every system declares its states and parameters. The derivatives of a potential
system are those of its formula, its data are reproducible, and its trajectories run downhill. The counts of a reaction
network are non-negative integers.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from systems.families.potential import PotentialSystem
from systems.families.reactions import ReactionNetwork
from systems.registry import SYSTEMS
from systems.system import System
from workbench.errors import DatasetError

__all__ = ["check", "check_declared", "check_network", "check_potential", "check_potential_data"]


def check(system: System | str) -> None:
    """Check that a system keeps the contract of its family.

    Parameters
    ----------
    system : System or str
        The system, or the name of a registered system, which is checked with its default parameters.

    Raises
    ------
    AssertionError
        If the contract is broken; the message states what was expected and what was found.
    KeyError
        If no system has this name.

    Examples
    --------
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
    """Check that states and parameters are declared, and that a system is rebuilt from its parameters.

    Parameters
    ----------
    system : System
        The system.

    Raises
    ------
    AssertionError
        If one of these does not hold.

    Examples
    --------
    >>> import systems
    >>> check_declared(systems.get("rossi"))
    """
    assert system.dim > 0, f"{system.name} declares no states; set state_space = (systems.State('x', …), …)"
    assert len(set(system.states)) == system.dim, f"the state names of {system.name} are not unique: {system.states}"
    for name, parameter in system.declared().items():
        assert parameter["meaning"], f"{system.name}: the parameter {name} has no meaning; describe it in a few words"
    assert type(system)(**system.model_dump()) == system, f"{system.name} is not rebuilt from its parameters"


def check_potential(system: PotentialSystem) -> None:
    """Check the shapes of Ψ, ∇Ψ and ∇²Ψ, and the derivatives against automatic differentiation.

    Parameters
    ----------
    system : PotentialSystem
        The system.

    Raises
    ------
    AssertionError
        If a shape or a derivative is wrong, or Ψ is not finite in the box.

    Examples
    --------
    >>> import systems
    >>> check_potential(systems.get("muller_brown"))
    """
    import torch

    try:
        x = torch.as_tensor(system.points(7, seed=0)["x"].values).requires_grad_()
        value, gradient, hessian = system.value(x), system.gradient(x), system.hessian(x)
        system.value(np.zeros((2, 3, system.dim)) + x[0].detach().numpy())
    except DatasetError as error:  # not a tensor, or of the wrong shape
        raise AssertionError(str(error)) from None
    assert torch.isfinite(value).all(), (
        f"{system.name}: the potential is not finite everywhere in the box: {value.tolist()}"
    )
    (expected,) = torch.autograd.grad(value.sum(), x)
    width = torch.as_tensor(np.diff(system.box)[:, 0])  # of the box: what is compared is in units of it
    size = float((expected * width).abs().max())
    _near(system, "gradient", gradient * width, expected * width, 1e-12, 1e-13 * size)
    rows = [torch.autograd.grad(gradient[:, k].sum(), x, retain_graph=True)[0] for k in range(system.dim)]
    unit, expected = width[:, None] * width, torch.stack(rows, -2)
    size = float((expected * unit).abs().max())
    _near(system, "hessian", hessian * unit, expected * unit, 1e-12, 1e-12 * size)


def check_potential_data(system: PotentialSystem) -> None:
    """Check that samples are reproducible and in the box, and that trajectories follow −∇Ψ downhill.

    Parameters
    ----------
    system : PotentialSystem
        The system.

    Raises
    ------
    AssertionError
        If one of these does not hold.

    Examples
    --------
    >>> import systems
    >>> check_potential_data(systems.get("asymmetric_quartic"))
    """
    points = system.points(6, seed=3)
    _reproducible(system, lambda seed: system.points(6, seed=seed))
    low, high = np.array(system.box).T
    x = points["x"].values
    assert ((x >= low) & (x <= high)).all(), f"{system.name}: samples lie outside the box {system.box}"
    runs = system.trajectories(3, time=np.array([0.0, 0.01, 0.03]) * system.duration, seed=3)
    _near(system, "start of trajectories", runs["x"].values[:, 0], x[:3], 1e-7, 0.0)
    _near(system, "velocity", runs["velocity"].values, -system.gradient(runs["x"].values), 1e-7, 0.0)
    recorded = json.loads(runs.attrs["parameters_json"])
    assert recorded == system.model_dump(), f"{system.name}: the data record wrong parameters, {recorded}"
    psi = system.value(runs["x"].values)
    rise, rounding = np.diff(psi, axis=1).max(), 1e-12 * np.ptp(psi) + 16 * np.finfo(float).eps * np.abs(psi).max()
    assert rise <= rounding, f"{system.name}: the potential increases along a trajectory, by {rise:.2g}"


def check_network(system: ReactionNetwork) -> None:
    """Check that trajectories of counts are reproducible, start at `start()`, and are non-negative integers.

    Parameters
    ----------
    system : ReactionNetwork
        The network.

    Raises
    ------
    AssertionError
        If one of these does not hold.

    Examples
    --------
    >>> import systems
    >>> check_network(systems.get("schlogl"))
    """
    time = np.array([0.0, 0.01, 0.02]) * system.duration
    _reproducible(system, lambda seed: system.trajectories(5, time=time, seed=seed))
    runs = system.trajectories(5, time=time, seed=3)
    x = runs["x"].values
    _near(system, "start", x[:, 0], np.broadcast_to(system.start(), (5, system.dim)), 0.0, 0.0)
    assert ((x >= 0) & (x == np.round(x))).all(), f"{system.name}: counts are not non-negative integers"
    recorded = json.loads(runs.attrs["parameters_json"])
    assert recorded == system.model_dump(), f"{system.name}: the data record wrong parameters, {recorded}"
    assert "SSA" in runs.attrs["method"], f"{system.name}: the data do not record how they were generated"
    shape = system.propensities(x).shape
    assert shape == (5, 3, len(system.changes)), f"{system.name}: propensities have shape {shape}"
    assert system.rate(x).shape == x.shape, f"{system.name}: rate has shape {system.rate(x).shape}"


def _reproducible(system: System, generate: Callable[[int], Any]) -> None:
    """Check that the same seed gives the same data, and another seed different data."""
    assert generate(3).identical(generate(3)), f"{system.name}: the same seed gives different data"
    assert not generate(3)["x"].equals(generate(4)["x"]), f"{system.name}: different seeds give the same data"


def _near(system: System, name: str, found: Any, expected: Any, rtol: float, atol: float) -> None:
    """Check that |found − expected| ≤ atol + rtol |expected|."""
    found, expected = (np.asarray(a.detach() if hasattr(a, "detach") else a) for a in (found, expected))
    excess = np.abs(found - expected) - rtol * np.abs(expected)
    worst = float(excess.max()) if excess.size else 0.0
    assert worst <= atol, f"{system.name}: {name} differs from its expected value by {worst:.2g}, more than {atol:.2g}"
