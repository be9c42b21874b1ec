"""Models and optimisers of `workbench fit` by name."""

import inspect
from collections.abc import Mapping
from typing import Any

import xarray as xr

from workbench.dataset import nearest
from workbench.fitting.fit import OPTIMISERS
from workbench.losses.match import parsed
from workbench.materials.generalised_play import GeneralisedPlay
from workbench.materials.invariants import Invariants
from workbench.materials.material import Material
from workbench.materials.state_node import StateNODE
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.stored import KINDS
from workbench.potentials.trainable import TrainablePotential

__all__ = ["constructed", "optimiser_of"]

BUILT_IN = (LSEICNN, GeneralisedPlay, StateNODE)


def constructed(name: str, data: xr.Dataset, architecture: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Return a model of the class `name` for the data, with settings of its constructor.

    A potential is constructed as ``NAME(dim, states=…, **settings)``, a material as ``NAME(**settings)``, with
    ``Invariants(axis=…)`` if it takes invariants. `architecture`, modes and hidden, is passed on to constructors that
    have such arguments. Raises `ValueError` for an unknown class or setting.
    """
    cls = _class(name)
    takes = inspect.signature(cls.__init__).parameters
    free = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    known = {key: value for key, value in architecture.items() if key in takes and key not in settings}
    options, settings = known if issubclass(cls, LSEICNN) else {}, dict(settings)
    if issubclass(cls, Material) and "invariants" in takes:
        options = {"invariants": Invariants(axis=settings.pop("axis", None))}
    wrong = [key for key in settings if key not in takes and not free]
    if wrong:
        raise ValueError(
            f"{name} has no setting {wrong[0]!r}{nearest(wrong[0], takes) or '.'} It has: {', '.join(takes)}"
        )
    if options.get("modes") == "auto":
        raise ValueError(f"modes='auto' selects among models that it makes itself: omit it with a model {name}")
    if issubclass(cls, Material):
        return cls(**options, **settings)
    if "state" not in data.dims:
        raise ValueError(f"{name} is a landscape of states, but the data are strain paths: fit a material to them")
    states = {"states": list(map(str, data["state"].values))} if "states" in takes or free else {}
    return cls(data.sizes["state"], **states, **options, **settings)


def optimiser_of(match: Any, steps: int) -> Any:
    """Return the default optimiser of a match with a number of steps."""
    name = parsed(match).optimiser
    return OPTIMISERS[name](steps=steps, **({"polish": 0} if name == "PathTraining" else {}))


def _class(name: str) -> Any:
    """Return the potential or material of this name, or raise `ValueError`."""
    own = [cls for cls in KINDS.values() if issubclass(cls, TrainablePotential | Material) and cls.__name__ == name]
    if not own:
        known = sorted({cls.__name__ for cls in KINDS.values() if cls.__module__.partition(".")[0] != "workbench"})
        names = [*(cls.__name__ for cls in BUILT_IN), *known]
        raise ValueError(
            f"unknown model {name!r}{nearest(name, names) or ';'} known: {', '.join(names)}; run the file that defines "
            "another one, before loading"
        )
    return own[-1]
