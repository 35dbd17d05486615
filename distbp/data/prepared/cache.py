"""The user's cache of data sets that were prepared automatically, and the locks of processes that have one mapped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distbp.data.prepared.description import DESCRIPTION, FORMAT, reading_as_json
from distbp.data.reading import Reading
from distbp.data.reporting import Note, silent
from distbp.errors import DataError, HeldError, RunError
from distbp.files.locks import Lock, acquire, dead_locks, holder_of
from distbp.system.folders import home_folder

CACHE_ADVICE = "set XDG_CACHE_HOME to a folder with room, or use distbp prepare DATA -o FOLDER"
"""What a user can do if the cache is not usable."""
_LOCK_PREFIX = ".used-"
"""Prefix of the locks in a cached data set, one for each process that has it mapped."""


def cache_root() -> Path:
    """Return the folder of the cache.

    Raises:
        DataError: the user has no home folder.
    """
    base, home = os.environ.get("XDG_CACHE_HOME"), home_folder()
    if base:
        return Path(base) / "distbp"
    if home is None:
        raise DataError(f"prepared data have no cache, since this user has no home folder: {CACHE_ADVICE}")
    return home / ".cache" / "distbp"


def is_cached(folder: Path) -> bool:
    """Return whether a prepared data set lies in the cache."""
    with suppress(DataError, OSError):
        return folder.absolute().parent == cache_root().absolute()
    return False


def cache_folder(source: dict[str, Any], name: str) -> Path:
    """Return the folder of the cache for the data set of this source."""
    key = hashlib.sha256(json.dumps([FORMAT, source], sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / f"{name}-{key}"


def cached_data_sets() -> list[Path]:
    """Return the folders of all complete data sets in the cache."""
    return sorted(path.parent for path in cache_root().glob(f"*/{DESCRIPTION}") if not path.parent.is_symlink())


def source_of(paths: Sequence[Path], reading: Reading) -> dict[str, Any]:
    """Return the identity of a data set's source: names, sizes and times of its files, and the settings of reading."""
    files = []
    for path in paths:
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file():
                status = each.stat()
                files.append([str(each.absolute()), status.st_size, status.st_mtime_ns])
    if len(files) > 1000:  # a folder of images: a hash of the list instead of the list
        files = [[hashlib.sha256(json.dumps(files).encode()).hexdigest(), len(files), 0]]
    return {"files": files, "reading": reading_as_json(reading)}


class CacheLock:
    """Locks a cached data set while this process has it mapped, so that ``distbp clean`` does not remove it."""

    def __init__(self, folder: Path) -> None:
        self._arrays = 0
        self._lock: Lock | None = None
        if is_cached(folder):
            with suppress(RunError, OSError):  # a cache without write permission cannot be cleaned either
                for path in folder.glob(f"{_LOCK_PREFIX}*"):
                    if holder_of(path) is None:  # its process was killed
                        path.unlink(missing_ok=True)
                self._lock = acquire(folder / f"{_LOCK_PREFIX}{uuid.uuid4().hex}", folder, silent)

    def keep_until_freed(self, array: Any) -> None:
        """Keep the lock at least until the mapping of this array is freed."""
        self._arrays += 1
        weakref.finalize(array.base, self._freed)  # the mapping

    def close(self) -> None:
        """Release the lock, unless it is kept for an array."""
        if not self._arrays and self._lock is not None:
            self._lock.release()

    def _freed(self) -> None:
        self._arrays -= 1
        self.close()


def remove_prepared(folder: Path, note: Note) -> None:
    """Remove a prepared data set, unless a process has it mapped.

    Raises:
        HeldError: a process has.
    """
    holders = {path: holder for path in folder.glob(f"{_LOCK_PREFIX}*") if (holder := holder_of(path)) is not None}
    dead = dead_locks([path for path, holder in holders.items() if not holder.is_local], note)
    for path, holder in holders.items():
        if path not in dead:
            raise HeldError(f"{folder} is in use: {holder} reads it")
    shutil.rmtree(folder)
