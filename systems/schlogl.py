"""The Schlögl reactions, the simplest bistable reaction network (Eqs 17–19 of Jones et al. 2025).

    A + 2X ⇌ 3X   (c₁, c₂),        B ⇌ X   (c₃, c₄),        A and B buffered at N₁ and N₂ molecules

    a₁ = c₁N₁ X(X − 1)/2,    a₂ = c₂ X(X − 1)(X − 2)/6,    a₃ = c₃N₂,    a₄ = c₄X

The rate constants and numbers of molecules are the standard ones in the literature on Gillespie's method. The factors
1/2 and 1/6 count pairs and triples of molecules; without them the system is a different one.

The rate equation Ẋ = c₁N₁X²/2 − c₂X³/6 + c₃N₂ − c₄X has stable steady states at 85.49 and 566.91, separated by an
unstable one at 247.60. The stationary distribution has modes at 82 and 563 and a minimum between them at 256, with
P(X < 256) = 0.220260. It is far from reached at t = 20: of the trajectories that start at 250 molecules, just over half
first go to the lower state, so that P(X < 256) = 0.513318 at t = 10. A trajectory up to t = 20 takes about 94,000
reactions.
"""

from collections.abc import Sequence
from typing import ClassVar

from systems.families.reactions import ReactionNetwork
from systems.parameters import parameter
from systems.registry import register
from systems.system import State

__all__ = ["Schlogl"]


@register("schlogl")
class Schlogl(ReactionNetwork):
    """Schlögl reactions: a bistable network of one species, in which chance selects the steady state.

        A + 2X ⇌ 3X   (c₁, c₂),        B ⇌ X   (c₃, c₄),        A and B buffered at N₁ and N₂ molecules

    Time is in arbitrary units; rate constants are per unit time and combination of reactant molecules.

    Parameters
    ----------
    c1, c2 : float, default 3e-7, 1e-4
        Rate constants c₁ of A + 2X → 3X and c₂ of 3X → A + 2X, > 0.
    c3, c4 : float, default 1e-3, 3.5
        Rate constants c₃ of B → X and c₄ of X → B, > 0.
    N1, N2 : int, default 100_000, 200_000
        Numbers of molecules N₁ of A and N₂ of B, > 0.
    X0 : int, default 250
        Number of molecules X₀ of X at t = 0, ≥ 0.

    Examples
    --------
    >>> Schlogl().law([10.0])["probability"].sel(X=slice(0, 255)).sum().round(6).item()
    0.513318

    References
    ----------
    F. Schlögl, Z. Phys. 253, 147–161 (1972), doi:10.1007/BF01379769

    D. T. Gillespie, J. Phys. Chem. 81, 2340–2361 (1977), doi:10.1021/j100540a008

    Eqs 17–19 of
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242
    """

    reference: ClassVar[str] = "Jones, Buganza Tepole and Fuhg, Eqs 17-19, after Schlögl and Gillespie"
    state_space: ClassVar[tuple[State, ...]] = (State("X", "number of molecules", "1", box=(0, 1000)),)
    duration: ClassVar[float] = 20.0
    potential_unit: ClassVar[str] = "1"
    time_unit: ClassVar[str] = "1"

    c1: float = parameter(3e-7, "rate constant of A + 2X -> 3X", symbol="c₁", gt=0)
    c2: float = parameter(1e-4, "rate constant of 3X -> A + 2X", symbol="c₂", gt=0)
    c3: float = parameter(1e-3, "rate constant of B -> X", symbol="c₃", gt=0)
    c4: float = parameter(3.5, "rate constant of X -> B", symbol="c₄", gt=0)
    N1: int = parameter(100_000, "number of molecules of A", symbol="N₁", gt=0)
    N2: int = parameter(200_000, "number of molecules of B", symbol="N₂", gt=0)
    X0: int = parameter(250, "number of molecules at t = 0", symbol="X₀", ge=0)

    def start(self) -> Sequence[int]:
        """Return the number of molecules X₀ at t = 0."""
        return (self.X0,)

    def reactions(self) -> Sequence[tuple[str, float]]:
        """Return the four reactions; their rates include the numbers of buffered molecules."""
        return [
            ("2 X -> 3 X", self.c1 * self.N1),
            ("3 X -> 2 X", self.c2),
            ("-> X", self.c3 * self.N2),
            ("X ->", self.c4),
        ]
