"""State NODE: internal variables that follow a neural ordinary differential equation.

    Ψ = LSE-ICNN(x(E), h),        ḣ = NN(x(E), x(Ė), y(E, Ė), h),

with the joint invariants y of strain and strain rate: the ISV-NODE of Eqs 29–31 of Jones et al. (2025). The published
inputs for an isotropic material are tr E, tr E², tr E³, the same of the rate, and tr EĖ, tr E²Ė, tr EĖ², nine in all;
with an axis they are five, five and four. The rate-independent variant depends on the direction N = Ė/|Ė| of the rate
only and moves with the strain,

    ḣ = |Ė| NN(x(E), x(N), y(E, N), h),

so that a path traversed at another speed gives the same stress, up to rounding. |Ė| has a kink where the strain rests;
its derivative is set to 0 there, and the tangent is the elastic one.

Strain is linear between samples, so its rate jumps at the samples. Time is therefore counted in samples, s = 0, 1, …,
with dh/ds = Δt ḣ, and integrated with one fixed step from sample to sample, by torchdiffeq with `perturb`, which
evaluates both ends of a step on the side of that step. Euler's method, h ← h + Δt ḣ, has a loop of its own, which is
twice as fast. Everything that does not depend on h is computed in advance at the stages of the method.

Stress does not identify the dissipation: any function of h may be added to Ψ without changing the stress. The
dissipation that `respond` reports, −½ (∂Ψ/∂h + ∂Ψ/∂h′)·(h′ − h) per step, is that of one of many models with the same
stress, and may be negative.
"""

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from workbench.checks import require_integer
from workbench.materials.invariants import Invariants, contract
from workbench.materials.material import Features, Material
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["StateNODE"]

STAGES = {"euler": (0.0,), "midpoint": (0.0, 0.5), "rk4": (0.0, 1 / 3, 2 / 3, 1.0)}  # fractions of a step
SCALED_DURATION = 30.0  # mean duration (or length, if rate-independent) of the training paths in scaled units


class StateNODE(Material):
    """Material whose internal variables follow a neural ordinary differential equation.

        Ψ = LSE-ICNN(x(E), h),        ḣ = NN(x(E), x(Ė), y(E, Ė), h),

    with the invariants x and the joint invariants y. This is the ISV-NODE of Jones et al. (2025), whose settings are
    the defaults. Stress does not identify the dissipation of this model, and the reported one may be negative.

    Parameters
    ----------
    invariants : Invariants
        Symmetry of the material.
    internal : int, optional
        Number of internal variables.
    rate_independent : bool, optional
        Make the response independent of the rate of strain.
    modes : int, optional
        Number of convex modes of the LSE-ICNN.
    hidden : tuple of int, optional
        Widths of the hidden layers of every mode.
    widths : tuple of int, optional
        Widths of the hidden layers of the network for ḣ.
    method : {"euler", "midpoint", "rk4"}, optional
        Integrator, with one step between two samples.
    dtype : torch.dtype, optional
        Floating-point type.

    Raises
    ------
    ValueError
        If `internal` is not an integer ≥ 1, `method` is unknown, or a size of the LSE-ICNN is invalid.

    Examples
    --------
    >>> StateNODE(Invariants())
    <StateNODE of trE, trE2, trE3: 6 internal, 2 modes of 19-19, rate 15-15>

    References
    ----------
    - R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
      locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242, Eqs 29–31
    - R. T. Q. Chen et al., Neural ordinary differential equations, NeurIPS (2018), doi:10.48550/arXiv.1806.07366
    """

    def __init__(
        self,
        invariants: Invariants,
        *,
        internal: int = 6,
        rate_independent: bool = False,
        modes: int = 2,
        hidden: tuple[int, ...] = (19, 19),
        widths: tuple[int, ...] = (15, 15),
        method: Literal["euler", "midpoint", "rk4"] = "euler",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        require_integer(internal=internal)
        if method not in STAGES:
            raise ValueError(f"method must be one of {', '.join(STAGES)}, got {method!r}")
        self.invariants, self.internal, self.method = invariants, internal, method
        self.rate_independent, self.widths = rate_independent, tuple(widths)
        states = (*invariants.names, *(f"h{i + 1}" for i in range(internal)))
        self.potential = LSEICNN(len(states), modes, hidden, states=states, dtype=dtype)
        known = 2 * len(invariants.names) + len(invariants.joint_names)
        sizes = (known + internal, *self.widths, internal)
        self.W = nn.ParameterList([torch.zeros(outer, inner, dtype=dtype) for inner, outer in pairwise(sizes)])
        self.b = nn.ParameterList([torch.zeros(outer, dtype=dtype) for outer in sizes[1:]])
        self.register_buffer("input_shift", torch.zeros(known, dtype=dtype))
        self.register_buffer("input_scale", torch.ones(known, dtype=dtype))
        self.register_buffer("pace", torch.ones((), dtype=dtype))

    input_shift: Tensor
    input_scale: Tensor
    pace: Tensor

    def features(self, E: Tensor, time: Tensor) -> Features:
        """Return invariants and their derivatives, the scaled inputs of ḣ at the stages, and the lengths of the steps.

        ``inputs(trajectory, step, stage, input)`` omit h; ``length(trajectory, step)`` is Δt, or |ΔE| if
        rate-independent, in scaled units.
        """
        change = E.diff(dim=1)
        if self.rate_independent:
            square = contract(change, change)
            moves = square > 0
            # |ΔE|, written such that its derivative at rest is 0 instead of NaN
            length = torch.where(moves, torch.where(moves, square, 1.0).sqrt(), 0.0)
        else:
            length = time.diff(dim=1).expand(change.shape[:-1])
        rate = (change / torch.where(length > 0, length, 1.0).unsqueeze(-1)).unsqueeze(-2)
        stages = E.new_tensor(STAGES[self.method]).unsqueeze(-1)
        at = E[:, :-1].unsqueeze(-2) + stages * change.unsqueeze(-2)
        known = [self.invariants.value(at), self.invariants.value(rate).expand(*at.shape[:-1], -1)]
        inputs = torch.cat([*known, self.invariants.joint(at, rate.expand_as(at))], -1)
        return {
            "x": self.invariants.value(E),
            "slope": self.invariants.gradient(E),
            "inputs": (inputs - self.input_shift) / self.input_scale,
            "length": length / self.pace,
        }

    def states(self, features: Features, start: Tensor | None) -> Tensor:
        """Return h along the paths, shape (trajectory, time, internal); from rest it is 0 at the first sample."""
        inputs, length = features["inputs"], features["length"].unsqueeze(-1)
        of_inputs, of_h = self.W[0].split([inputs.shape[-1], self.internal], 1)
        first_layer = inputs @ of_inputs.mT + self.b[0]
        further_layers = [(W.mT, b) for W, b in list(zip(self.W, self.b, strict=True))[1:]]
        stages = np.array(STAGES[self.method])

        def change(step: int, stage: int, h: Tensor) -> Tensor:
            z = torch.addmm(first_layer[:, step, stage], h, of_h.mT)
            for W, b in further_layers:
                z = torch.addmm(b, torch.tanh(z), W)
            return length[:, step] * z

        def rate(s: Tensor, h: Tensor) -> Tensor:
            step = int(s)
            return change(step, int(np.abs(stages - (float(s) - step)).argmin()), h)

        h = inputs.new_zeros(len(inputs), self.internal) if start is None else start
        if self.method == "euler" or inputs.shape[1] == 0:
            path = [h]
            for step in range(inputs.shape[1]):
                path.append(path[-1] + change(step, 0, path[-1]))
            return torch.stack(path, 1)
        samples = torch.arange(inputs.shape[1] + 1, dtype=inputs.dtype, device=inputs.device)
        return odeint(rate, h, samples, method=self.method, options={"perturb": True}).movedim(0, 1)

    def gradients(self, features: Features, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂Ψ/∂x, shape (trajectory, time, invariant), and ∂Ψ/∂h, shape (trajectory, time, internal)."""
        gradient = self.potential.gradient(torch.cat([features["x"], h], -1))
        by_x, by_h = gradient.split([features["x"].shape[-1], self.internal], -1)
        return by_x, by_h

    def energy(self, features: Features, h: Tensor) -> Tensor:
        """Return Ψ along the paths, shape (trajectory, time)."""
        return self.potential.value(torch.cat([features["x"], h], -1))

    def dissipated(self, features: Features, h: Tensor) -> Tensor:
        """Return −½ (∂Ψ/∂h + ∂Ψ/∂h′)·(h′ − h), shape (trajectory, time); 0 at the first sample.

        Stress does not identify it.
        """
        _, force = self.gradients(features, h)
        steps = -0.5 * ((force[:, 1:] + force[:, :-1]) * h.diff(dim=1)).sum(-1)
        return torch.cat([torch.zeros_like(steps[:, :1]), steps], 1)

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator, strain: np.ndarray, stress: np.ndarray, time: np.ndarray) -> None:
        """Set the scales from data and draw all weights uniformly from ±1/√(inputs of the layer).

        `strain` and `stress` have shape (trajectory, time, 6), `time` has shape (time,).
        """
        E, times = torch.tensor(strain).to(self.pace), torch.tensor(time).to(self.pace).expand(len(strain), -1)
        self.input_shift.zero_()
        self.input_scale.fill_(1.0)
        self.pace.fill_(1.0)
        features = self.features(E, times)
        inputs = features["inputs"].flatten(0, -2)
        spread = inputs.std(0)
        self.input_shift.copy_(inputs.mean(0))
        self.input_scale.copy_(torch.where(spread > 1e-12 * inputs.abs().amax(0), spread, torch.ones_like(spread)))
        duration = features["length"].sum(1).mean()
        self.pace.copy_(torch.where(duration > 0, duration / SCALED_DURATION, 1.0))
        x = features["x"].flatten(0, 1).cpu().numpy()
        x = np.hstack([x, rng.uniform(-1, 1, (len(x), self.internal)) * np.sqrt(3)])
        self.potential.set_scaling(x, potential=None, gradient=np.ones_like(x))
        for name, value in {"x_shift": 0.0, "x_scale": 1.0, "x_low": -np.inf, "x_high": np.inf}.items():
            getattr(self.potential, name)[-self.internal :] = value
        work = np.sqrt((stress**2).mean()) * np.sqrt((strain**2).sum(-1).mean())
        self.potential.potential_scale.fill_(float(work) or 1.0)
        self.potential.initialise(rng=rng, weights="uniform")
        for W, b in zip(self.W, self.b, strict=True):
            bound = W.shape[1] ** -0.5
            for parameter in (W, b):
                parameter.copy_(torch.as_tensor(rng.uniform(-bound, bound, tuple(parameter.shape))))

    def __repr__(self) -> str:
        shape, widths = ("-".join(map(str, sizes)) for sizes in (self.potential.hidden, self.widths))
        kind = "rate-independent, " if self.rate_independent else ""
        names = ", ".join(self.invariants.names)
        modes = f"{self.potential.modes} modes of {shape}"
        return f"<StateNODE of {names}: {kind}{self.internal} internal, {modes}, rate {widths}>"
