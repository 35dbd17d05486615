"""The signals that end a run, and blocks that they must not cut short.

By default each of them interrupts the process, as Ctrl-C does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if name in signal.Signals.__members__  # Windows has the first two
)
"""Sent by Ctrl-C; by kill, Slurm and Kubernetes; by a terminal that closes; and by ``sbatch --signal`` as warnings."""

interrupts: list[int] = []
"""Signals raised as KeyboardInterrupt, which a library may have replaced by another error on its way up."""


def not_ignored() -> list[signal.Signals]:
    """Return the ending signals that this process does not ignore; nohup, for instance, ignores SIGHUP."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt: the handler of every ending signal while there is nothing to save."""
    interrupts.append(number)
    raise KeyboardInterrupt


def interrupt_on_signals() -> None:
    """Make every ending signal raise KeyboardInterrupt from now on."""
    for number in not_ignored():
        signal.signal(number, interrupt)


def end_at_once_on_signals(code: int) -> None:
    """Make every ending signal exit with this code at once, without output: everything is already printed and saved."""
    for number in not_ignored():
        signal.signal(number, lambda number, frame: os._exit(code))


@contextmanager
def signals_deferred() -> Iterator[list[int]]:
    """Defer signals until the block ends: an interrupted clean-up would leave things behind.

    Yields the list of signals received so far; after the block each is raised once, with its original handler.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Python runs handlers in the main thread alone
        yield received
        return
    # A mask would not do: it covers the calling thread alone, and the kernel picks any thread without one.
    before = {number: signal.getsignal(number) for number in ENDING}
    # A handler of None was not installed from Python and cannot be restored; ignored signals stay ignored.
    handlers = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in handlers:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received_number in dict.fromkeys(received):
            signal.raise_signal(received_number)


def reinstall_handlers() -> None:
    """Install this process's handlers again: when Ray disconnects, its C++ code makes SIGTERM end the process."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            handler = signal.getsignal(number)
            if handler is not None:
                signal.signal(number, handler)
