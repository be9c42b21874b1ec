"""Reproducible studies: each computes, saves one self-describing file, and draws its figures from that file.

import studies
path = studies.get("gene_circuit", preset="quick").run("gene.nc", seed=0)
studies.draw(path)
"""

from pathlib import Path
from typing import Any

from studies.base import STUDIES, Study, register
from studies.metrics import Metric, metrics_dataset
from studies.run_options import RunOptions

__all__ = ["RunOptions", "Metric", "Study", "draw", "get", "names", "metrics_dataset", "register", "STUDIES"]


def names() -> list[str]:
    """Return the names of all known studies.

    They are the studies of this package, those registered with `register`, and those of installed packages that offer
    an entry point in the group ``workbench.studies``.

    Returns
    -------
    list of str
        Names in alphabetical order.

    Warns
    -----
    UserWarning
        If the study of an installed package fails to load; it is skipped.

    Examples
    --------
    >>> import studies
    >>> "gene_circuit" in studies.names()
    True
    """
    return STUDIES.names()


def get(name: str, *, preset: str = "quick", **settings: Any) -> Study:
    """Return a registered study.

    Parameters
    ----------
    name : str
        Name of the study, one of `names()`.
    preset : str, default "quick"
        Name of a set of settings; the studies of this package have "quick" and "paper".
    **settings
        Settings that replace those of the preset.

    Returns
    -------
    Study
        The study, ready to run.

    Raises
    ------
    KeyError
        If no study has this name; the message suggests the closest one.
    ParameterError
        If the preset or a setting is unknown, or a setting is of the wrong type or out of bounds.

    Examples
    --------
    >>> import studies
    >>> studies.get("gene_circuit", modes=4).model_dump()["modes"]
    4
    """
    return STUDIES[name].preset(preset, **settings)


def draw(path: str | Path, folder: str | Path | None = None) -> list[Path]:
    """Draw the figures and animations of a result file of a study.

    Parameters
    ----------
    path : str or pathlib.Path
        Result file of a study.
    folder : str or pathlib.Path, optional
        Folder for the figures, created if necessary. Default: that of the file.

    Returns
    -------
    list of pathlib.Path
        Paths of the figures (PNG and PDF) and animations (GIF).

    Raises
    ------
    FileError
        If the file cannot be read or was not written by a study, or the folder cannot be created.
    KeyError
        If the study of the file is not known.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import xarray as xr
    >>> import studies
    >>> from workbench import plot
    >>> @studies.register("parabola")
    ... class Parabola(studies.Study):
    ...     title = "A parabola"
    ...     def compute(self, seed, options):
    ...         return {"landscape": xr.Dataset({"potential": ("x", [1.0, 0.0, 1.0])})}
    ...     @staticmethod
    ...     def figures(tree):
    ...         figure, axes = plot.figure(1, 1, size=(2, 2))
    ...         axes[0, 0].plot(tree["landscape/potential"])
    ...         return {"landscape": figure}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Parabola().run(pathlib.Path(folder) / "parabola.nc")
    ...     [figure.name for figure in studies.draw(path)]
    ['parabola-landscape.png', 'parabola-landscape.pdf']
    """
    return Study.draw(path, folder)


def __getattr__(name: str) -> Any:
    """Raise an `AttributeError` that names the closest offered name and the module it lives in."""
    import workbench.checks

    places = {known: getattr(globals()[known], "__module__", __name__) for known in __all__}
    raise workbench.checks.no_attribute(__name__, name, places)
