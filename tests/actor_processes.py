"""Find the processes of a run's actors while some of them start and end."""

from collections.abc import Iterable
from contextlib import suppress

import psutil


def actors(name: str, of: psutil.Process | None = None) -> list[psutil.Process]:
    """Return the actor processes below a process (default: this one), by a prefix of their class: _Worker, .."""
    return named(f"ray::{name}", (of or psutil.Process()).children(recursive=True))


def called(name: str, of: psutil.Process) -> list[psutil.Process]:
    """Return the descendants of a process that run this program."""
    found = []
    for process in of.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == name:
                found.append(process)
    return found


def named(begin: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the live processes whose command line has this prefix."""
    found = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE and " ".join(process.cmdline()).startswith(begin):
                found.append(process)
        except psutil.NoSuchProcess:  # or has become a zombie
            pass
    return found
