"""The base of all systems: a named model with declared states and parameters that generates data."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.parameters import ParameterError, Parameters, require_integer
from workbench.dataset import Units, seed_sequence, seed_text
from workbench.dataset.labelling import labelled
from workbench.dataset.variables import text_unit
from workbench.errors import DatasetError

__all__ = ["State", "System"]


@dataclass(frozen=True)
class State:
    """One component of the state of a system.

    Parameters
    ----------
    name : str
        Name, used as label of the component in data.
    meaning : str, optional
        Meaning in a few words.
    unit : str, optional
        Unit, "1" if it is dimensionless. Default: unknown.
    box : tuple of float, default (-1, 1)
        Range (low, high) in which the component is sampled.
    domain : tuple of float, default (-inf, inf)
        Range in which the model is defined; values outside are rejected.
    sensible : tuple of float, default (-inf, inf)
        Range in which the component has a physical meaning; values outside are allowed and noted in the data.

    Raises
    ------
    ParameterError
        Unless low < high in every range, and if the unit is not text.

    Examples
    --------
    >>> import systems
    >>> systems.State("x", "position", unit="nm", box=(-2, 2)).box
    (-2, 2)
    """

    name: str
    meaning: str = ""
    unit: str | None = None
    box: tuple[float, float] = (-1.0, 1.0)
    domain: tuple[float, float] = (-np.inf, np.inf)
    sensible: tuple[float, float] = (-np.inf, np.inf)

    def __post_init__(self) -> None:
        for which in ("box", "domain", "sensible"):
            low, high = getattr(self, which)
            if not low < high:
                raise ParameterError(
                    f"{which} of the state {self.name} must be (low, high) with low < high, got ({low}, {high})"
                )
        try:
            text_unit(f"the state {self.name}", self.unit)
        except DatasetError as error:
            raise ParameterError(str(error)) from None


class System(Parameters):
    """Base of all data generators.

    A family (`PotentialSystem`, `ReactionNetwork`, `PathSystem`) turns a formula into data. A system is one model of a
    family, in one file: declared parameters, `state_space`, and the formula. The decorator ``systems.register("name")``
    makes it known to `systems.get` and to the command line; without it, `name` is the name of the class.

    Parameters
    ----------
    **values
        Values of the declared parameters; those not given keep their defaults.

    Attributes
    ----------
    name : str
        Name of the system.
    reference : str
        Publication of the model, recorded in the data.
    state_space : tuple of State
        Components of the state.
    potential_unit, time_unit : str or None
        Units of the potential and of time, "1" if dimensionless. Default: unknown.
    gauge : str
        Where the potential is zero, recorded in the data.
    gradient_note : str
        What users must know of the components of the gradient, recorded in the data.
    observed : str
        Variable over the states in the data of the family: "x", or "strain".

    Raises
    ------
    ParameterError
        If a parameter is unknown, of the wrong type, or out of bounds; when a class is defined, if a unit is not text.

    Examples
    --------
    >>> import systems
    >>> circuit = systems.get("gene_circuit", b=0.1)
    >>> circuit.name, circuit.states, circuit.dim, circuit.box
    ('gene_circuit', ('x1', 'x2'), 2, [(0.0, 2.0), (0.0, 2.0)])
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    potential_unit: ClassVar[str | None] = None
    time_unit: ClassVar[str | None] = None
    gauge: ClassVar[str] = "that of its formula"
    gradient_note: ClassVar[str] = ""
    observed: ClassVar[str] = "x"
    state_space: ClassVar[tuple[State, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__name__
        try:
            text_unit(f"the potential of {cls.name}", cls.potential_unit)
            text_unit(f"the time of {cls.name}", cls.time_unit)
        except DatasetError as error:
            raise ParameterError(str(error)) from None

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the components of the state."""
        return tuple(state.name for state in self.state_space)

    @property
    def units(self) -> Units:
        """Units of the states, the potential and time, as far as they are declared."""
        return Units(tuple(state.unit for state in self.state_space), self.potential_unit, self.time_unit)

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return len(self.state_space)

    @property
    def box(self) -> list[tuple[float, float]]:
        """Ranges in which the state is sampled, one (low, high) for each component."""
        return [state.box for state in self.state_space]

    def check_domain(self, x: Any) -> None:
        """Raise `DatasetError` unless states x, shape (…, dim), are finite and in the domain of the model."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise DatasetError(
                f"{self.name} has {self.dim} states {self.states}; expected shape (…, {self.dim}), got {x.shape}"
            )
        rows = x.reshape(-1, self.dim)
        for k, state in enumerate(self.state_space):
            low, high = state.domain
            bad = ~((rows[:, k] >= low) & (rows[:, k] <= high) & np.isfinite(rows[:, k]))
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise DatasetError(
                    f"{self.name} is defined for {low:g} <= {state.name} <= {high:g}, but "
                    f"state {row} has {state.name} = {rows[row, k]:g} ({int(bad.sum())} state(s) out of bounds)"
                )

    def _count(self, count: Any, each: int = 1) -> int:
        """Return a valid number of samples, with `each` times per sample, or raise `ParameterError`."""
        require_integer(count=count)
        if count * each * self.dim > 2**31:
            size = count * each * self.dim * 8 / 2**30
            times = f" at {each} times" if each > 1 else ""
            raise ParameterError(
                f"{count} samples of {self.dim} states{times} need at least {size:.0f} GiB; request fewer at a time"
            )
        return int(count)

    def _times(self, time: ArrayLike) -> np.ndarray:
        """Return valid times, shape (time,), or raise `DatasetError`."""
        times = np.atleast_1d(np.asarray(time, dtype=np.float64))
        if times.size == 0 or not (np.isfinite(times).all() and times[0] >= 0 and (np.diff(times) > 0).all()):
            raise DatasetError("time must be finite, not negative, and strictly increasing")
        return times

    def _describe(self, data: xr.Dataset, seed: np.random.SeedSequence | None, method: str) -> xr.Dataset:
        """Return the data with units, meanings and provenance attached; data without randomness have no seed."""
        if self.observed in data:
            data = labelled(data, self.units)
            observed = data[self.observed]
            observed.attrs["description"] = "; ".join(map(_meaning, self.state_space))
            notes = [_note(s, observed.sel(state=s.name).values) for s in self.state_space if "state" in observed.dims]
            if any(notes):
                observed.attrs["note"] = "; ".join(filter(None, notes))
        if self.gradient_note and "gradient" in data:
            data["gradient"].attrs["description"] = self.gradient_note
        return data.assign_attrs(
            system=self.name,
            parameters_json=json.dumps(self.model_dump()),
            reference=self.reference,
            **({} if seed is None else {"seed": seed_text(seed)}),
            **({"gauge": self.gauge} if "potential" in data else {}),
            method=method,
        )

    def _generator(self, seed: Any) -> tuple[np.random.SeedSequence, np.random.Generator]:
        """Return the seed sequence of a seed and its random number generator."""
        sequence = seed_sequence(seed)
        return sequence, np.random.default_rng(sequence)


def _meaning(state: State) -> str:
    """Return name, meaning and unit of a state, as far as declared."""
    named = f"{state.name}: {state.meaning}" if state.meaning else state.name
    return named if state.unit is None else f"{named} [{state.unit}]"


def _note(state: State, values: np.ndarray) -> str:
    """Return a note on how many values lie outside the sensible range of a state; empty if none does."""
    low, high = state.sensible
    outside = int(((values < low) | (values > high)).sum())
    return f"{state.name} lies outside [{low:g}, {high:g}] in {outside} of {values.size} samples" if outside else ""
