"""Names to classes: a decorator for this process, the package's own modules, and entry points of installed packages."""

import importlib
import pkgutil
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from workbench.dataset import nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes by name. `group` is the entry-point group, `package` the one whose modules register themselves.

    An installed package offers a class with, say, `[project.entry-points."workbench.systems"]` in its pyproject.toml.
    A plug-in that fails on import warns and leaves the others working; two classes of one name are an error.

    >>> shapes = Registry("shape", group="example.shapes")
    >>> @shapes.register("circle")
    ... class Circle: ...
    >>> shapes.names()
    ['circle']
    >>> shapes["cirle"]
    Traceback (most recent call last):
    KeyError: "unknown shape 'cirle', did you mean 'circle'? Known: circle"
    """

    def __init__(self, kind: str, *, group: str, package: str | None = None) -> None:
        self.kind, self.group, self.package = kind, group, package
        self._classes: dict[str, type[T]] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Return the class decorator that files a class under `name` and sets its `name`."""

        def decorate(cls: type[T]) -> type[T]:
            other = self._classes.get(name)
            if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(
                    f"two {self.kind} classes want the name {name!r}: {other.__module__}.{other.__qualname__} "
                    f"and {cls.__module__}.{cls.__qualname__}; rename one"
                )
            cls.name = name  # type: ignore[attr-defined]
            self._classes[name] = cls
            return cls

        return decorate

    def names(self) -> list[str]:
        """Return every known name, sorted."""
        self._load()
        return sorted(self._classes)

    def __getitem__(self, name: str) -> type[T]:
        self._load()
        if name not in self._classes:
            known = self.names()
            hint = nearest(str(name), known) or "."
            raise KeyError(f"unknown {self.kind} {name!r}{hint} Known: {', '.join(known)}")
        return self._classes[name]

    def _load(self) -> None:
        if self._complete:
            return
        self._complete = True
        if self.package:
            for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.group):
            self._load_entry(point)

    def _load_entry(self, point: Any) -> None:
        try:
            self.register(point.name)(point.load())
        except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way, the rest must work
            warnings.warn(f"{self.kind} plug-in {point.name!r} ({point.value}) was skipped: {error!r}", stacklevel=4)
