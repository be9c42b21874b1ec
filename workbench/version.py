"""The version of this package, as it was installed."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["DISTRIBUTION", "__version__"]

DISTRIBUTION = "multiwell-workbench"

try:
    __version__ = version(DISTRIBUTION)
except PackageNotFoundError:  # run from its folder, not installed
    __version__ = "unknown"
