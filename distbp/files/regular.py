"""Regular files, opened and read without waiting. Pipes, sockets and devices are refused."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from distbp.errors import RunError


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading, without waiting.

    Raises:
        OSError: it is missing, cannot be read, or is not a regular file but a folder, a pipe, a socket or a device.
    """
    _check_mode(path.stat().st_mode)  # before opening, which may have an effect on a device
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_mode(os.fstat(handle).st_mode)  # the path may name another file by now
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _check_mode(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise OSError(errno.EINVAL, f"found {kind}, expected a regular file")


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file as ``opener`` of :func:`open`; a pipe without a reader is an error instead of a wait."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def check_regular(path: Path) -> None:
    """Refuse a path that exists and is not a regular file.

    Raises:
        RunError: it is a folder, a pipe, a socket or a device.
    """
    try:
        _check_mode(path.stat().st_mode)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise cannot_be_read(path, error) from error


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        RunError: it is missing, not a regular file, or longer than ``most`` bytes.
    """
    try:
        with open_regular(path) as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise cannot_be_read(path, error) from error
    if len(content) > most:
        raise RunError(f"{path} cannot be read: found more than {most:,} bytes, expected at most that")
    return content


def cannot_be_read(path: Path, error: Exception) -> RunError:
    """Return the error for a file that cannot be read, with its reason."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return RunError(f"{path} cannot be read: {reason}")
