"""What the exact methods ask of a Markov jump process: counts that change by whole steps, at rates that depend on them.

A state is a row of counts x, shape (…, species). Reaction r adds `changes[r]` to it with the propensity a_r(x), the
probability per unit of time. The direct method and the master equation need no more; a `ReactionNetwork` satisfies it.
"""

from typing import Any, Protocol

import numpy as np

__all__ = ["JumpProcess"]


class JumpProcess(Protocol):
    """Counts of species that jump at random."""

    @property
    def name(self) -> str:
        """The name in messages."""

    @property
    def dim(self) -> int:
        """Number of species."""

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the species."""

    @property
    def changes(self) -> np.ndarray:
        """What each reaction adds to the counts, shape (reaction, species)."""

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest counts allowed, each with shape (species,)."""

    def propensities(self, x: Any) -> np.ndarray:
        """Return a(x), shape (…, reaction), at counts with shape (…, species)."""

    def possible(self, x: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Return, shape (…), whether the counts are allowed, and whether their propensities are."""

    def fault(self, x: np.ndarray) -> str:
        """Say why counts x, shape (species,), are not possible."""
