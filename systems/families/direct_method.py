"""Exact stochastic simulation of many trajectories in parallel, by Gillespie's direct method.

In state x the next reaction is r with probability a_r(x)/a₀(x), a₀ = Σ_r a_r, after an exponentially distributed
waiting time of mean 1/a₀(x). The sequence of states does not depend on the waiting times. A block therefore first makes
many jumps on LANES lanes side by side, then sums the waiting times, then reads off the states at the requested times.

A lane that has finished its trajectory takes over the next one of its shard. Every STREAM_WIDTH lanes share a stream of
random numbers, drawn in whole blocks for all of these lanes as long as one of them runs. Trajectory i therefore depends
neither on the number of trajectories nor on other processes.

Reference: D. T. Gillespie, J. Phys. Chem. 81, 2340–2361 (1977), doi:10.1021/j100540a008.
"""

from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from systems.families.jump_process import JumpProcess
from workbench.errors import DatasetError

__all__ = ["SHARD_SIZE", "simulate"]

LANES = 512
STREAM_WIDTH = 64  # lanes that share a stream of random numbers
SHARD_SIZE = 2500  # trajectories that share a queue


class Walk(Protocol):
    """How lanes jump. The representation of a `state` is up to the walk: one entry or row for each lane."""

    block: int  # jumps in a block: many if a jump is cheap, few if the unused rest of a block would be costly

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the states of counts x, shape (lane, species)."""

    def decode(self, state: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, species)."""

    def jumps(self, state: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the states (jump + 1, lane, …) reached with uniform u (jump, lane), and 1/a₀ (jump, lane).

        1/a₀ is infinite in absorbing states, which do not change, and NaN in inadmissible states.
        """


class Tables:
    """A walk for one species, which looks up 1/a₀, the probabilities of the moves and the counts they lead to.

    Reactions of equal net change are one move. The state of count n is n times the number of moves, so that the next
    state is found at position `state + move` of a table.
    """

    block = 128

    def __init__(self, network: JumpProcess) -> None:
        self.network = network
        self.moves, self.move_of = np.unique(network.changes[:, 0], return_inverse=True)
        self.reach, self.size = max(int(self.moves[-1]), 0), 0

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the states of counts x, shape (lane, 1)."""
        return x[:, 0].astype(np.intp) * len(self.moves)

    def decode(self, state: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, 1)."""
        return (state // len(self.moves))[..., None]

    def jumps(self, state: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and 1/a₀, as specified by `Walk`."""
        self._cover(int(state.max()) // len(self.moves) + len(u) * self.reach)
        history = np.empty((len(u) + 1, len(state)), dtype=np.intp)
        history[0] = state
        limit, passed, entry = np.empty(len(state)), np.empty(len(state), dtype=bool), np.empty_like(state)
        for draw, (here, there) in zip(u, pairwise(history), strict=True):
            chosen = here
            for limits in self.limits:
                limits.take(here, out=limit, mode="clip")
                np.greater_equal(draw, limit, out=passed)
                chosen = np.add(chosen, passed, out=entry)
            self.following.take(chosen, out=there, mode="clip")
        return history, self.waits.take(history[:-1], mode="clip")

    def _cover(self, top: int) -> None:
        """Extend the tables to the count `top`, or to the largest count that a jump from the bound can reach."""
        beyond = int(self.network.bounds[1][0]) + self.reach
        if self.size > min(top, beyond):
            return
        self.size = min(max(top + 1, 2 * self.size, 1024), beyond + 1)
        n = np.arange(self.size)
        a = self.network.propensities(n[:, None])
        by_move = np.stack([a[:, self.move_of == m].sum(-1) for m in range(len(self.moves))], -1)
        cumulative = np.cumsum(by_move, -1)
        total = np.where(self.network.possible(n[:, None], a), cumulative[:, -1], np.nan)
        width = len(self.moves)
        self.limits = np.repeat(cumulative[:, :-1] / total[:, None], width, axis=0).T.copy()
        self.waits = np.repeat(1 / total, width)
        self.following = (np.where(total[:, None] > 0, n[:, None] + self.moves, n[:, None]) * width).ravel()


class Propensities:
    """A walk for several species, which computes the propensities at every jump."""

    block = 32

    def __init__(self, network: JumpProcess) -> None:
        self.network = network
        self.changes = np.vstack([network.changes, np.zeros(network.dim)])  # the last row is for absorbing states

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the counts themselves."""
        return x.astype(np.float64)

    def decode(self, state: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, species)."""
        return state

    def jumps(self, state: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and 1/a₀, as specified by `Walk`."""
        history, totals = np.empty((len(u) + 1, *state.shape)), np.empty(u.shape)
        history[0] = state
        for k, draw in enumerate(u):
            a = self.network.propensities(history[k]).T
            cumulative = np.cumsum(a, 0)
            totals[k] = np.where((a >= 0).all(0), cumulative[-1], np.nan)
            chosen = (draw * totals[k] >= cumulative).sum(0)
            np.add(history[k], self.changes[chosen], out=history[k + 1])
        low, high = self.network.bounds
        inside = ((history[:-1] >= low) & (history[:-1] <= high)).all(-1)
        return history, 1 / np.where(inside & np.isfinite(totals), totals, np.nan)


def simulate(
    network: JumpProcess,
    starts: np.ndarray,
    times: np.ndarray,
    stream: np.random.SeedSequence,
    budget: int,
    first: int = 0,
) -> np.ndarray:
    """Return the counts of one shard at given times, shape (trajectory, time, species).

    `starts` has shape (trajectory, species); `first` is the number of the first trajectory, for error messages.
    """
    shard = Shard(network, starts, times, budget, first)
    streams = [np.random.default_rng(child) for child in stream.spawn(LANES // STREAM_WIDTH)]
    while shard.lane.size:
        running, at = np.unique(shard.lane // STREAM_WIDTH, return_inverse=True)
        column = at * STREAM_WIDTH + shard.lane % STREAM_WIDTH
        size = (shard.walk.block, STREAM_WIDTH)
        u = np.concatenate([streams[k].random(size) for k in running], 1)
        waits = np.concatenate([streams[k].standard_exponential(size) for k in running], 1)
        if len(column) < u.shape[1]:
            u, waits = u.take(column, 1), waits.take(column, 1)
        with np.errstate(all="ignore"):
            shard.advance(u, waits)
    return shard.x


class Shard:
    """The trajectories of a shard: those running on the lanes, and the queue of those not yet started."""

    def __init__(self, network: JumpProcess, starts: np.ndarray, times: np.ndarray, budget: int, first: int) -> None:
        self.network, self.budget, self.first = network, budget, first
        self.walk: Walk = Tables(network) if network.dim == 1 else Propensities(network)
        self.starts = self.walk.encode(starts)
        self.x = np.empty((len(starts), len(times), network.dim))
        self.times = np.append(times, np.inf)
        self.lane = np.arange(min(len(starts), LANES))  # lanes in use
        self.run, self.begun = self.lane.copy(), len(self.lane)  # trajectory on each lane, and number started
        self.state, self.clock = self.starts[self.run], np.zeros(len(self.run))
        self.due, self.reactions = np.zeros((2, len(self.run)), dtype=np.int64)  # `due`: times recorded so far

    def advance(self, u: np.ndarray, waits: np.ndarray) -> None:
        """Make one block of jumps, with uniform u and standard exponential waits, both (jump, lane)."""
        history, scale = self.walk.jumps(self.state, u)
        clocks = np.multiply(waits, scale, out=scale)
        clocks[0] += self.clock
        for earlier, later in pairwise(clocks):  # a cumulative sum, twice as fast row by row
            later += earlier
        if np.isnan(clocks[-1]).any():
            self._reject_inadmissible(history, clocks)
        self._record(history, clocks)
        self.state, self.clock = history[-1], clocks[-1]
        self.reactions += len(u)
        self._relay()
        if self.reactions.max(initial=0) > self.budget:
            k = int(self.reactions.argmax())
            raise DatasetError(
                f"{self.network.name}: trajectory {self.first + self.run[k]} exceeds {self.budget} reactions by "
                f"t = {self.clock[k]:g}, where {self._named(self.state[k])}; unless it explodes, increase budget="
            )

    def _record(self, history: np.ndarray, clocks: np.ndarray) -> None:
        """Record the state at every requested time that the block passes: that before the first later jump."""
        while (lanes := np.flatnonzero(self.times[self.due] < clocks[-1])).size:
            due = self.due[lanes]
            jumps = (clocks[:, lanes] <= self.times[due]).sum(0)
            self.x[self.run[lanes], due] = self.walk.decode(history[jumps, lanes])
            self.due[lanes] += 1

    def _relay(self) -> None:
        """Start the next trajectories on lanes that are done, and remove these lanes if there are none."""
        done = np.flatnonzero(self.due == len(self.times) - 1)
        fresh = done[: len(self.starts) - self.begun]
        self.run[fresh] = np.arange(self.begun, self.begun + len(fresh))
        self.begun += len(fresh)
        self.state[fresh], self.clock[fresh] = self.starts[self.run[fresh]], 0
        self.due[fresh], self.reactions[fresh] = 0, 0
        if len(done) > len(fresh):
            for name in ("lane", "run", "state", "clock", "due", "reactions"):
                setattr(self, name, np.delete(getattr(self, name), done[len(fresh) :], 0))

    def _reject_inadmissible(self, history: np.ndarray, clocks: np.ndarray) -> None:
        """Raise if a lane reaches an inadmissible state before its last time; later ones do not matter."""
        for k in np.flatnonzero(np.isnan(clocks[-1])):
            jump = int(np.isnan(clocks[:, k]).argmax())
            reached = clocks[jump - 1, k] if jump else self.clock[k]
            if reached <= self.times[-2]:
                raise DatasetError(
                    f"{self.network.name}: trajectory {self.first + self.run[k]} reaches "
                    f"{self._named(history[jump, k])} at t = {reached:g}, where "
                    f"{self.network.fault(self.walk.decode(history[jump, k]))}"
                )
            clocks[jump:, k] = np.inf

    def _named(self, state: Any) -> str:
        """Return the counts of one lane as text."""
        counts = np.ravel(self.walk.decode(state))
        return ", ".join(f"{name} = {count:g}" for name, count in zip(self.network.states, counts, strict=True))
