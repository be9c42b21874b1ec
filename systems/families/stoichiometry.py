"""A reaction as it is written, such as "2 X -> 3 X", and its rate.

With ν_s reactant molecules of species s and rate constant c, the propensity of mass action at counts x is

    a(x) = c Π_s x_s (x_s − 1) … (x_s − ν_s + 1)/ν_s!,        in the limit of many molecules   c Π_s x_s^ν_s/ν_s!

It counts the combinations of molecules that can react: X(X − 1)/2 pairs, not X².
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from systems.parameters import ParameterError
from workbench.dataset import nearest

__all__ = ["Reaction"]

Rate = float | Callable[..., np.ndarray]
EMPTY_SIDE = ("", "0", "∅")


@dataclass(frozen=True)
class Reaction:
    """A reaction.

    Parameters
    ----------
    equation : str
        The equation as it is written.
    reactants, products : tuple of int, shape (species,)
        Numbers of molecules on either side.
    rate : float or callable
        Rate constant of mass action, or the propensity as a function of all counts.

    Examples
    --------
    >>> reaction = Reaction.of("2 X -> 3 X", 0.5, ["X"])
    >>> reaction.change, reaction.propensity(np.array([[1.0], [2.0], [4.0]]))
    ((1,), array([0. , 0.5, 3. ]))
    """

    equation: str
    reactants: tuple[int, ...]
    products: tuple[int, ...]
    rate: Rate

    @classmethod
    def of(cls, equation: str, rate: Rate, states: Sequence[str]) -> "Reaction":
        """Return the reaction of an equation between named states, such as "A + 2 B -> C", "-> A" or "A -> 0"."""
        sides = re.split(r"->|→", equation)
        if len(sides) != 2:
            raise ParameterError(f"a reaction must be written like 'A + 2 B -> C', got {equation!r}")
        reactants, products = (_side(side, equation, states) for side in sides)
        if not callable(rate):
            is_number = isinstance(rate, Real) and not isinstance(rate, bool)
            if not (is_number and np.isfinite(rate) and rate > 0):
                raise ParameterError(f"the rate of {equation!r} must be a positive number or a function, got {rate!r}")
        return cls(equation, reactants, products, rate)

    @property
    def change(self) -> tuple[int, ...]:
        """Change of each count by the reaction."""
        return tuple(p - r for p, r in zip(self.products, self.reactants, strict=True))

    def propensity(self, x: np.ndarray) -> np.ndarray:
        """Return a(x), of shape (…) or broadcastable to it, at counts x, shape (…, species)."""
        return self._rate(x, lambda count, taken: count - taken)

    def intensity(self, x: np.ndarray) -> np.ndarray:
        """Return a(x) in the limit of many molecules, shape (…), at x, shape (…, species)."""
        return self._rate(x, lambda count, taken: count)

    def _rate(self, x: np.ndarray, left: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        """Return the rate at x, where `left` gives the molecules left of a count after some were taken."""
        if callable(self.rate):
            return np.asarray(self.rate(*(x[..., k] for k in range(x.shape[-1]))), dtype=np.float64)
        a = np.full(x.shape[:-1], float(self.rate))
        for species, order in enumerate(self.reactants):
            for taken in range(order):
                a *= left(x[..., species], taken) / (taken + 1)
        return a


def _side(text: str, equation: str, states: Sequence[str]) -> tuple[int, ...]:
    """Return the number of molecules of each state on one side of an equation, shape (species,)."""
    counts = dict.fromkeys(states, 0)
    for term in () if text.strip() in EMPTY_SIDE else text.split("+"):
        match = re.fullmatch(r"\s*(\d*)\s*([^\W\d]\w*)\s*", term)
        if match is None:
            raise ParameterError(f"a reaction must be written like 'A + 2 B -> C', got {equation!r}")
        name = match[2]
        if name not in counts:
            raise ParameterError(
                f"{name} in {equation!r} is not a state{nearest(name, states) or '.'} The states are "
                f"{', '.join(states)}; include the number of a buffered species in the rate"
            )
        counts[name] += int(match[1] or 1)
    return tuple(counts.values())
