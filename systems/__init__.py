"""Data generators: published multistable systems, and users' own.

import systems
circuit = systems.get("gene_circuit", b=1.0)
data = circuit.trajectories(40, seed=0)
"""

from typing import Any

from systems import contract
from systems.families.base import SYSTEMS, State, System, register
from systems.families.paths import PathSystem
from systems.families.potential import PotentialSystem
from systems.families.reactions import ReactionNetwork
from systems.parameters import ParameterError, parameter
from workbench.checks import no_attribute

__all__ = [
    "ParameterError",
    "PathSystem",
    "PotentialSystem",
    "ReactionNetwork",
    "State",
    "System",
    "contract",
    "get",
    "names",
    "parameter",
    "register",
]


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


def __getattr__(name: str) -> Any:
    """Raise an `AttributeError` that names the closest offered name and the module it lives in."""
    raise no_attribute(__name__, name, {known: getattr(globals()[known], "__module__", __name__) for known in __all__})
