"""What a result file can hold: models, which register themselves when their class is defined, and their settings.

A file names the class of a model, its module, and the arguments of its constructor. To load the file, the class must
have been defined in the running process, by an import, a script or a notebook: nothing is imported because a file says
so. The arguments are recorded at construction; they must be plain values (numbers, text, booleans, None, and lists or
mappings of them) or instances of dataclasses marked by `storable_value`, which are stored as ``{"kind": name, …}``.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

__all__ = ["Stored", "decoded", "encoded", "storable_value", "stored_class"]

T = TypeVar("T")
KINDS: dict[tuple[str, str], type["Stored"]] = {}  # classes by module and name
VALUES: dict[str, type] = {}  # dataclasses that may be arguments, by name


class Stored:
    """Base of the models that a result file can hold; a subclass needs nothing else.

    Attributes
    ----------
    arguments : dict
        The arguments that the model was constructed with.
    """

    arguments: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        KINDS[cls.__module__, cls.__qualname__] = cls
        if "__init__" in vars(cls):
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    def completed(self) -> None:
        """Finish the construction, after the constructors of all classes; by default nothing is left."""

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments as plain values; `TypeError` for one that cannot be stored."""
        arguments, name = vars(self).get("arguments"), type(self).__name__
        if arguments is None:
            raise TypeError(
                f"the constructor of {name} leaves no record of its arguments, so that no file can rebuild it: write "
                "__init__ in its class, or override config() and build()"
            )
        device_free = {argument: value for argument, value in arguments.items() if argument != "device"}
        return {argument: encoded(value, f"{argument} of {name}") for argument, value in device_free.items()}

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Any:
        """Construct a model from what `config` returned."""
        return cls(**{name: decoded(value) for name, value in config.items()})


def storable_value(cls: type[T]) -> type[T]:
    """Allow instances of a dataclass as constructor arguments of stored models, and as settings of a fit.

    Files know it by the name of the class, with its module if it is one of the user's own.
    """
    VALUES[kind_of_value(cls)] = cls
    return cls


def kind_of_value(cls: type) -> str:
    """Return the name of a dataclass in files; that of a class of one's own begins with its module."""
    name = cls.__name__
    return name if cls.__module__.startswith("workbench.") else f"{cls.__module__}.{name}"


def stored_class(module: str, name: str) -> type[Stored]:
    """Return a class by module and name, or raise `ValueError`.

    A class defined in a script is called `__main__`; there, or if the running script defines it, the name is enough.
    """
    if (module, name) in KINDS:
        return KINDS[module, name]
    alike = [cls for (other, known), cls in KINDS.items() if known == name and "__main__" in (module, other)]
    if len(alike) == 1:
        return alike[0]
    raise ValueError(
        f"the model is of the class {name} of the module {module}, which is not loaded: import it, or run the file "
        "that defines it, before loading"
    )


def decoded(value: Any) -> Any:
    """Return an argument from its stored form; `ValueError` for a value whose class is not loaded."""
    if isinstance(value, list):
        return tuple(decoded(each) for each in value)
    if not isinstance(value, dict):
        return value
    if "kind" in value:
        settings = {name: decoded(each) for name, each in value.items() if name != "kind"}
        return _value_class(value["kind"])(**settings)
    if set(value) == {"dtype"}:
        import torch  # here, because a support can be declared where torch is not needed

        return getattr(torch, value["dtype"])
    return {name: decoded(each) for name, each in value.items()}


def encoded(value: Any, what: str) -> Any:
    """Return the stored form of an argument, or raise `TypeError`, in which `what` names it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if str(value).startswith("torch."):  # a dtype
        return {"dtype": str(value).removeprefix("torch.")}
    if is_dataclass(value) and kind_of_value(type(value)) in VALUES:
        parts = {field.name: encoded(getattr(value, field.name), what) for field in fields(value)}
        return {"kind": kind_of_value(type(value)), **parts}
    if isinstance(value, Mapping) and "kind" not in value and all(isinstance(name, str) for name in value):
        return {name: encoded(each, what) for name, each in value.items()}  # "kind" marks the dataclasses
    if isinstance(value, list | tuple):
        return [encoded(each, what) for each in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy
        return value.item()
    raise TypeError(
        f"the argument {what} is of the type {type(value).__name__} and cannot be stored in a result file: use "
        "numbers, text, lists of them or mappings from text to them, or override config() and build()"
    )


def _value_class(kind: str) -> type:
    """Return the dataclass of a stored value, by its name in files, or raise `ValueError`."""
    if kind in VALUES:
        return VALUES[kind]
    module, _, name = kind.rpartition(".")
    alike = [cls for known, cls in VALUES.items() if known.rpartition(".")[2] == name]
    if len(alike) == 1 and "__main__" in (module, alike[0].__module__):
        return alike[0]
    raise ValueError(
        f"a setting is of the class {name} of the module {module or 'workbench'}, which is not loaded: import it, or "
        "run the file that defines it, before loading"
    )


def _own(value: Any) -> Any:
    """Return a copy of a list or mapping, which a constructor may change."""
    return copy.copy(value) if isinstance(value, list | dict) else value


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that records its arguments; that of the outermost class counts."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recording(self: Any, *args: Any, **options: Any) -> None:
        if "arguments" not in self.__dict__:
            try:
                bound = signature.bind(self, *args, **options).arguments
            except TypeError:
                return init(self, *args, **options)  # which says what is wrong
            named = dict(list(bound.items())[1:])
            for name, parameter in signature.parameters.items():
                if parameter.kind is parameter.VAR_KEYWORD:
                    named |= named.pop(name, {})
                if parameter.kind is parameter.VAR_POSITIONAL and named.get(name):
                    named = None  # type: ignore[assignment] # arguments without names cannot be stored
                    break
            self.__dict__["arguments"] = None if named is None else {k: _own(v) for k, v in named.items()}
            init(self, *args, **options)
            return self.completed()
        return init(self, *args, **options)

    return recording
