"""Adam, followed by L-BFGS, on the stress along whole paths: the optimiser of materials."""

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from workbench import dataset
from workbench.checks import require_integer
from workbench.dataset.tensors import SHEAR
from workbench.errors import DatasetError, FitError
from workbench.fitting.outcome import Outcome
from workbench.materials.material import LARGEST_INTERNAL, Features, Material

__all__ = ["PathTraining", "Training"]


@dataclass(frozen=True)
class PathTraining:
    """Optimiser of materials: Adam on mini-batches, followed by L-BFGS on all training trajectories.

    The validation loss is evaluated every `every` steps of Adam or iterations of L-BFGS and at the end of each; the
    weights of its lowest value are kept. After a step of Adam that is not finite, the fit returns to the last
    evaluation and continues with half the learning rate, at most six times.

    Parameters
    ----------
    steps : int, optional
        Steps of Adam.
    batch : int, optional
        Trajectories in a mini-batch.
    lr : float, optional
        Initial learning rate of Adam; it falls to 0 along a cosine.
    clip : float, optional
        Largest norm of the gradient; longer gradients are scaled down to it.
    polish : int, optional
        Largest number of iterations of L-BFGS.
    screening : int, optional
        Steps of Adam, out of `steps`, after which the best starting point is selected.
    every : int, optional
        Steps or iterations between evaluations of the validation loss.
    patience : int, optional
        L-BFGS stops if the validation loss has not fallen by a thousandth in this many evaluations.

    Raises
    ------
    ValueError
        If `steps` or `polish` is not an integer ≥ 0, another number of steps is not an integer ≥ 1, or `lr` or `clip`
        is not positive and finite.

    Examples
    --------
    >>> PathTraining(steps=100, polish=0).lr
    0.02

    References
    ----------
    - D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR (2015), doi:10.48550/arXiv.1412.6980
    - D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Math. Program. 45, 503–528
      (1989), doi:10.1007/BF01589116
    """

    steps: int = 400
    batch: int = 32
    lr: float = 2e-2
    clip: float = 1.0
    polish: int = 300
    screening: int = 60
    every: int = 20
    patience: int = 5

    def __post_init__(self) -> None:
        require_integer(0, steps=self.steps, polish=self.polish)
        require_integer(batch=self.batch, screening=self.screening, every=self.every, patience=self.patience)
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)!r}")


class _Paths:
    """The paths of one split, with everything that does not depend on the weights."""

    def __init__(self, model: Material, data: xr.Dataset, factor: np.ndarray) -> None:
        like = next(model.parameters())
        self.labels = data["trajectory"].values
        E, S, self.factor = (
            torch.tensor(values).to(like) for values in (data["strain"].values, data["stress"].values, factor)
        )
        times = torch.tensor(data["time"].values).to(like).expand(len(E), -1)
        with torch.no_grad():
            self.features: Features = model.features(E, times)
        self.stress = S

    def residuals(self, model: Material, rows: Any = slice(None)) -> Tensor:
        """Return the scaled residuals of the stress, shape (trajectory, time, 6); their squares sum to the loss."""
        predicted = model({name: values[rows] for name, values in self.features.items()})
        return (predicted - self.stress[rows]) * self.factor[rows]


class Training:
    """The fit from one starting point; `lowest` is the lowest validation loss, at the weights `best_weights`.

    `warm_start` keeps the weights of the model instead of drawing a starting point from the seed.
    """

    MOST_ROLLBACKS = 6  # returns to the last evaluation, each halving the learning rate

    def __init__(
        self,
        model: Material,
        data: xr.Dataset,
        settings: PathTraining,
        seed: np.random.SeedSequence,
        *,
        warm_start: bool,
    ) -> None:
        self.settings, self.began = settings, time.perf_counter()
        self.rng = np.random.default_rng(seed)
        parts = {name: data.isel(trajectory=(data["split"] == name).values) for name in ("train", "validation")}
        train = parts["train"]
        if parts["validation"].sizes["trajectory"] == 0:
            raise DatasetError("split marks no 'validation' paths; mark some, by which the fit selects the weights")
        self.model = copy.deepcopy(model).requires_grad_(True)
        if not warm_start:
            known = np.where(dataset.valid(train)[..., None], train["stress"].values, 0.0)
            self.model.initialise(self.rng, train["strain"].values, known, train["time"].values)
        self.train, self.validation = (_Paths(self.model, part, _factor(part, train)) for part in parts.values())
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.step, self.step_factor = 0, 1.0
        self.optimiser = torch.optim.Adam(self.parameters, lr=settings.lr)
        self.records: list[dict[str, Any]] = []
        self.lowest = math.inf
        self.evaluate()
        if not math.isfinite(self.lowest):
            raise FitError(f"the starting point is not finite: {self._first_failure()}; check the data for outliers")

    def adam(self, steps: int, report: Any) -> None:
        """Take steps of Adam, and call `report(self)` after each.

        After a step that is not finite, return to the last evaluation and halve the learning rate.
        """
        checkpoint, rollbacks = self._state(), 0
        for _ in range(steps):
            fraction = self.step / max(1, self.settings.steps)
            for group in self.optimiser.param_groups:
                group["lr"] = self.step_factor * self.settings.lr * 0.5 * (1 + math.cos(math.pi * fraction))
            rows = torch.as_tensor(self.rng.permutation(len(self.train.stress))[: self.settings.batch])
            self.optimiser.zero_grad(set_to_none=True)
            loss = self.train.residuals(self.model, rows).square().sum() * (len(self.train.stress) / len(rows))
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
            self.step += 1
            if torch.isfinite(loss) and torch.isfinite(norm):
                self.optimiser.step()
            else:
                rollbacks += 1
                if rollbacks > self.MOST_ROLLBACKS:
                    where = self._first_failure()
                    self._restore(checkpoint)
                    raise self._error(
                        f"step {self.step} of Adam: loss or gradient not finite {rollbacks} times: {where}"
                    )
                self._restore(checkpoint)
                self.step_factor /= 2
            if self.step % self.settings.every == 0 and self.evaluate():
                checkpoint = self._state()
            report(self)
        if self.step % self.settings.every:
            self.evaluate()

    def polish(self, report: Any) -> Outcome:
        """Continue from the best weights by L-BFGS, and call `report(self)` after each iteration.

        It ends where the loss no longer falls or is no longer finite.
        """
        self.model.load_state_dict(self.best_weights)
        stale, reference, every = 0, self.lowest, self.settings.every
        optimiser = torch.optim.LBFGS(
            self.parameters, max_iter=every, max_eval=2 * every, history_size=50, line_search_fn="strong_wolfe",
            tolerance_grad=0.0, tolerance_change=0.0,
        )  # fmt: skip

        def closure() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            loss = self.train.residuals(self.model).square().sum()
            loss.backward()
            return loss

        for done in range(0, self.settings.polish, every):
            stride = optimiser.param_groups[0]["max_iter"] = min(every, self.settings.polish - done)
            before = [p.detach().clone() for p in self.parameters]
            optimiser.step(closure)
            self.step += stride
            if not self.evaluate() or all(torch.equal(p, old) for p, old in zip(self.parameters, before, strict=True)):
                return Outcome.CONVERGED
            improved = self.lowest < 0.999 * reference
            reference, stale = (self.lowest, 0) if improved else (reference, stale + 1)
            if stale >= self.settings.patience:
                return Outcome.EARLY_STOPPING
            for _ in range(stride):
                report(self)
        return Outcome.STEP_LIMIT

    @torch.no_grad()
    def evaluate(self) -> bool:
        """Record both losses and return whether they are finite; keep the weights of the lowest validation loss."""
        loss, validation_loss = (
            float(part.residuals(self.model).square().sum()) for part in (self.train, self.validation)
        )
        if not (math.isfinite(loss) and math.isfinite(validation_loss)):
            return False
        if validation_loss < self.lowest:
            self.lowest, self.best_weights = validation_loss, copy.deepcopy(self.model.state_dict())
        elapsed = time.perf_counter() - self.began
        row = {"step": self.step, "elapsed": elapsed, "loss": loss, "validation_loss": validation_loss}
        self.records.append(row | {"best": self.lowest})
        return True

    def _state(self) -> dict[str, Any]:
        """Return a copy of the weights and of the state of Adam."""
        return copy.deepcopy({"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()})

    def _restore(self, state: dict[str, Any]) -> None:
        """Restore a state, which stays unchanged."""
        state = copy.deepcopy(state)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    @torch.no_grad()
    def _first_failure(self) -> str:
        """Describe the first trajectory whose response is not finite, or whose internal variables are too large."""
        for part in (self.train, self.validation):
            h = self.model.states(part.features, None)
            S = self.model(part.features)
            bad = ~((h.abs() <= LARGEST_INTERNAL).all(-1) & torch.isfinite(S).all(-1))
            if bad.any():
                row = int(torch.nonzero(bad.any(-1))[0])
                return f"trajectory {part.labels[row]} blows up at sample {int(torch.nonzero(bad[row])[0])}"
        return "the gradient with respect to the weights"

    def _error(self, text: str) -> FitError:
        """Return the error of a failed fit, with the model."""
        error = FitError(f"{text}. Check the data for outliers, or reduce lr below {self.settings.lr:g}")
        error.model = self.model
        return error


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
