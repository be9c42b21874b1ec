r"""Match "trajectory": multiple shooting, the flow of −∇Ψ over short segments of what was observed.

A trajectory is cut into segments of a few samples. Each starts at a state ξ of its own, and what is left of it is

    L(θ) = min over ξ of Σ_segments Σ_k |x(t_k; ξ, θ) − y_k|² / σ²  /  (entries − starts),      ẋ = −∇Ψ_θ(x), x(t₀) = ξ,

so noise in the first sample of a segment counts as noise, and no segment is long enough to lose its way. The flow and
its derivative Φ̇ = −∇²Ψ Φ by the state at the last sample are integrated by Runge–Kutta, with steps that are short
against the curvature of the landscape; that by the weights is −Φ(t) ∫ Φ(s)⁻¹ ∂∇Ψ/∂θ ds, by Simpson's rule. The starts
leave the Gauss–Newton step by projection on what they cannot reach (variable projection in Kaufman's form).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import jacrev, vmap
from torchdiffeq import odeint

from workbench import dataset
from workbench.errors import DatasetError
from workbench.losses.match import noise_of
from workbench.losses.normal_equations import Dual, Primal, gram_of
from workbench.losses.problem import Problem
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["Segments", "Shooting", "check_trajectories", "spread_of"]

LONGEST = 5  # intervals of a segment
STEP = 0.6  # of a Runge–Kutta step, times the steepest curvature
MOST = 64  # steps between two samples
INNER = 1  # Gauss–Newton steps of the starts for each step of the weights


@dataclass(frozen=True)
class Segments:
    """Pieces of trajectories: y and factor (segment, sample, dim), and wait (segment, sample − 1), the time between.

    Shorter segments wait for a time 0 at their end, with factor 0. The loss is the sum of ((prediction − y) · factor)².
    """

    y: Tensor
    wait: Tensor
    factor: Tensor

    @classmethod
    def of(cls, samples: xr.Dataset, scale: np.ndarray, like: Tensor) -> "Segments":
        """Cut flat data with trajectory and time; `scale`, shape (dim,), is taken where the data say no noise."""
        group, time = samples["trajectory"].values, samples["time"].values.astype(np.float64)
        y = samples["x"].values
        noise = noise_of(samples, "sigma", "x")
        factor = np.broadcast_to(1 / (scale if noise is None else noise), y.shape)
        weight = noise_of(samples, "weight", "x")
        if weight is not None:
            factor = factor * np.sqrt(weight / weight.mean())
        cuts = [
            at[k : k + LONGEST + 1]
            for label in np.unique(group)
            for at in [np.flatnonzero(group == label)]
            for k in range(0, max(1, len(at) - 1), LONGEST)
            if len(at[k:]) > 1
        ]
        if not cuts:
            raise DatasetError("no trajectory has two samples of one part in a row: there is no segment to shoot along")
        length = max(map(len, cuts))
        place = np.array([np.pad(at, (0, length - len(at)), mode="edge") for at in cuts])
        there = np.arange(length) < np.array([len(at) for at in cuts])[:, None]
        freedom = max(1, y.shape[1] * (there.sum() - len(cuts)))
        arrays = (y[place], np.diff(time[place], axis=1), factor[place] * there[..., None] / np.sqrt(freedom))
        return cls(*(torch.tensor(np.ascontiguousarray(values)).to(like) for values in arrays))


class Shooting(Problem):
    """Residuals of segments at their best starts; `validation` are the segments that are held out."""

    def __init__(self, model: LSEICNN, segments: Segments, validation: Segments) -> None:
        super().__init__(model)
        self.segments, self.validation = segments, validation
        self._starts = {id(part): part.y[:, 0].clone() for part in (segments, validation)}
        with torch.no_grad():
            steep = float(torch.linalg.eigvalsh(model.hessian(segments.y.flatten(0, 1))).abs().max())
        self.steps = 2 * int(np.clip(np.ceil(steep * float(segments.wait.max()) / STEP / 2), 1, MOST / 2))

    @classmethod
    def of(cls, model: LSEICNN, parts: Mapping[str, xr.Dataset]) -> "Shooting":
        """Return the problem of a fitted model, from flat data in the parts "train" and "validation"."""
        scale = spread_of(parts["train"])
        train, validation = (Segments.of(parts[name], scale, model.u) for name in ("train", "validation"))
        return cls(model, train, validation)

    def evaluate(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best starts, shape (segment, dim), and the residuals there, shape (segment, entry)."""
        return self._fitted(theta, self.segments)

    def terms(self, seen: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Return the sum of squares as the only part of the loss."""
        return {"trajectory": float(seen[1].square().sum())}

    def linearise(self, theta: Tensor, seen: tuple[Tensor, Tensor]) -> Primal | Dual:
        """Return the normal equations of the weights, the starts projected out; later searches start from these."""
        starts, residuals = seen
        self._starts[id(self.segments)] = starts
        J = self.jacobian(theta, starts)
        flat = residuals.reshape(-1)
        return Dual(J, flat) if len(flat) < len(theta) else Primal(gram_of(J), J.T @ flat)

    def held_out(self, theta: Tensor) -> float:
        """Return the loss of the segments that are held out."""
        starts, residuals = self._fitted(theta, self.validation)
        if torch.isfinite(starts).all():
            self._starts[id(self.validation)] = starts
        return float(residuals.square().sum())

    def bad_term(self, seen: Any) -> str:
        """Say that it is the flow that is not finite."""
        finite = bool(torch.isfinite(seen[1]).all())
        return "the derivative of the flow is not finite" if finite else "the flow predicted is not finite"

    @torch.no_grad()
    def jacobian(self, theta: Tensor, starts: Tensor) -> Tensor:
        """Return the derivative of the best residuals by θ, shape (segment · entry, parameter)."""
        part, (x, phi) = self.segments, self._flow(theta, starts, self.segments)
        mixed = vmap(jacrev(lambda t, x: self.apply(t, x[None], "gradient")[0]), in_dims=(None, 0))
        S, swept = x.new_zeros(*starts.shape, len(theta)), torch.eye(starts.shape[-1]).to(x).expand_as(phi[:, 0, 0])
        by_theta, by_start = [S], [swept]
        for k in range(x.shape[1]):
            source = torch.linalg.solve(phi[:, k], mixed(theta, x[:, k].flatten(0, 1)).unflatten(0, x[:, k].shape[:2]))
            drive = torch.einsum("n,snip->sip", self._simpson().to(x), source) * part.wait[:, k, None, None]
            end = phi[:, k, -1]
            S, swept = end @ (S - drive), end @ swept
            by_theta.append(S)
            by_start.append(swept)
        rows = [(torch.stack(each, 1) * part.factor.unsqueeze(-1)).flatten(1, 2) for each in (by_theta, by_start)]
        Q = torch.linalg.qr(rows[1]).Q
        return (rows[0] - Q @ (Q.mT @ rows[0])).flatten(0, 1)

    @torch.no_grad()
    def _fitted(self, theta: Tensor, part: Segments) -> tuple[Tensor, Tensor]:
        """Return the starts after some Gauss–Newton steps from those of before, and the residuals."""
        starts = self._starts[id(part)]
        for _ in range(INNER):
            residuals, by_start = self._residuals(theta, starts, part)
            Q, R = torch.linalg.qr(by_start)
            starts = starts - torch.linalg.solve_triangular(R, Q.mT @ residuals.unsqueeze(-1), upper=True)[..., 0]
        return starts, self._residuals(theta, starts, part)[0]

    def _residuals(self, theta: Tensor, starts: Tensor, part: Segments) -> tuple[Tensor, Tensor]:
        """Return the residuals, shape (segment, entry), and their derivative by the starts, (segment, entry, dim)."""
        x, phi = self._flow(theta, starts, part)
        path, swept = [starts], [torch.eye(starts.shape[-1]).to(x).expand_as(phi[:, 0, 0])]
        for k in range(x.shape[1]):
            path.append(x[:, k, -1])
            swept.append(phi[:, k, -1] @ swept[-1])
        residuals = ((torch.stack(path, 1) - part.y) * part.factor).flatten(1)
        return residuals, (torch.stack(swept, 1) * part.factor.unsqueeze(-1)).flatten(1, 2)

    def _flow(self, theta: Tensor, starts: Tensor, part: Segments) -> tuple[Tensor, Tensor]:
        """Return x, shape (segment, interval, node, dim), and ∂x/∂(x at the interval's start), (…, dim, dim)."""
        x, here = starts, torch.eye(starts.shape[-1]).to(starts).expand(*starts.shape, starts.shape[-1])
        nodes, found = torch.linspace(0, 1, self.steps + 1).to(starts), []
        for wait in part.wait.T.unsqueeze(-1):

            def velocity(_: Tensor, now: tuple[Tensor, Tensor], wait: Tensor = wait) -> tuple[Tensor, Tensor]:
                slope, bend = (self.apply(theta, now[0], quantity) for quantity in ("gradient", "hessian"))
                return -wait * slope, -wait.unsqueeze(-1) * (bend @ now[1])

            found.append(odeint(velocity, (x, here), nodes, method="rk4"))
            x = found[-1][0][-1]
        return torch.stack([path.movedim(0, 1) for path, _ in found], 1), torch.stack(
            [phi.movedim(0, 1) for _, phi in found], 1
        )

    def _simpson(self) -> Tensor:
        """Return the weights of Simpson's rule over the nodes of an interval, shape (node,)."""
        weights = torch.ones(self.steps + 1)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return weights / (3 * self.steps)


def spread_of(samples: xr.Dataset) -> np.ndarray:
    """Return the standard deviation of every state, shape (dim,); those that do not vary take the largest."""
    spread = samples["x"].values.std(0)
    return np.where(spread > 1e-12 * spread.max(), spread, spread.max() or 1.0)


def check_trajectories(data: xr.Dataset, match: Mapping[str, float], dim: int) -> None:
    """Raise `DatasetError` for data that are no observed trajectories of that dimension."""
    if dataset.kind_of(data) == "points" and not {"trajectory", "time"} <= set(data.coords):
        raise DatasetError(
            "points have no times; match='trajectory' takes trajectories, on one grid or each at its own"
        )
    if data.sizes["state"] != dim:
        raise DatasetError(f"the data have {data.sizes['state']} states, the model dim = {dim}")
    if "x_observed" in data:
        raise DatasetError("x was smoothed by velocities(...); match='trajectory' takes the trajectories as observed")
