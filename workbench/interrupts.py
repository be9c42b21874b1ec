"""Ctrl-C and SIGTERM, at moments when they do no harm."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["held_signals"]


@contextmanager
def held_signals(patience: int | None = None) -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back inside and deliver them after, each once.

    With `patience`, so many of them are held, and the next one acts at once. A signal that is ignored stays ignored.
    Outside the main thread, which alone receives signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def hold(number: int, frame: object) -> None:
        arrived.append(number)
        if patience is not None and len(arrived) > patience:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, hold) for number in heard}
    try:
        yield
    finally:
        restore()
        if patience is None or len(arrived) <= patience:
            for number in dict.fromkeys(arrived):
                signal.raise_signal(number)
