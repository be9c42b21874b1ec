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
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from workbench.materials.generalised_play import GeneralisedPlay
from workbench.materials.state_node import StateNODE
from workbench.potentials.convex import POSITIVE_MAP
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.stored import Stored, decoded, stored_class

__all__ = ["from_dataset", "to_dataset"]

Entry = tuple[str, tuple[str, ...], str]  # variable, dimensions, meaning


class Kind(NamedTuple):
    """How the weights of one class of models, and of classes derived from it, are named.

    Parameters
    ----------
    entry : callable
        Returns variable name, dimensions and description of an entry of the model's state dict; None for one that it
        does not know, of a derived class.
    labels : callable
        Returns the coordinates of the dimensions of a model.
    """

    entry: Callable[[Any, str], Entry | None]
    labels: Callable[[Any], Mapping[str, Sequence[Any]]]


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
    kind, energy = _kind(model), getattr(model, "potential", model)
    labels = kind.labels(model)
    variables: dict[str, Any] = {}
    for entry, tensor in model.state_dict().items():  # type: ignore[attr-defined]
        label, dims, meaning = kind.entry(model, entry) or _plain_entry(model, entry)
        sizes = [len(labels[dim]) for dim in dims] if set(dims) <= set(labels) else tensor.shape
        variables[label] = (dims, tensor.detach().cpu().numpy().reshape(sizes), {"long_name": meaning, "units": "1"})
    if isinstance(energy, LSEICNN):
        rho = energy.rho.detach().cpu().numpy()
        meaning = "sharpness of the soft minimum, scaled units"
        variables["rho"] = (("member",), rho, {"long_name": meaning, "units": "1"})
    used = {dim for dims, *_ in variables.values() for dim in dims}
    coords = {dim: list(labels[dim]) for dim in sorted(used) if dim in labels}
    cls, dtype = type(model), str(next(iter(model.state_dict().values())).dtype)  # type: ignore[attr-defined]
    attrs = {"kind": cls.__qualname__, "module": cls.__module__, "config_json": json.dumps(_config(model))}
    attrs |= {"dtype": dtype.removeprefix("torch."), "positive_map": POSITIVE_MAP}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def from_dataset(dataset: xr.Dataset, device: Any = None) -> Any:
    """Rebuild a model from its dataset, bitwise equal; `ValueError` if class, configuration or weights do not fit.

    Examples
    --------
    >>> model = LSEICNN(dim=1, modes=2, hidden=(4,)).initialise(np.random.default_rng(0))
    >>> bool(from_dataset(to_dataset(model)).value([0.3]) == model.value([0.3]))
    True
    """
    missing = [name for name in ("kind", "module", "config_json", "dtype") if name not in dataset.attrs]
    if missing:
        raise ValueError(f"expected the weights of a model, but the attribute {missing[0]} is missing")
    name = dataset.attrs["kind"]
    cls = stored_class(dataset.attrs["module"], name)
    try:
        config = json.loads(dataset.attrs["config_json"])
        support = decoded(config.pop("support", None))
        model = cls.build(config).to(getattr(torch, dataset.attrs["dtype"]))
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"the configuration does not fit {name} of this version: {error}") from None
    if support is not None:
        model.support = support
    kind, state = _kind(model), {}
    for entry, like in model.state_dict().items():
        label, dims, _ = kind.entry(model, entry) or _plain_entry(model, entry)
        if label not in dataset or set(dataset[label].dims) != set(dims):
            found = tuple(dataset[label].dims) if label in dataset else "nothing"
            raise ValueError(f"expected the weight {label} over {dims}, found {found}")
        values = np.array(dataset[label].transpose(*dims).values)
        if values.size != like.numel():
            raise ValueError(f"{label} has shape {values.shape}; the configuration expects {tuple(like.shape)}")
        state[entry] = torch.as_tensor(values).reshape(like.shape)
    model.load_state_dict(state)
    return model.requires_grad_(False).to(device)


def _kind(model: Any) -> Kind:
    """Return how the weights are named: as those of the nearest known base, else as in the state dict."""
    return next((KINDS[cls] for cls in type(model).__mro__ if cls in KINDS), Kind(_plain_entry, lambda _: {}))


def _config(model: Any) -> dict[str, Any]:
    """Return the constructor arguments, as the model is now, and the support of a density."""
    config = model.config()
    if isinstance(model, LSEICNN):
        config |= {"members": model.members, "states": list(model.states)}
        if model.support is not None:
            config["support"] = {"class": "Support", "fields": asdict(model.support)}
    return config


def _plain_entry(model: Any, name: str) -> Entry:
    """Return variable, dimensions and description of an entry of a class without names of its own."""
    label = name.replace(".", "_")
    return label, tuple(f"{label}_{axis}" for axis in range(model.state_dict()[name].ndim)), f"parameter {name}"


# ---- LSE-ICNN ------------------------------------------------------------------------------------------------------

SCALES = {
    "alpha": (("member", "mode"), "mode weight"),
    "offset": (("member",), "offset of the potential"),
    "potential_scale": ((), "scale of the potential"),
    "u": (("member",), "logarithm of the sharpness minus its lower bound"),
    "x_high": (("state",), "upper corner of the bounding box of the data"),
    "x_low": (("state",), "lower corner of the bounding box of the data"),
    "x_scale": (("state",), "scale of the inputs"),
    "x_shift": (("state",), "shift of the inputs"),
}


def _landscape_entry(model: LSEICNN, name: str) -> Entry | None:
    """Return variable, dimensions and description; "convex.W.0" is W2, from layer 1 to layer 2."""
    if name in SCALES:
        return (name, *SCALES[name])
    if not name.startswith("convex."):
        return None
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
    counted = {"member": model.members or 1, "mode": model.modes}
    counted |= {f"hidden_{k + 1}": width for k, width in enumerate(model.hidden)}
    return {**{dim: range(size) for dim, size in counted.items()}, "state": model.states}


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


def _play_entry(model: GeneralisedPlay, name: str) -> Entry | None:
    """Return variable, dimensions and description."""
    if name in OPERATORS:
        return (name, *OPERATORS[name])
    return _landscape_entry(model.potential, name.removeprefix("potential."))


def _play_labels(model: GeneralisedPlay) -> dict[str, Sequence[Any]]:
    """Return the coordinates of the dimensions of a generalised play model."""
    linear = [model.invariants.names[place] for place in model.invariants.linear]
    return _landscape_labels(model.potential) | {"internal": range(model.internal), "linear": linear}


def _node_entry(model: StateNODE, name: str) -> Entry | None:
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
    LSEICNN: Kind(_landscape_entry, _landscape_labels),
    GeneralisedPlay: Kind(_play_entry, _play_labels),
    StateNODE: Kind(_node_entry, _node_labels),
}
