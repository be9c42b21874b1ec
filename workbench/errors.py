"""Exceptions and warnings of the package, all of them importable from `workbench`."""

from typing import Any

__all__ = [
    "DatasetError",
    "DatasetWarning",
    "FileError",
    "FitError",
    "LandscapeError",
    "LandscapeWarning",
    "SimulationError",
    "SimulationWarning",
]


class DatasetError(ValueError):
    """Raised when data violate the data format; the message says what was expected, what was found and what to do."""


class DatasetWarning(UserWarning):
    """Issued when data are valid but may not be what was meant; the message says why and what to do."""


class FileError(OSError):
    """Raised when a file cannot be read or written; the message names the file and says what to do."""


class FitError(RuntimeError):
    """Raised when a fit fails; the message names step and loss term, `model` is the last valid model, if any."""

    model: Any = None


class LandscapeError(ValueError):
    """Raised when an analysis of a landscape is impossible; the message says why and what to try."""


class LandscapeWarning(UserWarning):
    """Issued when the result of an analysis may be unreliable; the message says why."""


class SimulationError(RuntimeError):
    """Raised when a simulation cannot continue; the message says where and what to try."""


class SimulationWarning(UserWarning):
    """Issued when trajectories blow up (they are NaN from then on, all others remain valid), or steps are too long."""
