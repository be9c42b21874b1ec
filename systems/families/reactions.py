"""Reaction networks, stochastic and well mixed: the author writes reactions and rates, the rest comes free.

    @systems.register("lotka_volterra")
    class LotkaVolterra(systems.ReactionNetwork):
        state_space = (systems.State("prey", box=(0, 60)), systems.State("predators", box=(0, 60)))
        birth: float = systems.parameter(1.0, "birth rate of prey", gt=0)
        hunt: float = systems.parameter(0.05, "rate of being caught, per pair", gt=0)
        death: float = systems.parameter(1.0, "death rate of predators", gt=0)

        def start(self):
            return 20, 20

        def reactions(self):
            return [
                ("prey -> 2 prey", self.birth),
                ("prey + predators -> 2 predators", self.hunt),
                ("predators -> 0", self.death),
            ]

A number is the rate constant c of mass action: the propensity is c Π_s x_s(x_s − 1) … (x_s − ν_s + 1)/ν_s! at counts x.
A function of the counts, such as `lambda prey, predators: …`, is the propensity itself. The number of a buffered
species belongs into the rate. Exact `trajectories()`, the rate equation, and on a box the exact `law()` follow.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from typing import Any, ClassVar, Literal, final

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.families.base import System
from systems.families.direct_method import SHARD, simulate
from systems.families.master_equation import MasterEquation
from systems.families.stoichiometry import Rate, Reaction
from systems.parameters import ParameterError, require_integer
from workbench import dataset
from workbench.errors import DatasetError

__all__ = ["ReactionNetwork"]

LARGEST = 1_000_000  # a count beyond it is an explosion, unless the domain says otherwise
LOST = 1e-6  # probability that may leave the box of the law


class ReactionNetwork(System):
    """Molecules, cells or animals in whole numbers that react at random: a Markov jump process.

    To make one, declare `state_space`, write `reactions()`, pairs of an equation and a rate, and `start()`, the counts
    at t = 0. The domain of a state bounds its count (0 … 1,000,000 if not given), its box is where the law lives.
    """

    duration: ClassVar[float] = 10.0

    @abstractmethod
    def reactions(self) -> Sequence[tuple[str, Rate]]:
        """Return pairs of an equation, "A + 2 B -> C", and a rate constant or a propensity function of all counts."""

    @abstractmethod
    def start(self) -> Sequence[int]:
        """Return the counts at t = 0."""

    @cached_property
    def _reactions(self) -> tuple[Reaction, ...]:
        reactions = tuple(Reaction.of(equation, rate, self.states) for equation, rate in self.reactions())
        if not reactions:
            raise ParameterError(f"{self.name} has no reactions; reactions() returns pairs of an equation and a rate")
        return reactions

    @cached_property
    def changes(self) -> np.ndarray:
        """What each reaction adds to the counts, shape (reaction, species)."""
        return np.array([reaction.change for reaction in self._reactions])

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest counts allowed, each of shape (species,)."""
        low, high = np.array([state.domain for state in self.state_space], dtype=np.float64).T
        return np.ceil(np.maximum(low, 0)), np.floor(np.where(np.isinf(high), LARGEST, high))

    @final
    def propensities(self, x: ArrayLike) -> np.ndarray:
        """Return a(x), shape (…, reaction), at counts with shape (…, species).

        >>> import systems
        >>> systems.get("schlogl").propensities([250]).round(2)
        array([933.75, 257.3 , 200. , 875. ])
        """
        return self._by_reaction(Reaction.propensity, x)

    @final
    def rate(self, x: ArrayLike) -> np.ndarray:
        """Return ẋ of the rate equation, shape (…, species), at x with shape (…, species): the limit of many molecules.

        >>> import systems
        >>> systems.get("schlogl").rate([[85.488], [247.600], [566.912]]).round(1).ravel() + 0.0
        array([0., 0., 0.])
        """
        return self._by_reaction(Reaction.intensity, x) @ self.changes

    @final
    def trajectories(
        self,
        count: int,
        *,
        time: ArrayLike | None = None,
        seed: Any = None,
        starts: ArrayLike | None = None,
        method: Literal["ssa", "law"] = "ssa",
        budget: int = 2_000_000,
        workers: int = 1,
    ) -> xr.Dataset:
        """Return the counts along `count` trajectories at the times given (default: 101 up to `duration`).

        Both methods are exact. "ssa" simulates every reaction by the direct method, at most `budget` a trajectory;
        "law" draws from one time to the next by the rows of e^{QΔt} on the box of the states, which must hold the
        trajectories. The value at a time is the state before the first reaction after it; absorbing states hold.
        `starts` has shape (species,) or (trajectory, species). Trajectory i is the same whatever `count` and `workers`.
        Counts out of bounds, propensities that are negative or not finite and an exhausted budget raise
        `DatasetError` with state and time.

        >>> import systems
        >>> data = systems.get("schlogl").trajectories(3, time=[0, 0.1, 0.2], seed=0)
        >>> dict(data.sizes), data["x"].values[:, 0, 0].tolist()
        ({'trajectory': 3, 'time': 3, 'state': 1}, [250.0, 250.0, 250.0])
        """
        times = self._times(np.linspace(0, self.duration, 101) if time is None else time)
        count = self._count(count, len(times))
        if method not in ("ssa", "law"):
            raise ParameterError(f"method must be 'ssa' or 'law', got {method!r}")
        require_integer(budget=budget, workers=workers)
        x0 = self._starts(count, starts)
        sequence = dataset.seed_sequence(seed)
        if method == "ssa":
            x, how = self._simulated(x0, times, sequence, budget, workers), "direct method (SSA), exact"
        else:
            x, how = self._sampled(x0, times, sequence), f"rows of exp(Q dt) on counts {self.master_equation()}, exact"
        data = dataset.trajectories(x, times, states=self.states)
        return self._describe(data, sequence, how if starts is None else f"{how}, given starts")

    @final
    def law(self, time: ArrayLike, *, start: ArrayLike | None = None, within: Any = None) -> xr.Dataset:
        """Return the probability of all counts at the times, by finite-state projection.

        `within` holds the lowest and the highest count of each species, both included (default: the box of the
        states). `probability` has dimensions (time, one per species); `lost` is the probability that has left, which
        bounds the error. More than 1e-6 raises `DatasetError`.

        >>> import systems
        >>> law = systems.get("schlogl").law([10.0])
        >>> round(float((law["probability"] * law["X"]).sum()), 4)
        316.5917
        """
        times, equation = self._times(time), self.master_equation(within)
        number = int(equation.number(self._starts(1, start))[0])
        p = equation.law(number, times)
        lost = np.maximum(1 - p.sum(-1), 0)
        if lost.max() > LOST:
            when = times[int((lost > LOST).argmax())]
            raise DatasetError(
                f"{self.name} has left the counts {equation} with probability {lost.max():.2g}, over {LOST:g} from "
                f"t = {when:g}; widen within="
            )
        data = self._law(equation, p.reshape(-1, *equation.shape), {"time": times})
        data["time"].attrs = {"long_name": "time", "units": "1"}
        return data.assign(
            lost=("time", lost, {"long_name": "probability that has left the box", "units": "1"})
        ).assign_attrs(method="finite-state projection", start=str(equation.counts(np.array(number)).tolist()))

    @final
    def stationary(self, *, within: Any = None) -> xr.Dataset:
        """Return the stationary probability of all counts of one species that moves by ±1, by the product formula.

        >>> import systems
        >>> law = systems.get("schlogl").stationary()["probability"]
        >>> int(law.idxmax()), law.sel(X=slice(0, 255)).sum().round(6).item()
        (563, 0.22026)
        """
        equation = self.master_equation(within)
        return self._law(equation, equation.stationary(), {}).assign_attrs(method="product formula")

    @final
    def master_equation(self, within: Any = None) -> MasterEquation:
        """Return the generator on a box of counts (default: the box of the states)."""
        box = np.asarray(self.box if within is None else within, dtype=np.float64)
        low, high = self.bounds
        if box.shape != (self.dim, 2) or not (np.isfinite(box).all() and (box[:, 0] <= box[:, 1]).all()):
            raise DatasetError(f"within expects (lowest, highest) for each of {self.states}, got {within!r}")
        if (box != np.round(box)).any() or (box[:, 0] < low).any() or (box[:, 1] > high).any():
            raise DatasetError(f"the box must hold integers from {low} to {high}, got {box.tolist()}")
        return MasterEquation.of(self, box.astype(np.int64))

    def possible(self, x: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Return, shape (…), whether counts x are within bounds, their propensities are, and all can happen."""
        low, high = self.bounds
        inside = ((x >= low) & (x <= high)).all(-1)
        below = (x[..., None, :] + self.changes < 0).any(-1) & (a > 0)
        return inside & (np.isfinite(a) & (a >= 0)).all(-1) & ~below.any(-1)

    def fault(self, x: np.ndarray) -> str:
        """Say why counts x, shape (species,), are not possible."""
        low, high = self.bounds
        if (x < 0).any():
            return "a reaction takes a count below 0; its propensity must vanish there"
        if not ((x >= low) & (x <= high)).all():
            allowed = ", ".join(f"{b:g} <= {s} <= {t:g}" for s, b, t in zip(self.states, low, high, strict=True))
            return f"counts leave the bounds {allowed}; if this is no explosion, widen the domain of the state"
        with np.errstate(all="ignore"):
            a = self.propensities(x)
        for reaction, value in zip(self._reactions, a, strict=True):
            if not (np.isfinite(value) and value >= 0):
                return f"the propensity of {reaction.equation!r} is {value:g}; expected a finite number >= 0"
            if value > 0 and (x + np.array(reaction.change) < 0).any():
                return f"{reaction.equation!r} takes a count below 0; its propensity must vanish there, got {value:g}"
        raise AssertionError(f"nothing is wrong with {x}")

    def _by_reaction(self, function: Callable[[Reaction, np.ndarray], np.ndarray], x: ArrayLike) -> np.ndarray:
        x = self._shaped(x)
        values = np.empty((len(self._reactions), *x.shape[:-1]))
        for k, reaction in enumerate(self._reactions):
            values[k] = function(reaction, x)
        return np.moveaxis(values, 0, -1)

    def _shaped(self, x: ArrayLike) -> np.ndarray:
        x = np.asarray(x, dtype=np.float64)
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise DatasetError(
                f"{self.name} has {self.dim} states {self.states}; expected shape (…, {self.dim}), got {x.shape}"
            )
        return x

    def _starts(self, count: int, starts: ArrayLike | None) -> np.ndarray:
        """Return the counts at t = 0, shape (count, species)."""
        x = self._shaped(np.asarray(self.start() if starts is None else starts))
        if x.ndim > 2 or x.ndim == 2 and len(x) != count:
            raise DatasetError(f"starts must have shape (species,) or ({count}, species), got {x.shape}")
        low, high = self.bounds
        bad = ~((x == np.round(x)) & (x >= low) & (x <= high)).all(-1)
        if bad.any():
            raise DatasetError(f"counts at t = 0 must be integers from {low} to {high}, got {x[bad][0]}")
        return np.broadcast_to(x, (count, self.dim))

    def _simulated(
        self, x0: np.ndarray, times: np.ndarray, sequence: np.random.SeedSequence, budget: int, workers: int
    ) -> np.ndarray:
        first = range(0, len(x0), SHARD)
        fresh = type(self)(**self.model_dump())  # functions of the counts cannot be sent to another process
        jobs = [
            (fresh, x0[i : i + SHARD], times, stream, budget, i)
            for i, stream in zip(first, _streams(sequence, len(first)), strict=True)
        ]
        if workers == 1 or len(jobs) == 1:
            return np.concatenate([simulate(*job) for job in jobs])
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            return np.concatenate(list(pool.map(simulate, *zip(*jobs, strict=True))))

    def _sampled(self, x0: np.ndarray, times: np.ndarray, sequence: np.random.SeedSequence) -> np.ndarray:
        equation = self.master_equation()
        start, paths = equation.number(x0), []
        first = range(0, len(x0), SHARD)
        for i, stream in zip(first, _streams(sequence, len(first)), strict=True):
            paths.append(equation.sample(start[i : i + SHARD], times, np.random.default_rng(stream), SHARD))
        path = np.concatenate(paths)
        if (path < 0).any():
            i, k = np.argwhere(path < 0)[0]
            raise DatasetError(
                f"{self.name}: trajectory {i} leaves the counts {equation} by t = {times[k]:g}, from "
                f"{equation.counts(path[i, k - 1]) if k else x0[i]}; use method='ssa'"
            )
        return equation.counts(path)

    def _law(self, equation: MasterEquation, p: np.ndarray, coords: dict[str, np.ndarray]) -> xr.Dataset:
        counts = {
            name: (name, low + np.arange(n), {"long_name": state.meaning or name, "units": state.unit})
            for name, state, low, n in zip(self.states, self.state_space, equation.low, equation.shape, strict=True)
        }
        variable = ((*coords, *self.states), p, {"long_name": "probability", "units": "1"})
        return self._describe(xr.Dataset({"probability": variable}, coords=coords | counts), None, "")


def _streams(sequence: np.random.SeedSequence, count: int) -> list[np.random.SeedSequence]:
    """Return the streams of the shards: the same however often they are asked for."""
    return np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key).spawn(count)
