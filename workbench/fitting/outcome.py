"""How a fit ends: the outcome with what to try next, and what an optimiser returns of one member."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["ACTIVE", "Learned", "Outcome"]

ACTIVE = 1e-6  # a gate above this counts as active, as published


class Outcome(Enum):
    """How a fit ended, and what to try."""

    RUNNING = "the fit has not ended"
    TOLERANCE = "the error fell below the tolerance"
    CONVERGED = "no step lowers the loss any more; if it is too high, try more modes, wider layers or more restarts"
    EARLY_STOPPING = (
        "the held-out loss stopped falling and the weights of its lowest point were kept; "
        "if it lies far above the training loss, try more data, or fewer modes"
    )
    STEP_LIMIT = "all steps were used; if the loss still falls, try an optimiser with more of them"

    def __str__(self) -> str:
        return f"{self.name.lower()}: {self.value}"


@dataclass(frozen=True)
class Learned:
    """One member: its weights of the lowest held-out loss, a record per step or epoch, the losses after screening."""

    model: LSEICNN
    records: list[dict[str, Any]]
    screened: list[float]
    outcome: Outcome
