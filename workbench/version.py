"""Version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["DISTRIBUTION", "__version__"]

DISTRIBUTION = "multiwell-workbench"

try:
    __version__ = version(DISTRIBUTION)
except PackageNotFoundError:  # run from the source tree without installation
    __version__ = "unknown"
