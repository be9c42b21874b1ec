"""The registry of studies: `names`, `get` and `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from systems.registry import Registry

if TYPE_CHECKING:
    from studies.base import Study

__all__ = ["STUDIES", "get", "names", "register"]

STUDIES: Registry[Study] = Registry("study", group="workbench.studies", package="studies")
register = STUDIES.register


def names() -> list[str]:
    """Return the names of all known studies.

    They are the studies of this package, those registered with `register`, and those of installed packages that offer
    an entry point in the group ``workbench.studies``.

    Returns
    -------
    list of str
        Names in alphabetical order.

    Warns
    -----
    UserWarning
        If the study of an installed package fails to load; it is skipped.

    Examples
    --------
    >>> import studies
    >>> "gene_circuit" in studies.names()
    True
    """
    return STUDIES.names()


def get(name: str, *, preset: str = "quick", **settings: Any) -> Study:
    """Return a registered study.

    Parameters
    ----------
    name : str
        Name of the study, one of `names()`.
    preset : str, default "quick"
        Name of a set of settings; the studies of this package have "quick" and "paper".
    **settings
        Settings that replace those of the preset.

    Returns
    -------
    Study
        The study, ready to run.

    Raises
    ------
    KeyError
        If no study has this name; the message suggests the closest one.
    ParameterError
        If the preset or a setting is unknown, or a setting is of the wrong type or out of bounds.

    Examples
    --------
    >>> import studies
    >>> studies.get("gene_circuit", modes=4).model_dump()["modes"]
    4
    """
    return STUDIES[name].preset(preset, **settings)
