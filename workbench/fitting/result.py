"""What a fit of a landscape returns: the members and all that was learned about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from workbench.fitting.history import best_member
from workbench.fitting.outcome import Outcome
from workbench.losses.match import DENSITY
from workbench.materials.material import Material
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["Fit", "PathFit"]

FAR_OFF_NOISE, FAR_OFF = 3.0, 0.3  # errors in units of the noise, and of the data's spread


@dataclass(frozen=True)
class Fit:
    """What a fit returns.

    `model` is the member with the lowest held-out loss, a plain potential; `ensemble` holds all members. `history` is
    over (member, step), `restarts` over (member, restart), and `scan` over the number of modes where that was chosen;
    `data` are the samples as the fit saw them, with `split`. The weights are frozen (`requires_grad_(True)` thaws
    them), so that results are plain tensors.
    """

    model: LSEICNN
    ensemble: LSEICNN
    history: xr.Dataset
    restarts: xr.Dataset
    scan: xr.Dataset | None
    data: xr.Dataset
    match: dict[str, float]
    outcomes: tuple[Outcome, ...]
    seed: str
    elapsed: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """Index of the member with the lowest held-out loss."""
        return best_member(self.history)

    @property
    def outcome(self) -> Outcome:
        """How the best member's fit ended, and what to try."""
        return self.outcomes[self.best]

    @property
    def error(self) -> float:
        """Validation error of the best member: the root of its loss, in units of the noise or of the data's spread.

        After match="density" it is the mean negative log-likelihood of the held-out samples, in nats.
        """
        loss = float(self.history["best"].min())
        return loss if DENSITY in self.match else loss**0.5

    @property
    def training_error(self) -> float:
        """Training error of the best member at the same step."""
        record = self.history.isel(member=self.best)
        loss = float(record["loss"].values[np.nanargmin(record["validation_loss"].values)])
        return loss if DENSITY in self.match else loss**0.5

    @property
    def caveat(self) -> str | None:
        """Why the landscape is not to be trusted, where it misses held-out data by far; else None."""
        if DENSITY in self.match:
            return None
        noisy = _noisy(self.data)
        if self.error <= (FAR_OFF_NOISE if noisy else FAR_OFF):
            return None
        amount = f"{self.error:.2g} times their noise" if noisy else f"{self.error:.2g} of their spread"
        return (
            f"the fit misses held-out data by {amount}: do not trust its wells. Try more steps, modes or restarts; if "
            "that does not help, the noise is larger than told, or the system is not the gradient flow of a potential"
        )

    @classmethod
    def joined(cls, fits: "Sequence[Fit]") -> "Fit":
        """Return the members of several fits of the same data, architecture and match as one ensemble.

        Where the data were split in different ways, as `dataset.folds` does, together they have learned from all that
        is not marked "test", and the data of the joined fit say "train" there.
        """
        first, alike = fits[0], True
        for other in fits[1:]:
            bare = (fit.data.drop_vars("split", errors="ignore") for fit in (first, other))
            if not (xr.Dataset.identical(*bare) and other.match == first.match):
                raise ValueError("fits can be joined where data and match are the same")
            alike &= other.data.identical(first.data)
        data = first.data
        if not alike:
            role = xr.where(data["split"] == "test", "test", "train").assign_attrs(data["split"].attrs)
            data = data.assign_coords(split=role)
        models = [fit.ensemble.member(k) for fit in fits for k in range(fit.ensemble.members or 1)]
        history, restarts = (
            xr.concat([getattr(fit, name) for fit in fits], "member", join="outer").assign_coords(
                member=np.arange(len(models))
            )
            for name in ("history", "restarts")
        )
        return cls(
            model=models[best_member(history)],
            ensemble=LSEICNN.stack(models).requires_grad_(False),
            history=history,
            restarts=restarts,
            scan=first.scan if len(fits) == 1 else None,
            data=data,
            match=first.match,
            outcomes=tuple(outcome for fit in fits for outcome in fit.outcomes),
            seed=" ".join(fit.seed for fit in fits),
            elapsed=sum(fit.elapsed for fit in fits),
            settings=first.settings | {"members": len(models)},
        )

    def __repr__(self) -> str:
        unit = "nats" if DENSITY in self.match else "sigma" if _noisy(self.data) else "of the data's spread"
        errors = f"validation error {self.error:.3g}, training {self.training_error:.3g} ({unit})"
        scanned = "" if self.scan is None else f", {self.model.modes} modes chosen of {self.scan.sizes['modes']} tried"
        return f"<Fit of {' + '.join(self.match)}{scanned}: {errors}, {self.elapsed:.1f} s; {self.outcome}>"


def _noisy(data: xr.Dataset) -> bool:
    """Return whether the data tell their noise, which errors then are in units of."""
    return any(str(name).startswith("sigma") for name in data.data_vars)


@dataclass(frozen=True)
class PathFit:
    """What fitting a material returns.

    `model` has the weights of the lowest held-out loss. `history` is over step (a look at the held-out data, after
    some steps), `restarts` over restart; `data` are the paths as the fit saw them, with `split`.
    """

    model: Material
    history: xr.Dataset
    restarts: xr.Dataset
    data: xr.Dataset
    match: dict[str, float]
    outcome: Outcome
    seed: str
    elapsed: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """Validation error: the root of the loss, relative to the spread of the stress, or in units of the noise."""
        return float(np.sqrt(self.history["best"].min()))

    @property
    def training_error(self) -> float:
        """Training error at the same step."""
        return float(np.sqrt(self.history["loss"].values[np.nanargmin(self.history["validation_loss"].values)]))

    def __repr__(self) -> str:
        unit = "sigma" if "sigma" in self.data else "of the spread"
        errors = f"validation error {self.error:.2e}, training {self.training_error:.2e} ({unit})"
        kept = self.history["validation_loss"].values.argmin() > 0
        end = f"{self.outcome}" if kept else "no step was better than the start; take more of them, or other settings"
        return f"<PathFit of stress: {errors}, {self.elapsed:.1f} s; {end}>"
