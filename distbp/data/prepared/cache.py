"""The user's cache of prepared data, and which data sets of it processes have mapped."""

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
"""What to do where the cache cannot be used."""
_USE = ".used-"
"""How the locks begin that a data set of the cache has as long as a process has it mapped."""


def cache_root() -> Path:
    """Return the folder of the cache.

    Raises:
        DataError: there can be none.
    """
    base, home = os.environ.get("XDG_CACHE_HOME"), home_folder()
    if base:
        return Path(base) / "distbp"
    if home is None:
        raise DataError(f"prepared data have no cache, since this user has no home folder: {CACHE_ADVICE}")
    return home / ".cache" / "distbp"


def is_cached(folder: Path) -> bool:
    """Return whether a prepared data set is one of the cache's."""
    with suppress(DataError, OSError):
        return folder.absolute().parent == cache_root().absolute()
    return False


class CacheLock:
    """Says in a data set of the cache, by a lock, that this process has mapped it, so that ``clean`` lets it be."""

    def __init__(self, folder: Path) -> None:
        self._arrays = 0
        self._lock: Lock | None = None
        if is_cached(folder):
            with suppress(RunError, OSError):  # a cache that cannot be written to can neither be cleaned
                for path in folder.glob(f"{_USE}*"):
                    if holder_of(path) is None:  # of a process that was killed
                        path.unlink(missing_ok=True)
                self._lock = acquire(folder / f"{_USE}{uuid.uuid4().hex}", folder, silent)

    def keep_until_freed(self, array: Any) -> None:
        """Hold the lock at least as long as any part of the array."""
        self._arrays += 1
        weakref.finalize(array.base, self._gone)  # the mapping

    def close(self) -> None:
        """Release the lock, unless an array is there for which it is held."""
        if not self._arrays and self._lock is not None:
            self._lock.release()

    def _gone(self) -> None:
        self._arrays -= 1
        self.close()


def remove_prepared(folder: Path, note: Note) -> None:
    """Remove a prepared data set, unless a process has it mapped.

    Raises:
        HeldError: one has.
    """
    held = {path: holder for path in folder.glob(f"{_USE}*") if (holder := holder_of(path)) is not None}
    dead = dead_locks([path for path, holder in held.items() if not holder.is_local], note)
    for path, holder in held.items():
        if path not in dead:
            raise HeldError(f"{folder} is in use: {holder} reads it")
    shutil.rmtree(folder)


def source_of(paths: Sequence[Path], reading: Reading) -> dict[str, Any]:
    """Return what tells these files, as they are now, and this way of reading them from others."""
    files = []
    for path in paths:
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file():
                status = each.stat()
                files.append([str(each.absolute()), status.st_size, status.st_mtime_ns])
    if len(files) > 1000:  # a folder of images: names and times in short
        files = [[hashlib.sha256(json.dumps(files).encode()).hexdigest(), len(files), 0]]
    return {"files": files, "reading": reading_as_json(reading)}


def cache_folder(source: dict[str, Any], name: str) -> Path:
    """Return where a data set is kept that is made by itself: the user's cache folder."""
    key = hashlib.sha256(json.dumps([FORMAT, source], sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / f"{name}-{key}"


def cached_data_sets() -> list[Path]:
    """Return the data sets that were made by themselves and are whole."""
    return sorted(path.parent for path in cache_root().glob(f"*/{DESCRIPTION}") if not path.parent.is_symlink())
