"""Arrays that lie in files: passed on by name, so that every process of a host maps the same pages."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distbp.data.prepared.checksums import map_checked
from distbp.errors import DataError

_LOOKED_AT = 65_536
"""Bytes of a file's beginning and of its end."""


class MappedFile(NamedTuple):
    """An array in a file of NumPy's format."""

    path: Path
    look: tuple[int, int, str]
    """What tells the file from others of its name: size, time of the last change, hash of beginning and end."""
    sums: str = ""
    """Those of its blocks, by which its bytes are checked when they are used; empty if there are none."""

    def check(self) -> None:
        """Raise DataError if the file is not there, or is another one."""
        try:
            look = _look_of(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error
        if look != self.look:
            raise DataError(f"{self.path} is another file than the one that the run began with")


def mapped(array: Any) -> MappedFile | None:
    """Return where an array lies, None if it is in memory."""
    if isinstance(array, np.memmap) and array.filename is not None:
        path = Path(str(array.filename)).absolute()
        blocks = getattr(array, "blocks", None)
        return MappedFile(path, _look_of(path), "" if blocks is None else blocks.sums) if path.exists() else None
    return None


def opened(array: Any) -> Any:
    """Map an array that was passed on by name; anything else is returned as it is.

    Raises:
        DataError: the file is not there, or is not the same any more.
    """
    if not isinstance(array, MappedFile):
        return array
    array.check()
    return map_checked(array.path, array.sums)


def _look_of(path: Path) -> tuple[int, int, str]:
    with path.open("rb") as file:
        said = os.fstat(file.fileno())
        ends = file.read(_LOOKED_AT)
        file.seek(max(0, said.st_size - _LOOKED_AT))
        ends += file.read(_LOOKED_AT)
    return said.st_size, said.st_mtime_ns, hashlib.sha256(ends).hexdigest()
