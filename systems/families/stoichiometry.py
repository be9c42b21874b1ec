"""One reaction as it is written: "2 X -> 3 X" and its rate.

With ν_s reactants of species s and rate constant c, mass action on counts x is

    a(x) = c Π_s x_s (x_s − 1) … (x_s − ν_s + 1)/ν_s!,        in the limit of many molecules   c Π_s x_s^ν_s/ν_s!

which counts the sets of molecules that can react: X(X − 1)/2 pairs, not X².
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
NOTHING = ("", "0", "∅")


@dataclass(frozen=True)
class Reaction:
    """A reaction: its equation, reactants and products by species, and its rate.

    The rate is a rate constant, or a function of all counts, which is then the propensity itself.

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
        """Return the reaction of an equation such as "A + 2 B -> C", "-> A" or "A -> 0"."""
        sides = re.split(r"->|→", equation)
        if len(sides) != 2:
            raise ParameterError(f"a reaction reads 'A + 2 B -> C', got {equation!r}")
        reactants, products = (_side(side, equation, states) for side in sides)
        if not callable(rate):
            number = isinstance(rate, Real) and not isinstance(rate, bool)
            if not (number and np.isfinite(rate) and rate > 0):
                raise ParameterError(f"the rate of {equation!r} must be a positive number or a function, got {rate!r}")
        return cls(equation, reactants, products, rate)

    @property
    def change(self) -> tuple[int, ...]:
        """What the reaction adds to each count."""
        return tuple(p - r for p, r in zip(self.products, self.reactants, strict=True))

    def propensity(self, x: np.ndarray) -> np.ndarray:
        """Return a(x), shape (…) or what broadcasts to it, at counts with shape (…, species)."""
        return self._of(x, lambda count, taken: count - taken)

    def intensity(self, x: np.ndarray) -> np.ndarray:
        """Return the limit of a(x) for many molecules, shape (…), at x with shape (…, species)."""
        return self._of(x, lambda count, taken: count)

    def _of(self, x: np.ndarray, left: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        if callable(self.rate):
            return np.asarray(self.rate(*(x[..., k] for k in range(x.shape[-1]))), dtype=np.float64)
        a = np.full(x.shape[:-1], float(self.rate))
        for species, order in enumerate(self.reactants):
            for taken in range(order):
                a *= left(x[..., species], taken) / (taken + 1)
        return a


def _side(text: str, equation: str, states: Sequence[str]) -> tuple[int, ...]:
    counts = dict.fromkeys(states, 0)
    for term in () if text.strip() in NOTHING else text.split("+"):
        match = re.fullmatch(r"\s*(\d*)\s*([^\W\d]\w*)\s*", term)
        if match is None:
            raise ParameterError(f"a reaction reads 'A + 2 B -> C', got {equation!r}")
        name = match[2]
        if name not in counts:
            raise ParameterError(
                f"{name} in {equation!r} is not a state{nearest(name, states) or '.'} The states are "
                f"{', '.join(states)}; the number of a buffered species belongs into the rate"
            )
        counts[name] += int(match[1] or 1)
    return tuple(counts.values())
