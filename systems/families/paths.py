r"""Materials with a memory: the author writes the response to strain paths, loading programmes and data come free.

    @systems.register("slider")
    class Slider(systems.PathSystem):
        strength: float = systems.parameter(0.1, "largest stress", gt=0)

        def respond(self, strain):
            stress = np.zeros_like(strain)
            for t in range(1, strain.shape[-2]):
                trial = stress[..., t - 1, :] + strain[..., t, :] - strain[..., t - 1, :]
                stress[..., t, :] = np.clip(trial, -self.strength, self.strength)
            return {"stress": stress}

A programme is a set of turning points in the space of strains, joined by straight lines and sampled at equal times on
[0, 1]; what lies between two samples is again a straight line, so that a turning point between samples is cut. With
N ∈ {1, …} cycles, amplitudes A drawn afresh for every turning point, and a direction D of strain,

    "sawtooth"      +A₁D, −A₂D, +A₃D, …  at  t = 1/4N, 3/4N, 5/4N, …      from 0 and back to 0
    "compression"   −A₁D, 0, −A₂D, 0, …  at  t = 1/2N, 2/2N, 3/2N, …
    "random"        A₁D₁, A₂D₂, A₃D₃, …  at  t = 1/2N, 2/2N, 3/2N, …      every D a random symmetric tensor, |D| = 1

where D = n ⊗ n is uniaxial strain along an axis n.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.families.base import State, System
from systems.parameters import require_integer
from workbench import dataset
from workbench.dataset.tensors import COMPONENTS, SHEAR, dyad
from workbench.errors import DatasetError

__all__ = ["PathSystem"]

Loading = Literal["sawtooth", "compression", "random"]
PROGRAMMES = ("sawtooth", "compression", "random")
REACH = 0.25  # of the strains that are sampled


class PathSystem(System):
    """A material driven by prescribed strain.

    To make one, write `respond(strain)`: strain with shape (…, time, 6) in, a mapping out that holds `stress` of the
    same shape and may hold `phase_fraction`, `dissipation` and `potential` with shape (…, time). The history begins
    unstrained, one step before the first sample. Loop over time only: all trajectories come at once.
    """

    observed: ClassVar[str] = "strain"
    state_space: ClassVar[tuple[State, ...]] = tuple(
        State(f"E{label}", f"strain, tensor component {label}", box=(-REACH, REACH)) for label in COMPONENTS
    )

    @abstractmethod
    def respond(self, strain: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return stress and what else is known along strain paths with shape (…, time, 6). The author's formula."""

    @final
    def paths(
        self,
        count: int | None = None,
        *,
        loading: Loading = "sawtooth",
        axis: Sequence[float] = (1.0, 0.0, 0.0),
        cycles: tuple[int, int] = (1, 4),
        amplitude: tuple[float, float] = (0.1, 0.25),
        samples: int = 100,
        seed: Any = None,
        strain: ArrayLike | Sequence[ArrayLike] | None = None,
        time: ArrayLike | None = None,
    ) -> xr.Dataset:
        """Return strain, stress and internal quantities along `count` paths of a loading programme (see the module).

        `cycles` and `amplitude` are ranges from which each path draws, both ends included; `samples` lie at equal
        times on [0, 1], or at those of `time`. Or `strain` gives own paths, as for `workbench.dataset.paths`; then
        nothing is drawn, and no seed recorded.

        >>> import systems
        >>> data = systems.get("rossi").paths(3, loading="compression", seed=0)
        >>> dict(data.sizes), float(data.strain.max())
        ({'trajectory': 3, 'time': 100, 'component': 6}, 0.0)
        """
        sequence: np.random.SeedSequence | None = None
        if strain is not None:
            if count is not None:
                raise DatasetError("give either a count of paths to draw, or strain=, not both")
            given = dataset.paths(strain, time)
            method = "given strain paths"
        else:
            if count is None:
                raise DatasetError("say how many paths: paths(count, …), or pass strain=")
            sequence = dataset.seed_sequence(seed)
            if time is None:
                require_integer(2, samples=samples)
                time = np.linspace(0, 1, samples)
            moments = self._times(time)
            self._count(self._count(count) * len(moments))
            if loading not in PROGRAMMES:
                raise DatasetError(f"loading must be one of {', '.join(PROGRAMMES)}, got {loading!r}")
            drawn = _draw(count, sequence, loading, _direction(axis), _cycles(cycles), _sizes(amplitude), moments)
            given = dataset.paths(drawn, moments)
            method = f"{loading} loading, cycles {cycles}, amplitudes {amplitude}"
        E, times = given["strain"].values, given["time"].values
        data = dataset.paths(E, times, **self.respond(E))  # type: ignore[arg-type]
        if "valid" in given.coords:
            data = data.assign_coords(valid=given["valid"])
        return self._describe(data, sequence, method)


def _draw(
    count: int,
    sequence: np.random.SeedSequence,
    loading: str,
    direction: np.ndarray,
    cycles: tuple[int, int],
    amplitude: tuple[float, float],
    time: np.ndarray,
) -> np.ndarray:
    """Return strain paths with shape (trajectory, time, 6); a path does not depend on how many are drawn."""
    fresh = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key)
    numbers, sizes, ways = (np.random.default_rng(child) for child in fresh.spawn(3))
    n = numbers.integers(*cycles, size=count, endpoint=True)
    A = sizes.uniform(*amplitude, size=(count, 2 * cycles[1]))
    if loading == "random":
        corners = A[..., None] * _random_directions(ways, A.shape)
    else:
        sign = np.resize([1.0, -1.0] if loading == "sawtooth" else [-1.0, 0.0], A.shape[1])
        corners = (sign * A)[..., None] * direction
    turns = np.zeros((count, 2 * cycles[1] + 2, 6))
    turns[:, 1:-1] = np.where(np.arange(2 * cycles[1])[:, None] < 2 * n[:, None, None], corners, 0.0)
    halves = 2 * n[:, None]
    progress = time * halves
    if loading == "sawtooth":  # whose first and last straight pieces are half as long as the others
        progress = np.maximum(np.minimum(2 * progress, progress + 0.5), 2 * progress - halves + 1)
    return _joined(turns, np.clip(progress, 0, halves + 1))


def _joined(turns: np.ndarray, progress: np.ndarray) -> np.ndarray:
    """Return the polygon through `turns` (trajectory, turn, 6) at fractional numbers of turns (trajectory, time)."""
    before = np.minimum(progress.astype(int), turns.shape[1] - 2)
    share = (progress - before)[..., None]
    row = np.arange(len(turns))[:, None]
    return (1 - share) * turns[row, before] + share * turns[row, before + 1]


def _random_directions(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return tensors of unit norm, shape (…, 6), with no preferred direction in the space of symmetric tensors."""
    v = rng.standard_normal((*shape, 6))
    return v / np.linalg.norm(v, axis=-1, keepdims=True) / np.sqrt(SHEAR)


def _direction(axis: Sequence[float]) -> np.ndarray:
    """Return n ⊗ n, shape (6,), for the unit vector n along `axis`."""
    n = np.asarray(axis, dtype=np.float64)
    if n.shape != (3,) or not np.isfinite(n).all() or not n.any():
        raise DatasetError(f"axis is a direction in space, three numbers that are not all zero, got {axis!r}")
    n = n / np.linalg.norm(n)
    return dyad(n)


def _cycles(cycles: tuple[int, int]) -> tuple[int, int]:
    ends = np.asarray(cycles)
    if ends.shape != (2,) or ends.dtype.kind not in "iu" or not 1 <= ends[0] <= ends[1]:
        raise DatasetError(f"cycles are a range of integers from 1, such as (1, 4), got {cycles!r}")
    return int(ends[0]), int(ends[1])


def _sizes(amplitude: tuple[float, float]) -> tuple[float, float]:
    ends = np.asarray(amplitude)
    if ends.shape != (2,) or ends.dtype.kind not in "iuf" or not 0 < ends[0] <= ends[1] < np.inf:
        raise DatasetError(f"amplitude is a range of positive strains, such as (0.1, 0.25), got {amplitude!r}")
    return float(ends[0]), float(ends[1])
