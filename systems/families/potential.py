"""Systems that are the gradient flow of a potential, ẋ = −∇Ψ(x): the author writes Ψ, the rest comes free.

    @systems.register("double_well")
    class DoubleWell(systems.PotentialSystem):
        state_space = (systems.State("x", "position", box=(-2, 2)),)
        depth: float = systems.parameter(1.0, "depth of the wells", symbol="d", gt=0)

        def potential(self, x):
            return self.depth * ((x**2 - 1) ** 2).sum(-1)

`value`, `gradient` and `hessian` (by automatic differentiation), `velocity`, `points()` and `trajectories()` follow.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from systems.families.base import System
from workbench import dataset
from workbench.errors import DatasetError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PotentialSystem"]

Spread = Literal["random", "sobol", "edges"]
BUDGET = 200_000  # evaluations of the velocity before a stiff problem is called one
RUNAWAY = 1e6  # times the size of the starts: a trajectory that far out has blown up


class PotentialSystem(System):
    """A gradient flow ẋ = −∇Ψ(x).

    To make one, write `potential(x)` on tensors with shape (…, dim) → (…) and declare `state_space`; use operations of
    torch that can be differentiated twice. It is then a potential like a learned one: arrays in, arrays out; tensors
    in, tensors out.
    """

    duration: ClassVar[float] = 10.0
    members: ClassVar[None] = None

    @abstractmethod
    def potential(self, x: "Tensor") -> "Tensor":
        """Return Ψ(x): tensor with shape (…, dim) in, (…) out. The author's formula."""

    @property
    def symmetry(self) -> list[Any]:
        """Maps that leave Ψ as it is, as generators of a group: permutations of the states or orthogonal matrices."""
        return []

    @final
    def value(self, x: Any) -> Any:
        """Return Ψ with shape (…) at x with shape (…, dim)."""
        return self._apply(self._potential, x)

    @final
    def gradient(self, x: Any) -> Any:
        """Return ∇Ψ with shape (…, dim) at x with shape (…, dim)."""
        return self._apply(lambda y: _derivative(self._potential, y), x)

    @final
    def hessian(self, x: Any) -> Any:
        """Return ∇²Ψ with shape (…, dim, dim) at x with shape (…, dim)."""
        return self._apply(lambda y: _derivative(lambda z: _derivative(self._potential, z), y), x)

    @final
    def velocity(self, x: Any) -> Any:
        """Return ẋ = −∇Ψ with shape (…, dim)."""
        return -self.gradient(x)

    @final
    def points(self, count: int, *, seed: Any = None, spread: Spread = "random") -> xr.Dataset:
        """Return `count` samples of x, Ψ and ∇Ψ over the box.

        They are independent and uniform (`spread="random"`), evenly spread ("sobol"), or evenly spread and denser
        towards the edges by the arcsine law ("edges"), as the nodes of polynomial interpolation are.

        >>> import systems
        >>> dict(systems.get("gene_circuit").points(5, seed=0).sizes)
        {'sample': 5, 'state': 2}
        """
        sequence, x = self._starts(count, seed, spread)
        data = dataset.points(x, potential=self.value(x), gradient=self.gradient(x), states=self.states)
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
        """Return x and ẋ along `count` trajectories at the times given (default: 41 up to `duration`).

        Starts are spread over the box as for `points`, or given with shape (trajectory, dim). Flows leave the edges of
        the box at once, so "edges" makes the most of few trajectories.
        Integrated by DOP853 to 1e-10. Starts outside the domain, times that do not increase or are negative, a
        velocity that is not finite, a blow-up and a problem too stiff raise `DatasetError`.

        >>> import systems
        >>> dict(systems.get("gene_circuit").trajectories(3, time=[0, 1, 2], seed=0).sizes)
        {'trajectory': 3, 'time': 3, 'state': 2}
        """
        times = self._times(np.linspace(0, self.duration, 41) if time is None else time)
        if starts is None:
            if count is None:
                raise DatasetError("say how many trajectories: trajectories(count, …), or pass starts=")
            sequence, x0 = self._starts(count, seed, spread)
        else:
            sequence, x0 = dataset.seed_sequence(seed), np.atleast_2d(np.asarray(starts, dtype=np.float64))
            if count is not None and count != len(x0):
                raise DatasetError(f"count is {count} but {len(x0)} starts were given; leave one of them out")
            spread = "given"  # type: ignore[assignment]
        self.check_domain(x0)
        x = self._flow(x0, times)
        data = dataset.trajectories(x, times, velocity=self.velocity(x), states=self.states)
        return self._describe(data, sequence, f"DOP853, rtol 1e-10, {spread} starts")

    def _starts(self, count: int, seed: Any, spread: str) -> tuple[np.random.SeedSequence, np.ndarray]:
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
        """Integrate all trajectories as one system; shape (trajectory, time, dim)."""
        from scipy.integrate import solve_ivp

        calls, limit = 0, RUNAWAY * (1 + np.abs(x0).max())

        def rate(t: float, y: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            x = y.reshape(x0.shape)
            v = self.velocity(x)
            gone = ~(np.isfinite(v) & (np.abs(x) < limit)).all(-1)
            if gone.any():
                row = int(np.flatnonzero(gone)[0])
                raise DatasetError(f"{self.name} blows up in trajectory {row}, which starts at {x0[row]}, at t = {t:g}")
            if calls > BUDGET:
                raise DatasetError(f"{self.name} is too stiff for DOP853: {BUDGET} evaluations reach t = {t:g} only")
            return v.ravel()

        if times[-1] == 0:
            return x0[:, None]
        rate(0.0, x0.ravel())
        solution = solve_ivp(rate, (0.0, times[-1]), x0.ravel(), "DOP853", t_eval=times, rtol=1e-10, atol=1e-12)
        if not solution.success:
            raise DatasetError(f"integrating {self.name} stopped: {solution.message}")
        return np.moveaxis(solution.y.reshape(*x0.shape, len(times)), -1, 1)

    def _potential(self, x: "Tensor") -> "Tensor":
        """Return the author's Ψ(x), or raise `DatasetError` where it is no tensor with shape (…)."""
        import torch

        psi, expected = self.potential(x), tuple(x.shape[:-1])
        if not isinstance(psi, torch.Tensor):
            raise DatasetError(
                f"potential of {self.name} returned {type(psi).__name__}; expected a tensor of shape {expected}: "
                "use operations of torch, and return the result"
            )
        if psi.shape != expected:
            raise DatasetError(
                f"potential of {self.name} returned shape {tuple(psi.shape)} for x of shape {tuple(x.shape)}; expected "
                f"{expected}: take the states from the last axis, or sum over it"
            )
        return psi

    def _apply(self, function: Callable[["Tensor"], "Tensor"], x: Any) -> Any:
        import torch

        given = isinstance(x, torch.Tensor)
        tensor = x if given else torch.tensor(np.asarray(x, dtype=np.float64))
        if tensor.ndim == 0 or tensor.shape[-1] != self.dim:
            shape = tuple(tensor.shape)
            raise DatasetError(
                f"{self.name} has {self.dim} states {self.states}; expected shape (…, {self.dim}), got {shape}"
            )
        result = function(tensor)
        return result if given else result.detach().numpy()


def _derivative(function: Callable[["Tensor"], "Tensor"], x: "Tensor") -> "Tensor":
    """Return ∂f/∂x of independent samples: f with shape (…) or (…, k) gives (…, dim) or (…, k, dim).

    It carries a graph where x does, so that derivatives of derivatives are asked for in the same way.
    """
    import torch

    connected = torch.is_grad_enabled() and x.requires_grad
    with torch.enable_grad():
        at = x if connected else x.detach().requires_grad_()
        f = function(at)
        scalar = f.ndim < x.ndim
        rows = f.unsqueeze(-1) if scalar else f
        if not f.requires_grad:  # it does not depend on x
            slopes = x.new_zeros(*rows.shape, x.shape[-1])
        else:
            each: dict[str, Any] = {"create_graph": connected, "retain_graph": True, "materialize_grads": True}
            total = [torch.autograd.grad(row.sum(), at, **each)[0] for row in rows.unbind(-1)]
            slopes = torch.stack(total, -2)
    return slopes.squeeze(-2) if scalar else slopes
