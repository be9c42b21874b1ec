r"""History-dependent materials, driven by strain paths.

The author writes the response to given strain paths; loading programmes and data sets follow. A programme is a polygon
of strains, parametrised by time on [0, 1] and sampled at given times. The path between two samples is a straight line
again, so a turning point between samples is cut off. With N cycles, amplitudes A drawn independently for every turning
point, and a strain direction D, the turning points are

    "sawtooth"      +A₁D, −A₂D, +A₃D, …  at  t = 1/4N, 3/4N, 5/4N, …      from 0 and back to 0
    "compression"   −A₁D, 0, −A₂D, 0, …  at  t = 1/2N, 2/2N, 3/2N, …
    "random"        A₁D₁, A₂D₂, A₃D₃, …  at  t = 1/2N, 2/2N, 3/2N, …      every D a random symmetric tensor, |D| = 1

where D = n ⊗ n is uniaxial strain along an axis n, except for "random" loading.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.parameters import require_integer
from systems.system import State, System
from workbench import dataset
from workbench.dataset.tensors import COMPONENTS, SHEAR, dyad
from workbench.errors import DatasetError

__all__ = ["PathSystem"]

Loading = Literal["sawtooth", "compression", "random"]
PROGRAMMES = ("sawtooth", "compression", "random")
LARGEST_STRAIN = 0.25  # default amplitude of the sampled strains


class PathSystem(System):
    """Base of materials with memory, driven by prescribed strain.

    A derived class writes `respond`. Tensors are rows of the components 11, 22, 33, 12, 13, 23. Strain is
    dimensionless; `potential_unit` is the unit of stress, potential and dissipation.

    Parameters
    ----------
    **values
        Values of the declared parameters; those not given keep their defaults.

    Raises
    ------
    ParameterError
        If a parameter is unknown, of the wrong type, or out of bounds.

    Examples
    --------
    Elastic up to a largest stress in each component:

    >>> import numpy as np
    >>> import systems
    >>> class Slider(systems.PathSystem):
    ...     strength: float = systems.parameter(0.1, "largest stress", gt=0)
    ...
    ...     def respond(self, strain):
    ...         stress = np.zeros_like(strain)
    ...         for t in range(1, strain.shape[-2]):
    ...             trial = stress[..., t - 1, :] + strain[..., t, :] - strain[..., t - 1, :]
    ...             stress[..., t, :] = np.clip(trial, -self.strength, self.strength)
    ...         return {"stress": stress}
    >>> data = Slider(strength=0.05).paths(3, seed=0)
    >>> dict(data.sizes), float(data.stress.max())
    ({'trajectory': 3, 'time': 100, 'component': 6}, 0.05)
    """

    observed: ClassVar[str] = "strain"
    state_space: ClassVar[tuple[State, ...]] = tuple(
        State(f"E{label}", f"strain, tensor component {label}", "1", box=(-LARGEST_STRAIN, LARGEST_STRAIN))
        for label in COMPONENTS
    )

    @abstractmethod
    def respond(self, strain: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the response to strain paths; written by the author.

        Parameters
        ----------
        strain : numpy.ndarray, shape (…, time, 6)
            Strain paths. The history begins unstrained, one step before the first sample. Leading axes are independent
            paths, so that only time needs a loop.

        Returns
        -------
        mapping of str to numpy.ndarray
            ``stress``, shape (…, time, 6), and optionally ``phase_fraction``, ``dissipation`` and ``potential``,
            shape (…, time) each.
        """

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
        """Return the response along strain paths of a loading programme, or along given strain paths.

        Parameters
        ----------
        count : int, optional
            Number of paths to draw; must be left out if `strain` is given.
        loading : {"sawtooth", "compression", "random"}
            Loading programme (see the module); default "sawtooth".
        axis : sequence of float, shape (3,)
            Axis of uniaxial strain; ignored for "random" loading.
        cycles : tuple of int, default (1, 4)
            Smallest and largest number of cycles of a path, both included.
        amplitude : tuple of float, default (0.1, 0.25)
            Smallest and largest amplitude of a turning point.
        samples : int, default 100
            Number of equally spaced times on [0, 1]; ignored if `time` is given.
        seed : int or numpy.random.SeedSequence, optional
            Seed. Default: drawn at random, and recorded in the data.
        strain : array_like or sequence of array_like, optional
            Strain paths to use instead, as for `workbench.dataset.paths`. Then nothing is drawn or seeded.
        time : array_like, shape (time,), optional
            Increasing times, not negative. Default: see `samples`.

        Returns
        -------
        xarray.Dataset
            ``strain`` and ``stress`` over ``(trajectory, time, component)``; ``phase_fraction``, ``dissipation`` and
            ``potential`` over ``(trajectory, time)`` if the system returns them.

        Raises
        ------
        ParameterError
            If `count` or `samples` is not a positive integer, or the data would be too large.
        DatasetError
            If both or neither of `count` and `strain` are given, or another argument is invalid.
        ValueError
            If the seed is not a non-negative integer.

        Examples
        --------
        >>> import systems
        >>> data = systems.get("rossi").paths(3, loading="compression", seed=0)
        >>> dict(data.sizes), float(data.strain.max())
        ({'trajectory': 3, 'time': 100, 'component': 6}, 0.0)
        """
        sequence: np.random.SeedSequence | None = None
        if strain is not None:
            if count is not None:
                raise DatasetError("paths takes either a count of paths to draw or strain=, not both")
            given = dataset.paths(strain, time)
            method = "given strain paths"
        else:
            if count is None:
                raise DatasetError("paths needs a count of paths to draw, or strain=")
            sequence = dataset.seed_sequence(seed)
            if time is None:
                require_integer(2, samples=samples)
                time = np.linspace(0, 1, samples)
            moments = self._times(time)
            self._count(self._count(count) * len(moments))
            if loading not in PROGRAMMES:
                raise DatasetError(f"loading must be one of {', '.join(PROGRAMMES)}, got {loading!r}")
            drawn = _draw(count, sequence, loading, _direction(axis), _cycles(cycles), _amplitudes(amplitude), moments)
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
    """Return strain paths, shape (trajectory, time, 6); a path does not depend on how many are drawn."""
    fresh = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key)
    for_cycles, for_amplitudes, for_directions = (np.random.default_rng(child) for child in fresh.spawn(3))
    n = for_cycles.integers(*cycles, size=count, endpoint=True)
    A = for_amplitudes.uniform(*amplitude, size=(count, 2 * cycles[1]))
    if loading == "random":
        corners = A[..., None] * _random_directions(for_directions, A.shape)
    else:
        sign = np.resize([1.0, -1.0] if loading == "sawtooth" else [-1.0, 0.0], A.shape[1])
        corners = (sign * A)[..., None] * direction
    turns = np.zeros((count, 2 * cycles[1] + 2, 6))
    turns[:, 1:-1] = np.where(np.arange(2 * cycles[1])[:, None] < 2 * n[:, None, None], corners, 0.0)
    halves = 2 * n[:, None]
    progress = time * halves
    if loading == "sawtooth":  # its first and last segments are half as long as the others
        progress = np.maximum(np.minimum(2 * progress, progress + 0.5), 2 * progress - halves + 1)
    return _joined(turns, np.clip(progress, 0, halves + 1))


def _joined(turns: np.ndarray, progress: np.ndarray) -> np.ndarray:
    """Return the polygon through `turns` (trajectory, turn, 6) at fractional turn numbers (trajectory, time)."""
    segment = np.minimum(progress.astype(int), turns.shape[1] - 2)
    fraction = (progress - segment)[..., None]
    row = np.arange(len(turns))[:, None]
    return (1 - fraction) * turns[row, segment] + fraction * turns[row, segment + 1]


def _random_directions(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return symmetric tensors of unit norm, shape (…, 6), uniformly distributed over all directions."""
    v = rng.standard_normal((*shape, 6))
    return v / np.linalg.norm(v, axis=-1, keepdims=True) / np.sqrt(SHEAR)


def _direction(axis: Sequence[float]) -> np.ndarray:
    """Return n ⊗ n, shape (6,), for the unit vector n along `axis`."""
    n = np.asarray(axis, dtype=np.float64)
    if n.shape != (3,) or not np.isfinite(n).all() or not n.any():
        raise DatasetError(f"axis must be a vector of three numbers that are not all zero, got {axis!r}")
    n = n / np.linalg.norm(n)
    return dyad(n)


def _cycles(cycles: tuple[int, int]) -> tuple[int, int]:
    """Return a valid range of numbers of cycles, or raise `DatasetError`."""
    ends = np.asarray(cycles)
    if ends.shape != (2,) or ends.dtype.kind not in "iu" or not 1 <= ends[0] <= ends[1]:
        raise DatasetError(f"cycles must be a range of integers >= 1, such as (1, 4), got {cycles!r}")
    return int(ends[0]), int(ends[1])


def _amplitudes(amplitude: tuple[float, float]) -> tuple[float, float]:
    """Return a valid range of amplitudes, or raise `DatasetError`."""
    ends = np.asarray(amplitude)
    if ends.shape != (2,) or ends.dtype.kind not in "iuf" or not 0 < ends[0] <= ends[1] < np.inf:
        raise DatasetError(f"amplitude must be a range of positive strains, such as (0.1, 0.25), got {amplitude!r}")
    return float(ends[0]), float(ends[1])
