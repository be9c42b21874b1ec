"""The stress of a material along strain paths (the match "stress").

    L(θ) = ⟨‖S(θ) − S‖²⟩ / ⟨‖S − S̄‖²⟩,        ‖S‖² = S:S,

with ⟨·⟩ the mean over the samples of the paths and S̄ the mean stress. The denominator is that of the training paths,
or ⟨‖S‖²⟩ if their stress is constant, so that √L is the error relative to the spread of the stress in any
coordinates. If the data state a noise level `sigma`, L is the mean of ((S(θ) − S)/σ)² over samples and components
instead. A `weight` multiplies the squares of its sample, relative to the mean weight.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from workbench import dataset
from workbench.dataset.tensors import SHEAR
from workbench.dataset.variables import Units, variable
from workbench.errors import DatasetError
from workbench.losses.contract import Match, Parts, Split
from workbench.losses.normal_equations import Dual, Primal, gram_of
from workbench.losses.problem import Problem, freed
from workbench.potentials.initialisation import Initialisation

__all__ = ["Along", "PathLoss", "Stress"]

COLUMNS = 64  # of the Jacobian computed at a time


@runtime_checkable
class Respondent(Protocol):
    """What the loss needs of a material (`workbench.Material`)."""

    internal: int

    def features(self, E: Tensor, time: Tensor) -> dict[str, Tensor]:
        """Return everything along the paths that does not depend on the weights."""

    def respond(self, strain: Any, time: Any = None, *, start: Any = None) -> Any:
        """Return stress, internal variables, dissipation and energy along strain paths."""


class Along:
    """The paths of one part, with everything that does not depend on the weights, as tensors."""

    def __init__(self, model: Any, data: xr.Dataset, factor: np.ndarray) -> None:
        like = next(model.parameters())
        self.labels = data["trajectory"].values
        E, self.stress, self.factor = (
            torch.tensor(values).to(like) for values in (data["strain"].values, data["stress"].values, factor)
        )
        times = torch.tensor(data["time"].values).to(like).expand(len(E), -1)
        with torch.no_grad():
            self.features: dict[str, Tensor] = model.features(E, times)

    def residuals(self, model: Any, rows: Any = slice(None)) -> Tensor:
        """Return the scaled residuals of the stress, shape (trajectory, time, 6); their squares sum to the loss."""
        predicted = model({name: values[rows] for name, values in self.features.items()})
        return (predicted - self.stress[rows]) * self.factor[rows]


class PathLoss(Problem):
    """The sum of squared residuals of the stress along the training paths; `validation` are the held-out ones."""

    def __init__(self, model: Any, train: Along, validation: Along, *, penalised: bool = False) -> None:
        super().__init__(model, penalised=penalised)
        self.train, self.validation = train, validation

    def evaluate(self, theta: Tensor, state: Any = None) -> Tensor:
        """Return the residuals, shape (trajectory, time, 6)."""
        with torch.no_grad():
            return self._residuals(theta, self.train)

    def terms(self, evaluated: Tensor) -> dict[str, float]:
        """Return the sum of squares, the only term of the loss."""
        return {"stress": float(evaluated.square().sum())}

    def validate(self, theta: Tensor, state: Any = None) -> tuple[float, Any]:
        """Return the loss of the held-out paths."""
        with torch.no_grad():
            return float(self._residuals(theta, self.validation).square().sum()), state

    def linearise(self, theta: Tensor, evaluated: Tensor) -> Primal | Dual:
        """Return the normal equations."""
        J = self.jacobian(theta)
        flat = evaluated.reshape(-1)
        if len(flat) < len(theta):
            return Dual(J, flat)
        return Primal(gram_of(J), J.T @ flat, lambda v: J.T @ v.reshape(-1))

    def outputs(self, evaluated: Tensor) -> Tensor:
        """Return the residuals."""
        return evaluated

    def loss_gradient(self, theta: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the gradient of the loss, by reverse-mode differentiation."""
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(self._residuals(theta, self.train).square().sum(), theta)[0], state

    def bad_term(self, evaluated: Tensor) -> str:
        """Say that the stress, or its derivative, is not finite."""
        finite = bool(torch.isfinite(evaluated).all())
        return "the derivative of the stress is not finite" if finite else "the predicted stress is not finite"

    def jacobian(self, theta: Tensor) -> Tensor:
        """Return the Jacobian of the residuals, shape (trajectory · time · 6, parameter).

        There are more residuals than parameters, so that the Jacobian is made by columns: the gradient of the gradient
        with respect to its cotangent.
        """
        residuals, pull_back, *_ = vjp(lambda t: self._residuals(t, self.train).reshape(-1), theta)
        _, push_forward, *_ = vjp(lambda v: pull_back(v)[0], torch.zeros_like(residuals))  # transpose of a linear map
        columns = vmap(lambda direction: push_forward(direction)[0], chunk_size=COLUMNS)(
            torch.eye(len(theta)).to(theta)
        )
        return columns.detach().T.contiguous()

    def _residuals(self, theta: Tensor, part: Along) -> Tensor:
        """Return the residuals of one part, shape (trajectory, time, 6), differentiable in θ."""
        named = self.named(theta)
        return part.residuals(lambda features: functional_call(self.model, named, (features,)))


@dataclass(frozen=True)
class Stress(Match):
    """Match the stress of a material along strain paths, ``stress(trajectory, time, component)``.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> paths = systems.get("rossi").paths(5, samples=10, seed=0)
    >>> material = wb.GeneralisedPlay(wb.Invariants(axis=(1, 0, 0)), hidden=(4,))
    >>> quick = wb.LevenbergMarquardt(steps=6)
    >>> fit = wb.fit(material, paths, match=wb.match.Stress(), seed=0, restarts=1, optimiser=quick)
    >>> fit.unit
    'of the spread of the stress'
    """

    optimiser: ClassVar[str] = "PathTraining"
    gauge: ClassVar[str] = "undetermined: stress determines the energy up to a constant"
    trust: ClassVar[str] = "its stress"
    doubt: ClassVar[str] = "the material has a memory or a symmetry that the model has not"

    def check(self, model: Any) -> None:
        """Raise `ValueError` unless the model is a material."""
        if not isinstance(model, Respondent):
            raise ValueError(
                "match='stress' requires a material (GeneralisedPlay or StateNODE), and a material requires "
                f"match='stress'; got {type(model).__name__} and match={self.name!r}"
            )

    def prepared(self, model: Any, data: xr.Dataset, split: Split) -> tuple[Any, xr.Dataset]:
        """Return the material, and its paths with stress, split by whole trajectories."""
        if "strain" not in data:
            raise DatasetError("match='stress' needs paths with strain: build them with workbench.dataset.paths(...)")
        data = split(dataset.check(data, ["stress"]))
        if data["split"].dims != ("trajectory",):
            raise DatasetError(
                "the split of paths must mark whole trajectories, because stress depends on the history; it has the "
                f"dimensions {data['split'].dims}, expected ('trajectory',)"
            )
        return model, data

    def flat(self, data: xr.Dataset) -> xr.Dataset:
        """Return the paths as they are, since their samples depend on the history."""
        return data

    def scale(self, template: Any, train: xr.Dataset, init: Initialisation) -> None:
        """Leave the scales to the start of the material."""

    def start(
        self,
        template: Any,
        train: xr.Dataset,
        rng: np.random.Generator,
        init: Initialisation,  # noqa: ARG002
        turn: int,  # noqa: ARG002
    ) -> Any:
        """Return a start of the material, with scales from the training paths."""
        model = freed(template)
        known = np.where(dataset.valid(train)[..., None], train["stress"].values, 0.0)
        model.initialise(rng, train["strain"].values, known, train["time"].values)
        return model

    def problem(self, model: Any, parts: Parts, *, penalised: bool = False) -> PathLoss:
        """Return the error of the stress along whole paths."""
        train = parts["train"]
        known, held_out = (Along(model, parts[name], _factor(parts[name], train)) for name in ("train", "validation"))
        return PathLoss(model, known, held_out, penalised=penalised)

    def finish(self, model: Any, train: xr.Dataset) -> None:
        """Leave the constant of the energy."""

    def unit(self, data: xr.Dataset) -> str:
        """Return the unit of the error."""
        return super().unit(data).replace("data", "stress")

    def predictions(self, model: Any, data: xr.Dataset) -> xr.Dataset:
        """Return stress, dissipation, energy and internal variables along the paths, and the residual of the stress."""
        data = dataset.check(data, ["strain"])
        response, units, dims = (
            model.respond(data["strain"].values, data["time"].values),
            Units.read(data),
            ("trajectory", "time"),
        )
        variables = {
            "stress": variable((*dims, "component"), response.stress, "stress, predicted", units.potential),
            "dissipation": variable(
                dims, response.dissipation, "energy dissipated in the step ending here, predicted", units.potential
            ),
            "potential": variable(dims, response.potential, "potential, predicted", units.potential),
        }
        if model.internal:
            variables["internal_state"] = variable((*dims, "internal"), response.internal, "internal variable")
        if "stress" in data:
            residual = response.stress - data["stress"].values
            text = "stress, prediction minus data"
            variables["stress_residual"] = variable((*dims, "component"), residual, text, units.potential)
        result = xr.Dataset(variables, coords=data.coords)
        return result.assign_coords(internal=np.arange(model.internal)) if model.internal else result


def _factor(part: xr.Dataset, train: xr.Dataset) -> np.ndarray:
    """Return the factors of the residuals, shape (trajectory, time, 6), with which their squares sum to the loss."""
    known = dataset.valid(part)[..., None] * np.ones(6)
    if "sigma" in part or "sigma_stress" in part:
        factor = known / _per_sample(part, "sigma") / math.sqrt(known.sum())
    else:
        S = train["stress"].values[dataset.valid(train)]
        variance = ((S - S.mean(0)) ** 2 * SHEAR).sum(-1).mean()
        variance = variance if variance > 0 else (S**2 * SHEAR).sum(-1).mean()
        if variance == 0:
            raise DatasetError("the stress of all training paths is 0: there is nothing to learn")
        factor = known * np.sqrt(SHEAR) / math.sqrt(variance * dataset.valid(part).sum())
    if "weight" in part or "weight_stress" in part:
        weight = _per_sample(part, "weight")
        factor = factor * np.sqrt(weight / (weight * known).sum() * known.sum())
    return factor


def _per_sample(part: xr.Dataset, name: str) -> np.ndarray:
    """Return a noise level or weight of the stress, shape (trajectory, time, 6)."""
    values = part[f"{name}_stress" if f"{name}_stress" in part else name].values
    return values[..., None] * np.ones(6) if values.ndim == 2 else values
