r"""Conversion of models to datasets and back; every weight is a named variable, readable without this package.

    V1(member, mode, hidden_1, state)   b1(member, mode, hidden_1)   W2(member, mode, hidden_2, hidden_1)   …

W is stored as the unconstrained parameter from which the network computes the weight log(1 + exp(W)). The scalar output
layer has no hidden_k axis. The sharpness is ρ = ρ_lo + exp(u). The energy of a material is stored in the same way, with
its invariants and internal variables as states, together with

    GeneralisedPlay   w(internal, linear)   d, b, k, r (internal)   a      b, k and r unconstrained
    StateNODE         rate_W1(width_1, input)   rate_b1(width_1)   …       and the scales of its inputs

A `Kind` describes how the weights of a class are named. A class without one, such as a user's own, is stored with the
names of its state dict. Attributes name class and module, and hold the arguments of the constructor
(`workbench.potentials.stored`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from workbench.dataset.variables import Units, state_labels, variable
from workbench.files import formula
from workbench.materials.generalised_play import GeneralisedPlay
from workbench.materials.material import Material
from workbench.materials.state_node import StateNODE
from workbench.potentials.convex import POSITIVE_MAP
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.stored import Stored, decoded, encoded, stored_class
from workbench.potentials.trainable import TrainablePotential

__all__ = ["from_dataset", "to_dataset"]

Entry = tuple[str, tuple[str, ...], str]  # variable, dimensions, meaning; dimensionless
Described = tuple[str, tuple[str, ...], str, str | None]  # the same with a unit


class Kind(NamedTuple):
    """How the weights of one class of models, and of classes derived from it, are named.

    Parameters
    ----------
    entry : callable
        Returns variable name, dimensions and description of an entry of the model's state dict; None for one that it
        does not know, of a derived class.
    labels : callable
        Returns the coordinates of the dimensions of a model.
    formula : callable
        Returns the text that defines the model from its variables.
    derived : callable or None
        Returns further variables, which are written for readers and not read back.
    """

    entry: Callable[[Any, str], Entry | Described | None]
    labels: Callable[[Any], Mapping[str, Sequence[Any]]]
    formula: Callable[[Any], str]
    derived: Callable[[Any], Mapping[str, xr.Variable]] | None = None


def to_dataset(model: Any) -> xr.Dataset:
    """Return the weights, scales and configuration of a model as a dataset; `TypeError` if it cannot be stored.

    Examples
    --------
    >>> sorted(to_dataset(LSEICNN(dim=1, modes=2, hidden=(4,))).data_vars)[:6]
    ['V1', 'V2', 'W2', 'alpha', 'b1', 'b2']
    """
    if not isinstance(model, Stored):
        raise TypeError(
            f"only landscapes and materials of this package, and classes derived from them, can be stored; got a "
            f"{type(model).__name__}"
        )
    kind, state = _kind(model), model.state_dict()  # type: ignore[attr-defined]
    labels, variables = kind.labels(model), {}
    for entry, tensor in state.items():
        label, dims, meaning, unit = _described(kind, model, entry)
        sizes = [len(labels[dim]) for dim in dims] if set(dims) <= set(labels) else tensor.shape
        variables[label] = variable(dims, tensor.detach().cpu().numpy().reshape(sizes), meaning, unit)
    if kind.derived is not None:
        variables |= kind.derived(model)
    used = {dim for each in variables.values() for dim in each.dims}
    coords: dict[str, Any] = {str(dim): list(labels[str(dim)]) for dim in sorted(map(str, used)) if dim in labels}
    if isinstance(model, TrainablePotential) and "state" in coords:
        coords |= state_labels(model.states, model.units)
    cls, floating = type(model), [values for values in state.values() if values.is_floating_point()]
    dtype = floating[0].dtype if floating else torch.float64
    attrs = {"kind": cls.__qualname__, "module": cls.__module__, "config_json": json.dumps(model.config())}
    attrs |= {"dtype": str(dtype).removeprefix("torch."), "formula": kind.formula(model)} | _labels(model)
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def from_dataset(dataset: xr.Dataset, device: Any = None) -> Any:
    """Rebuild a model from its dataset, bitwise equal; `ValueError` if class, configuration or weights do not fit.

    Examples
    --------
    >>> model = LSEICNN(dim=1, modes=2, hidden=(4,)).initialise(rng=np.random.default_rng(0))
    >>> bool(from_dataset(to_dataset(model)).value([0.3]) == model.value([0.3]))
    True
    """
    missing = [name for name in ("kind", "module", "config_json", "dtype") if name not in dataset.attrs]
    if missing:
        raise ValueError(f"expected the weights of a model, but the attribute {missing[0]} is missing")
    name = dataset.attrs["kind"]
    cls = stored_class(dataset.attrs["module"], name)
    try:
        model = cls.build(json.loads(dataset.attrs["config_json"])).to(getattr(torch, dataset.attrs["dtype"]))
        model = _relabelled(model, dataset)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"the configuration does not fit {name} of this version: {error}") from None
    kind, state = _kind(model), {}
    for entry, like in model.state_dict().items():
        label, dims, *_ = _described(kind, model, entry)
        if label not in dataset or set(dataset[label].dims) != set(dims):
            found = tuple(dataset[label].dims) if label in dataset else "nothing"
            raise ValueError(f"expected the weight {label} over {dims}, found {found}")
        values = np.array(dataset[label].transpose(*dims).values)
        if values.size != like.numel():
            raise ValueError(f"{label} has shape {values.shape}; the configuration expects {tuple(like.shape)}")
        state[entry] = torch.as_tensor(values).reshape(like.shape)
    model.load_state_dict(state)
    return model.requires_grad_(False).to(device)


def _labels(model: Any) -> dict[str, Any]:
    """Return what a potential is beside its weights: members, states, support, units and gauge, as attributes."""
    if not isinstance(model, TrainablePotential):
        return {"positive_map": POSITIVE_MAP} if isinstance(model, Material) else {}
    labels = {"members": model.members, "states": list(model.states), "support": encoded(model.support, "support")}
    attrs = {"labels_json": json.dumps(labels), "gauge": model.gauge} | model.units.attrs()
    return attrs | ({"positive_map": POSITIVE_MAP} if isinstance(model, LSEICNN) else {})


def _relabelled(model: Any, dataset: xr.Dataset) -> Any:
    """Return a model, as constructed, with the members, states, support, units and gauge that the file states."""
    if not isinstance(model, TrainablePotential):
        return model
    labels = json.loads(dataset.attrs["labels_json"])
    if labels["members"] != model.members:
        model = model.like(members=labels["members"])
    model.states, model.support = tuple(labels["states"]), decoded(labels["support"])
    x = xr.Dataset({"x": dataset["x_shift"].rename("x")}, attrs=dataset.attrs)
    model.units, model.gauge = Units.read(x), dataset.attrs["gauge"]
    return model


def _kind(model: Any) -> Kind:
    """Return how the weights are named: as those of the nearest known base, else as in the state dict."""
    plain = Kind(_plain_entry, lambda _: {}, formula.of_class)
    return next((KINDS[cls] for cls in type(model).__mro__ if cls in KINDS), plain)


def _described(kind: "Kind", model: Any, entry: str) -> Described:
    """Return variable, dimensions, description and unit of an entry of the state dict."""
    found = kind.entry(model, entry) or _plain_entry(model, entry)
    return found if len(found) == 4 else (*found, "1")  # type: ignore[return-value,misc]


def _plain_entry(model: Any, name: str) -> Entry:
    """Return variable, dimensions and description of an entry of a class without names of its own."""
    label, axes = name.replace(".", "_"), model.state_dict()[name].ndim
    label = f"parameter_{label}" if label in ("member", "state", *SCALES) else label
    dims = tuple(f"{label}_{axis}" for axis in range(axes))
    if isinstance(model, TrainablePotential) and model.members and not model.NATIVE:
        dims = ("member", *dims[1:])
    return label, dims, f"parameter {name}"


# ---- LSE-ICNN ------------------------------------------------------------------------------------------------------

SCALES: dict[str, tuple[tuple[str, ...], str, str]] = {  # dimensions, description, quantity that gives the unit
    "offset": (("member",), "offset of the potential", "potential"),
    "potential_scale": ((), "scale of the potential", "potential"),
    "x_high": (("state",), "upper corner of the bounding box of the data", "state"),
    "x_low": (("state",), "lower corner of the bounding box of the data", "state"),
    "x_scale": (("state",), "scale of the inputs", "state"),
    "x_shift": (("state",), "shift of the inputs", "state"),
}


SHARPNESS = {
    "alpha": (("member", "mode"), "parameter of the gate"),
    "u": (("member",), "logarithm of (sharpness − its lower bound)"),
}


def _scale_entry(model: TrainablePotential, name: str) -> Described | None:
    """Return variable, dimensions, description and unit of a scale of a potential."""
    if name not in SCALES:
        return None
    dims, meaning, rule = SCALES[name]
    return name, dims, meaning, model.units.of(rule)


def _scale_labels(model: TrainablePotential) -> dict[str, Sequence[Any]]:
    """Return the coordinates of the members and states of a potential."""
    return {"member": range(model.members or 1), "state": model.states}


def _sharpness(model: Any) -> dict[str, xr.Variable]:
    """Return the sharpness, which is derived from u."""
    energy = model if isinstance(model, LSEICNN) else model.potential
    rho = energy.rho.detach().cpu().numpy()
    return {"rho": variable("member", rho, "sharpness of the soft minimum, scaled units", "1")}


def _landscape_entry(model: LSEICNN, name: str) -> Entry | Described | None:
    """Return variable, dimensions and description; "convex.W.0" is W2, from layer 1 to layer 2."""
    if name in SHARPNESS:
        return (name, *SHARPNESS[name])
    if not name.startswith("convex."):
        return _scale_entry(model, name)
    _, letter, number = name.split(".")
    layer = int(number) + (2 if letter == "W" else 1)
    out = (f"hidden_{layer}",) if layer <= len(model.hidden) else ()
    into, meaning = {
        "V": (("state",), "from the inputs"),
        "W": ((f"hidden_{layer - 1}",), "from the previous layer, unconstrained"),
        "b": ((), "bias"),
    }[letter]
    return f"{letter}{layer}", ("member", "mode", *out, *into), f"weights of layer {layer}: {meaning}"


def _landscape_labels(model: LSEICNN) -> dict[str, Sequence[Any]]:
    """Return the coordinates of the dimensions of an LSE-ICNN."""
    widths = {f"hidden_{k + 1}": range(width) for k, width in enumerate(model.hidden)}
    return {**_scale_labels(model), "mode": range(model.modes), **widths}


# ---- materials -----------------------------------------------------------------------------------------------------

OPERATORS = {
    "w": (("internal", "linear"), "input of the play operators, coefficients of the scaled linear invariants"),
    "d": (("internal",), "input of the play operators, constant"),
    "b": (("internal",), "stiffness of the play operators, unconstrained"),
    "k": (("internal",), "threshold of the play operators, unconstrained"),
    "r": (("internal",), "threshold of the play operators at the opposite end of their range, unconstrained"),
    "a": ((), "quadratic term in the trace of strain"),
}
INPUTS = {
    "input_shift": (("known",), "shift of the inputs that do not depend on internal variables"),
    "input_scale": (("known",), "scale of the inputs that do not depend on internal variables"),
    "pace": ((), "unit of time, or of strain path length"),
}


def _play_entry(model: GeneralisedPlay, name: str) -> Entry | Described | None:
    """Return variable, dimensions and description."""
    if name in OPERATORS:
        return (name, *OPERATORS[name])
    prefix, _, rest = name.partition(".")
    return _landscape_entry(model.potential, rest) if prefix == "potential" else None


def _play_labels(model: GeneralisedPlay) -> dict[str, Sequence[Any]]:
    """Return the coordinates of the dimensions of a generalised play model."""
    linear = [model.invariants.names[place] for place in model.invariants.linear]
    return _landscape_labels(model.potential) | {"internal": range(model.internal), "linear": linear}


def _node_entry(model: StateNODE, name: str) -> Entry | Described | None:
    """Return variable, dimensions and description; "W.0" is rate_W1, from the inputs to layer 1."""
    if name in INPUTS:
        return (name, *INPUTS[name])
    if name.startswith("potential."):
        return _landscape_entry(model.potential, name.removeprefix("potential."))
    letter, _, number = name.partition(".")
    if letter not in ("W", "b"):
        return None
    layer, depth = int(number) + 1, len(model.widths) + 1
    out = "internal" if layer == depth else f"width_{layer}"
    dims = (out, "input" if layer == 1 else f"width_{layer - 1}") if letter == "W" else (out,)
    return f"rate_{letter}{layer}", dims, f"network of the internal variables, layer {layer}"


def _node_labels(model: StateNODE) -> dict[str, Sequence[Any]]:
    """Return the coordinates of the dimensions of a state NODE."""
    names, joint = model.invariants.names, model.invariants.joint_names
    known = [*names, *(name.replace("E", "D") for name in names), *joint]
    widths = {f"width_{k + 1}": range(width) for k, width in enumerate(model.widths)}
    own = {"known": known, "input": [*known, *model.potential.states[len(names) :]]}
    return {**_landscape_labels(model.potential), **widths, **own, "internal": range(model.internal)}


KINDS: dict[type, Kind] = {
    TrainablePotential: Kind(_scale_entry, _scale_labels, formula.of_class),
    LSEICNN: Kind(_landscape_entry, _landscape_labels, formula.of_landscape, _sharpness),
    GeneralisedPlay: Kind(_play_entry, _play_labels, formula.of_play, _sharpness),
    StateNODE: Kind(_node_entry, _node_labels, formula.of_node, _sharpness),
}
