"""The signals that end a run, and what they do where nothing else is said: they interrupt, as Ctrl-C does.

And signal 0, which does nothing but tell whether there is a process that it would reach.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

ENDING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if name in signal.Signals.__members__  # Windows has the first two
)
"""Ctrl-C; kill, Slurm, Kubernetes; a terminal that closes; and the warnings that ``sbatch --signal`` sends."""

interrupts: list[int] = []
"""Signals that have been raised as KeyboardInterrupt; a library may have made another error of it on its way."""


def heeded() -> list[signal.Signals]:
    """Return those that are not ignored: what came ignored stays so, such as SIGHUP under nohup."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt: the handler of all of them where there is nothing to save."""
    interrupts.append(number)
    raise KeyboardInterrupt


def interrupt_on_signals() -> None:
    """Let each of them interrupt from now on."""
    for number in heeded():
        signal.signal(number, interrupt)


def end_at_once_on_signals(code: int) -> None:
    """Let each of them end the process with this exit code and no word: all that is to be said and saved has been."""
    for number in heeded():
        signal.signal(number, lambda number, frame: os._exit(code))


def is_there(process: int) -> bool:
    """Return whether there is a process with this number, also another user's, or one that nobody has waited for."""
    if process <= 0:  # which would mean groups of processes
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        pass
    return True
