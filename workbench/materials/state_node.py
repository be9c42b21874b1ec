r"""Internal variables that follow an ordinary differential equation: the ISV-NODE (Eqs 29–31) and one without rate.

    Ψ = LSE-ICNN(x(E), h),        ḣ = NN(x(E), x(Ė), y(E, Ė), h)            y the joint invariants, h ∈ ℝ⁶,

as published with tr E, tr E², tr E³, the same of the rate, and tr EĖ, tr E²Ė, tr EĖ²: nine inputs. With an axis five,
five and four. The rate-independent model sees the direction of the rate only, N = Ė/|Ė|, and moves with the strain,

    ḣ = |Ė| NN(x(E), x(N), y(E, N), h),

so that a path run at another speed gives the same stress, to rounding. Where the strain rests |Ė| has a kink; the
derivative is taken as 0 there, and the tangent is the elastic one.

Strain is linear between samples, so its rate jumps at each of them. Time is therefore counted in samples, s = 0, 1, …,
with dh/ds = Δt ḣ, and integrated on fixed steps from sample to sample: by torchdiffeq with `perturb`, which evaluates
the ends of a step on its own side; Euler's method, h ← h + Δt ḣ, in a loop of its own, which is twice as fast. What
does not depend on h is known beforehand at the nodes of the method.

Stress alone does not identify the dissipation: any function of h may be added to Ψ and changes no stress. What
`respond` reports, −½ (∂Ψ/∂h + ∂Ψ/∂h′)·(h′ − h) a step, is the dissipation of one of many equally good models, and may
be negative.
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

NODES = {"euler": (0.0,), "midpoint": (0.0, 0.5), "rk4": (0.0, 1 / 3, 2 / 3, 1.0)}  # of a step, where h′ is asked for
PACES = 30.0  # how far h may go along a path, in units of its network's output


class StateNODE(Material):
    """A material whose internal variables follow a neural ordinary differential equation; the defaults as published.

    `invariants` say its symmetry; `internal` is the number of internal variables, `modes` and `hidden` are those of the
    LSE-ICNN, `widths` those of the network of ḣ. With `rate_independent` it does not feel how fast it is strained.

    >>> StateNODE(Invariants())
    <StateNODE of trE, trE2, trE3: 6 internal, 2 modes of 19-19, rate 15-15>
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
        if method not in NODES:
            raise ValueError(f"method must be one of {', '.join(NODES)}, got {method!r}")
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
        """Return invariants and slopes, the scaled inputs of ḣ at the nodes of every step, and the steps' lengths."""
        change = E.diff(dim=1)
        if self.rate_independent:
            square = contract(change, change)
            moves = square > 0
            length = torch.where(
                moves, torch.where(moves, square, 1.0).sqrt(), 0.0
            )  # whose slope at rest is 0, not NaN
        else:
            length = time.diff(dim=1).expand(change.shape[:-1])
        rate = (change / torch.where(length > 0, length, 1.0).unsqueeze(-1)).unsqueeze(-2)
        nodes = E.new_tensor(NODES[self.method]).unsqueeze(-1)
        at = E[:, :-1].unsqueeze(-2) + nodes * change.unsqueeze(-2)
        known = [self.invariants.value(at), self.invariants.value(rate).expand(*at.shape[:-1], -1)]
        inputs = torch.cat([*known, self.invariants.joint(at, rate.expand_as(at))], -1)
        return {
            "x": self.invariants.value(E),
            "slope": self.invariants.gradient(E),
            "inputs": (inputs - self.input_shift) / self.input_scale,
            "length": length / self.pace,
        }

    def states(self, features: Features, start: Tensor | None) -> Tensor:
        """Return h along the paths; from rest it is 0 at the first sample."""
        inputs, length = features["inputs"], features["length"].unsqueeze(-1)
        into, onto = self.W[0].split([inputs.shape[-1], self.internal], 1)
        driven = inputs @ into.mT + self.b[0]
        deeper = [(W.mT, b) for W, b in zip(self.W[1:], self.b[1:], strict=True)]
        nodes = np.array(NODES[self.method])

        def change(step: int, node: int, h: Tensor) -> Tensor:
            z = torch.addmm(driven[:, step, node], h, onto.mT)
            for W, b in deeper:
                z = torch.addmm(b, torch.tanh(z), W)
            return length[:, step] * z

        def rate(s: Tensor, h: Tensor) -> Tensor:
            step = int(s)
            return change(step, int(np.abs(nodes - (float(s) - step)).argmin()), h)

        h = inputs.new_zeros(len(inputs), self.internal) if start is None else start
        if self.method == "euler" or inputs.shape[1] == 0:
            path = [h]
            for step in range(inputs.shape[1]):
                path.append(path[-1] + change(step, 0, path[-1]))
            return torch.stack(path, 1)
        samples = torch.arange(inputs.shape[1] + 1, dtype=inputs.dtype, device=inputs.device)
        return odeint(rate, h, samples, method=self.method, options={"perturb": True}).movedim(0, 1)

    def gradients(self, features: Features, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂Ψ/∂x and ∂Ψ/∂h in closed form."""
        slopes = self.potential.gradient(torch.cat([features["x"], h], -1))
        by_x, by_h = slopes.split([features["x"].shape[-1], self.internal], -1)
        return by_x, by_h

    def energy(self, features: Features, h: Tensor) -> Tensor:
        """Return Ψ along the paths."""
        return self.potential.value(torch.cat([features["x"], h], -1))

    def dissipated(self, features: Features, h: Tensor) -> Tensor:
        """Return −½ (∂Ψ/∂h + ∂Ψ/∂h′)·(h′ − h), which stress does not identify; 0 at the first sample."""
        _, force = self.gradients(features, h)
        steps = -0.5 * ((force[:, 1:] + force[:, :-1]) * h.diff(dim=1)).sum(-1)
        return torch.cat([torch.zeros_like(steps[:, :1]), steps], 1)

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator, strain: np.ndarray, stress: np.ndarray, time: np.ndarray) -> None:
        """Take the scales from data and draw a start: all weights uniform on ±1/√(inputs of the layer)."""
        E, times = torch.tensor(strain).to(self.pace), torch.tensor(time).to(self.pace).expand(len(strain), -1)
        self.input_shift.zero_()
        self.input_scale.fill_(1.0)
        self.pace.fill_(1.0)
        features = self.features(E, times)
        inputs = features["inputs"].flatten(0, -2)
        spread = inputs.std(0)
        self.input_shift.copy_(inputs.mean(0))
        self.input_scale.copy_(torch.where(spread > 1e-12 * inputs.abs().amax(0), spread, torch.ones_like(spread)))
        way = features["length"].sum(1).mean()
        self.pace.copy_(torch.where(way > 0, way / PACES, 1.0))
        x = features["x"].flatten(0, 1).cpu().numpy()
        x = np.hstack([x, rng.uniform(-1, 1, (len(x), self.internal)) * np.sqrt(3)])
        self.potential.set_scaling(x, potential=None, gradient=np.ones_like(x))
        for name, value in {"x_shift": 0.0, "x_scale": 1.0, "x_low": -np.inf, "x_high": np.inf}.items():
            getattr(self.potential, name)[-self.internal :] = value
        spread_of_work = np.sqrt((stress**2).mean()) * np.sqrt((strain**2).sum(-1).mean())
        self.potential.potential_scale.fill_(float(spread_of_work) or 1.0)
        self.potential.initialise(rng, weights="uniform")
        for W, b in zip(self.W, self.b, strict=True):
            bound = W.shape[1] ** -0.5
            for parameter in (W, b):
                parameter.copy_(torch.as_tensor(rng.uniform(-bound, bound, tuple(parameter.shape))))

    def __repr__(self) -> str:
        shape, widths = ("-".join(map(str, sizes)) for sizes in (self.potential.hidden, self.widths))
        kind = "rate-independent, " if self.rate_independent else ""
        of = ", ".join(self.invariants.names)
        modes = f"{self.potential.modes} modes of {shape}"
        return f"<StateNODE of {of}: {kind}{self.internal} internal, {modes}, rate {widths}>"
