"""The interface of a potential, on which every analysis and simulation relies, and checks of their arguments."""

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
    """Interface of an energy landscape Ψ(x) with its first two derivatives.

    Every class with these attributes and methods is a potential: learned or exact, alone or composed. Given arrays,
    the methods return arrays; given tensors, they return tensors, differentiable with respect to x.

    A plain potential (`members` is None) accepts x of shape (…, dim). An ensemble of several potentials accepts x of
    shape (sample, dim), evaluated by every member, or (member, sample, dim); its results have a leading member axis.

    Attributes
    ----------
    states : tuple of str
        Names of the state variables, the components of x.
    members : int or None
        Number of members of an ensemble; None for a plain potential.

    Examples
    --------
    >>> import systems
    >>> import workbench as wb
    >>> surface = systems.get("muller_brown")
    >>> isinstance(surface, wb.Potential), surface.states
    (True, ('x', 'y'))
    >>> x = np.zeros((4, 2))
    >>> surface.value(x).shape, surface.gradient(x).shape, surface.hessian(x).shape
    ((4,), (4, 2), (4, 2, 2))
    """

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables, the components of x."""

    @property
    def members(self) -> int | None:
        """Number of members of an ensemble; None for a plain potential."""

    def value(self, x: Any) -> Any:
        """Return Ψ(x), shape (…).

        Parameters
        ----------
        x : array_like or torch.Tensor
            States, shape (…, dim), or those of an ensemble (see above).
        """

    def gradient(self, x: Any) -> Any:
        """Return ∇Ψ(x), shape (…, dim), for x of shape (…, dim)."""

    def hessian(self, x: Any) -> Any:
        """Return ∇²Ψ(x), shape (…, dim, dim), for x of shape (…, dim)."""


@runtime_checkable
class TimeVarying(Protocol):
    """Interface of a time-dependent landscape Ψ(x, t) that is a `Potential` at any fixed time.

    `Blend` implements it; any class with these attributes and this method can be simulated.
    """

    @property
    def schedule(self) -> Schedule:
        """Time dependence b(t) of the landscape's parameter."""

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables, the components of x."""

    @property
    def members(self) -> int | None:
        """Number of members of an ensemble; None for a plain landscape."""

    def at(self, *, b: float | None = None, time: Any = None) -> Potential:
        """Return the potential at parameter value b, or at time t."""


def require_potential(candidate: Any) -> None:
    """Raise `TypeError` unless the candidate implements `Potential`."""
    if isinstance(candidate, TimeVarying):
        raise TypeError(
            "expected a potential, got a time-dependent landscape, which is a potential only at a fixed time: "
            "take blend.at(b=…) or blend.at(time=…)"
        )
    if not isinstance(candidate, Potential):
        raise TypeError(
            f"expected a potential (an LSEICNN, a PotentialSystem, blend.at(b=…), …), got {type(candidate).__name__}; "
            "of a fit take fit.model, or fit.ensemble for all members; to use a formula of your own, subclass "
            "systems.PotentialSystem"
        )


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


def check_domain(potentials: Sequence[Any], x: Any) -> None:
    """Let every potential with a `check_domain` method raise if states x, shape (…, dim), lie outside its domain."""
    for potential in potentials:
        check = getattr(potential, "check_domain", None)
        if check is not None:
            check(x)


def rows_of(potential: Potential, x: ArrayLike, name: str) -> Tensor:
    """Return one state, shape (dim,), or several, (row, dim), as a tensor (row, dim); raise `ValueError` otherwise."""
    rows = np.atleast_2d(np.asarray(x, dtype=np.float64))
    dim = len(potential.states)
    if rows.ndim != 2 or rows.shape[1] != dim or not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, with shape (row, {dim}); got an array of shape {np.shape(x)}")
    return torch.tensor(rows, **tensor_options(potential))
