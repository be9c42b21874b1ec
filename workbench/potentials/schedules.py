"""How a landscape's parameter b moves in time: closed forms b(t), and the time at which a value is reached.

Each schedule is a frozen value, called with a time (number, array or tensor), and answers `when(b)`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

__all__ = ["Logistic", "Ramp", "Schedule", "Step", "Table"]


class Schedule(Protocol):
    """b(t), and the first time at which b is reached (NaN if never)."""

    def __call__(self, t: Any) -> Any:
        """Return b at time t."""

    def when(self, b: float) -> float:
        """Return the first time at which the parameter is b, NaN if it never is."""


@dataclass(frozen=True)
class Logistic:
    """ḃ = rate (1 − b) b with b(0) = start, that is b(t) = 1/(1 + (1/start − 1) exp(−rate t)).

    >>> schedule = Logistic(rate=0.7, start=0.01)
    >>> round(schedule(5.0), 6), round(schedule.when(schedule(5.0)), 12)
    (0.250655, 5.0)
    """

    rate: float
    start: float

    def __post_init__(self) -> None:
        if not 0 < self.start < 1:
            raise ValueError(f"a logistic schedule starts strictly between 0 and 1, got start = {self.start!r}")
        if not (np.isfinite(self.rate) and self.rate != 0):
            raise ValueError(f"rate must be finite and not 0, got {self.rate!r}")

    def __call__(self, t: Any) -> Any:
        """Return b at time t."""
        return 1 / (1 + (1 / self.start - 1) * _exp(-self.rate * t))

    def when(self, b: float) -> float:
        """Return the time at which the parameter is b; negative if that was before t = 0, NaN outside (0, 1)."""
        if not 0 < b < 1:
            return float("nan")
        return float(np.log((1 / self.start - 1) * b / (1 - b)) / self.rate)


@dataclass(frozen=True)
class Table:
    """b interpolated linearly between given times, constant before the first and after the last.

    >>> Table(times=(0.0, 1.0, 3.0), values=(0.0, 1.0, 0.0))(2.0)
    0.5
    """

    times: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def kinks(self) -> tuple[float, ...]:
        """Times at which b is not smooth."""
        return self.times

    def __post_init__(self) -> None:
        if len(self.times) != len(self.values) or len(self.times) < 2:
            raise ValueError(
                f"expected as many times as values, at least 2, got {len(self.times)} and {len(self.values)}"
            )
        if not (np.isfinite([*self.times, *self.values]).all() and (np.diff(self.times) > 0).all()):
            raise ValueError(f"times must increase strictly and all entries be finite, got {self.times}, {self.values}")

    def __call__(self, t: Any) -> Any:
        """Return b at time t."""
        if not isinstance(t, torch.Tensor):
            b = np.interp(t, self.times, self.values)
            return float(b) if np.ndim(t) == 0 else b
        times, values = t.new_tensor(self.times), t.new_tensor(self.values)
        k = torch.searchsorted(times, t.detach()).clamp(1, len(times) - 1)
        share = ((t - times[k - 1]) / (times[k] - times[k - 1])).clamp(0, 1)
        return values[k - 1] + share * (values[k] - values[k - 1])

    def when(self, b: float) -> float:
        """Return the first time at which the parameter is b, NaN if it never is."""
        pieces = zip(self.times, self.times[1:], self.values, self.values[1:], strict=False)
        for start, end, low, high in pieces:
            if min(low, high) <= b <= max(low, high):
                return start if high == low else start + (end - start) * (b - low) / (high - low)
        return float("nan")


def Ramp(start: float, end: float, *, low: float = 0.0, high: float = 1.0) -> Table:  # noqa: N802
    """Return b rising from `low` at time `start` to `high` at time `end`, linearly, and constant outside.

    >>> Ramp(0.0, 10.0)(2.5)
    0.25
    """
    return Table(times=(start, end), values=(low, high))


@dataclass(frozen=True)
class Step:
    """b = `low` before the time `at`, `high` from then on.

    >>> Step(at=2.0)(1.9), Step(at=2.0)(2.0)
    (0.0, 1.0)
    """

    at: float
    low: float = 0.0
    high: float = 1.0

    @property
    def kinks(self) -> tuple[float, ...]:
        """Times at which b is not smooth."""
        return (self.at,)

    def __call__(self, t: Any) -> Any:
        """Return b at time t."""
        if isinstance(t, torch.Tensor):
            return torch.where(t < self.at, t.new_tensor(self.low), t.new_tensor(self.high))
        b = np.where(np.asarray(t) < self.at, self.low, self.high)
        return float(b) if np.ndim(t) == 0 else b

    def when(self, b: float) -> float:
        """Return the time of the step for every b between the two levels, NaN for others."""
        return self.at if min(self.low, self.high) <= b <= max(self.low, self.high) else float("nan")


def _exp(t: Any) -> Any:
    if isinstance(t, torch.Tensor):
        return torch.exp(t)
    return float(np.exp(t)) if np.ndim(t) == 0 else np.exp(t)
