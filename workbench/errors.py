"""Every exception and warning of the package: what users may catch, and import from `workbench`."""

from typing import Any

__all__ = [
    "DatasetError",
    "FileError",
    "FitError",
    "LandscapeError",
    "LandscapeWarning",
    "SimulationError",
    "SimulationWarning",
]


class DatasetError(ValueError):
    """Data that do not follow the vocabulary; the message says what was expected, what came, and what to do."""


class FileError(OSError):
    """A file that cannot be written or read; the message names it and says what to do."""


class FitError(RuntimeError):
    """A fit that could not go on; the message names step and term, `model` holds the last good weights, if any."""

    model: Any = None


class LandscapeError(ValueError):
    """A question that the landscape cannot answer; the message says why, and what to try."""


class LandscapeWarning(UserWarning):
    """An answer that stands on weak ground; the message says what is weak."""


class SimulationError(RuntimeError):
    """A simulation that could not go on; the message says where, and what to try."""


class SimulationWarning(UserWarning):
    """Some trajectories blew up; they are NaN from there on, and the others stand."""
