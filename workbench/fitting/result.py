"""Results of a fit: the fitted models, their history and their errors."""

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

TRUSTED_ERROR_SIGMA = 3.0  # largest validation error of a trusted landscape, in units of the noise level
TRUSTED_ERROR_SPREAD = 0.3  # the same relative to the spread of the data, where their noise level is unknown


@dataclass(frozen=True)
class Fit:
    """Result of fitting a landscape.

    The weights are frozen, so that results are plain tensors; ``model.requires_grad_(True)`` makes them trainable.

    Parameters
    ----------
    model : LSEICNN
        The member with the lowest validation loss, a plain potential.
    ensemble : LSEICNN
        All members; results have a leading member axis.
    history : xarray.Dataset
        ``loss(member, step)``, ``validation_loss(member, step)``, ``best(member, step)`` (lowest validation loss so
        far), ``loss_<quantity>(member, step)``, ``elapsed(member, step)`` in s, ``rho(member, step)``,
        ``gate(member, step, mode)``, ``active(member, step)`` (number of open gates) and, by Levenberg–Marquardt,
        ``damping(member, step)``. NaN after the end of a member.
    restarts : xarray.Dataset
        ``restart_loss(member, restart)``, the validation loss after screening; NaN for a start that failed.
    scan : xarray.Dataset or None
        With ``modes="auto"``, over the numbers of modes tried: ``validation_loss(modes)``, ``standard_error(modes)``,
        ``loss(modes)``, ``wells(modes)``, ``chosen(modes)``, and ``floor``.
    data : xarray.Dataset
        The data as the fit used them, with `split`.
    match : dict of str to float
        Matched quantities and their weights.
    outcomes : tuple of Outcome
        How the fit of each member ended.
    seed : str
        The seed, with the keys of its branch if it was spawned: "7" or "7/0/2".
    elapsed : float
        Duration in s.
    settings : dict, optional
        Settings of the fit.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.linspace(-1, 1, 20)
    >>> data, model = wb.dataset.points(x, potential=x**2), wb.LSEICNN(dim=1, modes=1, hidden=(4,), members=2)
    >>> fit = wb.fit(model, data, match="potential", seed=0, restarts=1, optimiser=wb.LevenbergMarquardt(steps=10))
    >>> fit.ensemble.members, fit.model.members, dict(fit.restarts.sizes), fit.seed
    (2, None, {'member': 2, 'restart': 1}, '0')
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
        """Index of the member with the lowest validation loss."""
        return best_member(self.history)

    @property
    def outcome(self) -> Outcome:
        """How the fit of the best member ended, and what to try next."""
        return self.outcomes[self.best]

    @property
    def error(self) -> float:
        """Validation error of the best member: the square root of its lowest validation loss.

        It is in units of the noise level where the data state one (`sigma`), else relative to the spread of the data.
        After ``match="density"`` it is the mean negative log-likelihood of the validation samples in nats.
        """
        loss = float(self.history["best"].min())
        return loss if DENSITY in self.match else loss**0.5

    @property
    def training_error(self) -> float:
        """Training error of the best member at the step of its lowest validation loss, in the units of `error`."""
        record = self.history.isel(member=self.best)
        loss = float(record["loss"].values[np.nanargmin(record["validation_loss"].values)])
        return loss if DENSITY in self.match else loss**0.5

    @property
    def caveat(self) -> str | None:
        """Reason not to trust the landscape, if its validation error is large; otherwise None."""
        if DENSITY in self.match:
            return None
        noisy = _noisy(self.data)
        if self.error <= (TRUSTED_ERROR_SIGMA if noisy else TRUSTED_ERROR_SPREAD):
            return None
        size = f"{self.error:.2g} times the noise level" if noisy else f"{self.error:.2g} of the spread of the data"
        return (
            f"the validation error is {size}: do not trust its wells. Try more steps, modes or restarts; if that does "
            "not help, the noise is larger than stated, or the system is not the gradient flow of a potential"
        )

    @classmethod
    def joined(cls, fits: "Sequence[Fit]") -> "Fit":
        """Return the members of several fits of the same data, architecture and match as one ensemble.

        Parameters
        ----------
        fits : sequence of Fit
            The fits; their splits may differ, as those of `dataset.folds` do. All samples that are not marked "test"
            then count as "train" in the joined fit, because together the members have learned from all of them.

        Returns
        -------
        Fit
            The joined fit; `model` is its best member. `elapsed` is the sum of the durations.

        Raises
        ------
        ValueError
            If data or match differ.
        """
        first, same_split = fits[0], True
        for other in fits[1:]:
            without_split = (fit.data.drop_vars("split", errors="ignore") for fit in (first, other))
            if not (xr.Dataset.identical(*without_split) and other.match == first.match):
                raise ValueError("only fits of the same data and match can be joined, and these differ")
            same_split &= other.data.identical(first.data)
        data = first.data
        if not same_split:
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
        unit = "nats" if DENSITY in self.match else "sigma" if _noisy(self.data) else "of the spread of the data"
        errors = f"validation error {self.error:.3g}, training {self.training_error:.3g} ({unit})"
        scanned = "" if self.scan is None else f", {self.model.modes} modes chosen of {self.scan.sizes['modes']} tried"
        return f"<Fit of {' + '.join(self.match)}{scanned}: {errors}, {self.elapsed:.1f} s; {self.outcome}>"


def _noisy(data: xr.Dataset) -> bool:
    """Return whether the data state their noise level, which errors are then relative to."""
    return any(str(name).startswith("sigma") for name in data.data_vars)


@dataclass(frozen=True)
class PathFit:
    """Result of fitting a material.

    Parameters
    ----------
    model : Material
        The material with the weights of the lowest validation loss; they are frozen.
    history : xarray.Dataset
        ``loss(step)``, ``validation_loss(step)``, ``best(step)`` (lowest validation loss so far) and ``elapsed(step)``
        in s, at the steps at which the losses were evaluated.
    restarts : xarray.Dataset
        ``restart_loss(restart)``, the validation loss after screening; NaN for a start that failed.
    data : xarray.Dataset
        The paths as the fit used them, ``strain(trajectory, time, component)`` and so on, with `split`.
    match : dict of str to float
        ``{"stress": 1.0}``.
    outcome : Outcome
        How the fit ended, and what to try next.
    seed : str
        The seed, with the keys of its branch if it was spawned: "7" or "7/0/2".
    elapsed : float
        Duration in s.
    settings : dict, optional
        Settings of the fit.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> paths = systems.get("rossi").paths(5, samples=10, seed=0)
    >>> brief = wb.PathTraining(steps=4, polish=0, every=2)
    >>> material = wb.GeneralisedPlay(wb.Invariants(axis=(1, 0, 0)), hidden=(4,))
    >>> fit = wb.fit(material, paths, match="stress", seed=0, restarts=1, optimiser=brief)
    >>> fit.history.step.values.tolist(), fit.match
    ([0, 2, 4], {'stress': 1.0})
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
        """Validation error, the square root of the loss: relative to the noise level, or the spread of the stress."""
        return float(np.sqrt(self.history["best"].min()))

    @property
    def training_error(self) -> float:
        """Training error at the step of the lowest validation loss."""
        return float(np.sqrt(self.history["loss"].values[np.nanargmin(self.history["validation_loss"].values)]))

    def __repr__(self) -> str:
        unit = "sigma" if "sigma" in self.data else "of the spread of the stress"
        errors = f"validation error {self.error:.2e}, training {self.training_error:.2e} ({unit})"
        improved = self.history["validation_loss"].values.argmin() > 0
        end = f"{self.outcome}" if improved else "no step improved on the start; try more steps or other settings"
        return f"<PathFit of stress: {errors}, {self.elapsed:.1f} s; {end}>"
