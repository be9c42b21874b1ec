"""Adam, then L-BFGS, on the stress of whole paths: the optimiser of materials."""

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
from workbench.materials.material import LIMIT, Features, Material

__all__ = ["PathTraining", "Training"]


@dataclass(frozen=True)
class PathTraining:
    """Settings of the fit of a material: first Adam, then L-BFGS.

    `steps` of Adam on batches of `batch` trajectories, at a `lr` that falls to 0 along a cosine, with gradients
    clipped to the norm `clip`; the first `screening` of them decide between restarts. Then at most `polish` iterations
    of L-BFGS on all trajectories. The held-out loss is looked at after `every` of either, and at their end; L-BFGS
    stops when it has not fallen by a thousandth for `patience` looks.

    >>> PathTraining(steps=100, polish=0).lr
    0.02
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


class _Part:
    """Paths of one part of the split, with all that does not depend on weights."""

    def __init__(self, model: Material, data: xr.Dataset, factor: np.ndarray) -> None:
        like = model.potential.u
        self.numbers = data["trajectory"].values
        E, S, self.factor = (
            torch.tensor(values).to(like) for values in (data["strain"].values, data["stress"].values, factor)
        )
        times = torch.tensor(data["time"].values).to(like).expand(len(E), -1)
        with torch.no_grad():
            self.features: Features = model.features(E, times)
        self.stress = S

    def residuals(self, model: Material, rows: Any = slice(None)) -> Tensor:
        predicted = model({name: values[rows] for name, values in self.features.items()})
        return (predicted - self.stress[rows]) * self.factor[rows]


class Training:
    """One start on its way; `kept` are the weights of the lowest held-out loss so far, `lowest` that loss."""

    RETRIES = 6

    def __init__(
        self, model: Material, data: xr.Dataset, settings: PathTraining, seed: np.random.SeedSequence, *, given: bool
    ) -> None:
        self.settings, self.began = settings, time.perf_counter()
        self.rng = np.random.default_rng(seed)
        parts = {name: data.isel(trajectory=(data["split"] == name).values) for name in ("train", "validation")}
        train = parts["train"]
        if parts["validation"].sizes["trajectory"] == 0:
            raise DatasetError("split marks no 'validation' paths; the fit needs some to choose by")
        self.model = copy.deepcopy(model).requires_grad_(True)
        if not given:
            known = np.where(dataset.valid(train)[..., None], train["stress"].values, 0.0)
            self.model.initialise(self.rng, train["strain"].values, known, train["time"].values)
        self.seen, self.held = (_Part(self.model, part, _factor(part, train)) for part in parts.values())
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.step, self.pace = 0, 1.0
        self.optimiser = torch.optim.Adam(self.parameters, lr=settings.lr)
        self.records: list[dict[str, Any]] = []
        self.lowest = math.inf
        self.look()
        if not math.isfinite(self.lowest):
            raise FitError(f"the start is not finite: {self._culprit()}")

    def adam(self, steps: int, tell: Any) -> None:
        """Take steps of Adam; from where anything is not finite back to the last look, at half the rate."""
        good, retries = self._state(), 0
        for _ in range(steps):
            share = self.step / max(1, self.settings.steps)
            for group in self.optimiser.param_groups:
                group["lr"] = self.pace * self.settings.lr * 0.5 * (1 + math.cos(math.pi * share))
            rows = torch.as_tensor(self.rng.permutation(len(self.seen.stress))[: self.settings.batch])
            self.optimiser.zero_grad(set_to_none=True)
            loss = self.seen.residuals(self.model, rows).square().sum() * (len(self.seen.stress) / len(rows))
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
            self.step += 1
            if torch.isfinite(loss) and torch.isfinite(norm):
                self.optimiser.step()
            else:
                retries += 1
                if retries > self.RETRIES:
                    where = self._culprit()
                    self._restore(good)
                    raise self._failure(f"step {self.step} of Adam: not finite {retries} times, {where}")
                self._restore(good)
                self.pace /= 2
            if self.step % self.settings.every == 0 and self.look():
                good = self._state()
            tell(self)
        if self.step % self.settings.every:
            self.look()

    def polish(self, tell: Any) -> Outcome:
        """Go on by L-BFGS until nothing falls any more; where it leaves the finite, it is over."""
        self.model.load_state_dict(self.kept)
        stale, reference, every = 0, self.lowest, self.settings.every
        optimiser = torch.optim.LBFGS(
            self.parameters, max_iter=every, max_eval=2 * every, history_size=50, line_search_fn="strong_wolfe",
            tolerance_grad=0.0, tolerance_change=0.0,
        )  # fmt: skip

        def closure() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            loss = self.seen.residuals(self.model).square().sum()
            loss.backward()
            return loss

        for done in range(0, self.settings.polish, every):
            stride = optimiser.param_groups[0]["max_iter"] = min(every, self.settings.polish - done)
            before = [p.detach().clone() for p in self.parameters]
            optimiser.step(closure)
            self.step += stride
            if not self.look() or all(torch.equal(p, old) for p, old in zip(self.parameters, before, strict=True)):
                return Outcome.CONVERGED
            improved = self.lowest < 0.999 * reference
            reference, stale = (self.lowest, 0) if improved else (reference, stale + 1)
            if stale >= self.settings.patience:
                return Outcome.EARLY_STOPPING
            for _ in range(stride):
                tell(self)
        return Outcome.STEP_LIMIT

    @torch.no_grad()
    def look(self) -> bool:
        """Record both losses, keep the weights if held-out paths were never better, and say whether all is finite."""
        loss, held = (float(part.residuals(self.model).square().sum()) for part in (self.seen, self.held))
        if not (math.isfinite(loss) and math.isfinite(held)):
            return False
        if held < self.lowest:
            self.lowest, self.kept = held, copy.deepcopy(self.model.state_dict())
        row = {"step": self.step, "elapsed": time.perf_counter() - self.began, "loss": loss, "validation_loss": held}
        self.records.append(row | {"best": self.lowest})
        return True

    def _state(self) -> dict[str, Any]:
        return copy.deepcopy({"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()})

    def _restore(self, state: dict[str, Any]) -> None:
        state = copy.deepcopy(state)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    @torch.no_grad()
    def _culprit(self) -> str:
        """Say which trajectory leaves the finite first, and where."""
        for part in (self.seen, self.held):
            h = self.model.states(part.features, None)
            S = self.model(part.features)
            bad = ~((h.abs() <= LIMIT).all(-1) & torch.isfinite(S).all(-1))
            if bad.any():
                row = int(torch.nonzero(bad.any(-1))[0])
                return f"trajectory {part.numbers[row]} blows up at its step {int(torch.nonzero(bad[row])[0])}"
        return "its derivative by the weights"

    def _failure(self, text: str) -> FitError:
        error = FitError(f"{text}. Look for outliers in the data, or start with lr below {self.settings.lr:g}")
        error.model = self.model
        return error


def _factor(part: xr.Dataset, train: xr.Dataset) -> np.ndarray:
    """Return what multiplies the residuals, shape (trajectory, time, 6), so that their squares sum to the loss."""
    known = dataset.valid(part)[..., None] * np.ones(6)
    if "sigma" in part or "sigma_stress" in part:
        factor = known / _per_sample(part, "sigma") / math.sqrt(known.sum())
    else:
        S, seen = train["stress"].values, dataset.valid(train)
        variance = ((S[seen] - S[seen].mean(0)) ** 2 * SHEAR).sum(-1).mean()
        variance = variance if variance > 0 else (S[seen] ** 2 * SHEAR).sum(-1).mean()
        if variance == 0:
            raise DatasetError("the stress of all training paths is 0: there is nothing to learn")
        factor = known * np.sqrt(SHEAR) / math.sqrt(variance * dataset.valid(part).sum())
    if "weight" in part or "weight_stress" in part:
        weight = _per_sample(part, "weight")
        factor = factor * np.sqrt(weight / (weight * known).sum() * known.sum())
    return factor


def _per_sample(part: xr.Dataset, name: str) -> np.ndarray:
    values = part[f"{name}_stress" if f"{name}_stress" in part else name].values
    return values[..., None] * np.ones(6) if values.ndim == 2 else values
