"""Schedules b(t) of a landscape's parameter, and their inverse: the time at which a given value is reached.

Every schedule is immutable and is called with a time (number, array or tensor); the result has the same type and shape.
`when(b)` inverts the schedule. The unit of time is that of the dynamics ẋ = −∇Ψ(x, t).
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

__all__ = ["Kinked", "Logistic", "Ramp", "Schedule", "Step", "Table"]


class Schedule(Protocol):
    """Interface of a schedule: a callable b(t) with an inverse.

    A schedule that is not smooth is `Kinked`.
    """

    def __call__(self, t: Any) -> Any:
        """Return b at time t."""

    def when(self, b: float) -> float:
        """Return the first time at which the parameter reaches or jumps across b; NaN if it never does."""


@runtime_checkable
class Kinked(Protocol):
    """A schedule that is not smooth; adaptive integrators restart at its kinks."""

    @property
    def kinks(self) -> tuple[float, ...]:
        """Times of kinks or jumps."""


@dataclass(frozen=True)
class Logistic:
    """Logistic schedule, ḃ = rate (1 − b) b with b(0) = start.

        b(t) = 1 / (1 + (1/start − 1) exp(−rate t)).

    Like every schedule, it is called with a time t of any shape and returns b(t) of that shape.

    Parameters
    ----------
    rate : float
        Growth rate per unit time, finite and not 0; b tends to 1 if it is positive and to 0 if it is negative.
    start : float
        Value b(0), strictly between 0 and 1.

    Raises
    ------
    ValueError
        If `start` or `rate` is out of range.

    Examples
    --------
    >>> schedule = Logistic(rate=0.7, start=0.01)
    >>> round(schedule(5.0), 6), round(schedule.when(schedule(5.0)), 12)
    (0.250655, 5.0)
    """

    rate: float
    start: float

    def __post_init__(self) -> None:
        if not 0 < self.start < 1:
            raise ValueError(f"start of a logistic schedule must lie strictly between 0 and 1, got {self.start!r}")
        if not (np.isfinite(self.rate) and self.rate != 0):
            raise ValueError(f"rate must be finite and not 0, got {self.rate!r}")

    def __call__(self, t: Any) -> Any:
        """Return b(t), with the type and shape of t."""
        return 1 / (1 + (1 / self.start - 1) * _exp(-self.rate * t))

    def when(self, b: float) -> float:
        """Return the time at which the parameter equals b, negative if before t = 0; NaN for b outside (0, 1)."""
        if not 0 < b < 1:
            return float("nan")
        return float(np.log((1 / self.start - 1) * b / (1 - b)) / self.rate)


@dataclass(frozen=True)
class Table:
    """Piecewise-linear schedule, constant before the first and after the last of its times.

    Like every schedule, it is called with a time t of any shape and returns b(t) of that shape.

    Parameters
    ----------
    times : tuple of float
        At least two times, finite and strictly increasing.
    values : tuple of float
        Finite values of b at these times.

    Raises
    ------
    ValueError
        If the lengths differ or are below 2, if the times do not increase, or if an entry is not finite.

    Examples
    --------
    >>> Table(times=(0.0, 1.0, 3.0), values=(0.0, 1.0, 0.0))(2.0)
    0.5
    """

    times: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def kinks(self) -> tuple[float, ...]:
        """Times at which the derivative of b jumps."""
        return self.times

    def __post_init__(self) -> None:
        if len(self.times) != len(self.values) or len(self.times) < 2:
            raise ValueError(
                f"expected as many times as values, at least 2 of each, got {len(self.times)} and {len(self.values)}"
            )
        if not (np.isfinite([*self.times, *self.values]).all() and (np.diff(self.times) > 0).all()):
            raise ValueError(
                f"times must increase strictly and all entries must be finite, got {self.times} and {self.values}"
            )

    def __call__(self, t: Any) -> Any:
        """Return b(t), with the type and shape of t."""
        if not isinstance(t, torch.Tensor):
            b = np.interp(t, self.times, self.values)
            return float(b) if np.ndim(t) == 0 else b
        times, values = t.new_tensor(self.times), t.new_tensor(self.values)
        k = torch.searchsorted(times, t.detach()).clamp(1, len(times) - 1)
        fraction = ((t - times[k - 1]) / (times[k] - times[k - 1])).clamp(0, 1)
        return values[k - 1] + fraction * (values[k] - values[k - 1])

    def when(self, b: float) -> float:
        """Return the first time, not before times[0], at which the parameter equals b; NaN if it never does."""
        pieces = zip(self.times, self.times[1:], self.values, self.values[1:], strict=False)
        for start, end, low, high in pieces:
            if min(low, high) <= b <= max(low, high):
                return start if high == low else start + (end - start) * (b - low) / (high - low)
        return float("nan")


def Ramp(start: float, end: float, *, low: float = 0.0, high: float = 1.0) -> Table:  # noqa: N802
    """Return a linear ramp from `low` at time `start` to `high` at time `end`, constant outside.

    Parameters
    ----------
    start, end : float
        Times between which b changes, start < end.
    low, high : float
        Values of b before `start` and after `end`; `low` may exceed `high`.

    Returns
    -------
    Table
        The schedule; called with a time of any shape, it returns b of that shape.

    Raises
    ------
    ValueError
        If `start` is not below `end`, or an argument is not finite.

    Examples
    --------
    >>> Ramp(0.0, 10.0)(2.5)
    0.25
    """
    return Table(times=(start, end), values=(low, high))


@dataclass(frozen=True)
class Step:
    """Discontinuous schedule: b = `low` before the time `at`, b = `high` from then on.

    Like every schedule, it is called with a time t of any shape and returns b(t) of that shape.

    Parameters
    ----------
    at : float
        Time of the step.
    low, high : float
        Values of b before the step and from the step on.

    Examples
    --------
    >>> Step(at=2.0)(1.9), Step(at=2.0)(2.0)
    (0.0, 1.0)
    """

    at: float
    low: float = 0.0
    high: float = 1.0

    @property
    def kinks(self) -> tuple[float, ...]:
        """Time at which b jumps, as a tuple of one."""
        return (self.at,)

    def __call__(self, t: Any) -> Any:
        """Return b(t), with the type and shape of t."""
        if isinstance(t, torch.Tensor):
            return torch.where(t < self.at, t.new_tensor(self.low), t.new_tensor(self.high))
        b = np.where(np.asarray(t) < self.at, self.low, self.high)
        return float(b) if np.ndim(t) == 0 else b

    def when(self, b: float) -> float:
        """Return the time of the step if b lies between `low` and `high`, both included; NaN otherwise."""
        return self.at if min(self.low, self.high) <= b <= max(self.low, self.high) else float("nan")


def _exp(t: Any) -> Any:
    """Return exp(t), with the type and shape of t."""
    if isinstance(t, torch.Tensor):
        return torch.exp(t)
    return float(np.exp(t)) if np.ndim(t) == 0 else np.exp(t)
