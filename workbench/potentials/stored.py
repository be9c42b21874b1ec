"""Models that a result file can hold: each class registers itself when it is defined.

A file names the class of a model, its module, and the arguments of its constructor. To load the file, the class must
have been defined in the running process, by an import, a script or a notebook: nothing is imported because a file says
so. The arguments are recorded at construction; they must be plain values (numbers, text, booleans, None, and lists or
mappings of them) or instances of classes marked by `storable_value`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar

__all__ = ["Stored", "decoded", "storable_value", "stored_class"]

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

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments as plain values; `TypeError` for one that cannot be stored."""
        device_free = {name: value for name, value in self.arguments.items() if name != "device"}
        return {name: _encoded(value, f"{name} of {type(self).__name__}") for name, value in device_free.items()}

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Any:
        """Construct a model from what `config` returned."""
        return cls(**{name: decoded(value) for name, value in config.items()})


def storable_value(cls: type[T]) -> type[T]:
    """Allow instances of a dataclass as constructor arguments of stored models."""
    VALUES[cls.__name__] = cls
    return cls


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
        "that defines it (on the command line, as a plug-in), before loading"
    )


def decoded(value: Any) -> Any:
    """Return an argument from its stored form."""
    if isinstance(value, list):
        return tuple(decoded(each) for each in value)
    if not isinstance(value, dict):
        return value
    if "class" in value and value["class"] in VALUES:
        return VALUES[value["class"]](**{name: decoded(each) for name, each in value["fields"].items()})
    if set(value) == {"dtype"}:
        import torch  # here, because a support can be declared where torch is not needed

        return getattr(torch, value["dtype"])
    return {name: decoded(each) for name, each in value.items()}


def _encoded(value: Any, what: str) -> Any:
    """Return the stored form of an argument; `what` names it in the error."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if str(value).startswith("torch."):  # a dtype
        return {"dtype": str(value).removeprefix("torch.")}
    if is_dataclass(value) and type(value).__name__ in VALUES:
        fields = asdict(value)  # type: ignore[arg-type]
        return {"class": type(value).__name__, "fields": {k: _encoded(v, what) for k, v in fields.items()}}
    if isinstance(value, Mapping):
        return {str(name): _encoded(each, what) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(each, what) for each in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy
        return value.item()
    raise TypeError(
        f"the argument {what} is of the type {type(value).__name__} and cannot be stored in a result file: use "
        "numbers, text, lists or mappings of them, or override config() and build()"
    )


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
            self.__dict__["arguments"] = named
        return init(self, *args, **options)

    return recording
