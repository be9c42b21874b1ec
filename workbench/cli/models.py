"""Models, matches and optimisers of `workbench fit` by name."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import xarray as xr

from workbench import plugins
from workbench.cli.console import parsed as pairs
from workbench.dataset import nearest
from workbench.fitting.fit import OPTIMISERS
from workbench.losses.contract import MATCHES
from workbench.losses.match import known_matches, parsed
from workbench.materials.generalised_play import GeneralisedPlay
from workbench.materials.invariants import Invariants
from workbench.materials.material import Material
from workbench.materials.state_node import StateNODE
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.stored import KINDS
from workbench.potentials.support import Support
from workbench.potentials.trainable import TrainablePotential

__all__ = ["architecture_of", "constructed", "match_of", "optimiser_of"]

BUILT_IN = (LSEICNN, GeneralisedPlay, StateNODE)
DEFAULTS: dict[str, Any] = {"modes": 3, "hidden": (8, 8, 8)}  # of an LSEICNN
GIVEN = {  # arguments of constructors that are no settings, by name
    "dim": "it is the number of states of the data",
    "states": "the names of the states are those of the data, --states",
    "invariants": "give their preferred axis, --set axis=1,0,0, or nothing for an isotropic material",
}


def architecture_of(
    name: str, data: xr.Dataset, architecture: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return modes and hidden, or a model of one's own, as arguments of `workbench.learn`.

    Parameters are those of `constructed`, which is called unless `LSEICNN` is wanted without settings.
    """
    if _class(name) is LSEICNN and not settings:
        return DEFAULTS | dict(architecture)
    return {"model": constructed(name, data, architecture, settings)}


def constructed(name: str, data: xr.Dataset, architecture: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Return a model of the class `name` for the data, with settings of its constructor.

    A potential is constructed as ``NAME(dim, states=…, **settings)``, a material as ``NAME(**settings)``, with
    ``Invariants(axis=…)`` if it takes invariants. `architecture`, the modes and hidden that are given, reaches every
    constructor that has such arguments. Raises `ValueError` for an unknown class or setting, and for settings of which
    no model can be made.
    """
    cls = _class(name)
    takes = inspect.signature(cls.__init__).parameters
    free = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    if issubclass(cls, LSEICNN):
        architecture = {key: value for key, value in DEFAULTS.items() if key in takes} | dict(architecture)
    _check_settings(cls, {**architecture, **settings}, free)
    if architecture.get("modes") == "auto":
        raise ValueError(f"modes='auto' selects among models that it makes itself: omit it with a model {name}")
    given = {**architecture, **settings}
    made: dict[str, Any] = {}
    if issubclass(cls, Material):
        if "invariants" in takes:
            made = {"invariants": Invariants(axis=given.pop("axis", None))}
        return _made(cls, (), made, given)
    if "state" not in data.dims:
        raise ValueError(f"{name} is a landscape of states, but the data are strain paths: fit a material to them")
    if "states" in takes or free:
        made = {"states": list(map(str, data["state"].values))}
    return _made(cls, (data.sizes["state"],), made, given)


def match_of(match: Any, settings: Sequence[str] | None) -> Any:
    """Return what is matched, with the settings NAME=VALUE of a single match.

    A support is written NAME=STATE:LOW,HIGH, once per state; its settings integer and nodes are passed on to it.

    >>> match_of("density", ["support=X:0,1000", "integer=true", "prior=0.1"])
    Density(support=Support(bounds={'X': (0.0, 1000.0)}, integer=True, nodes=128), prior=0.1)
    """
    if not settings:
        return match
    if not isinstance(match, str):
        raise ValueError("--match-set sets the only match: give one --match NAME, without a weight")
    cls = MATCHES[match] if match in known_matches() else type(parsed(match))  # which names the known ones
    values = {name: _tuples(value) for name, value in pairs(list(settings), "--match-set").items()}
    known = {field.name: str(field.type) for field in fields(cls) if field.init}
    supports = [name for name, kind in known.items() if "Support" in kind]
    of_support = {key: values.pop(key) for key in ("integer", "nodes") if supports and key in values.keys() - known}
    wrong = [name for name in values if name not in known]
    if wrong:
        names = [*known, *(("integer", "nodes") if supports else ())]
        has = f"It has: {', '.join(names)}" if names else "It has none"
        raise ValueError(f"{match} has no setting {wrong[0]!r}{nearest(wrong[0], names) or '.'} {has}")
    for name in supports:
        bounds = dict(_interval(text.partition("=")[2]) for text in settings if text.partition("=")[0].strip() == name)
        if bounds:
            values[name] = Support(bounds, **of_support)
    return _made(cls, (), {}, values)


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
    alike = [cls for cls in own if cls in BUILT_IN or cls.__module__ in plugins.LOADED]
    if len(alike) > 1:
        both = " and ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in alike)
        raise ValueError(f"several models are called {name}, {both}: rename your own")
    return own[-1]


def _check_settings(cls: Any, settings: Mapping[str, Any], free: bool) -> None:
    """Raise `ValueError` for settings that the constructor lacks, or that are no settings."""
    takes = inspect.signature(cls.__init__).parameters
    fixed = {"invariants"} & set(takes) if issubclass(cls, Material) else {"dim", "states"}
    named = [key for key, each in takes.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    known = [key for key in named[1:] if key not in fixed] + ["axis"] * ("invariants" in fixed)
    for key in settings:
        if key in fixed:
            raise ValueError(f"{key} is no setting of {cls.__name__}: {GIVEN[key]}")
        if key not in known and not free:
            has = f"It has: {', '.join(known)}" if known else "It has none"
            raise ValueError(f"{cls.__name__} has no setting {key!r}{nearest(key, known) or '.'} {has}")


def _made(cls: Any, args: tuple, made: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Return an object of a class; an error of its constructor names the settings."""
    try:
        return cls(*args, **made, **settings)
    except Exception as error:
        if inspect.isabstract(cls) or not settings:
            raise
        given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        text = f"{cls.__name__}(…) cannot be made with {given}: {error}"
        raise ValueError(text).with_traceback(error.__traceback__) from error


def _interval(text: str) -> tuple[str, tuple[float, float]]:
    """Return state and bounds from STATE:LOW,HIGH."""
    name, colon, bounds = text.rpartition(":")
    try:
        low, high = map(float, bounds.split(","))
    except ValueError:
        colon = ""
    if not colon:
        raise ValueError(f"a support is written STATE:LOW,HIGH, such as x1:-3,3, once per state; got {text!r}")
    return name.strip(), (low, high)


def _tuples(value: Any) -> Any:
    """Return a value with lists as tuples, as a frozen dataclass holds them."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
