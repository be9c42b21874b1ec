"""Questions answered: each study runs, saves one self-describing file, and draws its figures from that file.

import studies
path = studies.get("gene_circuit", preset="quick").run("gene.nc", seed=0)
studies.draw(path)
"""

from pathlib import Path
from typing import Any

from studies.base import STUDIES, RunOptions, Study, register
from studies.metrics import Metric, metrics_dataset
from workbench.checks import no_attribute

__all__ = ["RunOptions", "Metric", "Study", "draw", "get", "names", "metrics_dataset", "register", "STUDIES"]


def names() -> list[str]:
    """Return the names of all known studies.

    >>> "gene_circuit" in names()
    True
    """
    return STUDIES.names()


def get(name: str, *, preset: str = "quick", **settings: Any) -> Study:
    """Return the study of that name with the settings of a preset, and those given instead.

    >>> get("gene_circuit", modes=4).model_dump()["modes"]
    4
    """
    return STUDIES[name].preset(preset, **settings)


def draw(path: str | Path, folder: str | Path | None = None) -> list[Path]:
    """Draw the figures of a study's file into a folder (default: beside the file) and return their paths."""
    return Study.draw(path, folder)


def __getattr__(name: str) -> Any:
    """Say of an unknown name which one is nearest and where it lives."""
    raise no_attribute(__name__, name, {known: getattr(globals()[known], "__module__", __name__) for known in __all__})
