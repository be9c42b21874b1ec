"""Scales of a potential, and methods that an author writes for scaled states, in physical units."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value, jacrev, vmap
from torch.utils._pytree import tree_map

from workbench.potentials.bridge import tensor_or_array

__all__ = ["SHARED", "derivatives", "in_physical_units", "over_rows", "shared_scaling"]

SHARED = {"x_shift": 0.0, "x_scale": 1.0, "x_low": -np.inf, "x_high": np.inf, "potential_scale": 1.0}  # by all members


def shared_scaling(models: Sequence[Any]) -> list[dict[str, Tensor]]:
    """Return the state dicts of models; `ValueError` unless their scaling agrees."""
    states = [model.state_dict() for model in models]
    for name in SHARED:
        if not all(torch.equal(state[name], states[0][name]) for state in states):
            raise ValueError(
                f"members of an ensemble must share their scaling, but {name} differs between these models"
            )
    return states


def over_rows(function: Callable[[Tensor], Any], x: Tensor) -> Any:
    """Return a function of one state, shape (dim,), or each of several that it returns, at x, shape (…, dim)."""
    rows = vmap(function)(x.reshape(-1, x.shape[-1]))
    return tree_map(lambda one: one.reshape(x.shape[:-1] + one.shape[1:]), rows)


def derivatives(function: Callable[[Tensor], Tensor], order: int) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Return a scalar function together with its derivatives of the first or the first two orders, from one evaluation.

    >>> [d.tolist() for d in derivatives(lambda x: x.prod(), 2)(torch.tensor([2.0, 3.0]))]
    [6.0, [3.0, 2.0], [[0.0, 1.0], [1.0, 0.0]]]
    """

    def first(x: Tensor) -> tuple[Tensor, Tensor]:
        gradient, value = grad_and_value(function)(x)
        return value, gradient

    def first_to_differentiate(x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        value, gradient = first(x)
        return gradient, (value, gradient)

    def first_and_second(x: Tensor) -> tuple[Tensor, ...]:
        hessian, known = jacrev(first_to_differentiate, has_aux=True)(x)
        return (*known, hessian)

    return first if order == 1 else first_and_second


def in_physical_units(formula: Callable[[Any, Tensor], Tensor], power: int) -> Callable[..., Any]:
    """Return a method of a class whose author wrote it for Ψ̂: the value, or its derivative of order `power`."""
    name = ("value", "gradient", "hessian")[power]

    @wraps(formula)
    def method(self: Any, x: Any) -> Any:
        if self.__dict__["_inside"]:  # called by a formula, perhaps of a derived class
            return formula(self, x)
        return physical(self, x)

    @tensor_or_array
    def physical(self: Any, x: Tensor) -> Tensor:
        if self.members:
            return self._each(name, x)
        self.__dict__["_inside"] = True
        try:
            scaled = formula(self, (x - self.x_shift) / self.x_scale)
        finally:
            self.__dict__["_inside"] = False
        expected = (*x.shape[:-1], *(self.dim,) * power)
        if not isinstance(scaled, Tensor) or scaled.shape != expected:
            found = f"shape {tuple(scaled.shape)}" if isinstance(scaled, Tensor) else type(scaled).__name__
            raise ValueError(
                f"{name} of {type(self).__name__} returned {found} for x of shape {tuple(x.shape)}; expected a tensor "
                f"of shape {tuple(expected)}: index the states along the last axis, or sum over it"
            )
        scale = self.potential_scale
        if power == 0:
            return scale * scaled + self.offset[0]
        return scaled * (scale / self.x_scale if power == 1 else scale / torch.outer(self.x_scale, self.x_scale))

    return method
