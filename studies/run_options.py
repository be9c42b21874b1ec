"""What a study computes with: worker processes, progress reports, a folder for checkpoints."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import parallel

__all__ = ["RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that do not affect its results.

    Parameters
    ----------
    workers : int, default 2
        Number of processes.
    progress : bool, optional
        Whether to show progress on stderr. Default: bars on a terminal, one line for each finished job elsewhere.
    checkpoints : pathlib.Path, optional
        Folder for checkpoints of long fits. Default: none are written.

    Examples
    --------
    >>> import studies
    >>> options = studies.RunOptions(workers=1, progress=False)
    >>> options.parallel(lambda x, report: x**2, [(2,), (3,)], labels=["two", "three"])
    [4, 9]
    """

    workers: int = 2
    progress: bool | None = None
    checkpoints: Path | None = None

    def checkpoint(self, name: str) -> Path | None:
        """Return the path of a checkpoint, or None without a folder for them; create the folder if necessary."""
        if self.checkpoints is None:
            return None
        self.checkpoints.mkdir(exist_ok=True)
        return self.checkpoints / f"{name}.ckpt"

    def parallel(self, function: Callable[..., Any], jobs: Sequence[tuple], labels: Sequence[str]) -> list[Any]:
        """Return `function(*job, report)` for every job, computed in parallel processes.

        Parameters
        ----------
        function : callable
            Function that can be imported by name. It may call ``report(done, total, text)`` to show its progress.
        jobs : sequence of tuple
            Arguments of each call.
        labels : sequence of str
            Names of the jobs, for progress and error messages.

        Returns
        -------
        list
            Results, in the order of the jobs.
        """
        return parallel.run(function, jobs, labels=labels, workers=self.workers, progress=self.progress)

    def say(self, text: str) -> None:
        """Print a line on stderr, unless `progress` is False."""
        if self.progress is not False:
            print(text, file=sys.stderr, flush=True)  # noqa: T201
