"""The base class of learned materials: an energy Ψ(E, h) of strain E and internal variables h that follow the path.

    S = ∂Ψ/∂E,        dissipation rate = −∂Ψ/∂h · ḣ,        work = ∫ S:dE = ΔΨ + ∫ dissipation rate dt.

The energy depends on strain through invariants x(E) (`workbench.materials.invariants`), so that the stress
S = Σ_k ∂Ψ/∂x_k ∂x_k/∂E is available in closed form, for all samples of all trajectories at once. The models are
`GeneralisedPlay`, with hysteresis by play operators, and `StateNODE`, with a neural rate equation.

The algorithmic (consistent) tangent ∂S_{n+1}/∂E_{n+1} of a step from (E_n, h_n), which Newton's method needs in finite
elements, is the derivative of the step as computed, by reverse-mode differentiation.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import DatasetError, SimulationError
from workbench.materials.invariants import Invariants
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.stored import Stored

__all__ = ["Material", "Response"]

LARGEST_INTERNAL = 1e6  # magnitude of an internal variable beyond which a path counts as blown up

Features = dict[str, Tensor]  # quantities along paths that do not depend on the weights, by name


class Response(NamedTuple):
    """Response of a material along strain paths, as arrays or, if the strain was a tensor, as tensors.

    A single path, given with shape (time, 6), drops the axis `trajectory`.

    Parameters
    ----------
    stress : numpy.ndarray or torch.Tensor
        Stress S, shape (trajectory, time, 6).
    internal : numpy.ndarray or torch.Tensor
        Internal variables h, shape (trajectory, time, internal).
    dissipation : numpy.ndarray or torch.Tensor
        Energy dissipated in the step that ends at each sample, shape (trajectory, time); 0 at the first.
    potential : numpy.ndarray or torch.Tensor
        Energy Ψ(E, h), shape (trajectory, time).

    Examples
    --------
    >>> import workbench as wb
    >>> response = wb.GeneralisedPlay(wb.Invariants(), operators=2).respond(np.zeros((5, 6)))
    >>> response.stress.shape, response.internal.shape
    ((5, 6), (5, 2))
    """

    stress: Any
    internal: Any
    dissipation: Any
    potential: Any

    def __repr__(self) -> str:
        """Return names and shapes on one line."""
        shapes = (f"{name} {tuple(part.shape)}" for name, part in zip(self._fields, self, strict=True))
        return f"Response({', '.join(shapes)})"


class Material(Stored, nn.Module, ABC):
    """Base class of learned materials.

    A subclass implements `features`, `states`, `gradients`, `dissipated`, `energy` and `initialise`. It inherits
    `respond`, `tangent`, and fitting by ``workbench.fit(material, data, match="stress")``.

    Attributes
    ----------
    invariants : Invariants
        The invariants of strain on which the energy depends.
    internal : int
        Number of internal variables.
    potential : LSEICNN
        The neural part of the energy.

    Examples
    --------
    >>> import workbench as wb
    >>> material = wb.StateNODE(wb.Invariants(), internal=2)
    >>> isinstance(material, wb.Material), material.tangent(np.zeros((2, 5, 6))).shape
    (True, (2, 5, 6, 6))

    References
    ----------
    J. C. Simo, R. L. Taylor, Consistent tangent operators for rate-independent elastoplasticity, Comput. Methods Appl.
    Mech. Eng. 48, 101–118 (1985), doi:10.1016/0045-7825(85)90070-2
    """

    UNIDENTIFIED: tuple[str, ...] = ()  # parameters that no data determine, as for a `TrainablePotential`

    invariants: Invariants
    internal: int
    potential: LSEICNN

    # ---- to be implemented by subclasses ---------------------------------------------------------------------------

    @abstractmethod
    def features(self, E: Tensor, time: Tensor) -> Features:
        """Return everything along the paths that does not depend on the weights.

        Parameters
        ----------
        E : torch.Tensor
            Strain, shape (trajectory, time, 6).
        time : torch.Tensor
            Times, shape (trajectory, time).

        Returns
        -------
        dict of str to torch.Tensor
            Tensors whose first axis is `trajectory`, among them "x", the invariants, shape (trajectory, time,
            invariant), and "slope", their derivatives ∂x/∂E, shape (trajectory, time, invariant, 6).
        """

    @abstractmethod
    def states(self, features: Features, start: Tensor | None) -> Tensor:
        """Return h along the paths, shape (trajectory, time, internal).

        `start`, shape (trajectory, internal), is h at the first sample; None: the material comes from rest, h = 0.
        """

    @abstractmethod
    def gradients(self, features: Features, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂Ψ/∂x, shape (trajectory, time, invariant), and ∂Ψ/∂h, shape (trajectory, time, internal)."""

    @abstractmethod
    def dissipated(self, features: Features, h: Tensor) -> Tensor:
        """Return the energy dissipated in the step that ends at each sample, shape (trajectory, time)."""

    @abstractmethod
    def energy(self, features: Features, h: Tensor) -> Tensor:
        """Return Ψ, shape (trajectory, time)."""

    @abstractmethod
    def initialise(self, rng: np.random.Generator, strain: np.ndarray, stress: np.ndarray, time: np.ndarray) -> None:
        """Set the scales from data and draw a starting point.

        `strain` and `stress` have shape (trajectory, time, 6), `time` has shape (time,).
        """

    # ---- responses -------------------------------------------------------------------------------------------------

    def forward(self, features: Features) -> Tensor:
        """Return the stress along paths from their features, starting at rest, shape (trajectory, time, 6)."""
        return self._stress(features, self.states(features, None))

    def respond(self, strain: Any, time: Any = None, *, start: Any = None) -> Response:
        """Return stress, internal variables, dissipation and energy along strain paths.

        Parameters
        ----------
        strain : array_like or torch.Tensor
            Tensor components 11, 22, 33, 12, 13, 23 (shear components not doubled), shape (trajectory, time, 6), or
            (time, 6) for one path, with two samples or more. Strain is linear between samples.
        time : array_like or torch.Tensor, optional
            Increasing times, shape (time,). Default: equally spaced on [0, 1].
        start : array_like or torch.Tensor, optional
            Internal variables at the first sample, shape (trajectory, internal). Default: the material
            comes from rest, h = 0.

        Returns
        -------
        Response
            Arrays, or tensors if the strain is one.

        Raises
        ------
        DatasetError
            If a shape is wrong, the strain is not finite, or times do not increase.
        SimulationError
            If internal variables blow up; the message names trajectory and step.

        Examples
        --------
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
        """Return the algorithmic tangent ∂S/∂E at every sample, with the state at the sample before held fixed.

        Parameters
        ----------
        strain, time, start
            As for `respond`, which also states the errors.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Shape (trajectory, time, 6, 6); rows are components of stress, columns components of strain. A shear
            component of strain moves two entries of the tensor, so its column is twice the C_ijkl of the tensor: halve
            it for Voigt's γ = 2E.
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
        at_start = self._stress_jacobian(lambda y: self._stress_from(y.unsqueeze(1), times[:, :1], first), E[:, 0])
        E_before, h_before = E[:, :-1].flatten(0, 1), h[:, :-1].flatten(0, 1)
        intervals = times.unfold(1, 2, 1).flatten(0, 1)
        steps = self._stress_jacobian(
            lambda y: self._stress_from(torch.stack([E_before, y], 1), intervals, h_before), E[:, 1:].flatten(0, 1)
        )
        result = torch.cat([at_start.unsqueeze(1), steps.unflatten(0, (len(E), -1))], 1)
        result = result[0] if single else result
        return result if given else result.detach().cpu().numpy()

    # ---- private ---------------------------------------------------------------------------------------------------

    def _stress(self, features: Features, h: Tensor) -> Tensor:
        """Return S = Σ_k ∂Ψ/∂x_k ∂x_k/∂E, shape (…, 6)."""
        by_x, _ = self.gradients(features, h)
        return (by_x.unsqueeze(-2) @ features["slope"]).squeeze(-2)

    def _stress_from(self, E: Tensor, times: Tensor, start: Tensor | None) -> Tensor:
        """Return the stress at the last sample of paths, shape (trajectory, 6)."""
        features = self.features(E, times)
        return self._stress(features, self.states(features, start))[:, -1]

    @staticmethod
    def _stress_jacobian(stress: Any, E: Tensor) -> Tensor:
        """Return ∂S/∂E, shape (sample, 6, 6), of a function `stress` that maps each sample of E, shape (sample, 6)."""
        with torch.enable_grad():
            at = E.detach().requires_grad_()
            S = stress(at)
            rows = [torch.autograd.grad(S[:, k].sum(), at, retain_graph=True)[0] for k in range(6)]
        return torch.stack(rows, -2)

    def _inputs(self, strain: Any, time: Any) -> tuple[Tensor, Tensor]:
        """Return checked strain, shape (trajectory, time, 6) or (time, 6), and times, shape (time,), as tensors."""
        like = next(self.parameters())
        E = (strain if isinstance(strain, Tensor) else torch.tensor(np.array(strain, dtype=np.float64))).to(like)
        if E.ndim not in (2, 3) or E.shape[-1] != 6 or E.shape[-2] < 2:
            raise DatasetError(
                f"strain has shape {tuple(E.shape)}; expected (trajectory, time, 6) or (time, 6) with at least two "
                "samples and the components 11, 22, 33, 12, 13, 23"
            )
        if not torch.isfinite(E).all():
            raise DatasetError(
                f"strain is not finite at {torch.nonzero(~torch.isfinite(E))[0].tolist()}; remove or repair it"
            )
        given = np.linspace(0, 1, E.shape[-2]) if time is None else time
        times = (given if isinstance(given, Tensor) else torch.tensor(np.array(given, dtype=np.float64))).to(E)
        if times.shape != E.shape[-2:-1] or not (times.diff() > 0).all():
            raise DatasetError(
                f"time has shape {tuple(times.shape)}; expected {E.shape[-2]} finite, strictly increasing times, "
                "one for each sample, common to all paths"
            )
        return E, times

    def _start(self, start: Any, features: Features) -> Tensor:
        """Return checked internal variables at the first sample, shape (trajectory, internal)."""
        h = (start if isinstance(start, Tensor) else torch.tensor(np.array(start))).to(features["x"])
        h = h.unsqueeze(0) if h.ndim == 1 else h
        if h.shape != (len(features["x"]), self.internal):
            raise DatasetError(
                f"start has shape {tuple(h.shape)}; expected ({len(features['x'])}, {self.internal}), "
                "the internal variables of each trajectory"
            )
        return h


def _check_finite(h: Tensor) -> None:
    """Raise `SimulationError` if internal variables, shape (trajectory, time, internal), are too large or NaN."""
    bad = ~(h.abs() <= LARGEST_INTERNAL).all(-1)
    if bad.any():
        trajectory = int(torch.nonzero(bad.any(-1))[0])
        step = int(torch.nonzero(bad[trajectory])[0])
        raise SimulationError(
            f"the internal variables of trajectory {trajectory} blow up in step {step}: the path leaves the training "
            "data, or its steps are too large; take smaller steps, or fit the material to data that cover the path"
        )
