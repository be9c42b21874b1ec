r"""The Schlögl reactions, the simplest network with two regimes (Eqs 17–19).

    A + 2X ⇌ 3X   (c₁, c₂),        B ⇌ X   (c₃, c₄),        A and B buffered at N₁ and N₂ molecules

    a₁ = c₁N₁ X(X − 1)/2,    a₂ = c₂ X(X − 1)(X − 2)/6,    a₃ = c₃N₂,    a₄ = c₄X

Rate constants and numbers are those Gillespie's method was made known with. The 1/2 and 1/6 count pairs and triples of
molecules; without them it is another system. The rate equation Ẋ = c₁N₁X²/2 − c₂X³/6 + c₃N₂ − c₄X rests at 85.49 and
566.91, with 247.60 unstable between; the stationary law has its modes at 82 and 563 and its least in between at 256,
with P(X < 256) = 0.220260. Up to t = 20 it is far from reached: from 250 molecules just over half the trajectories go
down at first, at t = 10 with P(X < 256) = 0.513318. A trajectory to t = 20 takes about 94,000 reactions. At t = 0 the
law is a point.
"""

from collections.abc import Sequence
from typing import ClassVar

from systems.families.base import State, register
from systems.families.reactions import ReactionNetwork
from systems.parameters import parameter

__all__ = ["Schlogl"]


@register("schlogl")
class Schlogl(ReactionNetwork):
    """A bistable reaction network of one species: noise decides which regime a trajectory takes (Eqs 17–19).

    >>> Schlogl().law([10.0])["probability"].sel(X=slice(0, 255)).sum().round(6).item()
    0.513318
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eqs 17-19, after Schlögl and Gillespie"
    state_space: ClassVar[tuple[State, ...]] = (State("X", "number of molecules", box=(0, 1000)),)
    duration: ClassVar[float] = 20.0

    c1: float = parameter(3e-7, "rate constant of A + 2X -> 3X", symbol="c₁", gt=0)
    c2: float = parameter(1e-4, "rate constant of 3X -> A + 2X", symbol="c₂", gt=0)
    c3: float = parameter(1e-3, "rate constant of B -> X", symbol="c₃", gt=0)
    c4: float = parameter(3.5, "rate constant of X -> B", symbol="c₄", gt=0)
    N1: int = parameter(100_000, "number of molecules of A", symbol="N₁", gt=0)
    N2: int = parameter(200_000, "number of molecules of B", symbol="N₂", gt=0)
    X0: int = parameter(250, "number of molecules at t = 0", symbol="X₀", ge=0)

    def start(self) -> Sequence[int]:
        """Return X₀."""
        return (self.X0,)

    def reactions(self) -> Sequence[tuple[str, float]]:
        """Return the four reactions, with the buffered numbers in their rates."""
        return [
            ("2 X -> 3 X", self.c1 * self.N1),
            ("3 X -> 2 X", self.c2),
            ("-> X", self.c3 * self.N2),
            ("X ->", self.c4),
        ]
