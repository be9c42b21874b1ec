"""Provenance of a result: versions, platform, commit and time, as attributes that netCDF can store."""

import datetime
import json
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from workbench.dataset import storable
from workbench.version import DISTRIBUTION, __version__

__all__ = ["SCHEMA", "provenance"]

SCHEMA = "workbench-result/2"
LIBRARIES = ("torch", "torchdiffeq", "numpy", "scipy", "xarray", "netCDF4", "matplotlib", "scikit-learn")
REFERENCE = (
    "R. E. Jones, A. Buganza Tepole and J. N. Fuhg, Differentiable neural network representation of multi-well, "
    "locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242"
)
LICENSE = "data and results: as their creator states; the software that wrote this file: Apache-2.0"


def provenance(**more: object) -> dict[str, str | int | float]:
    """Return the root attributes of a result file.

    Parameters
    ----------
    **more
        Further attributes, such as title, study or seed; they override the defaults and are stored as text or numbers.

    Examples
    --------
    >>> provenance(seed="7")["seed"], provenance()["schema"]
    ('7', 'workbench-result/2')
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    commit, dirty = _commit()
    attrs = {
        "Conventions": "CF-1.11",
        "title": "multi-well energy landscape",
        "source": f"{DISTRIBUTION} {__version__}",
        "references": REFERENCE,
        "license": LICENSE,
        "creator": f"written by {DISTRIBUTION} {__version__}",
        "history": f"{now} written by {Path(sys.argv[0]).name or 'python'} {' '.join(sys.argv[1:])}".strip(),
        "schema": SCHEMA,
        "git_commit": commit,
        "git_dirty": dirty,
        "versions_json": json.dumps(
            {name: _version(name) for name in LIBRARIES} | {"python": platform.python_version()}
        ),
        "platform": f"{platform.platform()}, {platform.machine()}",
        "device": "cpu",
        "dtype": "float64",
        "threads": torch.get_num_threads(),
        "created_at": now,
    }
    return {name: storable(value) for name, value in (attrs | more).items()}


def _version(name: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@cache
def _commit() -> tuple[str, int]:
    """Return the commit of the source tree and 1 if it has local changes; ("unknown", 0) outside a repository."""
    here = Path(__file__).resolve().parent.parent.parent  # the root of the checkout
    if not (here / ".git").exists():
        return "unknown", 0
    try:
        run = {"cwd": here, "capture_output": True, "text": True, "timeout": 10, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain"], **run).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return "unknown", 0
    return commit, int(bool(changed))
