"""The interface of a potential, and what a potential may offer beside it.

Every analysis needs `Potential` alone. What a potential can do beside is an interface of its own: names of its states,
number of its members, and value and derivatives from one evaluation (`Landscape`), the members themselves (`Ensemble`),
a domain (`Bounded`), a record of where its data were (`Sampled`), units (`Measured`), a stated zero (`Gauged`), modes
(`Modal`), continuous symmetries (`Symmetric`), and a movement in time (`TimeVarying`).
`workbench.potentials.bridge.require_potential` makes a `Landscape` of any potential.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from workbench.dataset.variables import Units
from workbench.evaluation import Evaluation

if TYPE_CHECKING:
    from workbench.potentials.schedules import Schedule

__all__ = [
    "Bounded",
    "Ensemble",
    "Gauged",
    "Landscape",
    "Measured",
    "Modal",
    "Potential",
    "Sampled",
    "Symmetric",
    "TimeVarying",
    "arbitrary_constant",
    "attributes_of",
    "check_domain",
    "gauge_of",
    "units_of",
]

FORMULA = "that of its formula"  # gauge of a potential that states none


@runtime_checkable
class Potential(Protocol):
    """Interface of an energy landscape Ψ(x) with its first two derivatives.

    Every class with these three methods is a potential: learned or exact, alone or composed. Given arrays, the methods
    return arrays; given tensors, they return tensors, differentiable with respect to x. All potentials of this package
    have a fourth, `evaluate(x, order)`, which returns value and derivatives from one pass.

    A potential may have the attributes `states`, the names of the components of x, by default x1, x2, …, and `members`,
    the number of members of an ensemble, None for a plain potential. An ensemble accepts x of shape (sample, dim),
    evaluated by every member, or (member, sample, dim); its results have a leading member axis.

    Examples
    --------
    >>> import numpy as np, systems
    >>> import workbench as wb
    >>> surface = systems.get("muller_brown")
    >>> isinstance(surface, wb.Potential)
    True
    >>> x = np.zeros((4, 2))
    >>> surface.value(x).shape, surface.gradient(x).shape, surface.hessian(x).shape
    ((4,), (4, 2), (4, 2, 2))
    """

    def value(self, x: Any) -> Any:
        """Return Ψ(x), shape (…), for x of shape (…, dim)."""

    def gradient(self, x: Any) -> Any:
        """Return ∇Ψ(x), shape (…, dim), for x of shape (…, dim)."""

    def hessian(self, x: Any) -> Any:
        """Return ∇²Ψ(x), shape (…, dim, dim), for x of shape (…, dim)."""


@runtime_checkable
class Landscape(Potential, Protocol):
    """A potential with names of its states, the number of its members, and one evaluation of all that is asked for.

    `require_potential` makes a `Landscape` of any `Potential`: one without `evaluate` is evaluated by its methods.
    """

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables, the components of x."""

    @property
    def members(self) -> int | None:
        """Number of members of an ensemble; None for a plain potential."""

    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ(x) and its derivatives up to an order, for x of shape (…, dim); the others are None."""


@runtime_checkable
class Ensemble(Protocol):
    """Several potentials of the same states, evaluated together."""

    @property
    def members(self) -> int | None:
        """Number of members."""

    def member(self, index: int) -> Any:
        """Return one member as a plain potential."""


@runtime_checkable
class Bounded(Protocol):
    """A potential that is defined on a part of its states alone."""

    def check_domain(self, x: Any) -> None:
        """Raise `DatasetError` if states x, shape (…, dim), lie outside the domain."""


@runtime_checkable
class Sampled(Protocol):
    """A potential with a record of where the data lay to which it was fitted."""

    def inside_data(self, x: Any) -> Any:
        """Return whether x, shape (…, dim), lies in the bounding box of the data; boolean, shape (…)."""


@runtime_checkable
class Measured(Protocol):
    """A potential that knows its units."""

    @property
    def units(self) -> Units:
        """Units of the states, the potential and time."""


@runtime_checkable
class Gauged(Protocol):
    """A potential that states where it is zero."""

    @property
    def gauge(self) -> str:
        """Where the potential is zero, in words; its constant is arbitrary if they begin with "zero at"."""


@runtime_checkable
class Modal(Protocol):
    """A potential composed of modes, one of which dominates in a well."""

    def mode_weights(self, x: Any) -> Any:
        """Return the weights of the modes at x, shape (…, mode), for x of shape (…, dim)."""


@runtime_checkable
class Symmetric(Protocol):
    """A potential that declares its continuous symmetries."""

    def zero_modes(self, x: Any) -> Any:
        """Return the velocities of x, shape (…, dim), under its symmetries, shape (…, mode, dim).

        A translation along a state moves x by a constant vector; a rotation of r about an axis a by a × r.
        """


@runtime_checkable
class TimeVarying(Protocol):
    """Interface of a time-dependent landscape Ψ(x, t) that is a `Potential` at any fixed time.

    `Blend` implements it; any class with these attributes and this method can be simulated.
    """

    @property
    def schedule(self) -> Schedule:
        """Time dependence b(t) of the landscape's parameter."""

    @property
    def parameter(self) -> str:
        """Name of the parameter that changes."""

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables, the components of x."""

    @property
    def members(self) -> int | None:
        """Number of members of an ensemble; None for a plain landscape."""

    def at(self, *, time: Any = None, **value: float) -> Potential:
        """Return the potential at a time, or at a value of the parameter, which is given by its name."""


def units_of(potential: Any) -> Units:
    """Return the units of a potential; all are unknown unless it is `Measured`."""
    unknown = (None,) * len(potential.states)
    if isinstance(potential, Measured) and isinstance(potential.units, Units):
        return replace(potential.units, states=potential.units.states or unknown)
    return Units(unknown)


def gauge_of(potential: Any) -> str:
    """Return where a potential is zero, in words: its attribute `gauge`, or "that of its formula" without one."""
    return potential.gauge if isinstance(potential, Gauged) else FORMULA


def arbitrary_constant(potential: Any) -> bool:
    """Return whether the constant of a potential is arbitrary, as it is after a fit of gradients alone."""
    return gauge_of(potential).startswith("zero at")


def attributes_of(potential: Any) -> dict[str, str]:
    """Return the attributes of every dataset that holds values of a potential: its gauge, units of Ψ and of time.

    Examples
    --------
    >>> import systems
    >>> attributes_of(systems.get("asymmetric_quartic"))["gauge"]
    'that of its formula'
    """
    return {"gauge": gauge_of(potential), **units_of(potential).attrs()}


def check_domain(potentials: Sequence[Any], x: Any) -> None:
    """Let every `Bounded` potential raise if states x, shape (…, dim), lie outside its domain."""
    for potential in potentials:
        if isinstance(potential, Bounded):
            potential.check_domain(x)
