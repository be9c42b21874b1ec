"""Between arrays and tensors, and between a user's potential and what the analyses need of one."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.potentials.potential import Landscape, Potential, TimeVarying

__all__ = ["require_potential", "rows_of", "tensor_options", "tensor_or_array"]

OPTIONAL = ("member", "check_domain", "inside_data", "mode_weights", "units", "gauge", "dtype", "device")


def tensor_options(potential: Any) -> dict[str, Any]:
    """Return the dtype and device of a potential as keyword arguments for `torch.tensor` and similar functions."""
    return {"dtype": getattr(potential, "dtype", torch.float64), "device": getattr(potential, "device", None)}


def tensor_or_array(method: Callable[..., Tensor]) -> Callable[..., Any]:
    """Extend a tensor method to arrays: an array x, shape (…, dim), yields an array; the last axis of x is checked."""

    @wraps(method)
    def bridged(self: Any, x: Any, *args: Any, **options: Any) -> Any:
        is_tensor = isinstance(x, Tensor)
        if not is_tensor:
            x = torch.tensor(np.asarray(x, dtype=np.float64), **tensor_options(self))
        if x.ndim == 0 or x.shape[-1] != len(self.states):
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (…, {len(self.states)}) with the states {self.states} along "
                "the last axis"
            )
        result = method(self, x, *args, **options)
        return result if is_tensor else result.detach().cpu().numpy()

    return bridged


def require_potential(candidate: Any, dim: int | Sequence[str] | None = None) -> Landscape:
    """Return the candidate as a `Landscape`, or raise `TypeError` unless it implements `Potential`.

    The states of a potential that does not name them are called x1, x2, …, if `dim` is their number, or as `dim` lists
    them. A potential without a number of members is plain.
    """
    if isinstance(candidate, TimeVarying):
        raise TypeError(
            "expected a potential, got a time-dependent landscape, which is a potential only at a fixed time: "
            f"take blend.at({candidate.parameter}=…) or blend.at(time=…)"
        )
    if not isinstance(candidate, Potential):
        raise TypeError(
            f"expected a potential (an LSEICNN, a PotentialSystem, blend.at(b=…), …), got {type(candidate).__name__}; "
            "of a fit take fit.model, or fit.ensemble for all members; to use a formula of your own, subclass "
            "systems.PotentialSystem"
        )
    if isinstance(candidate, Landscape):
        return candidate
    default = [f"x{k + 1}" for k in range(dim)] if isinstance(dim, int) else dim
    states = getattr(candidate, "states", default)
    if states is None:
        raise TypeError(f"{type(candidate).__name__} does not name its states: give it an attribute `states`")
    return _Named(candidate, states)


class _Named:
    """A potential with names of its states; its own methods need to take tensors only, and may return arrays."""

    def __init__(self, potential: Any, states: Sequence[str]) -> None:
        self.potential, self.states = potential, tuple(states)
        self.members: int | None = getattr(potential, "members", None)
        for name in OPTIONAL:  # as attributes: from Python 3.12 on, isinstance with a protocol ignores __getattr__
            if hasattr(potential, name):
                setattr(self, name, getattr(potential, name))

    def __getattr__(self, name: str) -> Any:
        if name == "potential":  # of a copy, before it has any attribute
            raise AttributeError(name)
        return getattr(self.potential, name)

    @tensor_or_array
    def value(self, x: Tensor) -> Tensor:
        """Return Ψ(x), shape (…), for x of shape (…, dim)."""
        return torch.as_tensor(self.potential.value(x)).to(x)

    @tensor_or_array
    def gradient(self, x: Tensor) -> Tensor:
        """Return ∇Ψ(x), shape (…, dim), for x of shape (…, dim)."""
        return torch.as_tensor(self.potential.gradient(x)).to(x)

    @tensor_or_array
    def hessian(self, x: Tensor) -> Tensor:
        """Return ∇²Ψ(x), shape (…, dim, dim), for x of shape (…, dim)."""
        return torch.as_tensor(self.potential.hessian(x)).to(x)


def rows_of(potential: Landscape, x: ArrayLike, name: str) -> Tensor:
    """Return one state, shape (dim,), or several, (row, dim), as a tensor (row, dim); raise `ValueError` otherwise."""
    rows = np.atleast_2d(np.asarray(x, dtype=np.float64))
    dim = len(potential.states)
    if rows.ndim != 2 or rows.shape[1] != dim or not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, with shape (row, {dim}); got an array of shape {np.shape(x)}")
    return torch.tensor(rows, **tensor_options(potential))
