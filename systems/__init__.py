"""Data generators: published multistable systems, and users' own.

import systems
circuit = systems.get("gene_circuit", b=1.0)
data = circuit.trajectories(40, seed=0)
"""

from typing import Any

from systems import contract
from systems.families.paths import PathSystem
from systems.families.potential import PotentialSystem
from systems.families.reactions import ReactionNetwork
from systems.parameters import ParameterError, parameter
from systems.registry import SYSTEMS as SYSTEMS
from systems.registry import get, names, register
from systems.system import State, System

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


def __getattr__(name: str) -> Any:
    """Raise an `AttributeError` that names the closest offered name and the module it lives in."""
    import workbench.checks

    places = {known: getattr(globals()[known], "__module__", __name__) for known in __all__}
    raise workbench.checks.no_attribute(__name__, name, places)
