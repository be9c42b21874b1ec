"""Weighted sums of potentials; their gradients and Hessians are the same linear combinations as their values."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.potentials.ensembles import member_of, members_of
from workbench.potentials.potential import Potential, check_domain, require_potential, tensor_or_array

__all__ = ["WeightedSum"]


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
