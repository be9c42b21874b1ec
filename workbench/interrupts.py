"""Deferred delivery of Ctrl-C (SIGINT) and SIGTERM around critical sections."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["held_signals"]


@contextmanager
def held_signals(patience: int | None = None) -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM inside the context and deliver each of them once on exit.

    At most `patience` signals are deferred and the next one acts immediately; None means no limit. Ignored signals stay
    ignored. Outside the main thread, which alone receives signals, the context has no effect.
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
        for number, handler in previous.items():
            signal.signal(number, handler)

    active = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, hold) for number in active}
    try:
        yield
    finally:
        restore()
        if patience is None or len(arrived) <= patience:
            for number in dict.fromkeys(arrived):
                signal.raise_signal(number)
