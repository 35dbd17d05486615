"""Private folders for sockets and shared memory, which do not outlive their owner for long.

A process holds a lock on a file in its folder and removes the folder when it ends. If it is killed, the kernel releases
the lock: the next process on the machine notices that and removes the folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "distbp-"
_LOCK = "owner"
_UNOWNED = (f".{_LOCK}", "session_", "ray_", "prom_")
"""Prefixes of all names in a folder of ours that has no lock file; the last three are Ray's."""
_NEW_SECONDS = 60
_REMOVE_SECONDS, _REMOVE_AGAIN_SECONDS = 3.0, 0.02
_LONGEST_TEMPORARY_FOLDER = 64
"""Sockets need some 35 more characters, and a socket's path is limited to 107 (103 on macOS)."""


def memory_folder() -> Path:
    """Return the folder for files in memory: /dev/shm, or the temporary folder if there is none (macOS)."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else temporary_folder()


def temporary_folder() -> Path:
    """Return the temporary folder, or /tmp if the path is too long for sockets in it."""
    usual = tempfile.gettempdir()
    return Path(usual if len(usual) <= _LONGEST_TEMPORARY_FOLDER else "/tmp")


@contextmanager
def private_folder(base: Path) -> Iterator[Path]:
    """Make a folder in ``base`` for this user alone and remove it at the end; first remove those of dead owners."""
    remove_leftovers(base)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    # Locked before it gets its name, so that no other process finds the lock free.
    handle = os.open(folder / f".{_LOCK}", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        (folder / f".{_LOCK}").rename(folder / _LOCK)
        yield folder
    finally:
        _remove(folder)
        os.close(handle)


def _remove(folder: Path) -> None:
    """Remove a folder in which a killed process may still finish a system call, such as creating a file."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists() or time.monotonic() > deadline:
            return
        time.sleep(_REMOVE_AGAIN_SECONDS)


def leftovers(base: Path) -> list[Path]:
    """Return this user's private folders in ``base`` whose owners are dead, without removing them."""
    return list(_abandoned(base))


def remove_leftovers(base: Path) -> list[Path]:
    """Remove this user's private folders in ``base`` whose owners are dead; return the removed folders."""
    removed = []
    for folder in _abandoned(base):
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(folder)
    return removed


def _abandoned(base: Path) -> Iterator[Path]:
    """Yield the private folders whose owners are dead, each under its lock, so that no other process removes it."""
    for folder in sorted(base.glob(f"{_PREFIX}*")):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _LOCK).is_file():
                if _is_unowned(folder):
                    yield folder
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
                yield folder
            finally:
                os.close(handle)


def _is_unowned(folder: Path) -> bool:
    """Return whether a folder without a lock is an abandoned one of ours: its owner died early, or Ray re-created it.

    A user may have a folder with such a name, so it must contain nothing but files of Ray's or ours.
    """
    is_old = time.time() - folder.stat().st_mtime > _NEW_SECONDS
    is_named_by_us = (
        re.fullmatch(rf"{_PREFIX}[a-z0-9_]{{8}}", folder.name) is not None
    )  # tempfile appends eight such characters
    return is_old and is_named_by_us and all(entry.name.startswith(_UNOWNED) for entry in folder.iterdir())


def home_folder() -> Path | None:
    """Return the user's home; None for a user without HOME and without an entry in the list of users."""
    try:
        return Path.home()
    except RuntimeError:
        return None
