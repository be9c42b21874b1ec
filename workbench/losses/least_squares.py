"""Least squares: observations of matched quantities, the residuals of a model, and their Jacobian."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import jacrev, vmap

from workbench.errors import DatasetError
from workbench.losses.closed_form import ClosedForm, factors_of
from workbench.losses.normal_equations import Dual, Primal, gram_of
from workbench.losses.problem import AUTOMATIC, CLOSED, Problem
from workbench.potentials.trainable import TrainablePotential

__all__ = ["LeastSquares", "Observations", "noise_of", "scales_of"]

BLOCK = 1024  # samples of the Jacobian at a time, if not all: few enough to stay in the cache
NEGLIGIBLE = 1e-12  # of the largest spread of a component, in natural units: a smaller one is rounding
PIECE = 2048  # samples predicted at a time


@dataclass(frozen=True)
class Observations:
    """Observed values and their scales as tensors; a residual is (prediction − target) · factor.

    Parameters
    ----------
    x : tuple of Tensor, each of shape (sample, …)
        What each quantity is predicted from, by default the states, shape (sample, dim).
    target : Tensor, shape (sample, entry)
        Matched quantities side by side, one entry per component.
    factor : Tensor, shape (sample, entry)
        Product of 1/scale, the square roots of the weights, and 1/√(number of values).
    entries : dict of str to slice
        Entries of each quantity.
    shapes : tuple of tuple of int
        Shape of each quantity for one sample.
    """

    x: tuple[Tensor, ...]
    target: Tensor
    factor: Tensor
    entries: dict[str, slice]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls,
        samples: xr.Dataset,
        matches: Sequence[Any],
        weights: Sequence[float],
        scales: Mapping[str, np.ndarray],
        like: Tensor,
    ) -> Self:
        """Return the observations of flat data (see `dataset.flat`), with dtype and device of the tensor `like`.

        `matches` are quantities with relative weights (`workbench.losses.quantities`), `scales` those of the training
        data (see `scales_of`), which apply where the data have no `sigma`.
        """
        targets, factors, entries, shapes, end = [], [], {}, [], 0
        inputs: list[Tensor] = []
        for match, weight in zip(matches, weights, strict=True):
            observed = match.observed(samples)
            target = observed.reshape(samples.sizes["sample"], -1)
            factor = np.sqrt(weight / sum(weights) / target.size) * np.ones_like(target)
            sigma, given = (noise_of(samples, kind, match) for kind in ("sigma", "weight"))
            factor /= scales[match.name] if sigma is None else sigma
            if given is not None:
                factor *= np.sqrt(given / given.mean())
            targets.append(target)
            factors.append(factor)
            shapes.append(observed.shape[1:])
            entries[match.name] = slice(end, end := end + target.shape[1])
            inputs.append(torch.tensor(np.ascontiguousarray(match.inputs(samples))).to(like))
        tensors = [torch.tensor(np.ascontiguousarray(np.hstack(part))).to(like) for part in (targets, factors)]
        return cls(tuple(inputs), tensors[0], tensors[1], entries, tuple(shapes))

    def part(self, chosen: Tensor) -> "Observations":
        """Return the observations of the samples `chosen`, shape (sample,), with the same mean square."""
        x, share = tuple(each[chosen] for each in self.x), len(chosen) / len(self.target)
        return replace(self, x=x, target=self.target[chosen], factor=self.factor[chosen] / share**0.5)

    def pieces(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor, Tensor]]:
        """Yield inputs, targets and factors of so many samples that predictions take little memory."""
        inputs = zip(*(each.split(PIECE) for each in self.x), strict=True)
        return zip(inputs, self.target.split(PIECE), self.factor.split(PIECE), strict=True)


def scales_of(samples: xr.Dataset, matches: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the spread of each matched quantity over the samples, shape (component,).

    A component without spread gets the largest spread of its quantity, in natural units of the components; without
    any, that is the largest value, or 1.
    """
    scales = {}
    for match in matches:
        values = match.observed(samples).reshape(samples.sizes["sample"], -1)
        unit = match.entry_units(samples)
        spread, size = match.spread(values) / unit, float((np.abs(values).max(0) / unit).max()) or 1.0
        largest = spread.max() or size
        scales[match.name] = unit * np.where(spread > NEGLIGIBLE * largest, spread, largest)
    return scales


def noise_of(samples: xr.Dataset, kind: str, match: Any) -> np.ndarray | None:
    """Return the noise levels or weights of a quantity, shape (sample, 1) or (sample, component); None without them.

    `kind` is "sigma" or "weight", `match` a quantity or the name of a variable. A level given for the quantity comes
    before one given for the same quantity with the opposite sign, which comes before one given for all quantities.
    """
    name, opposite = (match, "") if isinstance(match, str) else (match.name, match.opposite)
    for label in (f"{kind}_{name}", f"{kind}_{opposite}", kind):
        if label in samples:
            values = samples[label].values.reshape(samples.sizes["sample"], -1)
            if values.shape[1] > 1 and name in samples and samples[name].ndim == 1:
                raise DatasetError(f"{label} is given per component, but {name} is a scalar: give one value per sample")
            return values
    return None


class LeastSquares(Problem):
    """The sum of squared residuals of a model; `validation` are the held-out observations.

    A model of several members has one loss for each, on the same observations.
    """

    def __init__(
        self,
        model: Any,
        observations: Observations,
        matches: Sequence[Any],
        validation: Observations | None = None,
        *,
        penalised: bool = False,
    ) -> None:
        super().__init__(model, penalised=penalised)
        self.observations, self.matches = observations, tuple(matches)
        self.validation = observations if validation is None else validation
        self._losses = self._training_losses
        self._closed = self._closed_form() if self.copies == 1 and isinstance(model, TrainablePotential) else None

    @property
    def differentiation(self) -> str:
        """How the Jacobian is computed, in words."""
        return CLOSED if self._closed else AUTOMATIC

    @classmethod
    def of(
        cls,
        model: Any,
        parts: Mapping[str, xr.Dataset],
        matches: Sequence[Any],
        weights: Sequence[float],
        *,
        penalised: bool = False,
    ) -> Self:
        """Return the problem of a model, with both parts in the scales of the training data."""
        scales = scales_of(parts["train"], matches)
        train, validation = (
            Observations.of(parts[name], matches, weights, scales, model.offset) for name in ("train", "validation")
        )
        return cls(model, train, matches, validation, penalised=penalised)

    def evaluate(self, theta: Tensor, state: Any = None) -> Tensor:
        """Return the residuals, shape (sample, entry), with a leading axis of copies if there are several."""
        return self.residuals(theta)

    def loss(self, evaluated: Tensor) -> Any:
        """Return the sum of squares over all quantities at once."""
        return float(evaluated.square().sum()) if self.copies == 1 else evaluated.square().sum((-2, -1))

    def terms(self, evaluated: Tensor) -> dict[str, Any]:
        """Return the loss of each quantity."""
        return {name: self.loss(evaluated[..., at]) for name, at in self.observations.entries.items()}

    def validate(self, theta: Tensor, state: Any = None) -> tuple[Any, Any]:
        """Return the loss of the held-out samples."""
        return self.loss(self.residuals(theta, self.validation)), state

    def loss_gradient(self, theta: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the gradient of the loss, summed over copies, by reverse-mode differentiation."""
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(self._losses(theta).sum(), theta)[0], state

    def compiled(self) -> "LeastSquares":
        """Return the problem with a loss that torch compiles."""
        self._losses = torch.compile(self._training_losses, dynamic=False)
        return self

    def bad_term(self, evaluated: Tensor) -> str:
        """Say which predicted quantity, or that the Jacobian, is not finite."""
        for name, at in self.observations.entries.items():
            if not torch.isfinite(evaluated[..., at]).all():
                return f"the predicted {name} is not finite"
        return "the Jacobian of the residuals is not finite"

    def linearise(self, theta: Tensor, evaluated: Tensor) -> Primal | Dual:
        """Return the normal equations from the smaller of JᵀJ and JJᵀ."""
        ordered = self._ordered
        if evaluated.numel() < len(theta):
            blocks = [J for _, J in self.jacobians(theta, whole=True)]
            return Dual(blocks[0] if len(blocks) == 1 else torch.cat(blocks), evaluated, ordered)
        gram, gradient = theta.new_zeros(len(theta), len(theta)), torch.zeros_like(theta)
        for at, J in self.jacobians(theta):
            gram += gram_of(J)
            gradient += J.T @ ordered(evaluated[at])
        if len(J) == evaluated.numel():  # a single block, which is kept
            return Primal(gram, gradient, lambda v: J.T @ ordered(v))
        return Primal(gram, gradient, partial(self._pull_back, theta))

    def outputs(self, evaluated: Tensor) -> Tensor:
        """Return the residuals."""
        return evaluated

    @property
    def sample_count(self) -> int:
        """Number of training samples."""
        return len(self.observations.target)

    def subset(self, count: int, rng: np.random.Generator) -> "LeastSquares":
        """Return the problem of `count` random training samples, with the same held-out samples."""
        chosen = np.sort(rng.choice(self.sample_count, count, replace=False))
        part = self.observations.part(torch.as_tensor(chosen, device=self.observations.target.device))
        return type(self)(self.model, part, self.matches, self.validation)

    @torch.no_grad()
    def residuals(self, theta: Tensor, observations: Observations | None = None) -> Tensor:
        """Return the residuals, shape (sample, entry), by default of training samples; their squares sum to L."""
        o = observations or self.observations
        parts = [(self._predict(theta, x) - target) * factor for x, target, factor in o.pieces()]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -2)

    def contributions(self, theta: Tensor) -> Tensor:
        """Return the contribution of every held-out sample to its loss, shape (sample,)."""
        return self.residuals(theta, self.validation).square().sum(-1)

    def flat_loss(self) -> float:
        """Return the held-out loss of a flat landscape: the best constant potential, and everything else 0."""
        total, o = 0.0, self.validation
        for name, at in o.entries.items():
            target, factor = o.target[:, at], o.factor[:, at]
            centre = target.mean() if name == "potential" else 0.0
            total += float(((target - centre) * factor).square().sum())
        return total

    def jacobians(self, theta: Tensor, *, whole: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Yield the Jacobian by blocks of samples, shape (row, parameter); the last block is valid until the next call.

        Rows are ordered by sample, then entry, or in closed form by entry, then sample.
        """
        o = self.observations
        rows = self.rows_at_a_time(o.target.shape[1] * len(theta), "sample")
        if self._closed:
            rows = len(o.target) if whole or rows >= len(o.target) else min(rows, BLOCK)
        for start in range(0, len(o.target), rows):
            at = slice(start, start + rows)
            yield at, self._block(theta, at)

    def _block(self, theta: Tensor, at: slice) -> Tensor:
        """Return the rows of the Jacobian that belong to some samples, shape (row, parameter)."""
        o = self.observations
        if self._closed:
            factors = {name: factor[at] for name, factor in self._factors.items()}
            return self._closed(self.at(theta), o.x[0][at], **factors)  # type: ignore[return-value]

        def single(theta: Tensor, x: tuple[Tensor, ...]) -> Tensor:
            return self._predict(theta, tuple(part[None] for part in x))[0]

        J = vmap(jacrev(single), in_dims=(None, 0))(theta, tuple(part[at] for part in o.x)).detach()
        return J.mul_(o.factor[at].unsqueeze(-1)).reshape(-1, len(theta))

    def _ordered(self, residuals: Tensor) -> Tensor:
        """Return residuals, shape (sample, entry), in the order of the rows of the Jacobian."""
        return residuals[:, self._columns].mT.reshape(-1) if self._closed else residuals.reshape(-1)

    def _closed_form(self) -> ClosedForm | None:
        """Return the closed form of the Jacobian, if the matches can use it and the model has one."""
        found = factors_of(self.observations, self.matches)
        if found is None:
            return None
        self._factors, self._columns = found
        closed, first = ClosedForm(self.free), {name: factor[:1] for name, factor in self._factors.items()}
        return closed if closed(self.at(self.vector()), self.observations.x[0][:1], **first) is not None else None

    def _pull_back(self, theta: Tensor, v: Tensor) -> Tensor:
        """Return Jᵀv, shape (parameter,), for v of the shape of the residuals, by reverse-mode differentiation."""
        theta, total = theta.detach().requires_grad_(), torch.zeros_like(theta)
        for (x, _, factor), part in zip(self.observations.pieces(), v.split(PIECE), strict=True):
            total += torch.autograd.grad((self._predict(theta, x) * (factor * part)).sum(), theta)[0]
        return total

    def _training_losses(self, theta: Tensor) -> Tensor:
        """Return the loss of every copy, shape (copy,), differentiable; without an axis for a single one."""
        o = self.observations
        return ((self._predict(theta, o.x) - o.target) * o.factor).square().sum((-2, -1))

    def _predict(self, theta: Tensor, x: tuple[Tensor, ...]) -> Tensor:
        """Return the predictions with parameters θ at x, shape (…, sample, entry)."""
        model, columns = self.at(theta), []
        for match, inputs, shape in zip(self.matches, x, self.observations.shapes, strict=True):
            y = match.predicted(model, inputs)
            expected = (len(inputs), *shape)
            if not isinstance(y, Tensor) or y.shape[-len(expected) :] != expected:
                found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
                raise ValueError(
                    f"predicted of the match {match.name!r} returned {found} for {len(inputs)} samples; expected a "
                    f"tensor of shape (…, {', '.join(map(str, expected))}), that of the observations"
                )
            columns.append(y.flatten(-len(shape)) if shape else y.unsqueeze(-1))
        return torch.cat(columns, -1)
