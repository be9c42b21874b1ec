"""Exact stochastic simulation by the direct method, many trajectories in step.

In state x reaction r comes next with probability a_r(x)/a₀(x), after a waiting time of law Exp(a₀(x)), a₀ = Σ_r a_r.
The chain of states does not ask for the clock, so a block first walks many jumps on LANES lanes side by side, then
adds up the waiting times, then reads off the values at the times asked for.

A lane that has finished its trajectory takes the next one of its shard, in their order. Every WIDTH lanes have a stream
of random numbers, which come in whole blocks for the WIDTH lanes, wanted or not, as long as one of the lanes runs. So
what trajectory i does depends neither on how many are asked for nor on who else simulates.
"""

from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from systems.families.jump_process import JumpProcess
from workbench.errors import DatasetError

__all__ = ["SHARD", "simulate"]

LANES = 512
WIDTH = 64  # lanes of one stream
SHARD = 2500  # trajectories of one queue


class Walk(Protocol):
    """How lanes jump. A `state` is whatever the walk finds handy, one entry or row a lane."""

    block: int  # jumps at a time: many where one is cheap, few where the rest of a block would be wasted work

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the states of counts with shape (lane, species)."""

    def decode(self, state: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, species)."""

    def jumps(self, state: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the states (jump + 1, lane, …) that uniform u (jump, lane) lead to, and 1/a₀ (jump, lane).

        1/a₀ is infinite in absorbing states, which hold, and NaN in states that are not possible.
        """


class Tables:
    """One species: for each count the shares of the moves in a₀, the counts they lead to and 1/a₀, all looked up.

    Reactions of equal net change are one move. The entry of count n is n times the number of moves, so that a table
    of next states is entered at `state + move`.
    """

    block = 128

    def __init__(self, network: JumpProcess) -> None:
        self.network = network
        self.moves, self.move_of = np.unique(network.changes[:, 0], return_inverse=True)
        self.reach, self.size = max(int(self.moves[-1]), 0), 0

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the entries of counts with shape (lane, 1)."""
        return x[:, 0].astype(np.intp) * len(self.moves)

    def decode(self, state: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, 1)."""
        return (state // len(self.moves))[..., None]

    def jumps(self, state: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Walk`."""
        self._cover(int(state.max()) // len(self.moves) + len(u) * self.reach)
        history = np.empty((len(u) + 1, len(state)), dtype=np.intp)
        history[0] = state
        share, passed, entry = np.empty(len(state)), np.empty(len(state), dtype=bool), np.empty_like(state)
        for draw, (here, there) in zip(u, pairwise(history), strict=True):
            chosen = here
            for shares in self.shares:
                shares.take(here, out=share, mode="clip")
                np.greater_equal(draw, share, out=passed)
                chosen = np.add(chosen, passed, out=entry)
            self.following.take(chosen, out=there, mode="clip")
        return history, self.waits.take(history[:-1], mode="clip")

    def _cover(self, top: int) -> None:
        """Make the tables reach to the count `top`, or as far as a jump from the bound can."""
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
        self.shares = np.repeat(cumulative[:, :-1] / total[:, None], width, axis=0).T.copy()
        self.waits = np.repeat(1 / total, width)
        self.following = (np.where(total[:, None] > 0, n[:, None] + self.moves, n[:, None]) * width).ravel()


class Propensities:
    """Several species: the propensities are computed at every jump."""

    block = 32

    def __init__(self, network: JumpProcess) -> None:
        self.network = network
        self.changes = np.vstack([network.changes, np.zeros(network.dim)])  # the last row is of absorbing states

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the counts themselves."""
        return x.astype(np.float64)

    def decode(self, state: np.ndarray) -> np.ndarray:
        """Return the counts, shape (…, species)."""
        return state

    def jumps(self, state: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Walk`."""
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
    """Return the counts of one shard at the times, shape (trajectory, time, species).

    `starts` has shape (trajectory, species); `first` is the number of the shard's first trajectory, for errors.
    """
    shard = Shard(network, starts, times, budget, first)
    streams = [np.random.default_rng(child) for child in stream.spawn(LANES // WIDTH)]
    while shard.lane.size:
        running, at = np.unique(shard.lane // WIDTH, return_inverse=True)
        column = at * WIDTH + shard.lane % WIDTH
        u = np.concatenate([streams[k].random((shard.walk.block, WIDTH)) for k in running], 1)
        waits = np.concatenate([streams[k].standard_exponential((shard.walk.block, WIDTH)) for k in running], 1)
        if len(column) < u.shape[1]:
            u, waits = u.take(column, 1), waits.take(column, 1)
        with np.errstate(all="ignore"):
            shard.advance(u, waits)
    return shard.x


class Shard:
    """Trajectories on their way: those on the lanes, and the queue of those that have not begun."""

    def __init__(self, network: JumpProcess, starts: np.ndarray, times: np.ndarray, budget: int, first: int) -> None:
        self.network, self.budget, self.first = network, budget, first
        self.walk: Walk = Tables(network) if network.dim == 1 else Propensities(network)
        self.starts = self.walk.encode(starts)
        self.x = np.empty((len(starts), len(times), network.dim))
        self.times = np.append(times, np.inf)
        self.lane = np.arange(min(len(starts), LANES))  # those that run
        self.run, self.begun = self.lane.copy(), len(self.lane)  # the trajectory on each of them
        self.state, self.clock = self.starts[self.run], np.zeros(len(self.run))
        self.due, self.reactions = np.zeros((2, len(self.run)), dtype=np.int64)  # `due` counts the times recorded

    def advance(self, u: np.ndarray, waits: np.ndarray) -> None:
        """Take one block of jumps, with uniform u and standard exponential waits, both (jump, lane)."""
        history, scale = self.walk.jumps(self.state, u)
        clocks = np.multiply(waits, scale, out=scale)
        clocks[0] += self.clock
        for earlier, later in pairwise(clocks):  # a cumulative sum, twice as fast by rows
            later += earlier
        if np.isnan(clocks[-1]).any():
            self._refuse_impossible(history, clocks)
        self._record(history, clocks)
        self.state, self.clock = history[-1], clocks[-1]
        self.reactions += len(u)
        self._relay()
        if self.reactions.max(initial=0) > self.budget:
            k = int(self.reactions.argmax())
            raise DatasetError(
                f"{self.network.name}: trajectory {self.first + self.run[k]} has made over {self.budget} reactions by "
                f"t = {self.clock[k]:g}, where {self._named(self.state[k])}; if it does not explode, raise budget="
            )

    def _record(self, history: np.ndarray, clocks: np.ndarray) -> None:
        while (lanes := np.flatnonzero(self.times[self.due] < clocks[-1])).size:
            due = self.due[lanes]
            jumps = (clocks[:, lanes] <= self.times[due]).sum(0)
            self.x[self.run[lanes], due] = self.walk.decode(history[jumps, lanes])
            self.due[lanes] += 1

    def _relay(self) -> None:
        """Give lanes that are done the next trajectories, and take them out when there are none."""
        done = np.flatnonzero(self.due == len(self.times) - 1)
        fresh = done[: len(self.starts) - self.begun]
        self.run[fresh] = np.arange(self.begun, self.begun + len(fresh))
        self.begun += len(fresh)
        self.state[fresh], self.clock[fresh] = self.starts[self.run[fresh]], 0
        self.due[fresh], self.reactions[fresh] = 0, 0
        if len(done) > len(fresh):
            for name in ("lane", "run", "state", "clock", "due", "reactions"):
                setattr(self, name, np.delete(getattr(self, name), done[len(fresh) :], 0))

    def _refuse_impossible(self, history: np.ndarray, clocks: np.ndarray) -> None:
        """Raise for lanes that come to an impossible state in time; to the others it never happens."""
        for k in np.flatnonzero(np.isnan(clocks[-1])):
            jump = int(np.isnan(clocks[:, k]).argmax())
            reached = clocks[jump - 1, k] if jump else self.clock[k]
            if reached <= self.times[-2]:
                raise DatasetError(
                    f"{self.network.name}: trajectory {self.first + self.run[k]} comes to "
                    f"{self._named(history[jump, k])} at t = {reached:g}, where "
                    f"{self.network.fault(self.walk.decode(history[jump, k]))}"
                )
            clocks[jump:, k] = np.inf

    def _named(self, state: Any) -> str:
        counts = np.ravel(self.walk.decode(state))
        return ", ".join(f"{name} = {count:g}" for name, count in zip(self.network.states, counts, strict=True))
