"""Potentials composed of others: weighted sums, and time-dependent blends of two landscapes.

Gradients and Hessians are the same linear combinations as the values, so every composition is again a `Potential` that
can be analysed and simulated.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.potentials.ensembles import member_of, members_of
from workbench.potentials.potential import Potential, check_domain, require_potential, tensor_or_array
from workbench.potentials.schedules import Schedule

__all__ = ["Blend", "WeightedSum"]


class WeightedSum:
    """Weighted sum of potentials, Ψ(x) = Σᵢ wᵢ Ψᵢ(x).

    Terms may be plain potentials or ensembles; if any is an ensemble, so is the sum. All ensembles must have the same
    number of members, which is checked when `members` is read.

    Parameters
    ----------
    potentials : sequence of Potential
        The terms Ψᵢ, at least one, all with the same `states`.
    weights : sequence of float
        One weight wᵢ per term, of either sign.

    Raises
    ------
    TypeError
        If a term is not a potential.
    ValueError
        If there are no terms, if the number of weights differs from that of the terms, or if the states differ;
        also, on reading `members`, if the ensembles have different numbers of members.

    Examples
    --------
    >>> import systems
    >>> mean = WeightedSum([systems.get("gene_circuit", b=0.2), systems.get("gene_circuit", b=0.4)], [0.5, 0.5])
    >>> bool(abs(mean.value([1.0, 0.5]) - systems.get("gene_circuit", b=0.3).value([1.0, 0.5])) < 1e-15)
    True
    """

    def __init__(self, potentials: Sequence[Potential], weights: Sequence[float]) -> None:
        for potential in potentials:
            require_potential(potential)
        if len(potentials) != len(weights) or not potentials:
            raise ValueError(
                "expected one weight per potential and at least one potential, got "
                f"{len(potentials)} potential(s) and {len(weights)} weight(s)"
            )
        if len({p.states for p in potentials}) > 1:
            raise ValueError(
                f"the potentials have different states, {[p.states for p in potentials]}; "
                "combine potentials of the same states"
            )
        self.potentials, self.weights = tuple(potentials), tuple(weights)

    states = property(lambda self: self.potentials[0].states, doc="Names of the state variables.")
    members = property(lambda self: members_of(self.potentials), doc="Number of members; None if all terms are plain.")
    dtype = property(lambda self: getattr(self.potentials[0], "dtype", torch.float64), doc="Floating-point type.")
    device = property(lambda self: getattr(self.potentials[0], "device", None), doc="Device of the computation.")

    def check_domain(self, x: Any) -> None:
        """Raise if states x, shape (…, dim), lie outside the domain of a term."""
        check_domain(self.potentials, x)

    def member(self, index: int) -> "WeightedSum":
        """Return the sum over one member of every ensemble; plain terms are unchanged."""
        return WeightedSum([member_of(p, index) for p in self.potentials], self.weights)

    @tensor_or_array
    def value(self, x: Tensor) -> Tensor:
        """Return Σ wᵢ Ψᵢ(x), shape (…), for x of shape (…, dim)."""
        return self._sum("value", x)

    @tensor_or_array
    def gradient(self, x: Tensor) -> Tensor:
        """Return Σ wᵢ ∇Ψᵢ(x), shape (…, dim), for x of shape (…, dim)."""
        return self._sum("gradient", x)

    @tensor_or_array
    def hessian(self, x: Tensor) -> Tensor:
        """Return Σ wᵢ ∇²Ψᵢ(x), shape (…, dim, dim), for x of shape (…, dim)."""
        return self._sum("hessian", x)

    def _sum(self, name: str, x: Tensor) -> Tensor:
        """Return the weighted sum of the terms' method `name` at x, plain terms broadcast over members."""
        terms = [w * getattr(p, name)(x) for w, p in zip(self.weights, self.potentials, strict=True)]
        return torch.stack(torch.broadcast_tensors(*terms)).sum(0)


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
