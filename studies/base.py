"""The base of all studies: declared settings, one result file, and figures drawn from that file alone."""

import json
import os
import shutil
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import xarray as xr

from studies.registry import STUDIES
from studies.run_options import RunOptions
from systems.parameters import ParameterError, Parameters
from workbench import parallel
from workbench.dataset import nearest, seed_sequence
from workbench.errors import FileError

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

__all__ = ["Study", "draw"]


class Study(Parameters):
    """Base of all studies.

    A derived class declares its settings with `systems.parameter`, names presets, and writes `compute` and `figures`.
    The decorator ``studies.register("name")`` makes it known to `studies.get` and to the command line. The methods
    `run` and `draw` are the same for all studies.

    Parameters
    ----------
    **settings
        Values of the declared settings; those not given keep their defaults.

    Attributes
    ----------
    name : str
        Name of the study, set by `studies.register`.
    title : str
        Title, recorded in the file.
    presets : mapping of str to mapping
        Settings of each preset; "quick" must be among them.

    Raises
    ------
    ParameterError
        If a setting is unknown, of the wrong type, or out of bounds.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import studies, systems
    >>> import workbench as wb
    >>> class Wells(studies.Study):
    ...     title = "Wells of the asymmetric quartic"
    ...     starts: int = systems.parameter(16, "starting points of the search", ge=1)
    ...
    ...     def compute(self, seed, options):
    ...         well = systems.get("asymmetric_quartic")
    ...         points = wb.stationary_points(well, well.box, starts=self.starts)
    ...         wells = studies.Metric("wells", int((points["index"] == 0).sum()), "wells found", at_least=2)
    ...         return {"analysis": {"points": points, "metrics": studies.metrics_dataset([wells])}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Wells(starts=8).run(pathlib.Path(folder) / "wells.nc", seed=0)
    ...     wb.load(path).tree["analysis/metrics/value"].values
    array([2.])
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}}

    @abstractmethod
    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return the contents of the result file; written by the author.

        Parameters
        ----------
        seed : numpy.random.SeedSequence
            Source of all randomness.
        options : RunOptions
            Processes, progress and checkpoints.

        Returns
        -------
        dict
            Arguments of `workbench.save`: ``data``, ``fits``, ``landscape``, ``analysis`` (with an item ``metrics``,
            see `metrics_dataset`) and ``simulation``.
        """

    @classmethod
    def figures(cls, tree: xr.DataTree) -> "dict[str, Figure]":
        """Return figures by name, drawn from the tree of a result file alone.

        By default, those of the function `figures` in the module `figures` of the study's folder.
        """
        return _beside(cls, "figures", tree)

    @classmethod
    def animations(cls, tree: xr.DataTree) -> "dict[str, FuncAnimation]":
        """Return animations by name, drawn from the tree of a result file alone.

        By default, those of the function `animations` in the module `animation` of the study's folder, if there is one.
        """
        return _beside(cls, "animation", tree)

    @final
    @classmethod
    def preset(cls, name: str = "quick", **settings: Any) -> "Study":
        """Return the study with the settings of a preset.

        Parameters
        ----------
        name : str, default "quick"
            Name of the preset.
        **settings
            Settings that replace those of the preset.

        Returns
        -------
        Study
            The study.

        Raises
        ------
        ParameterError
            If the preset or a setting is unknown, or a setting is of the wrong type or out of bounds.
        """
        if name not in cls.presets:
            known = ", ".join(cls.presets)
            raise ParameterError(f"{cls.name} has no preset {name!r}{nearest(name, cls.presets) or '.'} Known: {known}")
        return cls(**{**cls.presets[name], **settings})

    @final
    def run(
        self,
        output: str | Path,
        *,
        seed: Any = 0,
        overwrite: bool = False,
        resume: bool = False,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> Path:
        """Run the study and save its result file.

        Whether the file can be written is checked first. Long fits write checkpoints to a folder beside the file, which
        is removed after the run.

        Parameters
        ----------
        output : str or pathlib.Path
            Result file to write (netCDF).
        seed : int, default 0
            Seed of all randomness, recorded in the file.
        overwrite : bool, default False
            Replace an existing file, and discard checkpoints of an interrupted run.
        resume : bool, default False
            Continue an interrupted run from its checkpoints; use the same settings and seed.
        workers : int, optional
            Number of processes, which does not affect the results. Default: as many as cores are idle.
        progress : bool, optional
            Whether to show progress on stderr. Default: bars on a terminal, one line for each finished job elsewhere.

        Returns
        -------
        pathlib.Path
            Path of the file.

        Raises
        ------
        FileError
            If the file exists or cannot be written, or there are checkpoints of an interrupted run.
        ValueError
            If the seed is not a non-negative integer.
        """
        from workbench.files import results
        from workbench.landscape.reuse import reused

        if isinstance(seed, np.random.SeedSequence):
            raise ValueError("the seed of a study must be an integer, so that its file can record it")
        target = results.check_target(output, overwrite=overwrite)
        sequence = seed_sequence(seed)
        checkpoints = _folder_of(target, resume=resume, overwrite=overwrite)
        options = RunOptions(workers=workers or parallel.idle_cores(), progress=progress, checkpoints=checkpoints)
        began = time.perf_counter()
        with parallel.one_thread(), reused():
            contents = self.compute(sequence, options)
            attrs = {
                "title": self.title,
                "study": self.name,
                "config_json": self.model_dump_json(),
                "seed": str(sequence.entropy),
                "elapsed_seconds": round(time.perf_counter() - began, 3),
            }
            tree = results.tree_of(attrs=attrs, **contents)
        if target.exists() and not overwrite:  # created during the run: keep both
            target = target.with_stem(f"{target.stem}-{os.getpid()}")
        path = results.write(tree, target, overwrite=overwrite)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return path

    @final
    @classmethod
    def from_tree(cls, tree: xr.DataTree) -> "tuple[Study, int]":
        """Return the study and the seed of the tree of a result file; `FileError` if no study wrote it."""
        name = str(tree.attrs.get("study", ""))
        if not name:
            raise FileError("the file was not written by a study; it has no attribute 'study'")
        return STUDIES[name](**json.loads(tree.attrs["config_json"])), int(tree.attrs["seed"])

    @final
    @classmethod
    def draw(
        cls, path: str | Path, folder: str | Path | None = None, formats: Sequence[str] = ("png", "pdf")
    ) -> list[Path]:
        """Draw the figures and animations of a result file, as `studies.draw` does.

        Parameters
        ----------
        path : str or pathlib.Path
            Result file of a study.
        folder : str or pathlib.Path, optional
            Folder for the figures, created if necessary. Default: that of the file.
        formats : sequence of str
            File formats of the figures.

        Returns
        -------
        list of pathlib.Path
            Paths of the figures and animations.

        Raises
        ------
        FileError
            If the file cannot be read or was not written by a study, or the folder cannot be created.
        """
        from workbench import plot
        from workbench.files import results

        source = Path(path)
        tree = results.read(source)
        study, _ = cls.from_tree(tree)
        where = Path(folder) if folder is not None else source.parent
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot create the folder {where}: {error.strerror or error}") from None
        drawn = []
        with plot.style():
            for name, figure in study.figures(tree).items():
                for suffix in formats:
                    drawn.append(where / f"{source.stem}-{name}.{suffix}")
                    figure.savefig(drawn[-1], dpi=200)
            for name, animation in study.animations(tree).items():
                drawn.append(where / f"{source.stem}-{name}.gif")
                animation.save(drawn[-1], writer="pillow", dpi=100)
        return drawn


def _beside(study: type, name: str, tree: xr.DataTree) -> dict[str, Any]:
    """Return what the module of that name in the folder of a study draws; nothing if there is no such module."""
    folder = study.__module__.rpartition(".")[0]
    if not folder or find_spec(f"{folder}.{name}") is None:
        return {}
    module = import_module(f"{folder}.{name}")
    return getattr(module, "animations" if name == "animation" else name)(tree)


def _folder_of(target: Path, *, resume: bool, overwrite: bool) -> Path:
    """Return the folder for checkpoints; those of an interrupted run are removed only with `overwrite`."""
    folder = target.with_name(f"{target.name}.checkpoints")
    if folder.exists() and not resume:
        if not overwrite:
            raise FileError(
                f"an interrupted run left checkpoints in {folder}; continue it with resume=True "
                "or discard them with overwrite=True"
            )
        shutil.rmtree(folder)
    return folder


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
