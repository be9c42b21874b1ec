"""Functions of tensors and arrays alike, so that a formula is written once for both.

On a few states arrays are several times faster than tensors, whose operations cost microseconds before they begin; on
many states tensors are faster, and they can be differentiated. Operators, indexing, and the methods `sum`, `reshape`,
`clip` and `mT` are common to both; so are the names of functions in `library(x)`.
"""

from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

__all__ = [
    "constant",
    "contiguous",
    "library",
    "like",
    "log_sigmoid",
    "log_softmax",
    "log_sum_exp",
    "lowest",
    "sigmoid",
    "softmax",
    "softplus",
]

IDENTICAL = 40.0  # above it, log(1 + exp(z)) is z to double precision


def library(x: Any) -> Any:
    """Return the module with the functions for x: torch for a tensor, numpy for an array."""
    return torch if isinstance(x, Tensor) else np


def like(parameter: Tensor, x: Any) -> Any:
    """Return a parameter as it is if x is a tensor, else as an array; an array shares its memory and is never stale."""
    return parameter if isinstance(x, Tensor) else parameter.detach().numpy()


def constant(values: np.ndarray, x: Any) -> Any:
    """Return values as a tensor or an array, and of the floating-point type, as x is."""
    return torch.as_tensor(values).to(x) if isinstance(x, Tensor) else values.astype(x.dtype, copy=False)


def softplus(z: Any) -> Any:
    """Return log(1 + exp(z)) to full double precision; by default torch returns z above 20, with an error of 2e-9."""
    if isinstance(z, Tensor):
        return functional.softplus(z, threshold=IDENTICAL)
    return np.maximum(z, np.log1p(np.exp(np.minimum(z, IDENTICAL))))


def sigmoid(z: Any) -> Any:
    """Return 1/(1 + exp(−z))."""
    return torch.sigmoid(z) if isinstance(z, Tensor) else expit(z)


def softmax(z: Any, axis: int) -> Any:
    """Return exp(zᵢ)/Σⱼ exp(zⱼ) along an axis."""
    if isinstance(z, Tensor):
        return torch.softmax(z, axis)
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_sigmoid(z: Any) -> Any:
    """Return log 1/(1 + exp(−z))."""
    return functional.logsigmoid(z) if isinstance(z, Tensor) else -softplus(-z)


def log_softmax(z: Any, axis: int) -> Any:
    """Return zᵢ − log Σⱼ exp(zⱼ) along an axis."""
    return torch.log_softmax(z, axis) if isinstance(z, Tensor) else z - np.expand_dims(log_sum_exp(z, axis), axis)


def log_sum_exp(z: Any, axis: int) -> Any:
    """Return log Σᵢ exp(zᵢ) along an axis, which is removed."""
    if isinstance(z, Tensor):
        return torch.logsumexp(z, axis)
    largest = z.max(axis, keepdims=True)
    return np.log(np.exp(z - largest).sum(axis)) + largest.squeeze(axis)


def lowest(z: Any, axis: int) -> Any:
    """Return the minimum along an axis, which is kept with length 1; a constant for automatic differentiation."""
    return z.detach().amin(axis, keepdim=True) if isinstance(z, Tensor) else z.min(axis, keepdims=True)


def contiguous(x: Any) -> Any:
    """Return x contiguous in memory, which makes products of many small matrices several times faster."""
    return x.contiguous() if isinstance(x, Tensor) else np.ascontiguousarray(x)
