"""What a study is: a question with declared settings, answered into one file, its figures drawn from that file."""

import json
import os
import shutil
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import xarray as xr

from systems.parameters import ParameterError, Parameters
from systems.registry import Registry
from workbench import parallel
from workbench.dataset import nearest, seed_sequence
from workbench.errors import FileError

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

__all__ = ["RunOptions", "STUDIES", "Study", "register"]


@dataclass(frozen=True)
class RunOptions:
    """What a study computes with: `workers` processes, `progress` on stderr, a folder for checkpoints of long fits."""

    workers: int = 2
    progress: bool | None = None
    checkpoints: Path | None = None

    def checkpoint(self, name: str) -> Path | None:
        """Return the path of a checkpoint; the folder is made when it is first needed, and removed after the run."""
        if self.checkpoints is None:
            return None
        self.checkpoints.mkdir(exist_ok=True)
        return self.checkpoints / f"{name}.ckpt"

    def parallel(self, function: Callable[..., Any], jobs: Sequence[tuple], labels: Sequence[str]) -> list[Any]:
        """Return `function(*job, report)` for every job, computed side by side (see `workbench.parallel`)."""
        return parallel.run(function, jobs, labels=labels, workers=self.workers, progress=self.progress)

    def say(self, text: str) -> None:
        """Print a line on stderr, unless progress is unwanted."""
        if self.progress is not False:
            print(text, file=sys.stderr, flush=True)  # noqa: T201


class Study(Parameters):
    """Base of all studies.

    To make one, declare settings with `systems.parameter`, name presets, and write `compute` (returns the contents of
    the file, see `workbench.files.tree_of`) and `figures` (draws from the file's tree). `studies.register("name")`
    makes it known to the command line and the contract tests; running, saving, re-running and plotting come free.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}}

    @abstractmethod
    def compute(self, seed: np.random.SeedSequence, options: RunOptions) -> dict[str, Any]:
        """Return the contents of the result file; all randomness comes from `seed`."""

    @classmethod
    def figures(cls, tree: xr.DataTree) -> "dict[str, Figure]":
        """Return name → figure, drawn from the file alone: those of the module `figures` beside the study's."""
        return _beside(cls, "figures", tree)

    @classmethod
    def animations(cls, tree: xr.DataTree) -> "dict[str, FuncAnimation]":
        """Return name → animation, to be saved as GIF: those of the module `animation` beside the study's, if any."""
        return _beside(cls, "animation", tree)

    @final
    @classmethod
    def preset(cls, name: str = "quick", **settings: Any) -> "Study":
        """Return the study with the settings of a preset, and those given instead of the preset's."""
        if name not in cls.presets:
            known = ", ".join(cls.presets)
            raise ParameterError(f"{cls.name} has no preset {name!r}{nearest(name, cls.presets) or ';'} Known: {known}")
        return cls(**{**cls.presets[name], **settings})

    @final
    def run(
        self,
        output: str | Path,
        *,
        seed: Any = 0,
        overwrite: bool = False,
        resume: bool = False,
        workers: int = 2,
        progress: bool | None = None,
    ) -> Path:
        """Answer the question, save the file and return its path; where it cannot be written is found out first.

        Long fits leave checkpoints in a folder beside the file. With `resume` an interrupted run goes on from them,
        with the settings and the seed it was started with.
        """
        from workbench.files import results

        if isinstance(seed, np.random.SeedSequence):
            raise ValueError("a study takes an integer as seed, so that its file can repeat it")
        target = results.check_target(output, overwrite=overwrite)
        sequence = seed_sequence(seed)
        checkpoints = _folder_of(target, resume=resume, overwrite=overwrite)
        options = RunOptions(workers=workers, progress=progress, checkpoints=checkpoints)
        began = time.perf_counter()
        with parallel.one_thread():
            contents = self.compute(sequence, options)
            attrs = {
                "title": self.title,
                "study": self.name,
                "config_json": self.model_dump_json(),
                "seed": str(sequence.entropy),
                "elapsed_seconds": round(time.perf_counter() - began, 3),
            }
            tree = results.tree_of(attrs=attrs, **contents)
        if target.exists() and not overwrite:  # it appeared meanwhile: lose neither
            target = target.with_stem(f"{target.stem}-{os.getpid()}")
        path = results.write(tree, target, overwrite=overwrite)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return path

    @final
    @classmethod
    def from_tree(cls, tree: xr.DataTree) -> "tuple[Study, int]":
        """Return the study and the seed that a file was made with."""
        name = str(tree.attrs.get("study", ""))
        if not name:
            raise FileError("the file was not written by a study: it has no attribute 'study'")
        return STUDIES[name](**json.loads(tree.attrs["config_json"])), int(tree.attrs["seed"])

    @final
    @classmethod
    def draw(
        cls, path: str | Path, folder: str | Path | None = None, formats: Sequence[str] = ("png", "pdf")
    ) -> list[Path]:
        """Draw figures and animations of a result file into a folder (default: beside it) and return their paths."""
        from workbench import plot
        from workbench.files import results

        source = Path(path)
        tree = results.read(source)
        study, _ = cls.from_tree(tree)
        where = Path(folder) if folder is not None else source.parent
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {where}: {error.strerror or error}") from None
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
    """Return what the module of that name in the folder of a study draws, nothing where there is none."""
    folder = study.__module__.rpartition(".")[0]
    if not folder or find_spec(f"{folder}.{name}") is None:
        return {}
    module = import_module(f"{folder}.{name}")
    return getattr(module, "animations" if name == "animation" else name)(tree)


def _folder_of(target: Path, *, resume: bool, overwrite: bool) -> Path:
    """Return the folder of the checkpoints, emptied unless the run is to go on; never empty it unasked."""
    folder = target.with_name(f"{target.name}.checkpoints")
    if folder.exists() and not resume:
        if not overwrite:
            raise FileError(
                f"an interrupted run left checkpoints in {folder}: go on with resume=True, "
                "or start afresh with overwrite=True"
            )
        shutil.rmtree(folder)
    return folder


STUDIES: Registry[Study] = Registry("study", group="workbench.studies", package="studies")
register = STUDIES.register
