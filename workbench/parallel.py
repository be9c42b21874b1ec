"""Independent fits side by side: one process a job, one thread a process, progress bars in the parent.

One thread each is what makes results equal to the last bit wherever they are computed, and what makes two fits on two
cores take the time of one: more threads than free cores slow small matrices down many times over.
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

from workbench.checks import require_integer
from workbench.interrupts import held_signals

__all__ = ["Report", "one_thread", "run"]

Report = Callable[[int, int, str], None]  # done, total, text
_child: dict[str, Any] = {}


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use a single thread inside, and as many as before outside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    *,
    labels: Sequence[str],
    workers: int = 1,
    progress: bool | Report | None = None,
) -> list[Any]:
    """Return `[function(*job, report) for job in jobs]`, computed by `workers` processes.

    `function` is importable by name and calls `report(done, total, text)` now and then. Progress goes to stderr;
    None shows bars where that is a terminal and a line per finished job elsewhere, and a `Report` takes it instead.
    With one worker or one job, or a `Report`, everything happens in this process.
    """
    require_integer(workers=workers)
    if callable(progress):
        with one_thread():
            return [function(*job, progress) for job in jobs]
    shown = sys.stderr.isatty() if progress is None else progress
    told = progress is None and not shown and len(jobs) > 1
    with _lines(labels) if told else _bars(labels, shown) as update:
        if workers == 1 or len(jobs) == 1:
            with one_thread():
                return [function(*job, _reporter(update, index)) for index, job in enumerate(jobs)]
        return _in_processes(function, jobs, workers, update)


def _in_processes(function: Callable, jobs: Sequence[tuple], workers: int, update: Callable) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    others = set(multiprocessing.active_children())
    listener = threading.Thread(target=_listen, args=(news, update), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (news,))
    try:
        with held_signals():  # a pool that is interrupted while it starts cannot be shut down
            futures = [pool.submit(_call, function, index, job) for index, job in enumerate(jobs)]
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died: out of memory, or killed, or a script without `if __name__ == '__main__':` around "
            "what it runs; with workers=1 no processes are started"
        ) from None
    except BaseException:  # also Ctrl-C: workers save what they have; at a second one they are killed
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
        news.put(None)
        listener.join(timeout=5)
        news.close()


def _begin(news: Any) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, _stop)
    torch.set_num_threads(1)
    _child["news"] = news


def _stop(number: int, frame: object) -> None:
    """Unwind, so that work can be saved, and do not let a second SIGTERM disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def _call(function: Callable, index: int, job: tuple) -> Any:
    try:
        return function(*job, _reporter(lambda *news: _child["news"].put(news), index))
    except SystemExit as stop:  # the pool would take this for a result, and hand out the next job
        os._exit(int(stop.code or 0))


def _reporter(send: Callable[..., None], index: int) -> Report:
    return lambda done, total, text: send(index, done, total, text)


def _listen(news: Any, update: Callable) -> None:
    while True:
        try:
            item = news.get(timeout=3600)
        except (queue.Empty, EOFError, OSError):
            return
        if item is None:
            return
        update(*item)


@contextmanager
def _lines(labels: Sequence[str]) -> Iterator[Callable[[int, int, int, str], None]]:
    """Say on stderr when each of several jobs is done: for logs, where bars cannot move."""
    console, ended = Console(stderr=True, highlight=False, markup=False), set()

    def update(index: int, done: int, total: int, text: str) -> None:
        if done == total and index not in ended:
            ended.add(index)
            console.print(f"{labels[index]} done ({len(ended)} of {len(labels)}): {text}")

    yield update


@contextmanager
def _bars(labels: Sequence[str], shown: bool) -> Iterator[Callable[[int, int, int, str], None]]:
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
