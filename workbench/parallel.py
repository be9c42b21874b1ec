"""Parallel execution of independent jobs: one process per job, one thread per process, progress bars in the parent.

A single thread makes results bitwise reproducible for any number of processes, and lets two fits on two cores take the
time of one: more threads than free cores slow down operations on small matrices severely.
"""

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from workbench import plugins
from workbench.checks import require_integer
from workbench.interrupts import held_signals

__all__ = ["Report", "idle_cores", "one_thread", "run"]

Report = Callable[[int, int, str], None]  # done, total, text
_child: dict[str, Any] = {}


def idle_cores() -> int:
    """Return the number of cores that have had nothing to do in the last minute, but at least two if there are two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(min(2, cores), cores - round(load))


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to a single thread inside the context."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    *,
    labels: Sequence[str],
    workers: int = 1,
    progress: bool | Report | None = None,
) -> list[Any]:
    """Return `[function(*job, report) for job in jobs]`, computed by several processes.

    With one worker, one job or a callable `progress`, everything runs in the calling process.

    Parameters
    ----------
    function : callable
        Importable by name; it calls `report(done, total, text)` from time to time.
    jobs : sequence of tuple
        The arguments of each call.
    labels : sequence of str
        The name of each job, shown with its progress.
    workers : int
        Number of processes.
    progress : bool or callable or None
        Whether to show progress bars on stderr; None shows bars on a terminal and otherwise one line per finished job.
        A callable receives the reports instead.

    Returns
    -------
    list
        The results, in the order of the jobs.

    Raises
    ------
    RuntimeError
        If a worker process dies.
    """
    require_integer(workers=workers)
    if callable(progress):
        with one_thread():
            return [function(*job, progress) for job in jobs]
    shown = sys.stderr.isatty() if progress is None else progress
    as_lines = progress is None and not shown and len(jobs) > 1
    with _lines(labels) if as_lines else _bars(labels, shown) as update:
        if workers == 1 or len(jobs) == 1:
            with one_thread():
                return [function(*job, _reporter(update, index)) for index, job in enumerate(jobs)]
        return _in_processes(function, jobs, workers, update)


def _in_processes(function: Callable, jobs: Sequence[tuple], workers: int, update: Callable) -> list[Any]:
    """Return the results of all jobs, computed by a pool of processes that forward their reports to `update`."""
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    messages.cancel_join_thread()  # a worker that is killed may leave it locked, and no report is worth waiting for
    others = set(multiprocessing.active_children())
    listener = threading.Thread(target=_listen, args=(messages, update), daemon=True)
    listener.start()
    files = [str(path) for path in plugins.LOADED.values()]
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (messages, files))
    try:
        with held_signals():  # a pool interrupted during start-up cannot be shut down
            futures = [pool.submit(_call, function, index, job) for index, job in enumerate(jobs)]
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died: it ran out of memory, was killed, or the calling script lacks the guard "
            "`if __name__ == '__main__':`; workers=1 starts no processes"
        ) from None
    except BaseException:  # including Ctrl-C: workers save their state first; a second Ctrl-C kills them
        workers_left = set(multiprocessing.active_children()) - others
        for process in workers_left:
            process.terminate()
        try:
            pool.shutdown(wait=True, cancel_futures=True)
        except BaseException:
            for process in workers_left:
                process.kill()
            raise
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        messages.put(None)
        listener.join(timeout=5)
        messages.close()


def _begin(messages: Any, files: Sequence[str]) -> None:
    """Initialise a worker process: signal handlers, one thread, the queue for its reports, and the plug-ins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, _stop)
    import torch

    torch.set_num_threads(1)
    _child["messages"] = messages
    for file in files:
        plugins.load(file)


def _stop(number: int, frame: object) -> None:
    """Exit by unwinding the stack, so that work can be saved, and ignore any further SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def _call(function: Callable, index: int, job: tuple) -> Any:
    """Run one job in a worker process."""
    try:
        return function(*job, _reporter(lambda *messages: _child["messages"].put(messages), index))
    except SystemExit as stop:  # the pool would treat it as a result and assign the next job
        os._exit(int(stop.code or 0))


def _reporter(send: Callable[..., None], index: int) -> Report:
    """Return a report function that adds the index of the job."""
    return lambda done, total, text: send(index, done, total, text)


def _listen(messages: Any, update: Callable) -> None:
    """Forward reports from the queue until None arrives."""
    while True:
        try:
            item = messages.get(timeout=3600)
        except (queue.Empty, EOFError, OSError):
            return
        if item is None:
            return
        update(*item)


@contextmanager
def _lines(labels: Sequence[str]) -> Iterator[Callable[[int, int, int, str], None]]:
    """Yield an update function that writes one line to stderr per finished job, for logs."""
    console, ended = Console(stderr=True, highlight=False, markup=False), set()

    def update(index: int, done: int, total: int, text: str) -> None:
        if done == total and index not in ended:
            ended.add(index)
            console.print(f"{labels[index]} done ({len(ended)} of {len(labels)}): {text}")

    yield update


@contextmanager
def _bars(labels: Sequence[str], shown: bool) -> Iterator[Callable[[int, int, int, str], None]]:
    """Yield an update function that moves one progress bar per job on stderr, if `shown`."""
    columns = (
        "{task.description}",
        BarColumn(),
        "{task.completed:.0f}/{task.total:.0f}",
        TextColumn("{task.fields[text]}"),
    )
    clocks = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *clocks, console=Console(stderr=True), disable=not shown, refresh_per_second=4) as bars:
        tasks = [bars.add_task(label, total=1, text="waiting") for label in labels]

        def update(index: int, done: int, total: int, text: str) -> None:
            bars.update(tasks[index], completed=done, total=total, text=text)

        yield update
