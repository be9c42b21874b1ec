"""What a potential is, and potentials made of others: sums, and blends that change in time.

Everything that questions or simulates a landscape takes a `Potential`: learned or exact, alone or composed.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from workbench.schedules import Schedule

__all__ = ["Blend", "Potential", "WeightedSum", "require_potential", "tensor_or_array"]


@runtime_checkable
class Potential(Protocol):
    """Ψ(x) with its first two derivatives; arrays in, arrays out, tensors in, tensors out.

    With `members` None, x with shape (…, dim) gives a value with shape (…), a gradient (…, dim) and a Hessian
    (…, dim, dim). With a number of members, x with shape (sample, dim) or (member, sample, dim) gives the same with
    a leading member axis.
    """

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the components of x."""

    @property
    def members(self) -> int | None:
        """None for a plain potential, else the number of members."""

    def value(self, x: Any) -> Any:
        """Return Ψ(x)."""

    def gradient(self, x: Any) -> Any:
        """Return ∇Ψ(x)."""

    def hessian(self, x: Any) -> Any:
        """Return ∇²Ψ(x)."""


def require_potential(candidate: Any) -> None:
    """Raise `TypeError` for what is no potential."""
    if isinstance(candidate, Blend):
        raise TypeError("a Blend is a potential at one moment only: take blend.at(b=…) or blend.at(t=…)")
    if not isinstance(candidate, Potential):
        raise TypeError(
            f"expected a potential (an LSEICNN, a PotentialSystem, blend.at(b=…), …), got {type(candidate).__name__}; "
            "of a fit take fit.model, or fit.ensemble for all members; to use a formula, subclass "
            "systems.PotentialSystem"
        )


def tensor_options(potential: Any) -> dict[str, Any]:
    """Return dtype and device in which a potential computes, for `torch.tensor` and its kin."""
    return {"dtype": getattr(potential, "dtype", torch.float64), "device": getattr(potential, "device", None)}


def tensor_or_array(method: Callable[..., Tensor]) -> Callable[..., Any]:
    """Let a method on tensors take arrays too, and then return one; checks the last axis of x."""

    @wraps(method)
    def bridged(self: Any, x: Any, *args: Any, **options: Any) -> Any:
        given = isinstance(x, Tensor)
        if not given:
            x = torch.tensor(np.asarray(x, dtype=np.float64), **tensor_options(self))
        if x.ndim == 0 or x.shape[-1] != len(self.states):
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (…, {len(self.states)}) with the states {self.states}"
            )
        result = method(self, x, *args, **options)
        return result if given else result.detach().cpu().numpy()

    return bridged


class WeightedSum:
    """Σᵢ wᵢ Ψᵢ(x), a plain potential.

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
                f"expected one weight per potential, got {len(potentials)} potentials, {len(weights)} weights"
            )
        if len({p.states for p in potentials}) > 1:
            raise ValueError(f"the potentials have different states: {[p.states for p in potentials]}")
        self.potentials, self.weights = tuple(potentials), tuple(weights)

    states = property(lambda self: self.potentials[0].states, doc="Names of the components of x.")
    members = property(lambda self: _members(self.potentials), doc="Members of the parts, None if they have none.")
    dtype = property(lambda self: getattr(self.potentials[0], "dtype", torch.float64), doc="Type of its numbers.")
    device = property(lambda self: getattr(self.potentials[0], "device", None), doc="Where its numbers live.")

    def check_domain(self, x: Any) -> None:
        """Raise where one of the parts refuses the states x."""
        check_domain(self.potentials, x)

    def member(self, index: int) -> "WeightedSum":
        """Return the sum of one member of every part; parts without members stay as they are."""
        return WeightedSum([member_of(p, index) for p in self.potentials], self.weights)

    @tensor_or_array
    def value(self, x: Tensor) -> Tensor:
        """Return Σ wᵢ Ψᵢ(x), shape (…)."""
        return self._sum("value", x)

    @tensor_or_array
    def gradient(self, x: Tensor) -> Tensor:
        """Return Σ wᵢ ∇Ψᵢ(x), shape (…, dim)."""
        return self._sum("gradient", x)

    @tensor_or_array
    def hessian(self, x: Tensor) -> Tensor:
        """Return Σ wᵢ ∇²Ψᵢ(x), shape (…, dim, dim)."""
        return self._sum("hessian", x)

    def _sum(self, name: str, x: Tensor) -> Tensor:
        terms = [w * getattr(p, name)(x) for w, p in zip(self.weights, self.potentials, strict=True)]
        return torch.stack(torch.broadcast_tensors(*terms)).sum(0)


class Blend:
    """A landscape that changes in time: Ψ_b(x) = (1 − b) Ψ₁(x) + b Ψ₂(x), with b = schedule(t) (Sec 4.4).

    `value(x, t)`, `gradient(x, t)` and `hessian(x, t)` are Ψ_b at time t; `at(b=…)` or `at(t=…)` is the plain
    potential of that moment, which is what analysis takes.

    >>> import systems, workbench as wb
    >>> early, late = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
    >>> blend = Blend(early, late, wb.Logistic(rate=0.7, start=0.01))
    >>> bool(blend.value([1.0, 1.0], 5.0) == blend.at(t=5.0).value([1.0, 1.0]))
    True
    """

    def __init__(self, first: Potential, second: Potential, schedule: Schedule) -> None:
        self.first, self.second, self.schedule = first, second, schedule
        self.at(b=0.0)  # refuses parts that do not fit together

    def __repr__(self) -> str:
        return f"Blend({self.first!r}, {self.second!r}, {self.schedule!r})"

    states = property(lambda self: self.first.states, doc="Names of the components of x.")
    members = property(lambda self: _members((self.first, self.second)), doc="Members of the parts, None if none.")

    def at(self, *, b: float | None = None, t: Any = None) -> WeightedSum:
        """Return the plain potential at parameter b, or at time t."""
        if (b is None) == (t is None):
            raise ValueError("say either b=… or t=…")
        if np.ndim(t if b is None else b) != 0:
            raise ValueError("a blend is taken at one b or one time at once, got several; loop over them")
        share = self.schedule(t) if b is None else b
        return WeightedSum((self.first, self.second), (1 - share, share))

    def check_domain(self, x: Any) -> None:
        """Raise where one of the parts refuses the states x."""
        check_domain((self.first, self.second), x)

    def value(self, x: Any, t: Any) -> Any:
        """Return Ψ_b(x), shape (…), at time t."""
        return self.at(t=t).value(x)

    def gradient(self, x: Any, t: Any) -> Any:
        """Return ∇Ψ_b(x), shape (…, dim), at time t."""
        return self.at(t=t).gradient(x)

    def hessian(self, x: Any, t: Any) -> Any:
        """Return ∇²Ψ_b(x), shape (…, dim, dim), at time t."""
        return self.at(t=t).hessian(x)


def check_domain(potentials: Sequence[Any], x: Any) -> None:
    """Let every potential that knows its domain refuse states with shape (…, dim) outside it."""
    for potential in potentials:
        refuse = getattr(potential, "check_domain", None)
        if refuse is not None:
            refuse(x)


def member_of(potential: Any, index: int) -> Any:
    """Return a member of a potential, or the potential itself where it has none."""
    return potential if potential.members is None else potential.member(index)


def _members(potentials: Sequence[Potential]) -> int | None:
    counts = {p.members for p in potentials} - {None}
    if len(counts) > 1:
        raise ValueError(f"the potentials have different numbers of members: {sorted(counts)}")  # type: ignore[type-var]
    return counts.pop() if counts else None
