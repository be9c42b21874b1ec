"""Gradient flows ẋ = −∇Ψ(x) of a given potential Ψ.

The author writes Ψ as a function of tensors. The gradient ∇Ψ and the Hessian ∇²Ψ follow by automatic differentiation;
trajectories follow by integration with the Dormand–Prince method of order 8 (DOP853) with adaptive steps, in natural
units: deviations from the lower corner of the box in units of its sides, with relative tolerance 1e-10 and absolute
tolerance 1e-12, and time in units of the run. No result depends on the units of x, Ψ and t, or on the origin of x.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.system import System
from workbench import dataset
from workbench.errors import DatasetError
from workbench.evaluation import Evaluation, require_order

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PotentialSystem"]

Spread = Literal["random", "sobol", "edges"]
MOST_EVALUATIONS = 200_000  # of the velocity; a flow that needs more is considered stiff
RTOL, ATOL = 1e-10, 1e-12  # of states in units of the box
ROUNDING = 8 * np.finfo(np.float64).eps  # relative: smallest tolerance
FIRST_MOVE = 1e-2  # of the first step, in units of the box and of the run
RUNAWAY_FACTOR = 1e6  # distance in units of the box, or of that of the farthest start, beyond which a flow diverges


class PotentialSystem(System):
    """Base of gradient flows ẋ = −∇Ψ(x).

    A derived class declares `state_space` and writes `potential`, with torch operations that are twice differentiable.
    It can be used wherever a learned potential can: all methods take and return arrays, or tensors if given tensors.
    Declared units, of the states, `potential_unit` and `time_unit`, are those of its data and of all answers.

    Parameters
    ----------
    **values
        Values of the declared parameters; those not given keep their defaults.

    Attributes
    ----------
    duration : float
        Default end time of trajectories.
    members : None
        None: a potential system is not an ensemble.
    symmetry : list
        Generators of the symmetry group of Ψ.

    Raises
    ------
    ParameterError
        If a parameter is unknown, of the wrong type, or out of bounds.

    Examples
    --------
    >>> import systems
    >>> class DoubleWell(systems.PotentialSystem):
    ...     state_space = (systems.State("x", "position", box=(-2, 2)),)
    ...     depth: float = systems.parameter(1.0, "depth of the wells", symbol="d", gt=0)
    ...
    ...     def potential(self, x):
    ...         return self.depth * ((x**2 - 1) ** 2).sum(-1)
    >>> well = DoubleWell(depth=2.0)
    >>> well.value([[0.0], [1.0]]), well.hessian([1.0])
    (array([2., 0.]), array([[16.]]))
    """

    duration: ClassVar[float] = 10.0
    members: ClassVar[None] = None

    @abstractmethod
    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ψ, tensor of shape (…), at x, tensor of shape (…, dim); written by the author."""

    @property
    def symmetry(self) -> list[Any]:
        """Generators of the symmetry group of Ψ: permutations of the states or orthogonal matrices."""
        return []

    @final
    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ and its derivatives up to an order at x, shape (…, dim), by differentiating one evaluation of Ψ.

        Parameters
        ----------
        x : array_like or Tensor
            States, shape (…, dim).
        order : int, optional
            Order of the highest derivative: 0, the default, for Ψ alone, 1 for ∇Ψ, too, and 2 for all three.

        Returns
        -------
        Evaluation
            `value`, shape (…), `gradient`, (…, dim), and `hessian`, (…, dim, dim); those that are not asked for are
            None.
        """
        import torch

        order, given = require_order(order), isinstance(x, torch.Tensor)
        results = self._derivatives(self._states(x), order)
        return Evaluation(*results if given else (one.detach().numpy() for one in results))

    @final
    def value(self, x: Any) -> Any:
        """Return Ψ, shape (…), at x, shape (…, dim)."""
        return self.evaluate(x).value

    @final
    def gradient(self, x: Any) -> Any:
        """Return ∇Ψ, shape (…, dim), at x, shape (…, dim)."""
        return self.evaluate(x, 1).gradient

    @final
    def hessian(self, x: Any) -> Any:
        """Return ∇²Ψ, shape (…, dim, dim), at x, shape (…, dim)."""
        return self.evaluate(x, 2).hessian

    @final
    def velocity(self, x: Any) -> Any:
        """Return ẋ = −∇Ψ, shape (…, dim), at x, shape (…, dim)."""
        return -self.gradient(x)

    @final
    def points(self, count: int, *, seed: Any = None, spread: Spread = "random") -> xr.Dataset:
        """Return samples of x, Ψ and ∇Ψ in the box.

        Parameters
        ----------
        count : int
            Number of samples.
        seed : int or numpy.random.SeedSequence, optional
            Seed. Default: drawn at random, and recorded in the data.
        spread : {"random", "sobol", "edges"}
            Independent uniform samples (default); a scrambled Sobol sequence; or a Sobol sequence made denser towards
            the edges of the box by the arcsine distribution, like the nodes of polynomial interpolation.

        Returns
        -------
        xarray.Dataset
            ``x(sample, state)``, ``potential(sample)`` and ``gradient(sample, state)``.

        Raises
        ------
        ParameterError
            If `count` is not a positive integer, or the data would be too large.
        DatasetError
            If `spread` is unknown, or Ψ is not finite.
        ValueError
            If the seed is not a non-negative integer.

        Examples
        --------
        >>> import systems
        >>> dict(systems.get("gene_circuit").points(5, seed=0).sizes)
        {'sample': 5, 'state': 2}
        """
        sequence, x = self._starts(count, seed, spread)
        psi = self.evaluate(x, 1)
        data = dataset.points(x, potential=psi.value, gradient=psi.gradient, states=self.states)
        return self._describe(data, sequence, f"{spread} samples of the box, derivatives by automatic differentiation")

    @final
    def trajectories(
        self,
        count: int | None = None,
        *,
        time: ArrayLike | None = None,
        seed: Any = None,
        starts: ArrayLike | None = None,
        spread: Spread = "random",
    ) -> xr.Dataset:
        """Return x and ẋ along trajectories of the gradient flow.

        Parameters
        ----------
        count : int, optional
            Number of trajectories; may be left out if `starts` is given.
        time : array_like, shape (time,), optional
            Increasing times, not negative. Default: 41 equally spaced times from 0 to `duration`.
        seed : int or numpy.random.SeedSequence, optional
            Seed of the initial states. Default: drawn at random, and recorded in the data.
        starts : array_like, shape (trajectory, dim), optional
            Initial states. Default: drawn from the box.
        spread : {"random", "sobol", "edges"}
            Distribution of drawn initial states, as for `points`. Trajectories leave the edges of the box quickly, so
            "edges" gives the best coverage with few trajectories.

        Returns
        -------
        xarray.Dataset
            ``x(trajectory, time, state)`` and ``velocity(trajectory, time, state)``.

        Raises
        ------
        ParameterError
            If `count` is not a positive integer, or the data would be too large.
        DatasetError
            If neither `count` nor `starts` is given or they disagree, an initial state is outside the domain, `time` or
            `spread` is invalid, a trajectory diverges, or the flow is too stiff.
        ValueError
            If the seed is not a non-negative integer.

        Examples
        --------
        >>> import systems
        >>> dict(systems.get("gene_circuit").trajectories(3, time=[0, 1, 2], seed=0).sizes)
        {'trajectory': 3, 'time': 3, 'state': 2}
        """
        times = self._times(np.linspace(0, self.duration, 41) if time is None else time)
        if starts is None:
            if count is None:
                raise DatasetError("trajectories needs a count of initial states to draw, or starts=")
            sequence, x0 = self._starts(count, seed, spread)
        else:
            sequence, x0 = dataset.seed_sequence(seed), np.atleast_2d(np.asarray(starts, dtype=np.float64))
            if count is not None and count != len(x0):
                raise DatasetError(
                    f"count is {count}, but starts holds {len(x0)} initial state(s); pass only one of them"
                )
            spread = "given"  # type: ignore[assignment]
        self.check_domain(x0)
        x = self._flow(x0, times)
        data = dataset.trajectories(x, times, velocity=self.velocity(x), states=self.states)
        return self._describe(data, sequence, f"DOP853, rtol 1e-10, {spread} starts")

    def _starts(self, count: int, seed: Any, spread: str) -> tuple[np.random.SeedSequence, np.ndarray]:
        """Return the seed sequence and points of the box, shape (count, dim)."""
        sequence, rng = self._generator(seed)
        low, high = np.array(self.box, dtype=np.float64).T
        count = self._count(count)
        if spread == "random":
            unit = rng.random((count, self.dim))
        elif spread in ("sobol", "edges"):
            from scipy.stats import qmc

            unit = qmc.Sobol(self.dim, rng=rng).random(2 ** int(np.ceil(np.log2(count))))[:count]
            unit = (1 - np.cos(np.pi * unit)) / 2 if spread == "edges" else unit
        else:
            raise DatasetError(f"spread must be 'random', 'sobol' or 'edges', got {spread!r}")
        return sequence, low + (high - low) * unit

    def _flow(self, x0: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the states from x0, shape (trajectory, dim), integrated as one system: (trajectory, time, dim)."""
        from scipy.integrate import solve_ivp

        if times[-1] == 0:
            return x0[:, None]
        box = np.array(self.box, dtype=np.float64)
        low, width, end = box[:, 0], box[:, 1] - box[:, 0], times[-1]
        z0, calls = (x0 - low) / width, 0
        limit = RUNAWAY_FACTOR * max(1.0, np.abs(z0).max())

        def rate(s: float, flat: np.ndarray) -> np.ndarray:
            """Return dz/ds for z = (x − low)/width and s = t/end."""
            nonlocal calls
            calls += 1
            z = flat.reshape(x0.shape)
            v = self.velocity(low + width * z) * (end / width)
            diverged = ~(np.isfinite(v) & (np.abs(z) < limit)).all(-1)
            if diverged.any():
                row, t = int(np.flatnonzero(diverged)[0]), s * end
                raise DatasetError(f"{self.name} diverges: trajectory {row}, which starts at {x0[row]}, at t = {t:g}")
            if calls > MOST_EVALUATIONS:
                raise DatasetError(
                    f"{self.name} is too stiff for DOP853: {MOST_EVALUATIONS} evaluations reach only t = {s * end:g}"
                )
            return v.ravel()

        fastest = (np.abs(rate(0.0, z0.ravel())) / (1 + np.abs(z0.ravel()))).max()
        resolved = np.maximum(ATOL, ROUNDING * np.abs(box).max(1) / width)
        solution = solve_ivp(
            rate,
            (0.0, 1.0),
            z0.ravel(),
            "DOP853",
            t_eval=times / end,
            rtol=RTOL,
            atol=np.tile(resolved, len(x0)),
            first_step=FIRST_MOVE / max(1.0, fastest),
        )
        if not solution.success:
            raise DatasetError(f"the integration of {self.name} failed: {solution.message}")
        x = low + width * np.moveaxis(solution.y.reshape(*x0.shape, len(times)), -1, 1)
        x[:, times == 0] = x0[:, None]
        return x

    def _potential(self, x: "Tensor") -> "Tensor":
        """Return the author's Ψ(x), or raise `DatasetError` unless it is a tensor of shape (…)."""
        import torch

        psi, expected = self.potential(x), tuple(x.shape[:-1])
        if not isinstance(psi, torch.Tensor):
            raise DatasetError(
                f"potential of {self.name} returned {type(psi).__name__}; expected a tensor of shape {expected}: "
                "use torch operations and return their result"
            )
        if psi.shape != expected:
            raise DatasetError(
                f"potential of {self.name} returned shape {tuple(psi.shape)} for x of shape {tuple(x.shape)}; expected "
                f"{expected}: index the states along the last axis, or sum over it"
            )
        return psi

    def _states(self, x: Any) -> "Tensor":
        """Return x, shape (…, dim), as a tensor; raise `DatasetError` unless its last axis holds the states."""
        import torch

        tensor = x if isinstance(x, torch.Tensor) else torch.tensor(np.asarray(x, dtype=np.float64))
        if tensor.ndim == 0 or tensor.shape[-1] != self.dim:
            shape = tuple(tensor.shape)
            raise DatasetError(
                f"{self.name} has {self.dim} states {self.states}; expected shape (…, {self.dim}), got {shape}"
            )
        return tensor

    def _derivatives(self, x: "Tensor", order: int) -> list["Tensor"]:
        """Return Ψ, ∇Ψ, … up to an order at x, shape (…, dim), differentiable with respect to x if it requires it."""
        import torch

        connected = torch.is_grad_enabled() and x.requires_grad
        if order == 0:
            return [self._potential(x)]
        with torch.enable_grad():
            at = x if connected else x.detach().requires_grad_()
            found = [self._potential(at)]
            for k in range(order):
                found.append(_derivative(found[-1], at, keep=connected or k + 1 < order))
        return found if connected else [one.detach() for one in found]


def _derivative(f: "Tensor", x: "Tensor", *, keep: bool) -> "Tensor":
    """Return ∂f/∂x of independent samples, shape (…, dim) or (…, k, dim) for f of shape (…) or (…, k).

    The result can be differentiated again if it is to `keep` its own graph.
    """
    import torch

    rows = f.unsqueeze(-1) if f.ndim < x.ndim else f
    if not f.requires_grad:  # f does not depend on x
        derivative = x.new_zeros(*rows.shape, x.shape[-1])
    else:
        each: dict[str, Any] = {"create_graph": keep, "retain_graph": True, "materialize_grads": True}
        total = [torch.autograd.grad(row.sum(), x, **each)[0] for row in rows.unbind(-1)]
        derivative = torch.stack(total, -2)
    return derivative.squeeze(-2) if f.ndim < x.ndim else derivative
