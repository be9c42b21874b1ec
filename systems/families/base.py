"""What a system is: a named model with declared parameters and states that generates data."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.parameters import ParameterError, Parameters, require_integer
from systems.registry import Registry
from workbench.dataset import seed_sequence, seed_text
from workbench.errors import DatasetError

__all__ = ["State", "System", "SYSTEMS", "register"]


@dataclass(frozen=True)
class State:
    """One component of the state: its name, unit, meaning, the box it is sampled in, and where the model is defined.

    Values outside `domain` are refused; values outside `sensible` are allowed, and noted in the data.
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
                    f"{which} of the state {self.name} is (low, high), low < high; got ({low}, {high})"
                )


class System(Parameters):
    """Base of all data generators.

    A family (such as `PotentialSystem`) turns the author's bare mathematics into data; a system is one published
    model, in one file: declared parameters, `state_space`, and the formula. `systems.register("name")` makes it known
    to Python, to the command line and to the contract tests; until then its name is that of its class.
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    slopes: ClassVar[str] = ""  # what users must know of the gradient's components
    observed: ClassVar[str] = "x"  # the variable over the states in what the family generates
    state_space: ClassVar[tuple[State, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__name__

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state's components."""
        return tuple(state.name for state in self.state_space)

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return len(self.state_space)

    @property
    def box(self) -> list[tuple[float, float]]:
        """The box in which the states are sampled, one (low, high) per component."""
        return [state.box for state in self.state_space]

    def check_domain(self, x: Any) -> None:
        """Raise `DatasetError` for states with shape (…, dim) outside the domain of the model, or not finite."""
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
                    f"{self.name} is defined for {low:g} <= {state.name} <= {high:g}; "
                    f"state {row} has {state.name} = {rows[row, k]:g} ({int(bad.sum())} such states)"
                )

    def _count(self, count: Any, each: int = 1) -> int:
        require_integer(count=count)
        if count * each * self.dim > 2**31:
            size = count * each * self.dim * 8 / 2**30
            times = f" at {each} times" if each > 1 else ""
            raise ParameterError(
                f"{count} samples of {self.dim} states{times} need {size:.0f} GiB or more; ask for fewer at a time"
            )
        return int(count)

    def _times(self, time: ArrayLike) -> np.ndarray:
        times = np.atleast_1d(np.asarray(time, dtype=np.float64))
        if times.size == 0 or not (np.isfinite(times).all() and times[0] >= 0 and (np.diff(times) > 0).all()):
            raise DatasetError("time must be finite, start at 0 or later and increase strictly")
        return times

    def _describe(self, data: xr.Dataset, seed: np.random.SeedSequence | None, method: str) -> xr.Dataset:
        """Attach units, meanings and provenance to generated data; what is exact has no seed."""
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
        if self.slopes and "gradient" in data:
            data["gradient"].attrs["description"] = self.slopes
        return data.assign_attrs(
            system=self.name,
            parameters_json=json.dumps(self.model_dump()),
            reference=self.reference,
            **({} if seed is None else {"seed": seed_text(seed)}),
            method=method,
        )

    def _generator(self, seed: Any) -> tuple[np.random.SeedSequence, np.random.Generator]:
        sequence = seed_sequence(seed)
        return sequence, np.random.default_rng(sequence)


def _note(state: State, values: np.ndarray) -> str:
    """Return how many values lie where the formula goes on but the state has lost its meaning, or nothing."""
    low, high = state.sensible
    beyond = int(((values < low) | (values > high)).sum())
    return f"{state.name} lies outside [{low:g}, {high:g}] in {beyond} of {values.size} samples" if beyond else ""


SYSTEMS: Registry[System] = Registry("system", group="workbench.systems", package="systems")
register = SYSTEMS.register
