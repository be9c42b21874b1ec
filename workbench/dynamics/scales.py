r"""Natural units of a flow: deviations in units of a box, and time in units of the run.

    z = (x − o)/w,        s = (t − t₀)/τ,        dz/ds = −(τ/w) ∇Ψ(o + w z, t₀ + τ s),

with o the lower corner of the box of the potential and w its sides. Tolerances, first steps and limits of an integrator
are plain numbers in these units, so that no result depends on the units of x, Ψ and t, or on the origin of x. Along a
state without a known box, o is the first initial state and w the spread of the initial states, or the distance of a
step from them along which the velocity changes by no more than itself, whichever is larger. (Errors are then relative
to the distance from the start.) τ is a power of 2, so that times are converted without rounding.

Potentials are evaluated in their own precision, everything else is in double precision. What a potential cannot resolve
at x, ε|x|, is not asked of the integrator either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.potentials.box import Box, box_of
from workbench.potentials.bridge import tensor_options
from workbench.potentials.potential import Landscape, TimeVarying

__all__ = ["FAR", "Gradient", "Scales", "gradient_of"]

FAR = 1e6  # sides of the box: what is farther away has blown up
FIRST_MOVE = 1e-2  # of the first step of an integrator, in units of the box
ANYWHERE = torch.finfo(torch.float64).max  # sides of an unknown box: only what is not finite has blown up
ROUNDING = 8.0  # units in the last place: smallest tolerance
SHRINK = 8.0  # of the time step from one trial to the next
MOST_TRIALS = 100  # by then it has shrunk by a factor of 10⁹⁰
MOMENTS = 5  # times at which the velocity of a changing landscape is looked at
STEPS, POINTS = ("first_step", "min_step", "max_step", "step_size"), ("step_t", "jump_t")  # options of torchdiffeq

Gradient = Callable[[Tensor, float], Tensor]  # ∇Ψ(x, t), shape (…, dim), of x, shape (…, dim), and t


def gradient_of(potential: Any) -> Gradient:
    """Return ∇Ψ(x, t) of a fixed or time-dependent landscape, evaluated in its own precision.

    >>> import systems
    >>> gradient_of(systems.get("gene_circuit"))(torch.ones(2), 0.0).dtype
    torch.float32
    """
    moving = isinstance(potential, TimeVarying)

    def gradient(x: Tensor, t: Any) -> Tensor:
        now = potential.at(time=t) if moving else potential
        return torch.as_tensor(now.gradient(x.to(getattr(now, "dtype", x.dtype)))).to(x)

    return gradient


@dataclass(frozen=True)
class Scales:
    """Natural units of the flow of a potential from given states.

    Parameters
    ----------
    origin, length : torch.Tensor
        o and w, shape (dim,).
    begin, duration : float
        t₀ and τ.
    tolerance : torch.Tensor
        Smallest absolute tolerance in z, shape (dim,).
    reach : torch.Tensor
        Largest |z| of a trajectory that has not blown up, shape (dim,); without a box, any finite number.
    limit : float or None
        Largest |x|, if the user states one, which takes the place of `reach`.

    Examples
    --------
    >>> import systems
    >>> circuit = systems.get("gene_circuit")  # in [0, 2]²
    >>> scales = Scales.of(circuit, torch.ones(1, 2).double(), np.array([0.0, 10.0]))
    >>> scales.z(torch.tensor([0.0, 1.0])).tolist(), scales.duration
    ([0.0, 0.5], 8.0)
    """

    origin: Tensor
    length: Tensor
    begin: float
    duration: float
    tolerance: Tensor
    reach: Tensor
    limit: float | None = None

    @classmethod
    def of(
        cls,
        potential: Landscape | TimeVarying,
        x: Tensor,
        times: np.ndarray,
        *,
        box: Box | None = None,
        limit: float | None = None,
    ) -> "Scales":
        """Return the units for initial states x, shape (…, dim), and increasing times, shape (time,).

        The box is by default that of the potential.
        """
        low, high = box_of(potential) if box is None else (box.low.to(x), box.high.to(x))
        low, high, rows = low.to(x), high.to(x), x.reshape(-1, x.shape[-1])
        known = torch.isfinite(high - low)
        origin, length, size = low, high - low, torch.maximum(low.abs(), high.abs())
        if not known.all():
            moves = _moves(gradient_of(potential), x, _moments(potential, times), float(times[-1] - times[0]))
            found = torch.maximum(rows.amax(0) - rows.amin(0), moves)
            origin = torch.where(known, low, rows[0])
            length = _positive(torch.where(known, high - low, found), rows)
            size = torch.where(known, size, rows.abs().amax(0))
        precision = torch.finfo(tensor_options(_at(potential, times[0]))["dtype"]).eps
        reach = torch.where(known, FAR * ((rows - origin) / length).abs().amax(0).clamp_min(1), ANYWHERE)
        return cls(
            origin,
            length,
            0.0 if isinstance(potential, TimeVarying) else float(times[0]),
            float(2.0 ** np.round(np.log2(times[-1] - times[0]))),
            ROUNDING * precision * torch.maximum(size, length) / length,
            reach,
            limit,
        )

    def x(self, z: Tensor) -> Tensor:
        """Return x, shape (…, dim), of z of that shape."""
        return self.origin + self.length * z

    def z(self, x: Tensor) -> Tensor:
        """Return z, shape (…, dim), of x of that shape."""
        return (x - self.origin) / self.length

    def t(self, s: Any) -> Any:
        """Return the time t of s."""
        return self.begin + self.duration * s

    def s(self, t: Any) -> Any:
        """Return s of the time t."""
        return (t - self.begin) / self.duration

    def shifted(self) -> "Scales":
        """Return the units of deviations from o that are as long as those of x."""
        return replace(self, length=torch.ones_like(self.length), reach=(self.reach * self.length).clamp_max(ANYWHERE))

    def gone(self, z: Tensor) -> Tensor:
        """Return which states z, shape (…, dim), have blown up or are not finite, shape (…)."""
        if self.limit is not None:
            return ~(self.x(z).abs() <= self.limit).all(-1)
        return ~(z.abs() <= self.reach).all(-1)

    def first_step(self, z: Tensor, rate: Tensor, span: float) -> float:
        """Return a first step in s: a hundredth of the `span`, or along which z moves by a hundredth, if shorter.

        `rate` is dz/ds at z, both of shape (…, dim).
        """
        fastest = float((rate.abs() / (1 + z.abs())).max())
        return FIRST_MOVE * (min(span, 1 / fastest) if fastest > 0 else span)

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return options of torchdiffeq with times in units of s."""
        steps = {name: given[name] / self.duration for name in STEPS if given.get(name) is not None}
        points = {name: self.s(torch.as_tensor(given[name]).double()) for name in POINTS if given.get(name) is not None}
        return {**given, **steps, **points}


def _at(potential: Any, t: float) -> Any:
    """Return the potential at time t; a fixed landscape is itself."""
    return potential.at(time=t) if isinstance(potential, TimeVarying) else potential


def _moments(potential: Any, times: np.ndarray) -> Sequence[float]:
    """Return the times at which the velocity is looked at: the first one, or several of a changing landscape."""
    return np.linspace(times[0], times[-1], MOMENTS).tolist() if isinstance(potential, TimeVarying) else [times[0]]


@torch.no_grad()
def _moves(gradient: Gradient, x: Tensor, moments: Sequence[float], span: float) -> Tensor:
    """Return how far a step takes states x, shape (…, dim), along which the velocity changes by no more than itself.

    The largest move along every state, shape (dim,), of steps no longer than `span`.
    """
    largest = x.new_zeros(x.shape[-1])
    for t in moments:
        h, slope = span, gradient(x, t)
        moving = slope.norm(dim=-1) > 0
        for _ in range(MOST_TRIALS if moving.any() else 0):
            change = gradient(x - h * slope, t) - slope
            if (change.norm(dim=-1) <= slope.norm(dim=-1))[moving].all():
                break
            h /= SHRINK
        largest = torch.maximum(largest, (h * slope).abs().reshape(-1, x.shape[-1]).amax(0).nan_to_num(0.0))
    return largest


def _positive(length: Tensor, rows: Tensor) -> Tensor:
    """Return lengths, shape (dim,), with the largest of them, or else of |x|, in the place of those that are 0."""
    for largest in (length.max(), rows.abs().max(), torch.ones_like(length).max()):
        length = torch.where(length > 0, length, largest)
    return length
