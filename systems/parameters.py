"""Declared parameters of systems and settings of studies.

Default, symbol, unit, meaning and bounds are declared in one place. Validation, error messages, the tables of the
command line and the record in data files all follow from the declaration.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from workbench import checks
from workbench.dataset import nearest

__all__ = ["ParameterError", "Parameters", "parameter", "require_integer"]


class ParameterError(ValueError):
    """A parameter is unknown, of the wrong type, or out of bounds; the message names it and states what is expected."""


def require_integer(least: int = 1, /, **settings: Any) -> None:
    """Raise `ParameterError` unless every setting is an integer ≥ `least`; booleans are rejected.

    >>> require_integer(2, samples=1)
    Traceback (most recent call last):
    systems.parameters.ParameterError: samples must be an integer >= 2, got 1
    """
    try:
        checks.require_integer(least, **settings)
    except ValueError as error:
        raise ParameterError(str(error)) from None


def parameter(default: Any, meaning: str, *, symbol: str = "", unit: str = "1", **bounds: Any) -> Any:
    """Declare a parameter of a system or a setting of a study.

    Used in the body of a class derived from `System` or `Study`, with a type annotation.

    Parameters
    ----------
    default : object
        Default value, of the annotated type and within the bounds.
    meaning : str
        Meaning in a few words, for tables and files.
    symbol : str, optional
        Mathematical symbol. Default: none.
    unit : str, default "1"
        Unit of the value; "1" means dimensionless.
    **bounds
        Bounds of the value, as for `pydantic.Field`: ``gt``, ``ge``, ``lt``, ``le``, ``min_length``, …

    Returns
    -------
    pydantic.fields.FieldInfo
        The declaration, to be assigned to the annotated name.

    Examples
    --------
    >>> class Spring(Parameters):
    ...     k: float = parameter(1.0, "stiffness", symbol="k", unit="N/m", gt=0)
    >>> Spring(k=2).k
    2.0
    """
    return Field(default, description=meaning, json_schema_extra={"symbol": symbol, "unit": unit}, **bounds)


class Parameters(BaseModel):
    """A frozen set of declared parameters, the base of systems and studies.

    Parameters
    ----------
    **values
        Values of declared parameters; those not given keep their defaults.

    Raises
    ------
    ParameterError
        If a parameter is unknown, of the wrong type, not finite, or out of bounds.

    Examples
    --------
    >>> class Spring(Parameters):
    ...     stiffness: float = parameter(1.0, "stiffness", gt=0)
    >>> Spring(stifness=2.0)
    Traceback (most recent call last):
    systems.parameters.ParameterError: Spring has no parameter 'stifness', did you mean 'stiffness'? It has: stiffness
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        cls, known = type(self), list(type(self).model_fields)
        whose = getattr(cls, "name", "") or cls.__name__
        for name, value in values.items():
            if name not in known:
                raise ParameterError(
                    f"{whose} has no parameter {name!r}{nearest(name, known) or '.'} "
                    f"It has: {', '.join(known) or 'none'}"
                )
            if isinstance(value, bool) and cls.model_fields[name].annotation is not bool:
                raise ParameterError(f"{name} of {whose} must not be a boolean, got {value!r}")
        try:
            super().__init__(**values)
        except ValidationError as error:
            problem = error.errors()[0]
            if not problem["loc"]:  # a check that involves several parameters and has its own message
                raise ParameterError(str(problem.get("ctx", {}).get("error", problem["msg"]))) from None
            name = ".".join(map(str, problem["loc"]))
            message = f"{name} of {whose}: {problem['msg']}, got {problem['input']!r}"
            raise ParameterError(message) from None

    @classmethod
    def declared(cls) -> dict[str, dict[str, Any]]:
        """Return a dictionary from the name of each parameter to its default, symbol, unit and meaning."""
        return {name: {"default": field.default, **_notes(field)} for name, field in cls.model_fields.items()}


def _notes(field: FieldInfo) -> dict[str, Any]:
    """Return symbol, unit and meaning of a declared field."""
    extra = field.json_schema_extra
    return {**(extra if isinstance(extra, dict) else {}), "meaning": field.description or ""}
