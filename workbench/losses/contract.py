"""The interface of a match: what a fit asks of the object that says what is matched."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from workbench import dataset
from workbench.dataset.variables import Units, variable
from workbench.errors import DatasetError
from workbench.losses.problem import Problem
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.potential import Landscape
from workbench.potentials.stored import storable_value
from workbench.potentials.trainable import TrainablePotential

__all__ = ["MATCHES", "Match", "Parts", "Split", "flow_velocity"]

TRUSTED_ERROR_SIGMA = 3.0  # largest validation error of a trusted landscape, in units of the noise level
TRUSTED_ERROR_SPREAD = 0.3  # the same relative to the spread of the data, where their noise level is unknown
Parts = Mapping[str, xr.Dataset]  # the parts "train" and "validation" of the data of a fit
Split = Callable[[xr.Dataset], xr.Dataset]  # assigns the parts, where the data do not
PIECE = 2048  # samples evaluated at a time
MATCHES: dict[str, type["Match"]] = {}  # by name
DERIVATIVE_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}


@dataclass(frozen=True)
class Match(ABC):
    """What a fit matches: an object that owns the settings of its loss, and answers all that `fit` asks.

    The data reach it in canonical form, as points ``x(sample, state)``, trajectories ``x(trajectory, time, state)`` or
    paths ``strain(trajectory, time, component)``, and its `problem` as rows over ``sample``, or as paths.

    A derived class is a frozen dataclass, whose fields are its settings; the class is known by its `name` from its
    definition on. It writes `problem`, and what else differs. Quantities of every sample, matched by least squares, are
    shorter to write as a `workbench.match.Quantity`.

    Attributes
    ----------
    name : str
        Name, by which ``match=`` and the command line know it; by default that of the class in lower case.
    beside : bool
        Whether it can stand beside other matches in one fit.
    pointwise : bool
        Whether the loss is a `LeastSquares` sum over samples: members then share their steps, and the number of modes
        can be selected.
    continues : bool
        Whether it only refines a model that is fitted already (``warm_start=True``).
    gauge : str
        Which value of Ψ is 0 after the fit, in words.
    trust, doubt : str
        What not to trust after a fit with a large error, and what else may be the reason, in words.
    optimiser : str
        Name of the default optimiser.

    Raises
    ------
    TypeError
        If the derived class leaves an abstract method out.
    ValueError
        If another class has the same name.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.match.Gradient().unit(wb.dataset.points([0.0, 1.0], gradient=[0.0, 1.0]))
    'of the spread of the data'
    """

    name: ClassVar[str] = ""
    beside: ClassVar[bool] = False
    pointwise: ClassVar[bool] = False
    continues: ClassVar[bool] = False
    gauge: ClassVar[str] = "zero at the lowest training sample"
    trust: ClassVar[str] = "its wells"
    doubt: ClassVar[str] = "the system is not the gradient flow of a potential"
    optimiser: ClassVar[str] = "LevenbergMarquardt"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            raise TypeError(
                f"the settings of the match {cls.__name__} must be fields of a frozen dataclass, not __init__"
            )
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        other = MATCHES.get(cls.name)
        if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"the name {cls.name!r} of the match {cls.__qualname__} is that of {other.__module__}."
                f"{other.__qualname__}: give it another, name = …"
            )
        MATCHES[cls.name] = cls
        storable_value(cls)

    # ---- written by a derived class ----------------------------------------------------------------------------------

    @abstractmethod
    def problem(self, model: Any, parts: Parts, *, penalised: bool = False) -> Problem:
        """Return the loss of the training part of flat data, with that of the validation part, from a start.

        Parameters
        ----------
        model : TrainablePotential or Material
            The model at its starting point; its parameters are the θ of the problem.
        parts : mapping of str to xarray.Dataset
            "train" and "validation", as rows over ``sample`` (paths over ``trajectory``).
        penalised : bool, optional
            Whether the optimiser penalises parameters that no data determine.
        """

    # ---- may be overridden -------------------------------------------------------------------------------------------

    @property
    def weights(self) -> dict[str, float]:
        """Names of what is matched, with relative weights."""
        return {self.name: 1.0}

    def check(self, model: Any) -> None:
        """Raise `ValueError` or `TypeError` unless the match can fit this model."""
        if isinstance(model, type):
            raise ValueError(f"model must be an object, {model.__name__}(…), got the class")
        if not isinstance(model, TrainablePotential):
            raise ValueError(
                f"match={self.name!r} fits a trainable potential, such as an LSEICNN, and a material requires "
                f"match='stress'; got {type(model).__name__} and match={self.name!r}"
            )

    def prepared(self, model: Any, data: xr.Dataset, split: Split) -> tuple[Any, xr.Dataset]:
        """Return the model and the data as the fit shall use them: checked, split, with the states of the model.

        Raises
        ------
        DatasetError
            If the data lack what is matched, or do not fit the model.
        """
        data = self.checked(data)
        if "state" not in data.dims:
            raise DatasetError("the data are strain paths: fit a material to them with match='stress'")
        if data.sizes["state"] != model.dim:
            raise DatasetError(
                f"the data have {data.sizes['state']}-dimensional states, but the model has dim = {model.dim}"
            )
        self.check_data(data)
        if model.states != tuple(f"x{i + 1}" for i in range(model.dim)):
            data = dataset.with_states(data, model.states)
        return model, split(data)

    def checked(self, data: xr.Dataset) -> xr.Dataset:
        """Return the data in canonical form: float64, with the sampling dimensions first."""
        if not isinstance(data, xr.Dataset):
            return dataset.check(data)
        own = [name for name in self.needs if name in data]
        whole = {name: data[name].astype(np.float64) for name in own if data[name].dtype.kind in "iub"}
        return dataset.check(data.assign(whole), own)

    @property
    def needs(self) -> tuple[str, ...]:
        """Variables that the data must hold beside the states."""
        return ()

    def check_data(self, data: xr.Dataset) -> None:
        """Raise `DatasetError` if the data, points or trajectories, lack what is matched."""
        for name in self.needs:
            if name not in data:
                if name in dataset.QUANTITIES:
                    dataset.check(data, [name])  # says what is missing
                known = ", ".join(map(str, data.data_vars))
                raise DatasetError(f"match={self.name!r} needs the variable {name!r}; the data hold {known}")

    def flat(self, data: xr.Dataset) -> xr.Dataset:
        """Return the data as the rows of which `parts` are made."""
        return dataset.flat(data)

    def known(self, train: xr.Dataset, rng: np.random.Generator | None = None) -> xr.Dataset:  # noqa: ARG002
        """Return what the data say of Ψ: x, and potential and gradient as far as known, for scales and starts."""
        return train[["x"]]

    def scale(self, template: TrainablePotential, train: xr.Dataset, init: Initialisation) -> None:
        """Set the scales of a model, in place, from the training data."""
        known = self.known(train)
        targets = {name: known[name].values if name in known else None for name in ("potential", "gradient")}
        template.set_scaling(train["x"].values, units=not init.scaled, **targets)

    def start(self, template: Any, train: xr.Dataset, rng: np.random.Generator, init: Initialisation, turn: int) -> Any:
        """Return start number `turn` of a fit, a model with the scales of `template`."""
        if template.NATIVE:
            model = template.like(members=None)
            model.load_state_dict(template.state_dict())
        else:
            model = template.fresh(rng)
        started = model.begin(self.known(train, rng), rng, init, turn)
        check_derivatives(started, train["x"].values)
        return started

    def finish(self, model: Any, train: xr.Dataset) -> None:
        """Fix what the loss leaves free after a fit, in place: the lowest value of Ψ at a training sample becomes 0."""
        x = torch.tensor(train["x"].values).to(model.offset)
        with torch.no_grad():
            model.offset -= torch.stack([model.value(part).min() for part in x.split(PIECE)]).min()
        model.gauge = self.gauge

    def units(self, data: xr.Dataset) -> Units:
        """Return the units of a model that is fitted to the data."""
        return Units.read(data)

    # ---- errors ------------------------------------------------------------------------------------------------------

    @property
    def loss_unit(self) -> str:
        """Unit of the loss; "1" if it is a mean of squares relative to noise or spread."""
        return "1"

    def error(self, loss: float) -> float:
        """Return the error, by default the root of the loss."""
        return loss**0.5

    def noisy(self, data: xr.Dataset) -> bool:
        """Return whether the data state the noise level of what is matched, which errors are then relative to."""
        return bool({"sigma", f"sigma_{self.name}"} & set(data.data_vars))

    def unit(self, data: xr.Dataset) -> str:
        """Return the unit of the error: noise levels, if the data state them, else the spread of the data."""
        return "sigma" if self.noisy(data) else "of the spread of the data"

    def caveat(self, error: float, data: xr.Dataset) -> str | None:
        """Return the reason not to trust the model, if its validation error is large; otherwise None."""
        stated = self.noisy(data)
        if error <= (TRUSTED_ERROR_SIGMA if stated else TRUSTED_ERROR_SPREAD):
            return None
        size = f"{error:.2g} times the noise level" if stated else f"{error:.2g} of the spread of the data"
        return (
            f"the validation error is {size}: do not trust {self.trust}. Try more steps, modes, restarts or data; "
            f"if that does not help, the noise is larger than stated, or {self.doubt}"
        )

    # ---- predictions -------------------------------------------------------------------------------------------------

    def predictions(self, model: Any, data: xr.Dataset) -> xr.Dataset | None:
        """Return predictions of a fitted model at the data, and residuals; None if it predicts none of its own."""
        return None

    @classmethod
    def is_abstract(cls) -> bool:
        """Return whether the class leaves an abstract method out, as the bases do."""
        return inspect.isabstract(cls)


def check_derivatives(model: TrainablePotential, x: np.ndarray) -> None:
    """Raise `ValueError` if a class of one's own gives a gradient that is not the derivative of its value."""
    if type(model).__module__.startswith("workbench."):
        return
    at = torch.tensor(x[:4]).to(model.offset).requires_grad_()
    expected = torch.autograd.grad(model.value(at).sum(), at)[0]
    found = model.gradient(at.detach()).detach()
    unit = model.potential_scale / model.x_scale
    error, size = float(((found - expected) / unit).abs().max()), float((expected / unit).abs().max())
    if error > DERIVATIVE_TOLERANCE[model.dtype] * max(size, 1.0):
        raise ValueError(
            f"the gradient of {type(model).__name__} is not the derivative of its value: they differ by {error:.2g} of "
            f"{size:.2g} in scaled units; write both, or value alone"
        )


def flow_velocity(model: Landscape, x: xr.DataArray, units: Units) -> xr.Variable:
    """Return the velocity −∇Ψ at states x(…, state), with a leading member axis."""
    velocity = -model.gradient(x.values.reshape(-1, x.shape[-1])).reshape(-1, *x.shape)
    return variable(("member", *x.dims), velocity, "rate of change of the state, predicted", units.of("velocity"))
