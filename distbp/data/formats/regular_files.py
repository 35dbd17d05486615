"""Regular files, opened without waiting: a pipe could block for ever, and a device might never end."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from distbp.errors import DataError
from distbp.files.regular import open_regular

_BYTES_AT_ONCE = 1 << 24


def open_file(path: Path) -> IO[bytes]:
    """Open a regular file for reading.

    Raises:
        DataError: it cannot be opened, or is not a regular file.
    """
    try:
        return open_regular(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path} cannot be read: {reason}") from error


def read_into(file: IO[bytes], view: memoryview) -> int:
    """Fill a buffer from a file; return the number of bytes, one more than fit if the file goes on.

    The buffer is filled block by block. If its memory is untouched, no more of it is used than the file has bytes.
    """
    count = 0
    while count < len(view) and (block := file.read(min(_BYTES_AT_ONCE, len(view) - count))):
        view[count : count + len(block)] = block
        count += len(block)
    return count + len(file.read(1))


def check_file(path: Path) -> None:
    """Refuse a path that is not a regular file, before a library opens it.

    Raises:
        DataError: it is missing, or is not a regular file.
    """
    open_file(path).close()
