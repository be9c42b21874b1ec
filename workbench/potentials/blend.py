"""Time-dependent blends of two landscapes; at a fixed time, each is a `Potential` that can be analysed."""

from typing import Any

import numpy as np

from workbench.dataset.variables import Units
from workbench.evaluation import Evaluation
from workbench.potentials.ensembles import member_of
from workbench.potentials.potential import Potential, check_domain
from workbench.potentials.schedules import Schedule
from workbench.potentials.weighted_sum import WeightedSum

__all__ = ["Blend", "parameter_unit"]

TAKEN = "time x potential gradient eigenvalue index kind state unit point member branch bifurcation trajectory minima"


class Blend:
    """Time-dependent landscape that interpolates between two potentials.

        Ψ(x, t) = (1 − b) Ψ₁(x) + b Ψ₂(x),      b = schedule(t).

    The methods `value`, `gradient`, `hessian` and `evaluate` take a state and a time. The analysis of a landscape needs
    a fixed time or blend parameter, which `at` provides; `simulate` and `splitting` accept the blend itself.

    Parameters
    ----------
    first : Potential
        Ψ₁, the landscape at b = 0.
    second : Potential
        Ψ₂, the landscape at b = 1, with the same states.
    schedule : Schedule
        The blend parameter b(t): `Logistic`, `Ramp`, `Step`, `Table`, or any callable with a method `when`.
    parameter : str, default: "b"
        Name of the blend parameter, such as "load", in `at` and in the results of `simulate`, `branches` and
        `splitting`.

    Raises
    ------
    TypeError
        If `first` or `second` is not a potential.
    ValueError
        If their states differ, or `parameter` is no identifier or the name of something else in the results.
    DatasetError
        If their units contradict each other.

    Examples
    --------
    >>> import systems
    >>> import workbench as wb
    >>> early, late = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
    >>> blend = Blend(early, late, wb.Logistic(rate=0.7, start=0.01))
    >>> bool(blend.value([1.0, 1.0], 5.0) == blend.at(time=5.0).value([1.0, 1.0]))
    True
    >>> loaded = Blend(early, late, wb.Ramp(0.0, 10.0), parameter="load")
    >>> float(loaded.at(load=0.5).value([1.0, 1.0])) == float(loaded.at(time=5.0).value([1.0, 1.0]))
    True

    References
    ----------
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242, Sec 4.4.
    """

    def __init__(self, first: Potential, second: Potential, schedule: Schedule, parameter: str = "b") -> None:
        self._start = WeightedSum((first, second), (1.0, 0.0))  # raises for incompatible potentials
        self.first, self.second = self._start.potentials
        self.schedule, self.parameter = schedule, parameter
        if not parameter.isidentifier() or parameter in TAKEN.split():
            raise ValueError(
                f"the blend parameter cannot be called {parameter!r}: take an identifier, such as load, that names "
                f"nothing else in the results, as {', '.join(TAKEN.split())} do"
            )

    parameter = "b"

    def __repr__(self) -> str:
        return f"Blend({self.first!r}, {self.second!r}, {self.schedule!r}, parameter={self.parameter!r})"

    states = property(lambda self: self.first.states, doc="Names of the state variables.")
    members = property(lambda self: self._start.members, doc="Number of members; None if both potentials are plain.")

    @property
    def units(self) -> Units:
        """Units of the states, the potential and time, those that either potential knows."""
        return self._start.units

    @property
    def box(self) -> list[tuple[float, float]]:
        """Smallest box that holds those of both potentials, one (low, high) per state; NaN where none is known."""
        return self._start.box

    @property
    def gauge(self) -> str:
        """Where the potentials are zero, in words."""
        return self._start.gauge

    def member(self, index: int) -> "Blend":
        """Return the blend of one member of every ensemble; a plain potential is unchanged."""
        return Blend(member_of(self.first, index), member_of(self.second, index), self.schedule, self.parameter)

    def at(self, *, time: Any = None, **value: float) -> WeightedSum:
        """Return the potential at a fixed blend parameter or a fixed time; exactly one of the two is given.

        Parameters
        ----------
        time : float, optional
            Time t, at which the parameter is schedule(t).
        **value : float, optional
            Value b of the blend parameter, by its name, such as ``b=0.3``; outside [0, 1] it extrapolates.

        Returns
        -------
        WeightedSum
            (1 − b) Ψ₁ + b Ψ₂.

        Raises
        ------
        ValueError
            If neither or both are given, the parameter has another name, or an array is given.
        """
        given = {name: one for name, one in value.items() if one is not None}
        unknown = [name for name in given if name != self.parameter]
        if unknown:
            raise ValueError(f"the parameter of this blend is called {self.parameter}, got {unknown[0]}=…")
        if bool(given) == (time is not None):
            raise ValueError(f"expected either {self.parameter}=… or time=…, got " + ("both" if given else "neither"))
        fixed = given.get(self.parameter, time)
        if np.ndim(fixed) != 0:
            raise ValueError(
                f"a blend is evaluated at a single {self.parameter} or a single time, got several; loop over them"
            )
        b = given[self.parameter] if given else self.schedule(time)
        return self._start.reweighted((1 - b, b))

    def by_parameter(self) -> WeightedSum:
        """Return the derivative ∂Ψ/∂b = Ψ₂ − Ψ₁, which is the same for all b.

        >>> import systems, workbench as wb
        >>> blend = Blend(*(systems.get("gene_circuit", b=b) for b in (0.1, 1.0)), wb.Ramp(0.0, 1.0))
        >>> change = blend.at(b=1.0).value([1.0, 0.5]) - blend.at(b=0.0).value([1.0, 0.5])
        >>> bool(blend.by_parameter().value([1.0, 0.5]) == change)
        True
        """
        return self._start.reweighted((-1.0, 1.0))

    def check_domain(self, x: Any) -> None:
        """Raise if states x, shape (…, dim), lie outside the domain of either potential."""
        check_domain((self.first, self.second), x)

    def evaluate(self, x: Any, t: Any, order: int = 0) -> Evaluation:
        """Return Ψ(x, t) and its derivatives with respect to x up to an order, at one time t."""
        return self.at(time=t).evaluate(x, order)

    def value(self, x: Any, t: Any) -> Any:
        """Return Ψ(x, t), shape (…), for x of shape (…, dim) at one time t."""
        return self.at(time=t).value(x)

    def gradient(self, x: Any, t: Any) -> Any:
        """Return ∇Ψ(x, t), shape (…, dim), for x of shape (…, dim) at one time t."""
        return self.at(time=t).gradient(x)

    def hessian(self, x: Any, t: Any) -> Any:
        """Return ∇²Ψ(x, t), shape (…, dim, dim), for x of shape (…, dim) at one time t."""
        return self.at(time=t).hessian(x)


def parameter_unit(family: Any) -> str | None:
    """Return the unit of the parameter of a family: "1" for a blend, where it is a weight, else None, unknown."""
    return "1" if isinstance(family, Blend) else None
