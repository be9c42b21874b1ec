"""The task of an optimiser: model, data and match, as `fit` passes them on.

References
----------
D. B. Rubin, The Bayesian bootstrap, Ann. Stat. 9, 130–134 (1981), doi:10.1214/aos/1176345338 (`Task.of_member`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.errors import DatasetError
from workbench.losses.contract import Match
from workbench.losses.problem import Problem, freed
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.trainable import TrainablePotential

__all__ = ["Task"]

BOOTSTRAP_BRANCH = 2**31  # of the seed of a member: no restart reaches it


@dataclass(frozen=True)
class Task:
    """A model with the scales of the data, the data by parts, what to match, and how to initialise.

    Parameters
    ----------
    template : TrainablePotential or Material
        Model of one member, with the scales of the data but without trained weights.
    parts : mapping of str to Dataset
        The parts "train" and "validation" of the data: rows over ``sample``, or paths.
    match : Match
        What is matched.
    init : Initialisation
        How starts are drawn.
    given : model or None
        Model whose members are the starts, instead of random ones.
    bootstrap : bool, default False
        Whether every member draws weights for the training data.
    """

    template: Any
    parts: Mapping[str, xr.Dataset]
    match: Match
    init: Initialisation
    given: Any = None
    bootstrap: bool = False

    @classmethod
    def of(
        cls,
        model: Any,
        data: xr.Dataset,
        match: Match,
        init: Initialisation,
        *,
        given: Any = None,
        bootstrap: bool = False,
    ) -> Self:
        """Return the task for checked data with `split`; the model is not modified. Arguments as for the class."""
        samples = match.flat(data)
        along = samples["split"].dims[0]
        parts = {name: samples.isel({along: (samples["split"] == name).values}) for name in ("train", "validation")}
        if parts["validation"].sizes[along] == 0:
            what = "samples" if along == "sample" else "paths"
            raise DatasetError(f"split marks no 'validation' {what}; the fit needs some for model selection")
        if given is not None:
            if isinstance(given, TrainablePotential):
                given.units.agreed(match.units(data), "the model", "the data")
            return cls(_member(given, 0), parts, match, init, given, bootstrap)
        template = model
        if isinstance(model, TrainablePotential):
            template = model.like(members=None)
            template.states = tuple(map(str, data["state"].values))
            template.units, template.gauge = match.units(data), match.gauge
        match.scale(template, parts["train"], init)
        return cls(template, parts, match, init, None, bootstrap)

    def of_member(self, member: int, seed: np.random.SeedSequence) -> "Task":
        """Return the task of one member: its given weights, and with `bootstrap` its own weights of the samples.

        In the Bayesian bootstrap (Rubin, 1981), every trajectory or point has an independent exponential weight of
        mean 1.
        """
        given = None if self.given is None else _member(self.given, member)
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

    def begin(self, seed: np.random.SeedSequence, turn: int) -> Any:
        """Return the given weights, or a random start, whose sharpness is element `turn` of `init.rho`, cyclically."""
        if self.given is not None:
            return _member(self.given, 0)
        return self.match.start(self.template, self.parts["train"], np.random.default_rng(seed), self.init, turn)

    def problem(self, seed: np.random.SeedSequence, turn: int, *, penalised: bool = False) -> Problem:
        """Return the loss to be minimised, from the start that `begin` returns."""
        return self.match.problem(self.begin(seed, turn), self.parts, penalised=penalised)

    def problems(self, seeds: list[np.random.SeedSequence]) -> list[Problem]:
        """Return the losses of all members: one with a copy for each if they can share it, else one for each."""
        tasks = [self.of_member(k, seed) for k, seed in enumerate(seeds)]
        models = [
            task.begin(seed.spawn(1)[0], turn) for turn, (task, seed) in enumerate(zip(tasks, seeds, strict=True))
        ]
        if self.match.pointwise and not self.bootstrap:
            return [self.match.problem(models[0].stack(models), self.parts, penalised=True)]
        return [self.match.problem(m, task.parts, penalised=True) for m, task in zip(models, tasks, strict=True)]


def _member(model: Any, index: int) -> Any:
    """Return a copy of one member of a model, with free parameters."""
    return freed(model.member(index) if isinstance(model, TrainablePotential) else model)
