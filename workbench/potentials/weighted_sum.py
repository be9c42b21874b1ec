"""Weighted sums of potentials; their gradients and Hessians are the same linear combinations as their values."""

import copy
import itertools
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from torch import Tensor

from workbench.dataset.variables import Units
from workbench.evaluation import Evaluation, require_order
from workbench.potentials.box import hull
from workbench.potentials.bridge import arrays_too, require_potential, tensor_options
from workbench.potentials.ensembles import member_of, members_of
from workbench.potentials.potential import Potential, arbitrary_constant, check_domain, gauge_of, units_of

__all__ = ["WeightedSum"]


class WeightedSum:
    """Weighted sum of potentials, Ψ(x) = Σᵢ wᵢ Ψᵢ(x).

    Terms may be plain potentials or ensembles; if any is an ensemble, so is the sum. All ensembles must have the same
    number of members, which is checked when `members` is read. The units are those that any term knows; weights are
    dimensionless.

    Parameters
    ----------
    potentials : sequence of Potential
        The terms Ψᵢ, at least one, all with the same `states`. A term that does not name its states has those of the
        others.
    weights : sequence of float
        One weight wᵢ per term, of either sign.

    Raises
    ------
    TypeError
        If a term is not a potential.
    ValueError
        If there are no terms, if the number of weights differs from that of the terms, or if the states differ;
        also, on reading `members`, if the ensembles have different numbers of members.
    DatasetError
        If the units of two terms contradict each other.

    Examples
    --------
    >>> import systems
    >>> mean = WeightedSum([systems.get("gene_circuit", b=0.2), systems.get("gene_circuit", b=0.4)], [0.5, 0.5])
    >>> bool(abs(mean.value([1.0, 0.5]) - systems.get("gene_circuit", b=0.3).value([1.0, 0.5])) < 1e-15)
    True
    """

    def __init__(self, potentials: Sequence[Potential], weights: Sequence[float]) -> None:
        if len(potentials) != len(weights) or not potentials:
            raise ValueError(
                "expected one weight per potential and at least one potential, got "
                f"{len(potentials)} potential(s) and {len(weights)} weight(s)"
            )
        states = next((p.states for p in potentials if hasattr(p, "states")), None)
        self.potentials, self.weights = tuple(require_potential(p, states) for p in potentials), tuple(weights)
        if len({tuple(p.states) for p in self.potentials}) > 1:
            raise ValueError(
                f"the potentials have different states, {[p.states for p in self.potentials]}; "
                "combine potentials of the same states"
            )
        self._check_units()

    def _check_units(self) -> None:
        """Raise `DatasetError`, naming both terms, if the units of two of them contradict each other."""
        units = [(f"term {k + 1}", units_of(potential)) for k, potential in enumerate(self.potentials)]
        for (name, one), (other_name, other) in itertools.combinations(units, 2):
            one.agreed(other, name, other_name)

    states = property(lambda self: self.potentials[0].states, doc="Names of the state variables.")
    members = property(lambda self: members_of(self.potentials), doc="Number of members; None if all terms are plain.")
    dtype = property(lambda self: tensor_options(self.potentials[0])["dtype"], doc="Floating-point type.")
    device = property(lambda self: tensor_options(self.potentials[0])["device"], doc="Device of the computation.")

    @property
    def units(self) -> Units:
        """Units of the states, the potential and time, those that any term knows."""
        return reduce(lambda one, other: one.agreed(other, "one term", "another"), map(units_of, self.potentials))

    @property
    def box(self) -> list[tuple[float, float]]:
        """Smallest box that holds those of all terms, one (low, high) per state; NaN where none is known."""
        return hull(self.potentials)

    @property
    def gauge(self) -> str:
        """Where the sum is zero, in words: that of all terms, or of each; terms of arbitrary constant come first."""
        order = sorted(range(len(self.potentials)), key=lambda k: not arbitrary_constant(self.potentials[k]))
        said = [f"{gauge_of(self.potentials[k])} (term {k + 1})" for k in order]
        first = gauge_of(self.potentials[0])
        return first if all(gauge_of(potential) == first for potential in self.potentials) else "; ".join(said)

    def check_domain(self, x: Any) -> None:
        """Raise if states x, shape (…, dim), lie outside the domain of a term."""
        check_domain(self.potentials, x)

    def reweighted(self, weights: Sequence[float]) -> "WeightedSum":
        """Return the sum of the same terms with other weights, one per term."""
        other = copy.copy(self)
        other.weights = tuple(weights)
        return other

    def member(self, index: int) -> "WeightedSum":
        """Return the sum over one member of every ensemble; plain terms are unchanged."""
        return WeightedSum([member_of(p, index) for p in self.potentials], self.weights)

    @arrays_too
    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ(x) and its derivatives up to an order, from one evaluation of every term."""
        terms = [potential.evaluate(x, order) for potential in self.potentials]
        return Evaluation(*map(self._sum, zip(*(term[: require_order(order) + 1] for term in terms), strict=True)))

    @arrays_too
    def value(self, x: Any) -> Any:
        """Return Σ wᵢ Ψᵢ(x), shape (…), for x of shape (…, dim)."""
        return self._sum([potential.value(x) for potential in self.potentials])

    @arrays_too
    def gradient(self, x: Any) -> Any:
        """Return Σ wᵢ ∇Ψᵢ(x), shape (…, dim), for x of shape (…, dim)."""
        return self._sum([potential.gradient(x) for potential in self.potentials])

    @arrays_too
    def hessian(self, x: Any) -> Any:
        """Return Σ wᵢ ∇²Ψᵢ(x), shape (…, dim, dim), for x of shape (…, dim)."""
        return self._sum([potential.hessian(x) for potential in self.potentials])

    def _sum(self, terms: Sequence[Any]) -> Any:
        """Return the weighted sum of what the terms are at the same x; plain terms are broadcast over members."""
        return reduce(operator.add, map(_times, self.weights, terms))


def _times(weight: Any, term: Any) -> Any:
    """Return w Ψ; a weight that is a tensor, as at a time that is one, multiplies arrays as a number."""
    return (weight if isinstance(term, Tensor) else float(weight)) * term
