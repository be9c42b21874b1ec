r"""Least squares: observations of a fit, its residuals and their Jacobian.

A match names one or more quantities q of the data with weights w_q. The loss is

    L(θ) = Σ_q w_q · mean over samples and components of ((prediction − observation) / scale)²  /  Σ_q w_q,

where scale is the noise level `sigma` if the data give one, else the spread of that component over the training data:
the standard deviation of a potential, the root mean square of a gradient or velocity, separately for each component. A
`weight` multiplies the squares of its sample, relative to the mean weight. In a joint match, noise levels are given by
name (`sigma={"potential": …, "gradient": …}`), for all quantities or for none, because their units differ.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import jacrev, vmap

from workbench.losses.match import OBJECTIVES, noise_of
from workbench.losses.normal_equations import Dual, Primal, gram_of
from workbench.losses.problem import Problem
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["LeastSquares", "Observations", "predictions"]


@dataclass(frozen=True)
class Observations:
    """Observed values and their scales as tensors; a residual is (prediction − target) · factor.

    Parameters
    ----------
    x : Tensor, shape (sample, dim)
        States.
    target : Tensor, shape (sample, entry)
        Matched quantities side by side, one entry per component.
    factor : Tensor, shape (sample, entry)
        Product of 1/scale, the square roots of the weights, and 1/√(number of values).
    entries : dict of str to slice
        Entries of each quantity.
    """

    x: Tensor
    target: Tensor
    factor: Tensor
    entries: dict[str, slice]

    @classmethod
    def of(
        cls, samples: xr.Dataset, match: Mapping[str, float], scales: Mapping[str, np.ndarray], like: Tensor
    ) -> "Observations":
        """Return the observations of flat data (see `dataset.flat`), with dtype and device of the tensor `like`.

        `scales` are those of the training data (see `scales_of`); they apply where the data have no `sigma`.
        """
        targets, factors, entries, end = [], [], {}, 0
        for name, weight in match.items():
            target = samples[name].values.reshape(samples.sizes["sample"], -1)
            factor = np.sqrt(weight / sum(match.values()) / target.size) * np.ones_like(target)
            sigma, given = (noise_of(samples, kind, name) for kind in ("sigma", "weight"))
            factor /= scales[name] if sigma is None else sigma
            if given is not None:
                factor *= np.sqrt(given / given.mean())
            targets.append(target)
            factors.append(factor)
            entries[name] = slice(end, end := end + target.shape[1])
        arrays = (samples["x"].values, np.hstack(targets), np.hstack(factors))
        tensors = [torch.tensor(np.ascontiguousarray(values)).to(like) for values in arrays]
        return cls(x=tensors[0], target=tensors[1], factor=tensors[2], entries=entries)


def scales_of(samples: xr.Dataset, match: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Return the spread of each matched quantity over the samples, shape (component,).

    A component without spread gets the largest spread of its quantity, or 1 if no component has any.
    """
    scales = {}
    for name in match:
        values = samples[name].values.reshape(samples.sizes["sample"], -1)
        spread = values.std(0) if name == "potential" else np.sqrt((values**2).mean(0))
        largest = spread.max() if spread.max() > 1e-12 * np.abs(values).max() else 1.0
        scales[name] = np.where(spread > 1e-12 * largest, spread, largest or 1.0)
    return scales


def predictions(model: Callable[[Tensor, str], Tensor], x: Tensor, match: Iterable[str]) -> Tensor:
    """Return the predicted values of the matched quantities side by side, shape (…, sample, entry)."""
    columns = []
    for name in match:
        objective = OBJECTIVES[name]
        y = objective.sign * model(x, objective.quantity)
        columns.append(y.unsqueeze(-1) if objective.quantity == "value" else y)
    return torch.cat(columns, -1)


class LeastSquares(Problem):
    """The sum of squared residuals of a model; `validation` are the held-out observations."""

    BLOCK_ENTRIES = 2**22  # of the Jacobian computed at a time: few enough to stay in the cache

    def __init__(
        self,
        model: LSEICNN,
        observations: Observations,
        match: Mapping[str, float],
        validation: Observations | None = None,
    ) -> None:
        super().__init__(model)
        self.observations, self.match = observations, match
        self.validation = observations if validation is None else validation

    def evaluate(self, theta: Tensor, state: Any = None) -> Tensor:
        """Return the residuals, shape (sample, entry)."""
        return self.residuals(theta)

    def loss(self, evaluated: Tensor) -> float:
        """Return the sum of squares over all quantities at once."""
        return float(evaluated.square().sum())

    def terms(self, evaluated: Tensor) -> dict[str, float]:
        """Return the loss of each quantity."""
        return {name: float(evaluated[:, at].square().sum()) for name, at in self.observations.entries.items()}

    def validate(self, theta: Tensor, state: Any = None) -> tuple[float, Any]:
        """Return the loss of the held-out samples."""
        return float(self.residuals(theta, self.validation).square().sum()), state

    def bad_term(self, evaluated: Tensor) -> str:
        """Say which predicted quantity, or that the Jacobian, is not finite."""
        for name, at in self.observations.entries.items():
            if not torch.isfinite(evaluated[:, at]).all():
                return f"the predicted {name} is not finite"
        return "the Jacobian of the residuals is not finite"

    def linearise(self, theta: Tensor, evaluated: Tensor) -> Primal | Dual:
        """Return the normal equations from the smaller of JᵀJ and JJᵀ."""
        flat = evaluated.reshape(-1)
        blocks = self.jacobians(theta)
        if len(flat) < len(theta):
            return Dual(torch.cat(list(blocks)), flat)
        gram, gradient, start = theta.new_zeros(len(theta), len(theta)), torch.zeros_like(theta), 0
        for J in blocks:
            gram += gram_of(J)
            gradient += J.T @ flat[start : start + len(J)]
            start += len(J)
        return Primal(gram, gradient)

    def residuals(self, theta: Tensor, observations: Observations | None = None) -> Tensor:
        """Return the residuals, shape (sample, entry), by default of training samples; their squares sum to L."""
        o = observations or self.observations
        with torch.no_grad():
            return (self._predict(theta, o.x) - o.target) * o.factor

    def jacobians(self, theta: Tensor) -> Iterator[Tensor]:
        """Yield the Jacobian of the residuals in blocks of shape (row, parameter), rows ordered as in `residuals`."""
        o = self.observations
        rows = max(1, self.BLOCK_ENTRIES // (o.target.shape[1] * len(theta)))
        single = vmap(jacrev(lambda t, x: self._predict(t, x[None])[0]), in_dims=(None, 0))
        for start in range(0, len(o.x), rows):
            at = slice(start, start + rows)
            yield single(theta, o.x[at]).detach().mul_(o.factor[at].unsqueeze(-1)).reshape(-1, len(theta))

    def _predict(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return the predictions with parameters θ at x, shape (sample, entry)."""
        return predictions(lambda x, quantity: self.apply(theta, x, quantity), x, self.match)
