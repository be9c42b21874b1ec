"""How a fit ends, with a suggestion what to try next, and the result of an optimiser for one member."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Learned", "Outcome"]


class Outcome(Enum):
    """How a fit ended; the value says so in words, with a suggestion what to try next.

    Attributes
    ----------
    RUNNING
        The fit has not ended.
    TOLERANCE
        The training and held-out errors are within the tolerance.
    CONVERGED
        No step lowers the loss any further.
    EARLY_STOPPING
        The held-out loss stopped decreasing.
    STEP_LIMIT
        All steps or epochs were used.

    Examples
    --------
    >>> print(Outcome.TOLERANCE)
    tolerance: the error is within the tolerance
    """

    RUNNING = "the fit has not ended"
    TOLERANCE = "the error is within the tolerance"
    CONVERGED = "no step lowers the loss any further; if it is too high, try more modes, wider layers or more restarts"
    EARLY_STOPPING = (
        "the held-out loss stopped decreasing, and the weights of its minimum were kept; "
        "if it is far above the training loss, try more data or fewer modes"
    )
    STEP_LIMIT = "all steps were used; if the loss is still decreasing, give the optimiser more steps"

    def __str__(self) -> str:
        return f"{self.name.lower()}: {self.value}"


@dataclass(frozen=True)
class Learned:
    """The result of an optimiser for one member.

    Parameters
    ----------
    model : TrainablePotential or Material
        The member, with the weights of its lowest held-out loss.
    records : list of dict
        One record of the history per step, or per evaluation.
    screened : list of float
        Held-out loss of every start after screening, NaN for a start that failed.
    outcome : Outcome
        How the fit ended.
    jacobian : str, optional
        How Jacobians were computed, in words, if they were.
    """

    model: Any
    records: list[dict[str, Any]]
    screened: list[float]
    outcome: Outcome
    jacobian: str | None = None
