"""Signals that wait while something is done that must not be cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from distbp.system.signals import ENDING


@contextmanager
def signals_deferred() -> Iterator[list[int]]:
    """Let signals wait until the block ends: a clean-up that is cut short leaves things behind.

    Gives the list of those that came; each is raised once after the block, by the handler that was there before.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # which alone ever runs a handler
        yield noted
        return
    # A mask would not do: it is the calling thread's alone, and the kernel takes any thread that has none.
    found = {number: signal.getsignal(number) for number in ENDING}
    # None is not Python's and could not be put back; what is ignored stays so.
    handlers = {number: handler for number, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    for number in handlers:
        signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for noted_number in dict.fromkeys(noted):
            signal.raise_signal(noted_number)


def keep_handlers() -> None:
    """Install this process's handlers again, since Ray's C++ part lets SIGTERM end the process when it disconnects."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            handler = signal.getsignal(number)
            if handler is not None:
                signal.signal(number, handler)
