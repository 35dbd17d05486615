"""Arrays in files, passed between processes by file name, so that all processes of a host map the same pages."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distbp.data.prepared.checksums import map_checked
from distbp.errors import DataError

_SAMPLE = 65_536
"""Bytes hashed at each end of a file to identify it."""


class MappedFile(NamedTuple):
    """An array in a file of NumPy's format."""

    path: Path
    identity: tuple[int, int, str]
    """Distinguishes the file from others of the same name: size, time of the last change, hash of both ends."""
    sums: str = ""
    """Checksums of its blocks; empty if there are none."""

    def check(self) -> None:
        """Raise DataError if the file is missing, or is not the one that this object was made of."""
        try:
            identity = _identity_of(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error
        if identity != self.identity:
            raise DataError(f"{self.path} is another file than the one that the run began with")


def mapped(array: Any) -> MappedFile | None:
    """Return the file of a mapped array; None for an array in memory."""
    if isinstance(array, np.memmap) and array.filename is not None:
        path = Path(str(array.filename)).absolute()
        blocks = getattr(array, "blocks", None)
        return MappedFile(path, _identity_of(path), "" if blocks is None else blocks.sums) if path.exists() else None
    return None


def opened(array: Any) -> Any:
    """Map an array that was passed by file name; anything else is returned as it is.

    Raises:
        DataError: the file is missing, or has changed.
    """
    if not isinstance(array, MappedFile):
        return array
    array.check()
    return map_checked(array.path, array.sums)


def _identity_of(path: Path) -> tuple[int, int, str]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        ends = file.read(_SAMPLE)
        file.seek(max(0, status.st_size - _SAMPLE))
        ends += file.read(_SAMPLE)
    return status.st_size, status.st_mtime_ns, hashlib.sha256(ends).hexdigest()
