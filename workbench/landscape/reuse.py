"""Searches of a landscape that are done once: their results are kept while a context is open.

    with reused():
        graph(potential, box)
        rates(potential, temperature=0.1, within=box)       # finds the points that `graph` found

A search is the same if its function, the potential and all settings are: two potentials are if their contents are, as
those of a member of an ensemble and of a copy of it. Results are copied, so that none changes another.
"""

import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

import xarray as xr
from torch import Tensor

__all__ = ["remembered", "reused"]

Search = TypeVar("Search", bound=Callable[..., xr.Dataset])
_kept: ContextVar[dict[Any, xr.Dataset] | None] = ContextVar("kept", default=None)


@contextmanager
def reused() -> Iterator[None]:
    """Keep the results of searches inside the context, and of the contexts in it."""
    token = _kept.set({} if _kept.get() is None else _kept.get())
    try:
        yield
    finally:
        _kept.reset(token)


def remembered(search: Search) -> Search:
    """Let a search return the result of the same one before, in a context of `reused`."""

    @wraps(search)
    def found(*arguments: Any, **options: Any) -> xr.Dataset:
        kept = _kept.get()
        if kept is None:
            return search(*arguments, **options)
        try:
            key = search.__qualname__, _content((arguments, options))
        except Exception:  # a potential of one's own that cannot be pickled
            return search(*arguments, **options)
        if key not in kept:
            kept[key] = search(*arguments, **options)
        return kept[key].copy(deep=True)

    return found  # type: ignore[return-value]


def _content(value: Any) -> bytes:
    """Return bytes that are equal for objects of equal content."""
    stream = io.BytesIO()
    _Pickler(stream).dump(value)
    return stream.getvalue()


class _Pickler(pickle.Pickler):
    """A pickler of contents: of a tensor, its type, shape and numbers alone."""

    def reducer_override(self, value: Any) -> Any:
        """Return how to pickle a tensor."""
        if not isinstance(value, Tensor):
            return NotImplemented
        numbers = value.detach().cpu().numpy()
        return tuple, ((str(value.dtype), tuple(value.shape), numbers.tobytes()),)
