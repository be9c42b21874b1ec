"""Between arrays and tensors, and between a user's potential and what the analyses need of one."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.evaluation import QUANTITIES, Evaluation, require_order
from workbench.potentials.potential import Landscape, Potential, TimeVarying

__all__ = [
    "arrays_too",
    "evaluated",
    "gradient_at",
    "require_potential",
    "rows_of",
    "tensor_options",
    "tensor_or_array",
]

OPTIONAL = (
    "member",
    "check_domain",
    "inside_data",
    "box",
    "mode_weights",
    "zero_modes",
    "units",
    "gauge",
    "dtype",
    "device",
)


def tensor_options(potential: Any) -> dict[str, Any]:
    """Return the dtype and device of a potential as keyword arguments for `torch.tensor` and similar functions."""
    return {"dtype": getattr(potential, "dtype", torch.float64), "device": getattr(potential, "device", None)}


def tensor_or_array(
    method: Callable[..., Any], computes_with: Callable[[Any, np.ndarray], bool] | None = None
) -> Callable[..., Any]:
    """Extend a tensor method to arrays: an array x, shape (…, dim), yields arrays; the last axis of x is checked.

    A method that takes arrays as well states by `computes_with(self, x)` which of them it receives as they are.
    """

    @wraps(method)
    def bridged(self: Any, x: Any, *args: Any, **options: Any) -> Any:
        given = x if isinstance(x, Tensor) else np.asarray(x, dtype=np.float64)
        if given.ndim == 0 or given.shape[-1] != len(self.states):
            raise ValueError(
                f"x has shape {tuple(given.shape)}; expected (…, {len(self.states)}) with the states {self.states} "
                "along the last axis"
            )
        if isinstance(given, Tensor):
            return method(self, given, *args, **options)
        if computes_with is not None and computes_with(self, given):
            with np.errstate(all="ignore"):  # as tensors do: what is not finite is seen in the result
                return method(self, given, *args, **options)
        return _arrays(method(self, torch.tensor(given, **tensor_options(self)), *args, **options))

    return bridged


def arrays_too(method: Callable[..., Any]) -> Callable[..., Any]:
    """Check the last axis of x, for a method that takes tensors and arrays alike."""
    return tensor_or_array(method, lambda _, __: True)


def _arrays(result: Any) -> Any:
    """Return a tensor as an array, and several, of which some may be None, as an evaluation in arrays."""
    if isinstance(result, tuple):
        return Evaluation(*(None if one is None else _arrays(one) for one in result))
    return result.detach().cpu().numpy()


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
    """A potential with names of its states and an evaluation of all that is asked for at once.

    Its own methods need to take tensors only, and may return arrays.
    """

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

    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ(x) and its derivatives up to an order, one method after the other."""
        methods = (self.value, self.gradient, self.hessian)
        return Evaluation(*(method(x) for method in methods[: require_order(order) + 1]))

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


class Remembering(_Named):
    """A potential that keeps what it returned last, for questions about one state that come one after the other.

    Its own parameters must not change meanwhile. Tensors are not kept.

    >>> import systems
    >>> circuit = Remembering(systems.get("gene_circuit"))
    >>> circuit.evaluate(np.ones(2), 1).gradient is circuit.gradient(np.ones(2))
    True
    """

    def __init__(self, potential: Landscape) -> None:
        super().__init__(potential, potential.states)
        self._at: Any = None
        self._known: dict[str, Any] = {}

    def value(self, x: Any) -> Any:
        """Return Ψ(x), shape (…), for x of shape (…, dim)."""
        return self._all(x, ("value",))["value"]

    def gradient(self, x: Any) -> Any:
        """Return ∇Ψ(x), shape (…, dim), for x of shape (…, dim)."""
        return self._all(x, ("gradient",))["gradient"]

    def hessian(self, x: Any) -> Any:
        """Return ∇²Ψ(x), shape (…, dim, dim), for x of shape (…, dim)."""
        return self._all(x, ("hessian",))["hessian"]

    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ(x) and its derivatives up to an order."""
        names = QUANTITIES[: require_order(order) + 1]
        found = self._all(x, names)
        return Evaluation(*(found[name] for name in names))

    def _all(self, x: Any, names: Sequence[str]) -> dict[str, Any]:
        """Return what is named at x, and perhaps more."""
        at = None if isinstance(x, Tensor) else (np.shape(x), np.asarray(x).tobytes())
        known = self._known if at is not None and at == self._at else {}
        if len(names) == 1 and names[0] not in known:
            known[names[0]] = getattr(self.potential, names[0])(x)
        elif any(name not in known for name in names):
            known |= zip(QUANTITIES, self.potential.evaluate(x, len(names) - 1)[: len(names)], strict=False)
        self._at, self._known = at, known
        return known


def evaluated(potential: Landscape, x: Tensor, order: int) -> Evaluation:
    """Return Ψ and its derivatives up to an order at states x, shape (row, dim), as tensors without a graph.

    On the processor they are evaluated for x as an array, which potentials may do faster for few states.
    """
    return Evaluation(
        *(None if one is None else torch.as_tensor(one).to(x) for one in potential.evaluate(_given(x), order))
    )


def gradient_at(potential: Landscape, x: Tensor) -> Tensor:
    """Return ∇Ψ at states x, shape (row, dim), alone; otherwise as `evaluated`."""
    return torch.as_tensor(potential.gradient(_given(x))).to(x)


def _given(x: Tensor) -> Any:
    """Return states as an array where that costs nothing."""
    return x.detach().numpy() if x.device.type == "cpu" else x.detach()


def rows_of(potential: Landscape, x: ArrayLike, name: str) -> Tensor:
    """Return one state, shape (dim,), or several, (row, dim), as a tensor (row, dim); raise `ValueError` otherwise."""
    rows = np.atleast_2d(np.asarray(x, dtype=np.float64))
    dim = len(potential.states)
    if rows.ndim != 2 or rows.shape[1] != dim or not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, with shape (row, {dim}); got an array of shape {np.shape(x)}")
    return torch.tensor(rows, **tensor_options(potential))
