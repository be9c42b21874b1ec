"""The Jacobian of matched values and gradients in closed form, for models that have one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from workbench.losses.problem import Weighted

__all__ = ["BLOCK", "ClosedForm", "derivative"]

BLOCK = 1024  # samples at a time: few enough to stay in the cache
Method = TypeVar("Method", bound=Callable[..., Any])


def derivative(order: int, sign: float = 1.0) -> Callable[[Method], Method]:
    """Mark a method that predicts Ψ (order 0) or ∇Ψ (order 1), times a sign; one that overrides it is not marked."""

    def marked(method: Method) -> Method:
        method.derivative = (order, sign)  # type: ignore[attr-defined]
        return method

    return marked


class ClosedForm:
    """Rows of the Jacobian as multiples of the derivatives of Ψ and ∇Ψ with respect to the parameters.

    Parameters
    ----------
    x : Tensor, shape (sample, dim)
        States.
    factors : dict of str to Tensor
        Those of "value", shape (sample,), and of "gradient", (sample, dim), as far as they are matched.
    columns : list of int
        The matched entry to which each row of a sample belongs.
    names : sequence of str
        Free parameters.
    """

    def __init__(self, x: Tensor, factors: dict[str, Tensor], columns: list[int], names: Sequence[str]) -> None:
        self.x, self.factors, self.columns, self.names = x, factors, columns, tuple(names)
        self._kept = x.new_empty(0)  # memory of a block, used again and again

    @classmethod
    def of(cls, model: Weighted, observations: Any, matches: Sequence[Any], names: Sequence[str]) -> Self | None:
        """Return the closed form of `Observations`, or None if matches, inputs or the model of one member has none."""
        o, factors, columns = observations, {}, list[int]()
        for order, kind in enumerate(("value", "gradient")):
            marked = [match for match in matches if _mark(match)[:1] == (order,)]
            if len(marked) == 1:
                entries = o.entries[marked[0].name]
                factor = _mark(marked[0])[1] * o.factor[:, entries]
                factors[kind] = factor[:, 0] if kind == "value" else factor
                columns += range(entries.start, entries.stop)
        alike = all(x.shape == o.x[0].shape and torch.equal(x, o.x[0]) for x in o.x)
        if len(factors) < len(matches) or not alike:
            return None
        closed = cls(o.x[0], factors, columns, names)
        return closed if next(closed.jacobians(model, 1), None) is not None else None

    def ordered(self, residuals: Tensor) -> Tensor:
        """Return residuals, shape (sample, entry), in the order of the rows: by entry, then sample."""
        return residuals[:, self.columns].mT.reshape(-1)

    def jacobians(self, model: Weighted, rows: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield the Jacobian by blocks of samples, shape (row, parameter); a block is valid until the next one."""
        count = sum(model.named[name].numel() for name in self.names)
        rows = min(rows, len(self.x))
        size = count * len(self.columns) * rows
        if self._kept.numel() != size:
            self._kept = self.x.new_empty(size)
        for start in range(0, len(self.x), rows):
            at = slice(start, min(start + rows, len(self.x)))
            part = {name: factor[at] for name, factor in self.factors.items()}
            out = self._kept[: count * len(self.columns) * (at.stop - start)].view(1, count, len(self.columns), -1)
            options = {"value": None, "gradient": None} | part
            if not model.parameter_jacobian(self.x[at], names=self.names, out=out, **options):
                return
            yield at, out[0].flatten(1).T


def _mark(match: Any) -> tuple:
    """Return order and sign of what a match predicts; empty if it is neither value nor gradient."""
    return getattr(type(match).predicted, "derivative", ())
