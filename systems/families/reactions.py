"""Well-mixed stochastic reaction networks.

The counts x of the species are a Markov jump process: reaction r adds ν_r to x with propensity a_r(x). The author
writes the reactions and their rates. Exact trajectories, the rate equation ẋ = Σ_r ν_r a_r(x) in the limit of many
molecules, and the exact probability distribution on a box of counts follow.
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

from systems.families.direct_method import SHARD_SIZE, simulate
from systems.families.master_equation import MasterEquation
from systems.families.stoichiometry import Rate, Reaction
from systems.parameters import ParameterError, require_integer
from systems.system import System
from workbench import dataset
from workbench.dataset.variables import Units, variable
from workbench.errors import DatasetError

__all__ = ["ReactionNetwork"]

LARGEST_COUNT = 1_000_000  # default upper bound of a count; a larger one counts as an explosion
LOST_PROBABILITY = 1e-6  # largest probability that may leave the box of the distribution


class ReactionNetwork(System):
    """Base of stochastic reaction networks: Markov jump processes of integer counts.

    A derived class declares `state_space` and writes `reactions` and `start`. The domain of a state bounds its count
    (default 0 … 1,000,000); its box is the range on which the probability distribution is computed. Counts are
    dimensionless unless the state declares another unit.

    Parameters
    ----------
    **values
        Values of the declared parameters; those not given keep their defaults.

    Attributes
    ----------
    duration : float
        Default end time of trajectories.
    changes : numpy.ndarray, shape (reaction, species)
        Change of the counts by each reaction.
    bounds : tuple of numpy.ndarray, shape (species,) each
        Lowest and highest allowed counts.

    Raises
    ------
    ParameterError
        If a parameter is unknown, of the wrong type, or out of bounds.

    Examples
    --------
    >>> import systems
    >>> class LotkaVolterra(systems.ReactionNetwork):
    ...     state_space = (systems.State("prey", box=(0, 60)), systems.State("predators", box=(0, 60)))
    ...     hunt: float = systems.parameter(0.05, "rate of predation per pair", gt=0)
    ...     def start(self):
    ...         return 20, 20
    ...     def reactions(self):
    ...         hunting = ("prey + predators -> 2 predators", self.hunt)
    ...         return [("prey -> 2 prey", 1.0), hunting, ("predators -> 0", 1.0)]
    >>> network = LotkaVolterra(hunt=0.1)
    >>> network.propensities([20, 10]).tolist(), network.rate([20, 10]).tolist()
    ([20.0, 20.0, 10.0], [0.0, 10.0])
    """

    duration: ClassVar[float] = 10.0

    @abstractmethod
    def reactions(self) -> Sequence[tuple[str, Rate]]:
        """Return pairs of an equation, such as "A + 2 B -> C" or "-> A", and a rate; written by the author.

        A number is the rate constant c of mass action, with propensity c Π_s x_s (x_s − 1) … (x_s − ν_s + 1)/ν_s! for
        ν_s reactant molecules of species s. A function of all counts, such as ``lambda a, b, c: …``, is the propensity
        itself. The number of a buffered species is part of the rate.
        """

    @abstractmethod
    def start(self) -> Sequence[int]:
        """Return the counts at t = 0, shape (species,); written by the author."""

    @cached_property
    def _reactions(self) -> tuple[Reaction, ...]:
        """The reactions, parsed."""
        reactions = tuple(Reaction.of(equation, rate, self.states) for equation, rate in self.reactions())
        if not reactions:
            raise ParameterError(
                f"{self.name} has no reactions; reactions() must return pairs of an equation and a rate"
            )
        return reactions

    @cached_property
    def changes(self) -> np.ndarray:
        """Change of the counts by each reaction, shape (reaction, species)."""
        return np.array([reaction.change for reaction in self._reactions])

    @property
    def units(self) -> Units:
        """Units of the counts, "1" unless declared otherwise, and of time."""
        return Units(tuple(state.unit or "1" for state in self.state_space), self.potential_unit, self.time_unit)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest allowed counts, shape (species,) each."""
        low, high = np.array([state.domain for state in self.state_space], dtype=np.float64).T
        return np.ceil(np.maximum(low, 0)), np.floor(np.where(np.isinf(high), LARGEST_COUNT, high))

    @final
    def propensities(self, x: ArrayLike) -> np.ndarray:
        """Return the propensities a(x), shape (…, reaction), at counts x, shape (…, species).

        Examples
        --------
        >>> import systems
        >>> systems.get("schlogl").propensities([250]).round(2)
        array([933.75, 257.3 , 200. , 875. ])
        """
        return self._by_reaction(Reaction.propensity, x)

    @final
    def rate(self, x: ArrayLike) -> np.ndarray:
        """Return ẋ of the rate equation (many molecules), shape (…, species), at x, shape (…, species).

        Examples
        --------
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
        """Return the counts along exactly sampled trajectories.

        Trajectory i depends on the seed only, not on `count` or `workers`. Trajectories remain in absorbing states.

        Parameters
        ----------
        count : int
            Number of trajectories.
        time : array_like, shape (time,), optional
            Increasing times, not negative. Default: 101 equally spaced times from 0 to `duration`.
        seed : int or numpy.random.SeedSequence, optional
            Seed. Default: drawn at random, and recorded in the data.
        starts : array_like, shape (species,) or (trajectory, species), optional
            Counts at t = 0. Default: `start()`.
        method : {"ssa", "law"}
            Gillespie's direct method, which simulates every reaction (default); or sampling from the rows of the
            transition matrix exp(Q Δt) on the box of the states, which the trajectories must not leave.
        budget : int, default 2_000_000
            Largest number of reactions of a trajectory, for "ssa".
        workers : int, default 1
            Number of processes, for "ssa".

        Returns
        -------
        xarray.Dataset
            ``x(trajectory, time, state)``, the counts.

        Raises
        ------
        ParameterError
            If `count`, `budget` or `workers` is not a positive integer, `method` is unknown, or a reaction is invalid.
        DatasetError
            If `time` or `starts` is invalid, a count leaves its bounds, a propensity is negative or not finite, a
            trajectory exhausts its budget, or it leaves the box of "law".
        ValueError
            If the seed is not a non-negative integer.

        Examples
        --------
        >>> import systems
        >>> data = systems.get("schlogl").trajectories(3, time=[0, 0.1, 0.2], seed=0)
        >>> dict(data.sizes), data["x"].values[:, 0, 0].tolist()
        ({'trajectory': 3, 'time': 3, 'state': 1}, [250.0, 250.0, 250.0])

        References
        ----------
        D. T. Gillespie, J. Phys. Chem. 81, 2340–2361 (1977), doi:10.1021/j100540a008
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
        """Return the exact probability distribution of the counts over time, by finite-state projection.

        Parameters
        ----------
        time : array_like, shape (time,)
            Increasing times, not negative.
        start : array_like, shape (species,), optional
            Counts at t = 0. Default: `start()`.
        within : array_like, shape (species, 2), optional
            Lowest and highest count of each species, both included. Default: the box of the states.

        Returns
        -------
        xarray.Dataset
            ``probability(time, …)`` with one dimension for each species, named after it, and ``lost(time)``, the
            probability that has left the box, which bounds the error.

        Raises
        ------
        DatasetError
            If more than 1e-6 of the probability leaves the box, the box is invalid or has more than a million states,
            or `time` or `start` is invalid.

        Examples
        --------
        >>> import systems
        >>> distribution = systems.get("schlogl").law([10.0])
        >>> round(float((distribution["probability"] * distribution["X"]).sum()), 4)
        316.5917

        References
        ----------
        B. Munsky, M. Khammash, J. Chem. Phys. 124, 044104 (2006), doi:10.1063/1.2145882
        """
        times, equation = self._times(time), self.master_equation(within)
        number = int(equation.number(self._starts(1, start))[0])
        p = equation.law(number, times)
        lost = np.maximum(1 - p.sum(-1), 0)
        if lost.max() > LOST_PROBABILITY:
            when = times[int((lost > LOST_PROBABILITY).argmax())]
            raise DatasetError(
                f"{self.name} leaves the counts {equation} with probability {lost.max():.2g}, which exceeds "
                f"{LOST_PROBABILITY:g} from t = {when:g}; pass a wider within="
            )
        data = self._distribution(equation, p.reshape(-1, *equation.shape), times)
        data["lost"] = variable("time", lost, "probability that has left the box", "1")
        return data.assign_attrs(
            method="finite-state projection", start=str(equation.counts(np.array(number)).tolist())
        )

    @final
    def stationary(self, *, within: Any = None) -> xr.Dataset:
        """Return the stationary distribution of one species that moves by ±1, by the product formula.

        The result is an `xarray.Dataset` with ``probability`` over the counts of the species, from the lowest to the
        highest in `within` (default: the box of the state).

        Raises
        ------
        DatasetError
            If there are several species, larger jumps, or states that do not communicate, or the box is invalid.

        Examples
        --------
        >>> import systems
        >>> p = systems.get("schlogl").stationary()["probability"]
        >>> int(p.idxmax()), p.sel(X=slice(0, 255)).sum().round(6).item()
        (563, 0.22026)
        """
        equation = self.master_equation(within)
        return self._distribution(equation, equation.stationary()).assign_attrs(method="product formula")

    @final
    def master_equation(self, within: Any = None) -> MasterEquation:
        """Return the generator Q on a box of counts, shape (species, 2) (default: the box of the states)."""
        box = np.asarray(self.box if within is None else within, dtype=np.float64)
        low, high = self.bounds
        if box.shape != (self.dim, 2) or not (np.isfinite(box).all() and (box[:, 0] <= box[:, 1]).all()):
            raise DatasetError(f"within must hold (lowest, highest) for each of {self.states}, got {within!r}")
        if (box != np.round(box)).any() or (box[:, 0] < low).any() or (box[:, 1] > high).any():
            raise DatasetError(f"the box must hold integers between {low} and {high}, got {box.tolist()}")
        return MasterEquation.of(self, box.astype(np.int64))

    def possible(self, x: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Return whether counts x are in bounds, propensities a are valid, and no count can drop below 0, shape (…)."""
        low, high = self.bounds
        inside = ((x >= low) & (x <= high)).all(-1)
        below = (x[..., None, :] + self.changes < 0).any(-1) & (a > 0)
        return inside & (np.isfinite(a) & (a >= 0)).all(-1) & ~below.any(-1)

    def fault(self, x: np.ndarray) -> str:
        """Return the reason why counts x, shape (species,), are not admissible."""
        low, high = self.bounds
        if (x < 0).any():
            return "a reaction takes a count below 0; its propensity must vanish there"
        if not ((x >= low) & (x <= high)).all():
            allowed = ", ".join(f"{b:g} <= {s} <= {t:g}" for s, b, t in zip(self.states, low, high, strict=True))
            return f"counts leave the bounds {allowed}; unless this is an explosion, widen the domain of the state"
        with np.errstate(all="ignore"):
            a = self.propensities(x)
        for reaction, value in zip(self._reactions, a, strict=True):
            if not (np.isfinite(value) and value >= 0):
                return f"the propensity of {reaction.equation!r} is {value:g}; expected a finite number >= 0"
            if value > 0 and (x + np.array(reaction.change) < 0).any():
                return f"{reaction.equation!r} takes a count below 0; its propensity must vanish there, got {value:g}"
        raise AssertionError(f"counts {x} are admissible")

    def _by_reaction(self, function: Callable[[Reaction, np.ndarray], np.ndarray], x: ArrayLike) -> np.ndarray:
        """Return a function of each reaction, shape (…, reaction), at x, shape (…, species)."""
        x = self._shaped(x)
        values = np.empty((len(self._reactions), *x.shape[:-1]))
        for k, reaction in enumerate(self._reactions):
            values[k] = function(reaction, x)
        return np.moveaxis(values, 0, -1)

    def _shaped(self, x: ArrayLike) -> np.ndarray:
        """Return x as an array of shape (…, species), or raise `DatasetError`."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise DatasetError(
                f"{self.name} has {self.dim} states {self.states}; expected shape (…, {self.dim}), got {x.shape}"
            )
        return x

    def _starts(self, count: int, starts: ArrayLike | None) -> np.ndarray:
        """Return valid counts at t = 0, shape (count, species), or raise `DatasetError`."""
        x = self._shaped(np.asarray(self.start() if starts is None else starts))
        if x.ndim > 2 or x.ndim == 2 and len(x) != count:
            raise DatasetError(f"starts must have shape (species,) or ({count}, species), got {x.shape}")
        low, high = self.bounds
        bad = ~((x == np.round(x)) & (x >= low) & (x <= high)).all(-1)
        if bad.any():
            raise DatasetError(f"counts at t = 0 must be integers between {low} and {high}, got {x[bad][0]}")
        return np.broadcast_to(x, (count, self.dim))

    def _simulated(
        self, x0: np.ndarray, times: np.ndarray, sequence: np.random.SeedSequence, budget: int, workers: int
    ) -> np.ndarray:
        """Return counts by the direct method, shape (trajectory, time, species)."""
        first = range(0, len(x0), SHARD_SIZE)
        fresh = type(self)(**self.model_dump())  # parsed reactions may hold functions, which cannot be pickled
        jobs = [
            (fresh, x0[i : i + SHARD_SIZE], times, stream, budget, i)
            for i, stream in zip(first, _streams(sequence, len(first)), strict=True)
        ]
        if workers == 1 or len(jobs) == 1:
            return np.concatenate([simulate(*job) for job in jobs])
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            return np.concatenate(list(pool.map(simulate, *zip(*jobs, strict=True))))

    def _sampled(self, x0: np.ndarray, times: np.ndarray, sequence: np.random.SeedSequence) -> np.ndarray:
        """Return counts drawn from the transition matrix, shape (trajectory, time, species)."""
        equation = self.master_equation()
        start, paths = equation.number(x0), []
        first = range(0, len(x0), SHARD_SIZE)
        for i, stream in zip(first, _streams(sequence, len(first)), strict=True):
            paths.append(equation.sample(start[i : i + SHARD_SIZE], times, np.random.default_rng(stream), SHARD_SIZE))
        path = np.concatenate(paths)
        if (path < 0).any():
            i, k = np.argwhere(path < 0)[0]
            raise DatasetError(
                f"{self.name}: trajectory {i} leaves the counts {equation} by t = {times[k]:g}, from "
                f"{equation.counts(path[i, k - 1]) if k else x0[i]}; use method='ssa'"
            )
        return equation.counts(path)

    def _distribution(self, equation: MasterEquation, p: np.ndarray, time: np.ndarray | None = None) -> xr.Dataset:
        """Return probabilities p, shape (time, …) or (…) over the counts of each species, as a dataset."""
        units = self.units
        coords = {} if time is None else {"time": variable("time", time, "time", units.time)}
        for state, unit, low, n in zip(self.state_space, units.states, equation.low, equation.shape, strict=True):
            coords[state.name] = variable(state.name, low + np.arange(n), state.meaning or state.name, unit)
        data = xr.Dataset({"probability": variable(list(coords), p, "probability", "1")}, coords=coords)
        return self._describe(data.assign_attrs(units.attrs()), None, "")


def _streams(sequence: np.random.SeedSequence, count: int) -> list[np.random.SeedSequence]:
    """Return the seed sequences of the shards, the same at every call."""
    return np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key).spawn(count)
