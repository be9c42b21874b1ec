"""What a potential is, and potentials made of others: sums, and blends that change in time.

Everything that questions or simulates a landscape takes a `Potential`: learned or exact, alone or composed.
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
    members = property(lambda self: members_of(self.potentials), doc="Members of the parts, None if they have none.")
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

    `value(x, t)`, `gradient(x, t)` and `hessian(x, t)` are Ψ_b at time t; `at(b=…)` or `at(time=…)` is the plain
    potential of that moment, which is what analysis takes.

    >>> import systems, workbench as wb
    >>> early, late = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
    >>> blend = Blend(early, late, wb.Logistic(rate=0.7, start=0.01))
    >>> bool(blend.value([1.0, 1.0], 5.0) == blend.at(time=5.0).value([1.0, 1.0]))
    True
    """

    def __init__(self, first: Potential, second: Potential, schedule: Schedule) -> None:
        self.first, self.second, self.schedule = first, second, schedule
        self.at(b=0.0)  # refuses parts that do not fit together

    def __repr__(self) -> str:
        return f"Blend({self.first!r}, {self.second!r}, {self.schedule!r})"

    states = property(lambda self: self.first.states, doc="Names of the components of x.")
    members = property(lambda self: members_of((self.first, self.second)), doc="Members of the parts, None if none.")

    def at(self, *, b: float | None = None, time: Any = None) -> WeightedSum:
        """Return the plain potential at parameter b, or at time t."""
        if (b is None) == (time is None):
            raise ValueError("say either b=… or time=…")
        if np.ndim(time if b is None else b) != 0:
            raise ValueError("a blend is taken at one b or one time at once, got several; loop over them")
        parameter = self.schedule(time) if b is None else b
        return WeightedSum((self.first, self.second), (1 - parameter, parameter))

    def check_domain(self, x: Any) -> None:
        """Raise where one of the parts refuses the states x."""
        check_domain((self.first, self.second), x)

    def value(self, x: Any, t: Any) -> Any:
        """Return Ψ_b(x), shape (…), at time t."""
        return self.at(time=t).value(x)

    def gradient(self, x: Any, t: Any) -> Any:
        """Return ∇Ψ_b(x), shape (…, dim), at time t."""
        return self.at(time=t).gradient(x)

    def hessian(self, x: Any, t: Any) -> Any:
        """Return ∇²Ψ_b(x), shape (…, dim, dim), at time t."""
        return self.at(time=t).hessian(x)
