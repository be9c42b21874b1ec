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

    >>> "gene_circuit" in names()
    True
    """
    return SYSTEMS.names()


def get(name: str, **parameters: Any) -> Any:
    """Return the system of that name with the parameters given; the others keep their defaults.

    >>> get("gene_circuit", b=0.1).b
    0.1
    """
    return SYSTEMS[name](**parameters)


def __getattr__(name: str) -> Any:
    """Say of an unknown name which one is nearest and where it lives."""
    raise no_attribute(__name__, name, {known: getattr(globals()[known], "__module__", __name__) for known in __all__})
