"""Time-dependent blends of two landscapes; at a fixed time, each is a `Potential` that can be analysed."""

from typing import Any

import numpy as np

from workbench.potentials.ensembles import members_of
from workbench.potentials.potential import Potential, check_domain
from workbench.potentials.schedules import Schedule
from workbench.potentials.weighted_sum import WeightedSum

__all__ = ["Blend"]


class Blend:
    """Time-dependent landscape that interpolates between two potentials.

        Ψ(x, t) = (1 − b) Ψ₁(x) + b Ψ₂(x),      b = schedule(t).

    The methods `value`, `gradient` and `hessian` take a state and a time. The analysis of a landscape needs a fixed
    time or blend parameter, which `at` provides; `simulate` and `splitting` accept the blend itself.

    Parameters
    ----------
    first : Potential
        Ψ₁, the landscape at b = 0.
    second : Potential
        Ψ₂, the landscape at b = 1, with the same states.
    schedule : Schedule
        The blend parameter b(t): `Logistic`, `Ramp`, `Step`, `Table`, or any callable with a method `when`.

    Raises
    ------
    TypeError
        If `first` or `second` is not a potential.
    ValueError
        If their states differ.

    Examples
    --------
    >>> import systems
    >>> import workbench as wb
    >>> early, late = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
    >>> blend = Blend(early, late, wb.Logistic(rate=0.7, start=0.01))
    >>> bool(blend.value([1.0, 1.0], 5.0) == blend.at(time=5.0).value([1.0, 1.0]))
    True

    References
    ----------
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242, Sec 4.4.
    """

    def __init__(self, first: Potential, second: Potential, schedule: Schedule) -> None:
        self.first, self.second, self.schedule = first, second, schedule
        self.at(b=0.0)  # raises for incompatible potentials

    parameter = "b"

    def __repr__(self) -> str:
        return f"Blend({self.first!r}, {self.second!r}, {self.schedule!r})"

    states = property(lambda self: self.first.states, doc="Names of the state variables.")
    members = property(
        lambda self: members_of((self.first, self.second)), doc="Number of members; None if both are plain."
    )

    def at(self, *, b: float | None = None, time: Any = None) -> WeightedSum:
        """Return the potential at a fixed blend parameter or a fixed time; exactly one of the two is given.

        Parameters
        ----------
        b : float, optional
            Blend parameter; values outside [0, 1] extrapolate.
        time : float, optional
            Time t, at which b = schedule(t).

        Returns
        -------
        WeightedSum
            (1 − b) Ψ₁ + b Ψ₂.

        Raises
        ------
        ValueError
            If neither or both are given, or an array is given.
        """
        if (b is None) == (time is None):
            raise ValueError("expected either b=… or time=…, got " + ("neither" if b is None else "both"))
        if np.ndim(time if b is None else b) != 0:
            raise ValueError("a blend is evaluated at a single b or a single time, got several; loop over them")
        parameter = self.schedule(time) if b is None else b
        return WeightedSum((self.first, self.second), (1 - parameter, parameter))

    def check_domain(self, x: Any) -> None:
        """Raise if states x, shape (…, dim), lie outside the domain of either potential."""
        check_domain((self.first, self.second), x)

    def value(self, x: Any, t: Any) -> Any:
        """Return Ψ(x, t), shape (…), for x of shape (…, dim) at one time t."""
        return self.at(time=t).value(x)

    def gradient(self, x: Any, t: Any) -> Any:
        """Return ∇Ψ(x, t), shape (…, dim), for x of shape (…, dim) at one time t."""
        return self.at(time=t).gradient(x)

    def hessian(self, x: Any, t: Any) -> Any:
        """Return ∇²Ψ(x, t), shape (…, dim, dim), for x of shape (…, dim) at one time t."""
        return self.at(time=t).hessian(x)
