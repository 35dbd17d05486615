"""Files that are files: what waits for ever, as a pipe does, or never ends, as a device may, is refused unread."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from distbp.errors import DataError
from distbp.files.regular import open_regular

_BYTES_AT_ONCE = 1 << 24


def opened_file(path: Path) -> IO[bytes]:
    """Open a file to be read, without waiting.

    Raises:
        DataError: it cannot be opened, or is no file.
    """
    try:
        return open_regular(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path} cannot be read: {reason}") from error


def read_into(file: IO[bytes], view: memoryview) -> int:
    """Fill bytes from a file, block by block; return how many there were, one more if the file goes on behind them.

    Memory that was not touched before grows with what the file holds, whatever it promises.
    """
    have = 0
    while have < len(view) and (block := file.read(min(_BYTES_AT_ONCE, len(view) - have))):
        view[have : have + len(block)] = block
        have += len(block)
    return have + len(file.read(1))


def check_file(path: Path) -> None:
    """Refuse what is no file, for a library that opens paths itself.

    Raises:
        DataError: it is not there, or of another kind.
    """
    opened_file(path).close()
