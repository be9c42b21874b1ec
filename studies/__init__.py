"""Reproducible studies: each computes, saves one self-describing file, and draws its figures from that file.

import studies
path = studies.get("gene_circuit", preset="quick").run("gene.nc", seed=0)
studies.draw(path)
"""

import importlib
from typing import Any

from studies.base import Study, draw
from studies.metrics import Metric, metrics_dataset
from studies.registry import STUDIES as STUDIES
from studies.registry import get, names, register
from studies.run_options import RunOptions

__all__ = ["Metric", "RunOptions", "Study", "draw", "get", "metrics_dataset", "names", "register"]


def __getattr__(name: str) -> Any:
    """Import `contract` on first use; the error for an unknown name says the closest one and where it lives."""
    if name == "contract":
        return importlib.import_module("studies.contract")
    import workbench.checks

    places = {known: getattr(globals()[known], "__module__", __name__) for known in __all__}
    raise workbench.checks.no_attribute(__name__, name, places)
