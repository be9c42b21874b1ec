"""The interface of a Markov jump process that the direct method and the master equation require.

A state is a row of counts x, shape (…, species). Reaction r adds `changes[r]` to x with propensity a_r(x), its
probability per unit time. Every `ReactionNetwork` satisfies this interface.
"""

from typing import Any, Protocol

import numpy as np

__all__ = ["JumpProcess"]


class JumpProcess(Protocol):
    """Integer counts of species that change in random jumps."""

    @property
    def name(self) -> str:
        """Name used in messages."""

    @property
    def dim(self) -> int:
        """Number of species."""

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the species."""

    @property
    def changes(self) -> np.ndarray:
        """Change of the counts by each reaction, shape (reaction, species)."""

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest allowed counts, shape (species,) each."""

    def propensities(self, x: Any) -> np.ndarray:
        """Return a(x), shape (…, reaction), at counts x, shape (…, species)."""

    def possible(self, x: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Return whether counts x and their propensities a are admissible, shape (…)."""

    def fault(self, x: np.ndarray) -> str:
        """Return the reason why counts x, shape (species,), are not admissible."""
