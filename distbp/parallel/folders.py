"""Private folders for sockets and shared memory, which never outlive their owner for long.

An owner holds a lock on a file in its folder and removes the folder at its end. An owner that was killed cannot, but
the kernel frees its lock; so whoever comes next can tell, and removes the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "distbp-"
_LOCK = "owner"
_NEW_SECONDS = 60
_LONGEST_TEMPORARY_FOLDER = 30
"""Ray puts sockets some 70 characters below its folder, and a socket's path may have 107 (103 on macOS)."""


def memory_folder() -> Path:
    """Return where files lie in memory: /dev/shm, or the temporary folder where there is none (macOS)."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else temporary_folder()


def temporary_folder() -> Path:
    """Return the temporary folder, or /tmp where its path is too long to put sockets below it."""
    usual = tempfile.gettempdir()
    return Path(usual if len(usual) <= _LONGEST_TEMPORARY_FOLDER else "/tmp")


@contextmanager
def private_folder(base: Path) -> Iterator[Path]:
    """Make a folder below ``base`` for this user alone and remove it at the end; those of dead owners go now."""
    remove_leftovers(base)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    # Locked before it gets its name, so that nobody finds a lock that is not held yet.
    handle = os.open(folder / f".{_LOCK}", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        (folder / f".{_LOCK}").rename(folder / _LOCK)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def leftovers(base: Path) -> list[Path]:
    """Return this user's private folders below ``base`` whose owners are proved to be dead; nothing is changed."""
    found = []
    for folder in sorted(base.glob(f"{_PREFIX}*")):
        with suppress(OSError):
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _LOCK).is_file():
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
                found.append(folder)
            finally:
                os.close(handle)
    return found


def remove_leftovers(base: Path) -> list[Path]:
    """Remove this user's private folders below ``base`` whose owners are dead; return what was removed."""
    removed = []
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _LOCK).exists():
                # not named yet, or what Ray wrote again after its folder had gone
                if time.time() - folder.stat().st_mtime > _NEW_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                    removed.append(folder)
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
            finally:
                os.close(handle)
    return removed
