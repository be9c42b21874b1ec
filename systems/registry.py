"""Registries of classes by name: the package's own, those of installed plug-ins, and those registered at run time."""

import importlib
import pkgutil
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from systems.system import System
from workbench.dataset import nearest

__all__ = ["Registry", "SYSTEMS", "get", "names", "register"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from names to classes.

    The registry is filled when it is first used: from the modules of `package`, then from the entry points of installed
    packages. An installed package offers a class with, for example, ``[project.entry-points."workbench.systems"]`` in
    its pyproject.toml. A plug-in that fails to load is skipped with a warning.

    Parameters
    ----------
    kind : str
        What the classes are, for messages, such as "system".
    group : str
        Group of entry points of installed packages.
    package : str, optional
        Package whose modules register their classes when they are imported. Default: none.

    Examples
    --------
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
        """Return a class decorator that registers a class and sets its attribute `name`.

        Parameters
        ----------
        name : str
            Name under which the class is registered.

        Returns
        -------
        callable
            The decorator; it returns the class.

        Raises
        ------
        ValueError
            If another class is registered under this name.

        Examples
        --------
        >>> shapes = Registry("shape", group="example.shapes")
        >>> @shapes.register("square")
        ... class Square: ...
        >>> Square.name
        'square'
        """

        def decorate(cls: type[T]) -> type[T]:
            other = self._classes.get(name)
            if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(
                    f"two {self.kind} classes share the name {name!r}: {other.__module__}.{other.__qualname__} "
                    f"and {cls.__module__}.{cls.__qualname__}; rename one of them"
                )
            cls.name = name  # type: ignore[attr-defined]
            self._classes[name] = cls
            return cls

        return decorate

    def names(self) -> list[str]:
        """Return all known names in alphabetical order."""
        self._load()
        return sorted(self._classes)

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of that name; `KeyError` suggests the closest name."""
        self._load()
        if name not in self._classes:
            known = self.names()
            hint = nearest(str(name), known) or "."
            raise KeyError(f"unknown {self.kind} {name!r}{hint} Known: {', '.join(known)}")
        return self._classes[name]

    def _load(self) -> None:
        """Import the package's own modules and the plug-ins, once."""
        if self._complete:
            return
        self._complete = True
        if self.package:
            for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.group):
            self._load_entry(point)

    def _load_entry(self, point: Any) -> None:
        """Register the class of an entry point, or warn and skip it."""
        try:
            self.register(point.name)(point.load())
        except Exception as error:  # noqa: BLE001 - any failure of a plug-in must leave the others usable
            warnings.warn(
                f"{self.kind} plug-in {point.name!r} ({point.value}) failed to load and was skipped: {error!r}",
                stacklevel=4,
            )


SYSTEMS: Registry[System] = Registry("system", group="workbench.systems", package="systems")
register = SYSTEMS.register


def names() -> list[str]:
    """Return the names of all known systems.

    They are the systems of this package, those registered with `register`, and those of installed packages that offer
    an entry point in the group ``workbench.systems``.

    Returns
    -------
    list of str
        Names in alphabetical order.

    Warns
    -----
    UserWarning
        If the system of an installed package fails to load; it is skipped.

    Examples
    --------
    >>> import systems
    >>> "gene_circuit" in systems.names()
    True
    """
    return SYSTEMS.names()


def get(name: str, **parameters: Any) -> Any:
    """Return a registered system.

    Parameters
    ----------
    name : str
        Name of the system, one of `names()`.
    **parameters
        Values of its parameters; those not given keep their defaults.

    Returns
    -------
    System
        The system: a `PotentialSystem`, a `ReactionNetwork` or a `PathSystem`.

    Raises
    ------
    KeyError
        If no system has this name; the message suggests the closest one.
    ParameterError
        If a parameter is unknown, of the wrong type, or out of bounds.

    Examples
    --------
    >>> import systems
    >>> systems.get("gene_circuit", b=0.1).b
    0.1
    """
    return SYSTEMS[name](**parameters)
