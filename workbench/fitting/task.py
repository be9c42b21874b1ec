"""What a fit is asked to do, and how it ends: the values that pass between `fit` and its optimisers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.errors import DatasetError
from workbench.losses.least_squares import LeastSquares, Observations, scales_of
from workbench.losses.likelihood import Likelihood, corners, kernel_potential, on_support
from workbench.losses.match import DENSITY, TRAJECTORY, check_matched
from workbench.losses.problem import Problem
from workbench.losses.shooting import Shooting, check_trajectories
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.support import Support

__all__ = ["Task", "prepared"]

RESAMPLED = 2**31  # branch of a member's seed that no restart reaches
ENOUGH = 2000  # samples, to see where a density may start


@dataclass(frozen=True)
class Task:
    """A model with the scales of its data, the data in parts, what to match, and where to start.

    `given` are weights to start from, of one member or several, instead of a draw. With `bootstrap` every member weighs
    the data anew.
    """

    template: LSEICNN
    parts: Mapping[str, xr.Dataset]
    match: Mapping[str, float]
    init: Initialisation
    prior: float = 0.0
    given: LSEICNN | None = None
    bootstrap: bool = False

    @classmethod
    def of(
        cls,
        model: LSEICNN,
        data: xr.Dataset,
        match: Mapping[str, float],
        init: Initialisation,
        prior: float = 0.0,
        *,
        given: LSEICNN | None = None,
        bootstrap: bool = False,
    ) -> "Task":
        """Return the task for checked data with `split`; the model given is left as it is."""
        samples = dataset.flat(data)
        parts = {name: samples.isel(sample=(samples["split"] == name).values) for name in ("train", "validation")}
        if parts["validation"].sizes["sample"] == 0:
            raise DatasetError("split marks no 'validation' samples; the fit needs some to choose by")
        if given is not None:
            return cls(given.member(0), parts, match, init, prior, given, bootstrap)
        template = model.like(members=None)
        template.states = tuple(map(str, data["state"].values))
        targets = _targets(parts["train"], match)
        x = parts["train"]["x"].values
        if template.support is not None:  # samples crowd at the wells; the landscape is wanted on all of the support
            x = np.vstack([x, *corners(template, x)])
            targets = {"potential": None, "gradient": np.ones((1, 1))}
        template.set_scaling(x, units=not init.scaled, **targets)
        if template.support is not None:
            template.potential_scale.fill_(1.0)
        return cls(template, parts, match, init, prior, None, bootstrap)

    def of_member(self, member: int, seed: np.random.SeedSequence) -> "Task":
        """Return the task of one member: the weights it is given, and the samples weighed anew with `bootstrap`.

        That is the Bayesian bootstrap: independent exponential weights of mean 1, one for each trajectory or point.
        """
        given = None if self.given is None else self.given.member(member)
        parts = self.parts
        if self.bootstrap:
            branch = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, RESAMPLED))
            train = parts["train"]
            group = dataset.groups(train)
            drawn = np.random.default_rng(branch).exponential(size=group.max() + 1)
            share = xr.DataArray((drawn / drawn[group].mean())[group], dims="sample")
            named = [name for name in train if str(name).startswith("weight")]
            weights = {name: train[name] * share for name in named} | ({} if "weight" in named else {"weight": share})
            parts = {**parts, "train": train.assign(weights)}
        return replace(self, parts=parts, given=given, bootstrap=False)

    def begin(self, seed: np.random.SeedSequence, turn: int) -> LSEICNN:
        """Return the weights given, or a start drawn from the seed.

        Successive turns take the sharpnesses of `init` in order.
        """
        if self.given is not None:
            return self.given.member(0)
        model = self.template.like(members=None)
        model.load_state_dict(self.template.state_dict())
        train, init = self.parts["train"], self.init
        rng, rho = np.random.default_rng(seed), init.rho[turn % len(init.rho)]
        x, targets = train["x"].values, _targets(train, self.match)
        if model.support is not None:
            x = x if len(x) <= ENOUGH else rng.choice(x, ENOUGH, replace=False)
            targets["potential"] = kernel_potential(x)
        return model.initialise(rng, x, rho=rho, gate=init.gate, weights=init.weights, **targets)

    def problem(self, seed: np.random.SeedSequence, turn: int) -> Problem:
        """Return what is to be minimised, from a start as `begin` draws it."""
        if self.template.support is not None:
            return Likelihood.of(self.begin(seed, turn), self.parts, self.prior)
        if TRAJECTORY in self.match:
            return Shooting.of(self.begin(seed, turn), self.parts)
        seen, kept = self.observations()
        return LeastSquares(self.begin(seed, turn), seen, self.match, kept)

    def observations(self) -> tuple[Observations, Observations]:
        """Return what is learned from, and what is held out, both in the scales of the training data."""
        scales = scales_of(self.parts["train"], self.match)
        train, validation = (
            Observations.of(self.parts[name], self.match, scales, self.template.u) for name in ("train", "validation")
        )
        return train, validation


def _targets(train: xr.Dataset, match: Mapping[str, float]) -> dict[str, np.ndarray | None]:
    """Return what the data say of potential and gradient, for scaling and start; only what is matched is used."""
    gradient = train["gradient"].values if "gradient" in match else None
    if "velocity" in match:
        gradient = -train["velocity"].values
    return {"potential": train["potential"].values if "potential" in match else None, "gradient": gradient}


def prepared(
    model: LSEICNN,
    data: xr.Dataset,
    match: Mapping[str, float],
    shuffle: np.random.SeedSequence,
    *,
    validation_fraction: float,
    support: Support | None,
    prior: float,
) -> tuple[LSEICNN, xr.Dataset]:
    """Return the data as the fit sees them, checked and split, and the model with a support if it is to have one."""
    data = dataset.check(data)
    if DENSITY in match:
        return on_support(model, dataset.assign_split(data, shuffle, validation_fraction), support, prior)
    if support is not None or prior:
        raise ValueError("support and prior belong to match='density'")
    needs: Iterable[str] = () if TRAJECTORY in match else match
    if TRAJECTORY in match:
        check_trajectories(data, match, model.dim)
    else:
        check_matched(data, match, model.dim)
    if model.states != tuple(f"x{i + 1}" for i in range(model.dim)):
        data = dataset.with_states(data, model.states)
    return model, dataset.assign_split(dataset.check(data, needs), shuffle, validation_fraction)
