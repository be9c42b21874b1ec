"""A model as a dataset and back: every weight a named variable, readable without this package.

    V1(member, mode, hidden_1, state)   b1(member, mode, hidden_1)   W2(member, mode, hidden_2, hidden_1)   …

W is stored raw (the network uses log(1 + exp(raw))); the output layer has no axis of its own; `u` gives ρ = ρ_lo + eᵘ.
"""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import xarray as xr

from workbench.convex import POSITIVE_MAP
from workbench.lse_icnn import LSEICNN
from workbench.support import Support

__all__ = ["from_dataset", "to_dataset"]

SCALES = {
    "alpha": (("member", "mode"), "mode weight"),
    "offset": (("member",), "offset of the potential"),
    "potential_scale": ((), "scale of the potential"),
    "u": (("member",), "logarithm of the sharpness above its lower bound"),
    "x_high": (("state",), "upper corner of the box of the data"),
    "x_low": (("state",), "lower corner of the box of the data"),
    "x_scale": (("state",), "scale of the inputs"),
    "x_shift": (("state",), "shift of the inputs"),
}


def to_dataset(model: LSEICNN) -> xr.Dataset:
    """Return the weights, scales and configuration of a model.

    >>> sorted(to_dataset(LSEICNN(dim=1, modes=2, hidden=(4,))).data_vars)[:6]
    ['V1', 'V2', 'W2', 'alpha', 'b1', 'b2']
    """
    variables: dict[str, Any] = {}
    for name, tensor in model.state_dict().items():
        label, dims, long_name = _layout(name, len(model.hidden))
        shape = [model.members or 1 if dim == "member" else _size(model, dim) for dim in dims]
        values = tensor.detach().cpu().numpy().reshape(shape)
        variables[label] = (dims, values, {"long_name": long_name, "units": "1"})
    rho = model.rho.detach().cpu().numpy()
    variables["rho"] = (("member",), rho, {"long_name": "sharpness of the soft minimum, scaled units", "units": "1"})
    counted = sorted({dim for entry in variables.values() for dim in entry[0]} - {"state"})
    coords: dict[str, Any] = {dim: np.arange(_size(model, dim)) for dim in counted} | {"state": list(model.states)}
    config = {"dim": model.dim, "modes": model.modes, "hidden": list(model.hidden), "members": model.members}
    config |= {"rho_lo": model.rho_lo, "states": list(model.states), "dtype": str(model.dtype).removeprefix("torch.")}
    if model.support is not None:
        config["support"] = asdict(model.support)
    attrs = {"kind": "LSEICNN", "config_json": json.dumps(config), "positive_map": POSITIVE_MAP}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def from_dataset(dataset: xr.Dataset, device: Any = None) -> LSEICNN:
    """Rebuild the model, equal to the last bit; a `ValueError` names what does not fit.

    >>> model = LSEICNN(dim=1, modes=2, hidden=(4,)).initialise(np.random.default_rng(0))
    >>> bool(from_dataset(to_dataset(model)).value([0.3]) == model.value([0.3]))
    True
    """
    if dataset.attrs.get("kind") != "LSEICNN":
        raise ValueError(f"expected the weights of an LSEICNN, got kind = {dataset.attrs.get('kind')!r}")
    try:
        config = json.loads(dataset.attrs["config_json"])
        support = config.pop("support", None)
        model = LSEICNN(**{**config, "dtype": getattr(torch, config["dtype"])})
        model.support = None if support is None else Support(**support)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"the configuration describes no LSEICNN of this version: {error}") from None
    state = {}
    for name, like in model.state_dict().items():
        label, dims, _ = _layout(name, len(model.hidden))
        if label not in dataset or set(dataset[label].dims) != set(dims):
            found = tuple(dataset[label].dims) if label in dataset else "nothing"
            raise ValueError(f"expected the weight {label} over {dims}, found {found}")
        values = np.array(dataset[label].transpose(*dims).values)
        if values.size != like.numel():
            raise ValueError(f"{label} has shape {values.shape}; the configuration expects {tuple(like.shape)}")
        state[name] = torch.as_tensor(values).reshape(like.shape)
    model.load_state_dict(state)
    return model.requires_grad_(False).to(device)


def _size(model: LSEICNN, dim: str) -> int:
    sizes = {"member": model.members or 1, "mode": model.modes, "state": model.dim}
    return sizes[dim] if dim in sizes else model.hidden[int(dim.removeprefix("hidden_")) - 1]


def _layout(name: str, depth: int) -> tuple[str, tuple[str, ...], str]:
    """Return variable, dimensions and meaning of an entry of the state dict; "convex.W.0" is W2, from layer 1 to 2."""
    if name in SCALES:
        return (name, *SCALES[name])
    _, letter, number = name.split(".")
    layer = int(number) + (2 if letter == "W" else 1)
    out = (f"hidden_{layer}",) if layer <= depth else ()
    into, meaning = {
        "V": (("state",), "from the inputs"),
        "W": ((f"hidden_{layer - 1}",), "from the layer before, raw"),
        "b": ((), "bias"),
    }[letter]
    return f"{letter}{layer}", ("member", "mode", *out, *into), f"weights of layer {layer}: {meaning}"
