r"""Multiple shooting (the match "trajectory"): a gradient flow is fitted to short segments of observed trajectories.

A trajectory is cut into segments of at most six samples; segment s starts at a free state ξ_s. The loss is

    L(θ) = min over ξ of Σ_s Σ_k |x(t_k; ξ_s, θ) − y_k|² / σ²  /  (entries − initial states),

    ẋ = −∇Ψ_θ(x),    x(t₀) = ξ_s,

with one entry, and one initial state, for every component. The first sample of a segment is thus treated as noisy, and
segments are too short for the flow to diverge from the data.

The flow and its derivative Φ with respect to the state at the preceding sample, Φ̇ = −∇²Ψ Φ, are integrated by the
classical Runge–Kutta method, with steps h such that h |λ| ≤ 0.6 for the largest curvature |λ| of the initial landscape
at the samples, but with at most 64 steps between samples. The derivative of the flow with respect to the weights is
−Φ(t) ∫ Φ(s)⁻¹ ∂∇Ψ/∂θ ds, by Simpson's rule. The initial states are eliminated from the Gauss–Newton step: the Jacobian
is projected onto the orthogonal complement of their Jacobian (variable projection in Kaufman's form).

References
----------
H. G. Bock, K. J. Plitt, A multiple shooting algorithm for direct solution of optimal control problems, IFAC Proc. Vol.
17, 1603–1608 (1984), doi:10.1016/S1474-6670(17)61205-9.

G. H. Golub, V. Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
separate, SIAM J. Numer. Anal. 10, 413–432 (1973), doi:10.1137/0710036.

L. Kaufman, A variable projection method for solving separable nonlinear least squares problems, BIT 15, 49–57 (1975),
doi:10.1007/BF01932995.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import jacrev, vmap
from torchdiffeq import odeint

from workbench import dataset
from workbench.dataset.spread import filled, spread
from workbench.dataset.variables import Units
from workbench.errors import DatasetError
from workbench.losses.closed_form import ClosedForm
from workbench.losses.contract import Match, Parts, flow_velocity
from workbench.losses.least_squares import noise_of
from workbench.losses.normal_equations import Dual, Primal, gram_of
from workbench.losses.problem import Problem
from workbench.potentials.potential import units_of

__all__ = ["Segments", "Shooting", "Trajectory", "spread_of"]

LONGEST_SEGMENT = 5  # intervals between samples
LONGEST_STEP = 0.6  # of the Runge–Kutta method, times the largest curvature
MOST_STEPS = 64  # between two samples
STATE_STEPS = 1  # Gauss–Newton steps of the initial states for each evaluation of the loss


@dataclass(frozen=True)
class Segments:
    """Segments of trajectories as tensors; the loss is the sum of ((prediction − y) · factor)².

    Shorter segments are padded: their last sample is repeated after intervals 0, with factor 0.

    Parameters
    ----------
    y : Tensor, shape (segment, sample, dim)
        Observed states.
    interval : Tensor, shape (segment, sample − 1)
        Times between successive samples.
    factor : Tensor, shape (segment, sample, dim)
        Product of 1/σ, the square root of the weight, and 1/√(entries − initial states).
    """

    y: Tensor
    interval: Tensor
    factor: Tensor

    @classmethod
    def of(cls, samples: xr.Dataset, scale: np.ndarray, like: Tensor) -> "Segments":
        """Return the segments of flat data, with dtype and device of the tensor `like`.

        Without noise levels in the data, σ is `scale`, shape (dim,). Raises `DatasetError` if there is no segment.
        """
        group, time = samples["trajectory"].values, samples["time"].values.astype(np.float64)
        y = samples["x"].values
        noise = noise_of(samples, "sigma", "x")
        factor = np.broadcast_to(1 / (scale if noise is None else noise), y.shape)
        weight = noise_of(samples, "weight", "x")
        if weight is not None:
            factor = factor * np.sqrt(weight / weight.mean())
        pieces = [
            at[k : k + LONGEST_SEGMENT + 1]
            for label in np.unique(group)
            for at in [np.flatnonzero(group == label)]
            for k in range(0, max(1, len(at) - 1), LONGEST_SEGMENT)
            if len(at[k:]) > 1
        ]
        if not pieces:
            raise DatasetError(
                "match='trajectory' needs trajectories with two or more samples in the same part of the split, train "
                "or validation; there are none"
            )
        length = max(map(len, pieces))
        index = np.array([np.pad(at, (0, length - len(at)), mode="edge") for at in pieces])
        present = np.arange(length) < np.array([len(at) for at in pieces])[:, None]
        freedom = max(1, y.shape[1] * (present.sum() - len(pieces)))
        arrays = (y[index], np.diff(time[index], axis=1), factor[index] * present[..., None] / np.sqrt(freedom))
        return cls(*(torch.tensor(np.ascontiguousarray(values)).to(like) for values in arrays))


class Shooting(Problem):
    """The loss of segments, minimised over their initial states; `validation` are the held-out segments."""

    def __init__(self, model: Any, segments: Segments, validation: Segments, *, penalised: bool = False) -> None:
        super().__init__(model, penalised=penalised)
        self.segments, self.validation = segments, validation
        with torch.no_grad():
            curvature = float(torch.linalg.eigvalsh(model.hessian(segments.y.flatten(0, 1))).abs().max())
        pairs = np.ceil(curvature * float(segments.interval.max()) / LONGEST_STEP / 2)
        self.steps = 2 * int(np.clip(pairs, 1, MOST_STEPS / 2))

    def initial_state(self) -> tuple[Tensor, Tensor]:
        """Return the first samples of the segments, shape (segment, dim), of training and of held-out ones."""
        return self.segments.y[:, 0], self.validation.y[:, 0]

    def evaluate(self, theta: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return the best initial states, shape (segment, dim), and the residuals there, shape (segment, entry)."""
        return self._fitted(theta, self.segments, (state or self.initial_state())[0])

    def state_after(self, evaluated: tuple[Tensor, Tensor], state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the best initial states found for the training segments, beside those of the held-out ones."""
        return evaluated[0], state[1]

    def terms(self, evaluated: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Return the sum of squares, the only term of the loss."""
        return {"trajectory": float(evaluated[1].square().sum())}

    def linearise(self, theta: Tensor, evaluated: tuple[Tensor, Tensor]) -> Primal | Dual:
        """Return the normal equations of the weights, with the initial states projected out."""
        starts, residuals = evaluated
        J = self.jacobian(theta, starts)
        flat = residuals.reshape(-1)
        if len(flat) < len(theta):
            return Dual(J, flat)
        return Primal(gram_of(J), J.T @ flat, lambda v: J.T @ v.reshape(-1))

    def outputs(self, evaluated: tuple[Tensor, Tensor]) -> Tensor:
        """Return the residuals at the best initial states."""
        return evaluated[1]

    def validate(
        self, theta: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[float, tuple[Tensor, Tensor]]:
        """Return the loss of the held-out segments, and the state with their best initial states."""
        training, before = state or self.initial_state()
        starts, residuals = self._fitted(theta, self.validation, before)
        after = starts if torch.isfinite(starts).all() else before
        return float(residuals.square().sum()), (training, after)

    def bad_term(self, evaluated: Any) -> str:
        """Say that the flow, or its derivative, is not finite."""
        finite = bool(torch.isfinite(evaluated[1]).all())
        return "the derivative of the flow is not finite" if finite else "the predicted flow is not finite"

    @torch.no_grad()
    def jacobian(self, theta: Tensor, starts: Tensor) -> Tensor:
        """Return the projected Jacobian of the residuals with respect to θ, shape (segment · entry, parameter)."""
        part, (x, phi) = self.segments, self._flow(theta, starts, self.segments)
        S, total = x.new_zeros(*starts.shape, len(theta)), torch.eye(starts.shape[-1]).to(x).expand_as(phi[:, 0, 0])
        by_theta, by_start = [S], [total]
        for k in range(x.shape[1]):
            mixed = self._mixed(theta, x[:, k].flatten(0, 1)).unflatten(0, x[:, k].shape[:2])
            source = torch.linalg.solve(phi[:, k], mixed)
            drive = torch.einsum("n,snip->sip", self._simpson().to(x), source) * part.interval[:, k, None, None]
            end = phi[:, k, -1]
            S, total = end @ (S - drive), end @ total
            by_theta.append(S)
            by_start.append(total)
        rows = [(torch.stack(each, 1) * part.factor.unsqueeze(-1)).flatten(1, 2) for each in (by_theta, by_start)]
        Q = torch.linalg.qr(rows[1]).Q
        return (rows[0] - Q @ (Q.mT @ rows[0])).flatten(0, 1)

    def _mixed(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return ∂∇Ψ/∂θ at x, shape (row, dim, parameter), for x of shape (row, dim)."""
        J = ClosedForm(self.free)(self.at(theta), x, gradient=torch.ones_like(x)) if self.copies == 1 else None
        if J is not None:
            return J.unflatten(0, (x.shape[1], len(x))).movedim(0, 1)
        return vmap(jacrev(lambda t, x: self.at(t).gradient(x[None])[0]), in_dims=(None, 0))(theta, x)

    @torch.no_grad()
    def _fitted(self, theta: Tensor, part: Segments, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the initial states, `STATE_STEPS` Gauss–Newton steps from the kept ones, and the residuals there."""
        for _ in range(STATE_STEPS):
            residuals, by_start = self._residuals(theta, starts, part)
            Q, R = torch.linalg.qr(by_start)
            starts = starts - torch.linalg.solve_triangular(R, Q.mT @ residuals.unsqueeze(-1), upper=True)[..., 0]
        return starts, self._residuals(theta, starts, part)[0]

    def _residuals(self, theta: Tensor, starts: Tensor, part: Segments) -> tuple[Tensor, Tensor]:
        """Return the residuals, (segment, entry), and their Jacobian by the initial states, (segment, entry, dim)."""
        x, phi = self._flow(theta, starts, part)
        path, total = [starts], [torch.eye(starts.shape[-1]).to(x).expand_as(phi[:, 0, 0])]
        for k in range(x.shape[1]):
            path.append(x[:, k, -1])
            total.append(phi[:, k, -1] @ total[-1])
        residuals = ((torch.stack(path, 1) - part.y) * part.factor).flatten(1)
        return residuals, (torch.stack(total, 1) * part.factor.unsqueeze(-1)).flatten(1, 2)

    def _flow(self, theta: Tensor, starts: Tensor, part: Segments) -> tuple[Tensor, Tensor]:
        """Return x, shape (segment, interval, node, dim), and Φ = ∂x/∂(x at the first node), shape (…, dim, dim)."""
        x, identity = starts, torch.eye(starts.shape[-1]).to(starts).expand(*starts.shape, starts.shape[-1])
        nodes, found, model = torch.linspace(0, 1, self.steps + 1).to(starts), [], self.at(theta)
        for interval in part.interval.T.unsqueeze(-1):

            def velocity(_: Tensor, state: tuple[Tensor, Tensor], dt: Tensor = interval) -> tuple[Tensor, Tensor]:
                return -dt * model.gradient(state[0]), -dt.unsqueeze(-1) * (model.hessian(state[0]) @ state[1])

            found.append(odeint(velocity, (x, identity), nodes, method="rk4"))
            x = found[-1][0][-1]
        return torch.stack([path.movedim(0, 1) for path, _ in found], 1), torch.stack(
            [phi.movedim(0, 1) for _, phi in found], 1
        )

    def _simpson(self) -> Tensor:
        """Return the weights of Simpson's rule at the nodes of an interval, shape (node,)."""
        weights = torch.ones(self.steps + 1)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return weights / (3 * self.steps)


def spread_of(samples: xr.Dataset) -> np.ndarray:
    """Return the standard deviation of every state variable, shape (dim,); constant ones get the largest, or 1."""
    return filled(spread(samples["x"].values))


@dataclass(frozen=True)
class Trajectory(Match):
    """Match observed trajectories by multiple shooting, which refines a model that was fitted to velocities.

    The fit needs ``warm_start=True``, and trajectories as observed, not smoothed. The lowest value of Ψ at a training
    sample is 0.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> runs = systems.get("gene_circuit").trajectories(6, time=np.linspace(0, 2, 9), seed=0)
    >>> quick = wb.LevenbergMarquardt(steps=5)
    >>> first = wb.fit(wb.LSEICNN(2, 2, (4,)), runs, match="velocity", seed=0, restarts=1, optimiser=quick)
    >>> brief = wb.LevenbergMarquardt(steps=2)
    >>> observed = runs[["x"]]
    >>> fit = wb.fit(first.ensemble, observed, match=wb.match.Trajectory(), seed=0, warm_start=True, optimiser=brief)
    >>> fit.training_error < 1
    True

    References
    ----------
    H. G. Bock, K. J. Plitt, A multiple shooting algorithm for direct solution of optimal control problems, IFAC Proc.
    Vol. 17, 1603–1608 (1984), doi:10.1016/S1474-6670(17)61205-9.
    """

    continues: ClassVar[bool] = True

    def check_data(self, data: xr.Dataset) -> None:
        """Raise `DatasetError` unless the data are trajectories as observed."""
        if dataset.kind_of(data) == "points" and not {"trajectory", "time"} <= set(data.coords):
            raise DatasetError(
                "match='trajectory' needs trajectories with times, on a common grid or individual; the data are points"
            )
        if "x_observed" in data:
            raise DatasetError(
                "x was smoothed by velocities(...); match='trajectory' needs the trajectories as observed"
            )

    def noisy(self, data: xr.Dataset) -> bool:
        """Return whether the data state the noise level of the states."""
        return bool({"sigma", "sigma_x"} & set(data.data_vars))

    def problem(self, model: Any, parts: Parts, *, penalised: bool = False) -> Shooting:
        """Return the loss of the segments of the trajectories."""
        scale = spread_of(parts["train"])
        train, validation = (Segments.of(parts[name], scale, model.offset) for name in ("train", "validation"))
        return Shooting(model, train, validation, penalised=penalised)

    def units(self, data: xr.Dataset) -> Units:
        """Return the units of the data; if they do not state that of Ψ, it is state²/time."""
        units = Units.read(data)
        return Units(units.states, units.potential or units.of("flow_potential"), units.time)

    def predictions(self, model: Any, data: xr.Dataset) -> xr.Dataset:
        """Return the velocity −∇Ψ at the observed states."""
        return xr.Dataset({"velocity": flow_velocity(model, data["x"], units_of(model))}, coords=data.coords)
