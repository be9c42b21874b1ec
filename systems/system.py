"""The base of all systems: a named model with declared states and parameters that generates data."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.parameters import ParameterError, Parameters, require_integer
from workbench.dataset import seed_sequence, seed_text
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
    unit : str, default "1"
        Unit; "1" means dimensionless.
    box : tuple of float, default (-1, 1)
        Range (low, high) in which the component is sampled.
    domain : tuple of float, default (-inf, inf)
        Range in which the model is defined; values outside are rejected.
    sensible : tuple of float, default (-inf, inf)
        Range in which the component has a physical meaning; values outside are allowed and noted in the data.

    Raises
    ------
    ParameterError
        Unless low < high in every range.

    Examples
    --------
    >>> import systems
    >>> systems.State("x", "position", unit="nm", box=(-2, 2)).box
    (-2, 2)
    """

    name: str
    meaning: str = ""
    unit: str = "1"
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
    gradient_note : str
        What users must know of the components of the gradient, recorded in the data.
    observed : str
        Variable over the states in the data of the family: "x", or "strain".

    Raises
    ------
    ParameterError
        If a parameter is unknown, of the wrong type, or out of bounds.

    Examples
    --------
    >>> import systems
    >>> circuit = systems.get("gene_circuit", b=0.1)
    >>> circuit.name, circuit.states, circuit.dim, circuit.box
    ('gene_circuit', ('x1', 'x2'), 2, [(0.0, 2.0), (0.0, 2.0)])
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    gradient_note: ClassVar[str] = ""
    observed: ClassVar[str] = "x"
    state_space: ClassVar[tuple[State, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__name__

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the components of the state."""
        return tuple(state.name for state in self.state_space)

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
        unit = {state.unit for state in self.state_space}
        if self.observed in data:
            observed = data[self.observed]
            observed.attrs |= {
                "units": unit.pop() if len(unit) == 1 else "mixed",
                "description": "; ".join(f"{s.name}: {s.meaning} [{s.unit}]" for s in self.state_space),
            }
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
            method=method,
        )

    def _generator(self, seed: Any) -> tuple[np.random.SeedSequence, np.random.Generator]:
        """Return the seed sequence of a seed and its random number generator."""
        sequence = seed_sequence(seed)
        return sequence, np.random.default_rng(sequence)


def _note(state: State, values: np.ndarray) -> str:
    """Return a note on how many values lie outside the sensible range of a state; empty if none does."""
    low, high = state.sensible
    outside = int(((values < low) | (values > high)).sum())
    return f"{state.name} lies outside [{low:g}, {high:g}] in {outside} of {values.size} samples" if outside else ""
