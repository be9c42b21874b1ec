"""The interface between losses and optimisers: a loss as a function of one flat vector of parameters."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from workbench.losses.normal_equations import Dual, Primal
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["Problem"]


class Problem(ABC):
    """A loss L(θ) of the flat vector θ of a model's free parameters, as minimised by Gauss–Newton steps.

    The gates α are not free: the output bias of a mode absorbs log ς(α)/ρ exactly, so no match can identify them. (A
    sparsity penalty acts on them, but only Adam has one.) A subclass defines how the loss is evaluated and linearised.
    By default the loss is the sum of its terms, a mean of squares whose root is called the error; a loss of another
    kind also overrides `resolution`, `small` and `formatted`.

    Every method is a pure function. What an evaluation may reuse from the one before, such as the initial states of
    segments, is a `state` that the optimiser passes in and gets back.
    """

    FROZEN = ("alpha",)

    def __init__(self, model: LSEICNN) -> None:
        self.model = model
        self._free = {name: p for name, p in model.named_parameters() if name not in self.FROZEN}

    @abstractmethod
    def evaluate(self, theta: Tensor, state: Any = None) -> Any:
        """Return the quantities at θ from which loss, terms and linearisation are computed."""

    @abstractmethod
    def terms(self, evaluated: Any) -> dict[str, float]:
        """Return the terms of the loss by name."""

    @abstractmethod
    def linearise(self, theta: Tensor, evaluated: Any) -> Primal | Dual:
        """Return the gradient and matrix of the Gauss–Newton step at θ."""

    @abstractmethod
    def validate(self, theta: Tensor, state: Any = None) -> tuple[float, Any]:
        """Return the loss of the held-out samples at θ, and the state for later evaluations."""

    @abstractmethod
    def bad_term(self, evaluated: Any) -> str:
        """Return a clause that says which of the evaluated quantities is not finite."""

    def initial_state(self) -> Any:
        """Return the state of the first evaluation, None if evaluations depend on θ alone."""
        return None

    def state_after(self, evaluated: Any, state: Any) -> Any:  # noqa: ARG002
        """Return the state for evaluations after a step to where `evaluated` was computed was accepted."""
        return state

    def held_out(self, theta: Tensor) -> float:
        """Return the loss of the held-out samples at θ, evaluated from the initial state."""
        return self.validate(theta, self.initial_state())[0]

    def loss(self, evaluated: Any) -> float:
        """Return the loss."""
        return sum(self.terms(evaluated).values())

    def resolution(self, loss: float) -> float:
        """Return the smallest decrease of the held-out loss that counts as progress: a thousandth of the loss."""
        return 0.001 * loss

    def small(self, loss: float, tolerance: float) -> bool:
        """Return whether the error, the root of the loss, is within the tolerance."""
        return loss <= tolerance**2

    def formatted(self, loss: float) -> str:
        """Return the loss as progress reports show it: as an error."""
        return f"error {loss**0.5:.1e}"

    def vector(self) -> Tensor:
        """Return the current free parameters of the model, shape (parameter,)."""
        return torch.cat([p.detach().reshape(-1) for p in self._free.values()])

    def limit(self) -> Tensor:
        """Return the largest admissible step of every parameter, shape (parameter,): 0.5 in u, infinite elsewhere."""
        each = [torch.full_like(p, 0.5 if name == "u" else torch.inf).reshape(-1) for name, p in self._free.items()]
        return torch.cat(each).detach()

    def load(self, theta: Tensor) -> None:
        """Copy θ into the model."""
        with torch.no_grad():
            for name, values in self._named(theta).items():
                self._free[name].copy_(values)

    def apply(self, theta: Tensor, x: Tensor, quantity: str) -> Tensor:
        """Return `value`, `gradient` or `hessian` of the model with parameters θ at x, shape (sample, dim)."""
        return functional_call(self.model, self._named(theta), (x, quantity))

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the parts of θ by parameter name, in the shapes of the parameters."""
        parts = theta.split([p.numel() for p in self._free.values()])
        return {name: part.view(p.shape) for (name, p), part in zip(self._free.items(), parts, strict=True)}
