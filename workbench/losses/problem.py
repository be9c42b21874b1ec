"""The interface between losses and optimisers: a loss as a function of one flat vector of parameters."""

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from workbench.losses.normal_equations import Dual, Primal
from workbench.potentials.trainable import TrainablePotential

__all__ = ["AUTOMATIC", "CLOSED", "Problem", "Weighted", "freed"]

AUTOMATIC, CLOSED = "automatic differentiation", "closed form"


def freed(model: Any) -> Any:
    """Return a copy of a model whose parameters are free, but for those that its constructor fixes."""
    copied = copy.deepcopy(model)
    if not any(p.requires_grad for p in copied.parameters()):  # it was fitted
        fresh = type(model).build(model.config())
        free = {name for name, p in fresh.named_parameters() if p.requires_grad}
        for name, p in copied.named_parameters():
            p.requires_grad_(name in free)
    return copied


class Weighted:
    """A model with given values of its parameters, as a `Potential` of tensors."""

    def __init__(self, model: nn.Module, named: dict[str, Tensor]) -> None:
        self.model, self.named = model, named

    def value(self, x: Tensor) -> Tensor:
        """Return Ψ at x, shape (…, sample) for x of shape (sample, dim)."""
        return functional_call(self.model, self.named, (x, "value"))

    def gradient(self, x: Tensor) -> Tensor:
        """Return ∇Ψ at x, shape (…, sample, dim)."""
        return functional_call(self.model, self.named, (x, "gradient"))

    def hessian(self, x: Tensor) -> Tensor:
        """Return ∇²Ψ at x, shape (…, sample, dim, dim)."""
        return functional_call(self.model, self.named, (x, "hessian"))

    def parameter_jacobian(self, x: Tensor, **options: Any) -> bool:
        """Write derivatives with respect to the parameters (see `TrainablePotential.parameter_jacobian`)."""
        return functional_call(self.model, self.named, (x, "parameter_jacobian"), options)


class Problem(ABC):
    """A loss L(θ) of the flat vector θ of a model's free parameters.

    Every optimiser takes every problem. `LevenbergMarquardt` uses `evaluate`, `linearise`, `validate` and `outputs`,
    `Adam` the gradient, which by default is that of the linearisation. By default the loss is the sum of its terms, a
    mean of squares whose root is called the error; a loss of another kind also overrides `resolution`, `small` and
    `formatted`.

    Free are the parameters that require a gradient, without those that no data determine (`UNIDENTIFIED` of the model)
    unless the optimiser penalises them. A model of several members has one loss per member, a *copy*.

    Every method but `load` and `recorded`, which set the parameters of the model, is a pure function. What an
    evaluation may reuse from the one before, such as the initial states of segments, is a `state` that the optimiser
    passes in and gets back.

    Parameters
    ----------
    model : torch.nn.Module
        The model, with its starting point as parameters.
    penalised : bool, optional
        Whether the optimiser penalises the parameters that no data determine, so that they are free.

    Attributes
    ----------
    memory : float
        Largest size of a block of the Jacobian in bytes; the optimiser may change it.
    """

    memory: float = 2.0**25

    def __init__(self, model: nn.Module, *, penalised: bool = False) -> None:
        self.model = model
        self.unidentified = set(_marked(model, "UNIDENTIFIED"))
        self._free = {
            name: p
            for name, p in model.named_parameters()
            if p.requires_grad and (penalised or name not in self.unidentified)
        }
        if not self._free:
            raise ValueError(
                f"{type(model).__name__} has no parameter that requires a gradient: there is nothing to fit"
            )

    # ---- written by a derived class ----------------------------------------------------------------------------------

    @abstractmethod
    def evaluate(self, theta: Tensor, state: Any = None) -> Any:
        """Return the quantities at θ from which loss, terms and linearisation are computed."""

    @abstractmethod
    def terms(self, evaluated: Any) -> dict[str, Any]:
        """Return the terms of the loss by name: numbers or, for several copies, tensors of shape (copy,)."""

    @abstractmethod
    def linearise(self, theta: Tensor, evaluated: Any) -> Primal | Dual:
        """Return the gradient and matrix of the Gauss–Newton step at θ."""

    @abstractmethod
    def validate(self, theta: Tensor, state: Any = None) -> tuple[Any, Any]:
        """Return the loss of the held-out samples at θ, as a number or (copy,), and the state for later evaluations."""

    @abstractmethod
    def bad_term(self, evaluated: Any) -> str:
        """Return a clause that says which of the evaluated quantities is not finite."""

    # ---- may be overridden -------------------------------------------------------------------------------------------

    def initial_state(self) -> Any:
        """Return the state of the first evaluation, None if evaluations depend on θ alone."""
        return None

    def state_after(self, evaluated: Any, state: Any) -> Any:  # noqa: ARG002
        """Return the state for evaluations after a step to where `evaluated` was computed was accepted."""
        return state

    def loss(self, evaluated: Any) -> Any:
        """Return the loss, a number or, for several copies, a tensor of shape (copy,)."""
        return sum(self.terms(evaluated).values())

    def loss_gradient(self, theta: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the gradient of the loss, summed over copies, shape (parameter,), and the state that follows."""
        evaluated = self.evaluate(theta, state)
        linear = self.linearise(theta, evaluated)
        return 2 * linear.gradient, self.state_after(evaluated, state)

    @property
    def differentiation(self) -> str:
        """How the Jacobian is computed, in words, for the history of a fit."""
        return AUTOMATIC

    def outputs(self, evaluated: Any) -> Tensor | None:  # noqa: ARG002
        """Return the quantities, in any shape, that the linearisation takes as linear in θ, such as the residuals.

        Their second derivative along a step corrects it. None if steps shall not be corrected.
        """
        return None

    @property
    def sample_count(self) -> int | None:
        """Number of training samples, if their loss is a mean over samples that a part of them estimates."""
        return None

    def subset(self, count: int, rng: np.random.Generator) -> "Problem":
        """Return the problem of `count` random training samples, for a problem that knows their number."""
        raise NotImplementedError

    def compiled(self) -> "Problem":
        """Return the problem with a loss that torch compiles, if there is one; by default the problem itself."""
        return self

    def resolution(self, loss: float) -> float:
        """Return the smallest decrease of the held-out loss that counts as progress: a thousandth of the loss."""
        return 0.001 * loss

    def small(self, loss: float, tolerance: float) -> bool:
        """Return whether the error, the root of the loss, is within the tolerance."""
        return loss <= tolerance**2

    def formatted(self, loss: float) -> str:
        """Return the loss as progress reports show it: as an error."""
        return f"error {loss**0.5:.1e}"

    # ---- inherited ---------------------------------------------------------------------------------------------------

    @property
    def copies(self) -> int:
        """Number of losses, one for every member of the model."""
        return (self.model.members or 1) if isinstance(self.model, TrainablePotential) else 1

    @property
    def owner(self) -> Tensor:
        """Copy to which each parameter belongs, shape (parameter,)."""
        each = [torch.arange(self.copies).repeat_interleave(p.numel() // self.copies) for p in self._free.values()]
        return torch.cat(each).to(self.vector().device)

    def held_out(self, theta: Tensor) -> float:
        """Return the loss of the held-out samples at θ, evaluated from the initial state."""
        return self.validate(theta, self.initial_state())[0]

    def vector(self) -> Tensor:
        """Return the current free parameters of the model, shape (parameter,)."""
        return torch.cat([p.detach().reshape(-1) for p in self._free.values()])

    def blocks(self) -> list[slice]:
        """Return the ranges of θ that belong to one tensor of the model each."""
        ends = list(itertools.accumulate(p.numel() for p in self._free.values()))
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def limit(self) -> Tensor:
        """Return the largest admissible step of every parameter, shape (parameter,); infinite by default."""
        limits = _marked(self.model, "LARGEST_STEP")
        each = [torch.full_like(p, limits.get(name, torch.inf)).reshape(-1) for name, p in self._free.items()]
        return torch.cat(each).detach()

    def slow(self) -> Tensor:
        """Return which parameters `Adam` changes at its lower rate, shape (parameter,), boolean."""
        return self._mask(set(_marked(self.model, "SLOW")))

    def penalised(self) -> Tensor:
        """Return which parameters `Adam` penalises, those that no data determine, shape (parameter,), boolean."""
        return self._mask(self.unidentified)

    def load(self, theta: Tensor) -> None:
        """Copy θ into the model."""
        with torch.no_grad():
            for name, values in self.named(theta).items():
                self._free[name].copy_(values)

    def recorded(self, theta: Tensor) -> dict[str, Tensor]:
        """Return what the history records of the parameters at θ, tensors of shape (copy, …)."""
        if not isinstance(self.model, TrainablePotential):
            return {}
        self.load(theta)
        lead = slice(None) if self.model.NATIVE or self.model.members else None  # a plain model has no member axis
        return {name: values.detach()[lead] for name, values in self.model.recorded().items()}

    def at(self, theta: Tensor) -> Weighted:
        """Return the model with parameters θ."""
        return Weighted(self.model, self.named(theta))

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the parts of θ by parameter name, in the shapes of the parameters."""
        parts = theta.split([p.numel() for p in self._free.values()])
        return {name: part.view(p.shape) for (name, p), part in zip(self._free.items(), parts, strict=True)}

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the free parameters, in the order of θ."""
        return tuple(self._free)

    def rows_at_a_time(self, size: int, what: str) -> int:
        """Return how many `what`, each with `size` numbers of the Jacobian, make a block within `memory`.

        Raises `ValueError` if not even one does.
        """
        each = size * self.vector().element_size()
        if each > self.memory:
            raise ValueError(
                f"memory={self.memory / 2**20:.3g} MiB is too small for a block of the Jacobian: one {what} with "
                f"{len(self.vector())} parameters takes {each / 2**20:.3g} MiB; increase memory of LevenbergMarquardt"
            )
        return int(self.memory // each)

    def _mask(self, names: set[str]) -> Tensor:
        """Return which entries of θ belong to parameters of these names, shape (parameter,), boolean."""
        each = [torch.full((p.numel(),), name in names, device=p.device) for name, p in self._free.items()]
        return torch.cat(each)


def _marked(model: nn.Module, mark: str) -> dict[str, Any]:
    """Return the parameters that a mark names, of the model or of the potentials in it, with the values of the mark."""
    found = {}
    for prefix, module in model.named_modules():
        marked = getattr(module, mark, ())
        for name in marked:
            found[f"{prefix}.{name}" if prefix else name] = marked[name] if isinstance(marked, Mapping) else True
    return found
