r"""Quantities of every sample, matched by least squares: potential, gradient, velocity, and several of them jointly.

With the weights w_q of the matched quantities q, the loss is

    L(θ) = Σ_q w_q · mean over samples and components of ((prediction − observation) / scale)²  /  Σ_q w_q,

where scale is the noise level `sigma` if the data give one, else the spread of that component over the training data:
the standard deviation of a potential, the root mean square of a gradient or velocity, separately for each component. A
`weight` multiplies the squares of its sample, relative to the mean weight. In a joint match, noise levels are given by
name (`sigma={"potential": …, "gradient": …}`), for all quantities or for none, because their units differ.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from workbench import dataset
from workbench.dataset.spread import filled, spread
from workbench.dataset.variables import Units, variable
from workbench.errors import DatasetError
from workbench.losses.closed_form import derivative
from workbench.losses.contract import Match, Parts, flow_velocity
from workbench.losses.least_squares import LeastSquares, noise_of
from workbench.potentials.bridge import tensor_options
from workbench.potentials.potential import Landscape, units_of

__all__ = ["Gradient", "Joint", "Potential", "Quantity", "Velocity"]

DATA_GAUGE = "that of the data"
SAMPLES_TRIED = 8  # to see whether the constant of Ψ matters
ROUNDING = 1e3  # units in the last place that rounding may change


@dataclass(frozen=True)
class Quantity(Match):
    """A quantity of every sample that a potential predicts, matched by weighted least squares.

    A derived class writes `predicted`. The observations are the variable of the data that has the name of the match,
    ``name(sample, …)``; with `observed`, `inputs` and `needs` it may be otherwise.

    Attributes
    ----------
    opposite : str
        Name of the same quantity with the opposite sign, if there is one.
    rule : str
        Quantity of `workbench.dataset.variables.RULES` that gives the unit; empty if unknown.

    Examples
    --------
    >>> import workbench as wb
    >>> class Bending(wb.match.Quantity):
    ...     def predicted(self, model, x):
    ...         return model.hessian(x)[..., 0, 0]
    >>> x = np.linspace(-1, 1, 30)
    >>> data = wb.dataset.points(x).assign(bending=("sample", 12 * x**2 - 4))
    >>> fit = wb.fit(wb.LSEICNN(1, 2, (4,)), data, match=Bending(), seed=0, restarts=1)
    >>> fit.error < 0.1
    True
    """

    beside: ClassVar[bool] = True
    pointwise: ClassVar[bool] = True
    opposite: ClassVar[str] = ""
    rule: ClassVar[str] = ""

    @abstractmethod
    def predicted(self, model: Any, x: torch.Tensor) -> torch.Tensor:
        """Return the prediction of a model, shape (…, sample, …), at inputs x, shape (sample, …), by default states.

        `model` has the methods `value`, `gradient` and `hessian` of a potential of tensors; those of an ensemble have
        a leading member axis, and take x of shape (sample, dim).
        """

    def observed(self, samples: xr.Dataset) -> np.ndarray:
        """Return the observations, shape (sample, …)."""
        return samples[self.name].values

    def inputs(self, samples: xr.Dataset) -> np.ndarray:
        """Return what predictions are made from, shape (sample, …): the states."""
        return samples["x"].values

    def spread(self, observed: np.ndarray) -> np.ndarray:
        """Return the scale of observations without a noise level, shape (entry,) for observations (sample, entry)."""
        return np.sqrt((observed**2).mean(0))

    def entry_units(self, samples: xr.Dataset) -> np.ndarray | float:  # noqa: ARG002
        """Return natural units of the entries, shape (entry,), relative to one another; by default all are alike."""
        return 1.0

    @property
    def needs(self) -> tuple[str, ...]:
        """Variables that the data must hold beside the states."""
        return (self.name,)

    def check_data(self, data: xr.Dataset) -> None:
        """Raise `DatasetError` if the data lack the quantity; the message names the opposite one if they hold that."""
        if self.name in self.needs and self.name not in data and self.opposite in data:
            raise DatasetError(
                f"the data hold {self.opposite!r} but no {self.name!r}: use match={self.opposite!r} "
                "(velocity = −gradient)"
            )
        super().check_data(data)

    def problem(self, model: Any, parts: Parts, *, penalised: bool = False) -> LeastSquares:
        """Return the least-squares loss."""
        return LeastSquares.of(model, parts, (self,), (1.0,), penalised=penalised)

    def noisy(self, data: xr.Dataset) -> bool:
        """Return whether the data state the noise level of the quantity."""
        return noise_of(dataset.flat(data), "sigma", self) is not None

    def fixes(self, model: Any, train: xr.Dataset) -> bool:
        """Return whether the predictions of a model change with its constant, which the data then determine."""
        at = torch.tensor(self.inputs(train.isel(sample=slice(0, SAMPLES_TRIED)))).to(model.offset)
        before = model.offset.clone()
        with torch.no_grad():
            first = self.predicted(model, at)
            model.offset += model.potential_scale
            second = self.predicted(model, at)
            model.offset.copy_(before)
        size = float(first.abs().max() + before.abs().max() + model.potential_scale)
        return bool(((second - first).abs() > ROUNDING * torch.finfo(first.dtype).eps * size).any())

    def finish(self, model: Any, train: xr.Dataset) -> None:
        """Fix the constant of Ψ, unless the data determine it."""
        if self.fixes(model, train):
            model.gauge = DATA_GAUGE
        else:
            super().finish(model, train)

    def predictions(self, model: Landscape, data: xr.Dataset) -> xr.Dataset:
        """Return the prediction and the residual, prediction − observation, with the dimensions of the data."""
        samples = dataset.flat(data)
        at, observed = torch.tensor(self.inputs(samples), **tensor_options(model)), self.observed(samples)
        with torch.no_grad():
            flat = np.asarray(torch.as_tensor(self.predicted(model, at)).cpu())
        like = data[self.name] if self.name in data and data[self.name].size == observed.size else None
        if like is None:  # the observations are made from other variables
            sampling, own = data["x"].isel(state=0, drop=True), [f"{self.name}_{k}" for k in range(observed.ndim - 1)]
            shape = (*sampling.shape, *observed.shape[1:])
            shown = xr.DataArray(observed.reshape(shape), dims=(*sampling.dims, *own))
        else:
            shown = like.copy(data=observed.reshape(like.shape))
        lead = () if model.members is None else ("member",)
        values = flat.reshape((() if model.members is None else (model.members,)) + shown.shape)
        unit = _common(shown.attrs.get("units"), units_of(model).of(self.rule) if self.rule else None)
        text = dataset.QUANTITIES[self.name][1] if self.name in dataset.QUANTITIES else self.name
        dims = (*lead, *shown.dims)
        return xr.Dataset(
            {
                self.name: variable(dims, values, f"{text}, predicted", unit),
                f"{self.name}_residual": variable(dims, values - shown.values, f"{text}, prediction minus data", unit),
            },
            coords=data.coords,
        )


@dataclass(frozen=True)
class Potential(Quantity):
    """Match values of the potential, ``potential(sample)``.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.match.Potential()
    Potential()
    """

    gauge: ClassVar[str] = DATA_GAUGE
    rule: ClassVar[str] = "potential"

    @derivative(0)
    def predicted(self, model: Any, x: torch.Tensor) -> torch.Tensor:
        """Return Ψ(x), shape (…, sample)."""
        return model.value(x)

    def spread(self, observed: np.ndarray) -> np.ndarray:
        """Return the standard deviation, shape (1,)."""
        return spread(observed)

    def known(self, train: xr.Dataset, rng: np.random.Generator | None = None) -> xr.Dataset:  # noqa: ARG002
        """Return the states and the potential."""
        return train[["x", "potential"]]


@dataclass(frozen=True)
class Gradient(Quantity):
    """Match gradients of the potential, ``gradient(sample, state)``; Ψ is 0 at the lowest training sample.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.match.Gradient().weights
    {'gradient': 1.0}
    """

    opposite: ClassVar[str] = "velocity"
    rule: ClassVar[str] = "gradient"

    def entry_units(self, samples: xr.Dataset) -> np.ndarray:
        """Return the reciprocals of the spreads of the states, shape (dim,)."""
        return 1 / filled(spread(samples["x"].values))

    @derivative(1)
    def predicted(self, model: Any, x: torch.Tensor) -> torch.Tensor:
        """Return ∇Ψ(x), shape (…, sample, dim)."""
        return model.gradient(x)

    def known(self, train: xr.Dataset, rng: np.random.Generator | None = None) -> xr.Dataset:  # noqa: ARG002
        """Return the states and the gradient."""
        return train[["x", "gradient"]]


@dataclass(frozen=True)
class Velocity(Quantity):
    """Match velocities ẋ = −∇Ψ of a gradient flow, ``velocity(sample, state)``.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.match.Velocity().opposite
    'gradient'
    """

    opposite: ClassVar[str] = "gradient"
    rule: ClassVar[str] = "velocity"

    def entry_units(self, samples: xr.Dataset) -> np.ndarray:
        """Return the reciprocals of the spreads of the states, shape (dim,), as for the gradient."""
        return 1 / filled(spread(samples["x"].values))

    @derivative(1, sign=-1)
    def predicted(self, model: Any, x: torch.Tensor) -> torch.Tensor:
        """Return −∇Ψ(x), shape (…, sample, dim)."""
        return -model.gradient(x)

    def check_data(self, data: xr.Dataset) -> None:
        """Raise `DatasetError` if the data lack velocities; the message says how to estimate them."""
        if "velocity" not in data and "gradient" not in data:
            raise DatasetError(
                "the data hold no 'velocity': estimate it from trajectories with workbench.velocities(data), or in a "
                "call of learn with differentiate=True, or supply it together with x"
            )
        super().check_data(data)

    def known(self, train: xr.Dataset, rng: np.random.Generator | None = None) -> xr.Dataset:  # noqa: ARG002
        """Return the states and the gradient, −velocity."""
        return train[["x"]].assign(gradient=-train["velocity"])

    def units(self, data: xr.Dataset) -> Units:
        """Return the units of the data; if they do not state that of Ψ, it is state²/time."""
        units = Units.read(data)
        return Units(units.states, units.potential or units.of("flow_potential"), units.time)

    def predictions(self, model: Landscape, data: xr.Dataset) -> xr.Dataset:
        """Return the velocity and, if the data hold one, its residual."""
        if "velocity" in data:
            return super().predictions(model, data)
        return xr.Dataset({"velocity": flow_velocity(model, data["x"], units_of(model))}, coords=data.coords)


@dataclass(frozen=True)
class Joint(Match):
    """Several quantities matched together, with relative weights.

    Parameters
    ----------
    matches : sequence of Match
        The quantities; each can stand beside others.
    relative : sequence of float
        Their weights, positive.

    Raises
    ------
    ValueError
        If there are none, one cannot stand beside others, one occurs twice, or a weight is not positive and finite.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.match.Joint((wb.match.Potential(), wb.match.Gradient()), (1, 10)).weights
    {'potential': 1.0, 'gradient': 10.0}
    """

    pointwise: ClassVar[bool] = True

    matches: Sequence[Any]
    relative: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", tuple(self.matches))
        object.__setattr__(self, "relative", tuple(map(float, self.relative)))
        names = [match.name for match in self.matches]
        if not names or len(names) != len(self.relative) or len(set(names)) < len(names):
            raise ValueError(
                f"a joint match needs different quantities with a weight each, got {names}, {self.relative}"
            )
        for match, weight in zip(self.matches, self.relative, strict=True):
            if not (np.isfinite(weight) and weight > 0):
                raise ValueError(f"the weight of {match.name!r} must be positive and finite, got {weight!r}")
            if not match.beside:
                raise ValueError(
                    f"{match.name!r} must be matched alone, because its loss cannot be added to others; got {names}"
                )

    @property
    def weights(self) -> dict[str, float]:
        """Names of the quantities, with their weights."""
        return {match.name: weight for match, weight in zip(self.matches, self.relative, strict=True)}

    def check_data(self, data: xr.Dataset) -> None:
        """Raise `DatasetError` if the data lack a quantity, or give noise levels for some of them alone."""
        for match in self.matches:
            match.check_data(data)
        samples = dataset.flat(data)
        given = [match for match in self.matches if noise_of(samples, "sigma", match) is not None]
        if "sigma" in samples or 0 < len(given) < len(self.matches):
            raise DatasetError(
                "a joint match needs the noise level of every quantity by name, sigma={'potential': …, 'gradient': …}, "
                "or none at all"
            )

    def known(self, train: xr.Dataset, rng: np.random.Generator | None = None) -> xr.Dataset:
        """Return what all quantities say of Ψ."""
        found = train[["x"]]
        for match in self.matches:
            said = match.known(train, rng)
            found = found.assign({name: said[name] for name in said.data_vars if name not in found})
        return found

    def finish(self, model: Any, train: xr.Dataset) -> None:
        """Fix the constant of Ψ as the quantity says that determines it, or has a rule of its own; else as usual."""
        own = (m for m in self.matches if type(m).finish is not Quantity.finish or m.fixes(model, train))
        match = next(own, None)
        if match is not None:
            match.finish(model, train)
        else:
            super().finish(model, train)

    def noisy(self, data: xr.Dataset) -> bool:
        """Return whether the data state noise levels."""
        return any(match.noisy(data) for match in self.matches)

    def checked(self, data: xr.Dataset) -> xr.Dataset:
        """Return the data in canonical form."""
        for match in self.matches:
            data = match.checked(data)
        return data

    def units(self, data: xr.Dataset) -> Units:
        """Return the units that the quantities say."""
        found = [match.units(data) for match in self.matches]
        return next((units for units in found if units.potential is not None), found[0])

    def problem(self, model: Any, parts: Parts, *, penalised: bool = False) -> LeastSquares:
        """Return the weighted least-squares loss of all quantities."""
        return LeastSquares.of(model, parts, self.matches, self.relative, penalised=penalised)

    def predictions(self, model: Landscape, data: xr.Dataset) -> xr.Dataset:
        """Return the predictions of all quantities."""
        return xr.merge([match.predictions(model, data) for match in self.matches], compat="no_conflicts")


def _common(first: Any, second: str | None) -> str | None:
    """Return the first unit that is known."""
    return first if isinstance(first, str) else second
