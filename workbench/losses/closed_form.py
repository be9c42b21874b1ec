"""The Jacobian of values and gradients in closed form, for models that have one, and which matches can use it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from workbench.losses.problem import Weighted

__all__ = ["ClosedForm", "derivative", "factors_of"]

Method = TypeVar("Method", bound=Callable[..., Any])


def derivative(order: int, sign: float = 1.0) -> Callable[[Method], Method]:
    """Mark a method that predicts Ψ (order 0) or ∇Ψ (order 1), times a sign; one that overrides it is not marked."""

    def marked(method: Method) -> Method:
        method.derivative = (order, sign)  # type: ignore[attr-defined]
        return method

    return marked


class ClosedForm:
    """Derivatives of Ψ and ∇Ψ with respect to the free parameters, in memory that is used again and again.

    Parameters
    ----------
    names : sequence of str
        Free parameters.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._kept: Tensor | None = None

    def __call__(
        self, model: Weighted, x: Tensor, value: Tensor | None = None, gradient: Tensor | None = None
    ) -> Tensor | None:
        """Return rows of the Jacobian, which are valid until the next call; None if the model has no closed form.

        Parameters
        ----------
        model : Weighted
            The model of one member, with its parameters.
        x : Tensor, shape (sample, dim)
            States.
        value : Tensor, shape (sample,), optional
            Factors of the rows of Ψ; without them, there are none.
        gradient : Tensor, shape (sample, dim), optional
            Factors of the rows of ∇Ψ; without them, there are none.

        Returns
        -------
        Tensor, shape (entry · sample, parameter)
            First all rows of Ψ, then those of ∂Ψ/∂x₁, and so on.
        """
        parameters = sum(model.named[name].numel() for name in self.names)
        entries = (value is not None) + (0 if gradient is None else gradient.shape[1])
        size = parameters * entries * len(x)
        if self._kept is None or self._kept.numel() < size:
            self._kept = x.new_empty(size)
        out = self._kept[:size].view(1, parameters, entries, len(x))
        offered = model.parameter_jacobian(x, value=value, gradient=gradient, names=self.names, out=out)
        return out[0].flatten(1).T if offered else None


def factors_of(observations: Any, matches: Sequence[Any]) -> tuple[dict[str, Tensor], list[int]] | None:
    """Return the factors of the rows of Ψ and ∇Ψ by name, and the matched entry of each row of a sample.

    None if a match is neither a value nor a gradient, or matches have different inputs.
    """
    o, factors, columns = observations, dict[str, Tensor](), list[int]()
    for order, name in enumerate(("value", "gradient")):
        marked = [match for match in matches if _mark(match)[:1] == (order,)]
        if len(marked) == 1:
            entries = o.entries[marked[0].name]
            factor = _mark(marked[0])[1] * o.factor[:, entries]
            factors[name] = factor if order else factor[:, 0]
            columns += range(entries.start, entries.stop)
    alike = all(x.shape == o.x[0].shape and torch.equal(x, o.x[0]) for x in o.x)
    return (factors, columns) if alike and 0 < len(factors) == len(matches) else None


def _mark(match: Any) -> tuple:
    """Return order and sign of what a match predicts; empty if it is neither value nor gradient."""
    return getattr(type(match).predicted, "derivative", ())
