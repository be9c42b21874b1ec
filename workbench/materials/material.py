r"""What a learned material is: an energy Ψ(E, h) of strain and internal variables h, and how h follows a strain path.

    S = ∂Ψ/∂E,         dissipation = −∂Ψ/∂h · ḣ,         work = ∫ S:dE = ΔΨ + ∫ dissipation.

The energy sees strain through invariants x(E) (`invariants`), so that S = Σ_k ∂Ψ/∂x_k ∂x_k/∂E in closed form, for all
samples of all trajectories in one call. The models are `GeneralisedPlay` (`play`) and `StateNODE` (`node`).

The algorithmic tangent ∂S_{n+1}/∂E_{n+1} of a step from (E_n, h_n), which finite elements need for Newton's method, is
the derivative of that step as it is computed, by reverse differentiation.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import DatasetError, SimulationError
from workbench.materials.invariants import Invariants
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["Material", "Response"]

LIMIT = 1e6  # of internal variables: beyond, a path has blown up

Features = dict[str, Tensor]


class Response(NamedTuple):
    """What a material does along strain paths.

    `stress` has shape (trajectory, time, 6), `state`, the internal variables, (trajectory, time, internal),
    `dissipation`, that of the step which ends there, and `potential` (trajectory, time). Arrays, or tensors.
    """

    stress: Any
    internal: Any
    dissipation: Any
    potential: Any

    def __repr__(self) -> str:
        """Return the names and shapes, on one line."""
        shapes = (f"{name} {tuple(part.shape)}" for name, part in zip(self._fields, self, strict=True))
        return f"Response({', '.join(shapes)})"


class Material(nn.Module):
    """Base of the learned materials.

    To make one, write `features`, `states`, `gradients`, `dissipated`, `energy` and `initialise`; `respond` and
    `tangent`, and fitting by `workbench.fit(model, data, match="stress")`, come free.
    """

    invariants: Invariants
    internal: int
    potential: LSEICNN

    # ---- for authors -----------------------------------------------------------------------------------------------

    @abstractmethod
    def features(self, E: Tensor, time: Tensor) -> Features:
        """Return what does not depend on weights, each with shape (trajectory, time, …); `x` and `slope` among them.

        `E` has shape (trajectory, time, 6), and `time` (trajectory, time).
        """

    @abstractmethod
    def states(self, features: Features, start: Tensor | None) -> Tensor:
        """Return h, shape (trajectory, time, internal); `start` (trajectory, internal) is h at the first sample."""

    @abstractmethod
    def gradients(self, features: Features, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂Ψ/∂x, shape (…, invariant), and ∂Ψ/∂h, shape (…, internal)."""

    @abstractmethod
    def dissipated(self, features: Features, h: Tensor) -> Tensor:
        """Return the energy dissipated in the step that ends at each sample, shape (trajectory, time)."""

    @abstractmethod
    def energy(self, features: Features, h: Tensor) -> Tensor:
        """Return Ψ, shape (trajectory, time)."""

    @abstractmethod
    def initialise(self, rng: np.random.Generator, strain: np.ndarray, stress: np.ndarray, time: np.ndarray) -> None:
        """Take the scales from data with shape (trajectory, time, 6), and draw a start."""

    # ---- for users -------------------------------------------------------------------------------------------------

    def forward(self, features: Features) -> Tensor:
        """Return the stress along paths of which the features are known, shape (trajectory, time, 6)."""
        return self._stress(features, self.states(features, None))

    def respond(self, strain: Any, time: Any = None, *, start: Any = None) -> Response:
        """Return stress, internal variables, dissipation and energy along paths, all of them in one integration.

        `strain` has shape (trajectory, time, 6), or (time, 6) for one; `time` (time,) defaults to equal times on
        [0, 1]. `start`, with shape (trajectory, internal), is the state at the first sample; without it the material
        comes from rest. Wrong shapes raise `DatasetError`; a state that blows up raises `SimulationError`, which names
        trajectory and step.

        >>> import workbench as wb
        >>> material = wb.GeneralisedPlay(wb.Invariants(axis=(1, 0, 0)))
        >>> material.respond(np.zeros((2, 5, 6)))
        Response(stress (2, 5, 6), internal (2, 5, 1), dissipation (2, 5), potential (2, 5))
        """
        given = isinstance(strain, Tensor)
        E, times = self._inputs(strain, time)
        single = E.ndim == 2
        with torch.set_grad_enabled(given and torch.is_grad_enabled()):
            features = self.features(E.unsqueeze(0) if single else E, times.expand(1 if single else len(E), -1))
            h = self.states(features, None if start is None else self._start(start, features))
            _check_finite(h)
            parts = [self._stress(features, h), h, self.dissipated(features, h), self.energy(features, h)]
        parts = [part[0] for part in parts] if single else parts
        return Response(*(part if given else part.detach().cpu().numpy() for part in parts))

    def tangent(self, strain: Any, time: Any = None, *, start: Any = None) -> Any:
        """Return ∂S/∂E at every sample, shape (trajectory, time, 6, 6), the state at the sample before held fixed.

        Rows are components of stress, columns those of strain, as differences of `respond` give them: a column of
        shear moves both entries of the tensor, and is twice the tensor's C_ijkl (halve it for Voigt's γ = 2E).
        """
        given = isinstance(strain, Tensor)
        E, times = self._inputs(strain, time)
        single = E.ndim == 2
        E = E.unsqueeze(0) if single else E
        times = times.expand(len(E), -1)
        features = self.features(E, times)
        first = None if start is None else self._start(start, features)
        with torch.no_grad():
            h = self.states(features, first)
            _check_finite(h)
        at_start = self._slopes(lambda y: self._stress_from(y.unsqueeze(1), times[:, :1], first), E[:, 0])
        before, old, pairs = E[:, :-1].flatten(0, 1), h[:, :-1].flatten(0, 1), times.unfold(1, 2, 1).flatten(0, 1)
        steps = self._slopes(
            lambda y: self._stress_from(torch.stack([before, y], 1), pairs, old), E[:, 1:].flatten(0, 1)
        )
        result = torch.cat([at_start.unsqueeze(1), steps.unflatten(0, (len(E), -1))], 1)
        result = result[0] if single else result
        return result if given else result.detach().cpu().numpy()

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _stress(self, features: Features, h: Tensor) -> Tensor:
        by_x, _ = self.gradients(features, h)
        return (by_x.unsqueeze(-2) @ features["slope"]).squeeze(-2)

    def _stress_from(self, E: Tensor, times: Tensor, start: Tensor | None) -> Tensor:
        features = self.features(E, times)
        return self._stress(features, self.states(features, start))[:, -1]

    @staticmethod
    def _slopes(stress: Any, E: Tensor) -> Tensor:
        """Return ∂S/∂E, shape (sample, 6, 6), of a map of independent samples."""
        with torch.enable_grad():
            at = E.detach().requires_grad_()
            S = stress(at)
            rows = [torch.autograd.grad(S[:, k].sum(), at, retain_graph=True)[0] for k in range(6)]
        return torch.stack(rows, -2)

    def _inputs(self, strain: Any, time: Any) -> tuple[Tensor, Tensor]:
        like = self.potential.u
        E = (strain if isinstance(strain, Tensor) else torch.tensor(np.array(strain, dtype=np.float64))).to(like)
        if E.ndim not in (2, 3) or E.shape[-1] != 6 or E.shape[-2] < 2:
            raise DatasetError(
                f"strain has shape {tuple(E.shape)}; expected (trajectory, time, 6) or (time, 6) with two samples or "
                "more, components 11, 22, 33, 12, 13, 23"
            )
        if not torch.isfinite(E).all():
            raise DatasetError(f"strain is not finite at {torch.nonzero(~torch.isfinite(E))[0].tolist()}")
        moments = np.linspace(0, 1, E.shape[-2]) if time is None else time
        times = (moments if isinstance(moments, Tensor) else torch.tensor(np.array(moments, dtype=np.float64))).to(E)
        if times.shape != E.shape[-2:-1] or not (times.diff() > 0).all():
            raise DatasetError(
                f"time has shape {tuple(times.shape)}; expected {E.shape[-2]} finite times that increase strictly, "
                "one for each sample of every path"
            )
        return E, times

    def _start(self, start: Any, features: Features) -> Tensor:
        h = (start if isinstance(start, Tensor) else torch.tensor(np.array(start))).to(features["x"])
        h = h.unsqueeze(0) if h.ndim == 1 else h
        if h.shape != (len(features["x"]), self.internal):
            raise DatasetError(
                f"start has shape {tuple(h.shape)}; expected ({len(features['x'])}, {self.internal}), "
                "internal variables of every trajectory"
            )
        return h


def _check_finite(h: Tensor) -> None:
    bad = ~(h.abs() <= LIMIT).all(-1)
    if bad.any():
        trajectory = int(torch.nonzero(bad.any(-1))[0])
        step = int(torch.nonzero(bad[trajectory])[0])
        raise SimulationError(
            f"the internal variables of trajectory {trajectory} blow up in step {step}; the path leads where the "
            "material was never trained, or its steps are too large"
        )
