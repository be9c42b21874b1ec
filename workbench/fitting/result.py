"""Results of a fit: the fitted models, their history and their errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from workbench.fitting.history import best_member
from workbench.fitting.outcome import Outcome
from workbench.losses.contract import Match
from workbench.potentials.stored import decoded

__all__ = ["Fit", "PathFit"]


@dataclass(frozen=True, repr=False)
class Fit:
    """Result of fitting a landscape.

    The weights are frozen, so that results are plain tensors; ``model.requires_grad_(True)`` makes them trainable.

    Parameters
    ----------
    model : LSEICNN or another TrainablePotential
        The member with the lowest validation loss, a plain potential.
    ensemble : LSEICNN or another TrainablePotential
        All members; results have a leading member axis.
    history : xarray.Dataset
        ``loss(member, step)``, ``validation_loss(member, step)``, ``best(member, step)`` (lowest validation loss so
        far), ``loss_<quantity>(member, step)``, ``elapsed(member, step)`` in s; by Levenberg–Marquardt
        ``damping(member, step)``; and what the model records of itself, for an `LSEICNN` ``rho(member, step)``,
        ``gate(member, step, mode)`` and ``active(member, step)`` (number of open gates). NaN after the end of a member.
    restarts : xarray.Dataset
        ``restart_loss(member, restart)``, the validation loss after screening; NaN for a start that failed.
    scan : xarray.Dataset or None
        With ``modes="auto"``, over the numbers of modes tried: ``validation_loss(modes)``, ``standard_error(modes)``,
        ``loss(modes)``, ``wells(modes)``, ``chosen(modes)``, and ``floor``.
    data : xarray.Dataset
        The data as the fit used them, with `split`.
    match : Match
        What was matched (see `workbench.match`); ``match.weights`` names quantities and weights.
    outcomes : tuple of Outcome
        How the fit of each member ended.
    seed : str
        The seed, with the keys of its branch if it was spawned: "7" or "7/0/2".
    elapsed : float
        Duration in s.
    settings : dict
        Settings of the fit as plain values: members, restarts, validation_fraction, bootstrap, warm_start, and as
        mappings match, optimiser and init.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.linspace(-1, 1, 20)
    >>> data, model = wb.dataset.points(x, potential=x**2), wb.LSEICNN(dim=1, modes=1, hidden=(4,), members=2)
    >>> fit = wb.fit(model, data, match="potential", seed=0, restarts=1, optimiser=wb.LevenbergMarquardt(steps=10))
    >>> fit.ensemble.members, fit.model.members, dict(fit.restarts.sizes), fit.seed
    (2, None, {'member': 2, 'restart': 1}, '0')
    """

    model: Any
    ensemble: Any
    history: xr.Dataset
    restarts: xr.Dataset
    scan: xr.Dataset | None
    data: xr.Dataset
    match: Match
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
        """Validation error of the best member: the square root of its lowest validation loss, in units of `unit`.

        For a density it is the mean negative log-likelihood of the validation samples.
        """
        return self.match.error(float(self.history["best"].min()))

    @property
    def training_error(self) -> float:
        """Training error of the best member at the step of its lowest validation loss, in units of `unit`."""
        record = self.history.isel(member=self.best)
        return self.match.error(float(record["loss"].values[np.nanargmin(record["validation_loss"].values)]))

    @property
    def unit(self) -> str:
        """Unit of the errors: noise levels where the data state them (`sigma`), the spread of the data, or nats."""
        return self.match.unit(self.data)

    @property
    def caveat(self) -> str | None:
        """Reason not to trust the model, if its validation error is large; otherwise None."""
        return self.match.caveat(self.error, self.data)

    @property
    def optimiser(self) -> Any:
        """The optimiser, with its settings."""
        return decoded(self.settings["optimiser"])

    @property
    def init(self) -> Any:
        """How starts were drawn."""
        return decoded(self.settings["init"])

    @classmethod
    def joined(cls, fits: "Sequence[Fit]") -> "Fit":
        """Return the members of several fits of the same data, architecture and match as one ensemble.

        Parameters
        ----------
        fits : sequence of Fit
            The fits; their splits may differ, as those of `dataset.folds` do, if their scales do not: those of a
            density are given by its support. All samples that are not marked "test" then count as "train" in the joined
            fit, because together the members have learned from all of them.

        Returns
        -------
        Fit
            The joined fit; `model` is its best member. `elapsed` is the sum of the durations.

        Raises
        ------
        ValueError
            If data, match or scales differ.
        """
        first, same_split = fits[0], True
        for other in fits[1:]:
            without_split = (fit.data.drop_vars("split", errors="ignore") for fit in (first, other))
            if not (xr.Dataset.equals(*without_split) and other.match == first.match):
                raise ValueError("only fits of the same data and match can be joined, and these differ")
            same_split &= other.data.equals(first.data)
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
            model=models[best_member(history)].requires_grad_(False),
            ensemble=models[0].stack(models).requires_grad_(False),
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
        errors = f"validation error {self.error:.3g}, training {self.training_error:.3g} ({self.unit})"
        scanned = "" if self.scan is None else f", {self.model.modes} modes chosen of {self.scan.sizes['modes']} tried"
        what = f"{type(self).__name__} of {' + '.join(self.match.weights)}{scanned}"
        record = self.history["validation_loss"].isel(member=self.best).values
        end = (
            f"{self.outcome}"
            if np.nanargmin(record) > 0
            else "no step improved on the start; try more steps or other settings"
        )
        return f"<{what}: {errors}, {self.elapsed:.1f} s; {end}>"


@dataclass(frozen=True, repr=False)
class PathFit(Fit):
    """Result of fitting a material to the stress along paths: a `Fit` of one member.

    The history holds the losses at the steps at which they were evaluated. A material has no member axis, so that
    `model` and `ensemble` are the same object.

    Parameters
    ----------
    model, ensemble, history, restarts, scan, data, match, outcomes, seed, elapsed, settings
        As for `Fit`; `data` are the paths as the fit used them, ``strain(trajectory, time, component)`` and so on, with
        `split`.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> paths = systems.get("rossi").paths(5, samples=10, seed=0)
    >>> brief = wb.PathTraining(steps=4, polish=0, every=2)
    >>> material = wb.GeneralisedPlay(wb.Invariants(axis=(1, 0, 0)), hidden=(4,))
    >>> fit = wb.fit(material, paths, match="stress", seed=0, restarts=1, optimiser=brief)
    >>> fit.history.step.values.tolist(), fit.match, fit.ensemble is fit.model
    ([0, 2, 4], Stress(), True)
    """
