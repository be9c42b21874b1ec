"""The contract: what a potential is, and what every module that takes one may rely on."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.potentials.schedules import Schedule

__all__ = [
    "Potential",
    "TimeVarying",
    "check_domain",
    "require_potential",
    "rows_of",
    "tensor_options",
    "tensor_or_array",
]


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


@runtime_checkable
class TimeVarying(Protocol):
    """A landscape Ψ(x, t) that changes in time; at one moment it is a `Potential`.

    A `Blend` is one; any class with these methods can be simulated.
    """

    @property
    def schedule(self) -> Schedule:
        """How the parameter b moves in time."""

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the components of x."""

    @property
    def members(self) -> int | None:
        """None for a plain potential, else the number of members."""

    def at(self, *, b: float | None = None, time: Any = None) -> Potential:
        """Return the plain potential at parameter b, or at time t."""


def require_potential(candidate: Any) -> None:
    """Raise `TypeError` for what is no potential."""
    if isinstance(candidate, TimeVarying):
        raise TypeError(
            "a landscape that changes in time is a potential at one moment only: take blend.at(b=…) or blend.at(time=…)"
        )
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


def check_domain(potentials: Sequence[Any], x: Any) -> None:
    """Let every potential that knows its domain refuse states with shape (…, dim) outside it."""
    for potential in potentials:
        refuse = getattr(potential, "check_domain", None)
        if refuse is not None:
            refuse(x)


def rows_of(potential: Potential, x: ArrayLike, name: str) -> Tensor:
    """Return states given as one row or several as a tensor, shape (row, dim); others raise `ValueError`."""
    rows = np.atleast_2d(np.asarray(x, dtype=np.float64))
    dim = len(potential.states)
    if rows.ndim != 2 or rows.shape[1] != dim or not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, with shape (row, {dim}); got shape {np.shape(x)}")
    return torch.tensor(rows, **tensor_options(potential))
