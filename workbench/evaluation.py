"""What one evaluation of a potential returns: Ψ, ∇Ψ and ∇²Ψ at the same states."""

from typing import Any, NamedTuple

__all__ = ["QUANTITIES", "Evaluation", "require_order"]

QUANTITIES = ("value", "gradient", "hessian")  # by the order of the derivative


class Evaluation(NamedTuple):
    """A potential and its derivatives at states x, shape (…, dim), as `evaluate` returns them.

    Attributes
    ----------
    value : array or Tensor or None
        Ψ, shape (…).
    gradient : array or Tensor or None
        ∇Ψ, shape (…, dim); None if only the value was asked for.
    hessian : array or Tensor or None
        ∇²Ψ, shape (…, dim, dim); None unless second derivatives were asked for.

    Examples
    --------
    >>> import systems
    >>> psi, slope, curvature = systems.get("asymmetric_quartic").evaluate([[0.0], [1.0]], order=2)
    >>> psi.shape, slope.shape, curvature.shape
    ((2,), (2, 1), (2, 1, 1))
    """

    value: Any = None
    gradient: Any = None
    hessian: Any = None


def require_order(order: Any) -> int:
    """Return the order of the highest derivative to evaluate; `ValueError` unless it is 0, 1 or 2.

    >>> require_order(3)
    Traceback (most recent call last):
    ValueError: order is that of the highest derivative, expected 0, 1 or 2, got 3
    """
    integral = hasattr(order, "__index__") and not isinstance(order, bool)
    if not (integral and getattr(order, "shape", ()) == () and 0 <= order <= 2):
        raise ValueError(f"order is that of the highest derivative, expected 0, 1 or 2, got {order!r}")
    return int(order)
