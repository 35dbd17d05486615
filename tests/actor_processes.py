"""The processes of a run's actors, found while some of them are coming and going."""

from collections.abc import Iterable
from contextlib import suppress

import psutil


def actors(name: str, of: psutil.Process | None = None) -> list[psutil.Process]:
    """Return the actors below a process, by default this one, whose class begins so: _Worker, _Server, _Host."""
    return named(f"ray::{name}", (of or psutil.Process()).children(recursive=True))


def called(name: str, of: psutil.Process) -> list[psutil.Process]:
    """Return the processes below a process whose program is called so."""
    found = []
    for process in of.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == name:
                found.append(process)
    return found


def named(begin: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the living processes whose command line begins so."""
    found = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE and " ".join(process.cmdline()).startswith(begin):
                found.append(process)
        except psutil.NoSuchProcess:  # also a zombie since
            pass
    return found
