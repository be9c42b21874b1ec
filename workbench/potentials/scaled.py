"""Methods of a potential that an author writes for scaled states, in physical units."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from workbench.potentials.bridge import tensor_or_array

__all__ = ["in_physical_units", "over_rows"]


def over_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return a function of one state, shape (dim,), at x, shape (…, dim)."""
    rows = vmap(function)(x.reshape(-1, x.shape[-1]))
    return rows.reshape(x.shape[:-1] + rows.shape[1:])


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
