"""The contract between losses and optimisers: a loss as a function of one flat vector of parameters."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from workbench.losses.normal_equations import Dual, Primal
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["Problem"]


class Problem(ABC):
    """What Gauss–Newton descends on: a loss as a function of one flat vector θ of a model's free parameters.

    The gates α are not among them: a mode's output bias absorbs log ς(α)/ρ, so no match can tell the two apart. (A
    sparsity penalty can; it belongs to Adam.) To make a problem, say how to evaluate it, and how to linearise it there.
    The loss is the sum of its terms, a mean of squares whose root is the error; a loss of another kind overrides
    `resolution`, `small` and `told` as well.
    """

    FROZEN = ("alpha",)

    def __init__(self, model: LSEICNN) -> None:
        self.model = model
        self._free = {name: p for name, p in model.named_parameters() if name not in self.FROZEN}

    @abstractmethod
    def evaluate(self, theta: Tensor) -> Any:
        """Return what loss, terms and linearisation at θ are made of."""

    @abstractmethod
    def terms(self, seen: Any) -> dict[str, float]:
        """Return the parts of the loss by name."""

    @abstractmethod
    def linearise(self, theta: Tensor, seen: Any) -> Primal | Dual:
        """Return gradient and matrix of the Gauss–Newton step at θ."""

    @abstractmethod
    def held_out(self, theta: Tensor) -> float:
        """Return the loss of the held-out samples."""

    @abstractmethod
    def bad_term(self, seen: Any) -> str:
        """Say which part of what was evaluated is not finite."""

    def loss(self, seen: Any) -> float:
        """Return the loss of what was evaluated."""
        return sum(self.terms(seen).values())

    def resolution(self, loss: float) -> float:
        """Return the smallest change of a held-out loss that counts as progress: a thousandth of it."""
        return 0.001 * loss

    def small(self, loss: float, tolerance: float) -> bool:
        """Return whether a loss is within the tolerance: its root, the error, is."""
        return loss <= tolerance**2

    def formatted(self, loss: float) -> str:
        """Return a loss as progress shows it: its root, the error."""
        return f"error {loss**0.5:.1e}"

    def vector(self) -> Tensor:
        """Return the model's current free parameters, shape (parameter,)."""
        return torch.cat([p.detach().reshape(-1) for p in self._free.values()])

    def limit(self) -> Tensor:
        """Return the largest admissible step of every parameter: 0.5 in u, no limit elsewhere."""
        each = [torch.full_like(p, 0.5 if name == "u" else torch.inf).reshape(-1) for name, p in self._free.items()]
        return torch.cat(each).detach()

    def load(self, theta: Tensor) -> None:
        """Put θ into the model."""
        with torch.no_grad():
            for name, values in self._named(theta).items():
                self._free[name].copy_(values)

    def apply(self, theta: Tensor, x: Tensor, quantity: str) -> Tensor:
        """Return `value` or `gradient` of the model at x with parameters θ."""
        return functional_call(self.model, self._named(theta), (x, quantity))

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        parts = theta.split([p.numel() for p in self._free.values()])
        return {name: part.view(p.shape) for (name, p), part in zip(self._free.items(), parts, strict=True)}
