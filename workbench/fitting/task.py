"""The task of an optimiser: model, data and match, as `fit` passes them on.

References
----------
D. B. Rubin, The Bayesian bootstrap, Ann. Stat. 9, 130–134 (1981), doi:10.1214/aos/1176345338 (`Task.of_member`).
"""

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

BOOTSTRAP_BRANCH = 2**31  # of the seed of a member: no restart reaches it
KERNEL_SAMPLES = 2000  # at most, for the kernel estimate from which a density is initialised


@dataclass(frozen=True)
class Task:
    """A model with the scales of the data, the data by parts, what to match, and how to initialise.

    Parameters
    ----------
    template : LSEICNN
        Model of one member, with the scales of the data but without trained weights.
    parts : mapping of str to Dataset
        Flat data of the parts "train" and "validation".
    match : mapping of str to float
        Weights of the matched quantities.
    init : Initialisation
        How starts are drawn.
    prior : float, default 0.0
        Weight β of the prior of a density.
    given : LSEICNN or None
        Model whose members are the starts, instead of random ones.
    bootstrap : bool, default False
        Whether every member draws weights for the training data.
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
        """Return the task for checked data with `split`; the model is not modified. Arguments as for the class."""
        samples = dataset.flat(data)
        parts = {name: samples.isel(sample=(samples["split"] == name).values) for name in ("train", "validation")}
        if parts["validation"].sizes["sample"] == 0:
            raise DatasetError("split marks no 'validation' samples; the fit needs some for model selection")
        if given is not None:
            return cls(given.member(0), parts, match, init, prior, given, bootstrap)
        template = model.like(members=None)
        template.states = tuple(map(str, data["state"].values))
        targets = _targets(parts["train"], match)
        x = parts["train"]["x"].values
        if template.support is not None:  # the landscape covers all of the support, not only where samples are
            x = np.vstack([x, *corners(template, x)])
            targets = {"potential": None, "gradient": np.ones((1, 1))}
        template.set_scaling(x, units=not init.scaled, **targets)
        if template.support is not None:
            template.potential_scale.fill_(1.0)
        return cls(template, parts, match, init, prior, None, bootstrap)

    def of_member(self, member: int, seed: np.random.SeedSequence) -> "Task":
        """Return the task of one member: its given weights, and with `bootstrap` its own weights of the samples.

        In the Bayesian bootstrap (Rubin, 1981), every trajectory or point has an independent exponential weight of
        mean 1.
        """
        given = None if self.given is None else self.given.member(member)
        parts = self.parts
        if self.bootstrap:
            branch = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, BOOTSTRAP_BRANCH))
            train = parts["train"]
            group = dataset.groups(train)
            drawn = np.random.default_rng(branch).exponential(size=group.max() + 1)
            factor = xr.DataArray((drawn / drawn[group].mean())[group], dims="sample")
            named = [name for name in train if str(name).startswith("weight")]
            weights = {name: train[name] * factor for name in named} | ({} if "weight" in named else {"weight": factor})
            parts = {**parts, "train": train.assign(weights)}
        return replace(self, parts=parts, given=given, bootstrap=False)

    def begin(self, seed: np.random.SeedSequence, turn: int) -> LSEICNN:
        """Return the given weights, or a random start, whose sharpness is element `turn` of `init.rho`, cyclically."""
        if self.given is not None:
            return self.given.member(0)
        model = self.template.like(members=None)
        model.load_state_dict(self.template.state_dict())
        train, init = self.parts["train"], self.init
        rng, rho = np.random.default_rng(seed), init.rho[turn % len(init.rho)]
        x, targets = train["x"].values, _targets(train, self.match)
        if model.support is not None:
            x = x if len(x) <= KERNEL_SAMPLES else rng.choice(x, KERNEL_SAMPLES, replace=False)
            targets["potential"] = kernel_potential(x)
        return model.initialise(rng, x, rho=rho, gate=init.gate, weights=init.weights, **targets)

    def problem(self, seed: np.random.SeedSequence, turn: int) -> Problem:
        """Return the loss to be minimised, from the start that `begin` returns."""
        if self.template.support is not None:
            return Likelihood.of(self.begin(seed, turn), self.parts, self.prior)
        if TRAJECTORY in self.match:
            return Shooting.of(self.begin(seed, turn), self.parts)
        train, validation = self.observations()
        return LeastSquares(self.begin(seed, turn), train, self.match, validation)

    def observations(self) -> tuple[Observations, Observations]:
        """Return the training and held-out observations, both in the scales of the training data."""
        scales = scales_of(self.parts["train"], self.match)
        train, validation = (
            Observations.of(self.parts[name], self.match, scales, self.template.u) for name in ("train", "validation")
        )
        return train, validation


def _targets(train: xr.Dataset, match: Mapping[str, float]) -> dict[str, np.ndarray | None]:
    """Return the matched potential, shape (sample,), and gradient, (sample, dim), for scaling and initialisation."""
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
    """Return the model, with its support for a density, and the data, checked, split and with the model's states."""
    data = dataset.check(data)
    if DENSITY in match:
        return on_support(model, dataset.assign_split(data, shuffle, validation_fraction), support, prior)
    if support is not None or prior:
        raise ValueError("support and prior are settings of match='density' only; leave them out")
    needs: Iterable[str] = () if TRAJECTORY in match else match
    if TRAJECTORY in match:
        check_trajectories(data, match, model.dim)
    else:
        check_matched(data, match, model.dim)
    if model.states != tuple(f"x{i + 1}" for i in range(model.dim)):
        data = dataset.with_states(data, model.states)
    return model, dataset.assign_split(dataset.check(data, needs), shuffle, validation_fraction)
