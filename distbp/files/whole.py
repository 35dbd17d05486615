"""Files that are there whole or not at all: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from distbp.errors import RunError
from distbp.files.json_text import SUM, Check, Unexpected, anything, parse, sealed, unsealed
from distbp.system.signals import process_exists

MOST_JSON = 64 << 20
"""Bytes of the longest JSON object that is read, or written."""
MOST_LINES, _LONGEST_LINE = 256 << 20, 4 << 20
"""Bytes of the longest file of JSON lines that is read, and of the longest line in it."""
_BESIDE = ".{name}.{process}.partial"
"""Where a process writes a file until it is whole: a name that nobody gives to a file of their own."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success flush it to the disk and rename it to ``path``.

    A symbolic link stays, and what it leads to is replaced.

    Raises:
        RunError: it cannot be written.
    """
    place = Path(os.path.realpath(path))
    beside = place.with_name(_BESIDE.format(name=place.name, process=os.getpid()))
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, which a rename would take away
            yield path
            return
        yield beside
        with beside.open("rb+") as file:
            flush(file.fileno())
        beside.replace(place)
        _flush_folder(place.parent)
    except BrokenPipeError:  # who reads has gone away, which is nobody's mistake
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            beside.unlink()


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files: none of them is created or changed unless all could be written.

    Raises:
        RunError: one cannot be written.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            stack.enter_context(written_whole(path)).write_bytes(content)


def remove_remains(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` left beside it."""
    place = Path(os.path.realpath(path))
    head, tail = _BESIDE.format(name=place.name, process="*").split("*")
    with suppress(OSError):
        for each in place.parent.iterdir():
            process = each.name.removeprefix(head).removesuffix(tail)
            if each.name == f"{head}{process}{tail}" and process.isdecimal() and not process_exists(int(process)):
                each.unlink()


def flush(handle: int) -> None:
    """Flush an open file or folder to its disk, as far as the disk's file system can do that."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SUCH_FLUSH:
            raise


_NO_SUCH_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""What file systems answer that cannot flush folders: of VirtualBox, older CIFS, several in user space."""


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last through a power cut."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # one that can be written to and not be read
        return
    try:
        flush(handle)
    finally:
        os.close(handle)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file to read; never waits, whatever is there.

    Raises:
        OSError: it is missing, cannot be read, or is another kind of file: a folder, a pipe, a socket, a device.
    """
    _check_mode(path.stat().st_mode)  # opening a device may do something
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_mode(os.fstat(handle).st_mode)  # what is there may be another by now
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def _check_mode(mode: int) -> None:
    if not stat.S_ISREG(mode):
        found = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise OSError(errno.EINVAL, f"found {found}, expected a regular file")


def never_waiting(path: str, flags: int) -> int:
    """Open a file as :func:`open` does that is given this as ``opener``; a pipe that nobody reads is an error."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def check_regular(path: Path) -> None:
    """Refuse what is there, if anything, and is no regular file.

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
    """Return what a regular file holds.

    Raises:
        RunError: it is missing, no regular file, or longer than ``most`` bytes.
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
    """Return the one line for a file that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return RunError(f"{path} cannot be read: {reason}")


def home_folder() -> Path | None:
    """Return the user's home; None for a user without HOME and without an entry in the list of users."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, indented, with a sum over it.

    Raises:
        RunError: it cannot be written, or is longer than what is read.
    """
    text = json.dumps(sealed(content), indent=2, allow_nan=False)
    if len(text) >= MOST_JSON:
        raise RunError(f"{path} cannot be written: {len(text):,} bytes, expected at most {MOST_JSON:,}")
    with written_whole(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, expected: Check = anything, most: int = MOST_JSON) -> dict[str, Any]:
    """Read one JSON object of at most ``most`` bytes, without its sum, which is checked where there is one.

    Raises:
        RunError: the file is missing, no regular one, damaged, or does not hold what is ``expected``.
    """
    return read_sealed(path, expected, most)[0]


def read_sealed(path: Path, expected: Check = anything, most: int = MOST_JSON) -> tuple[dict[str, Any], bool]:
    """Read one JSON object as :func:`read_json` does; return it, and whether it carried a sum.

    Raises:
        RunError: as there.
    """
    content = read_bytes(path, most)
    try:
        told = parse(content)
        if isinstance(told, dict):  # what it holds first, which also says whether it is of another version
            expected({name: value for name, value in told.items() if name != SUM}, "")
        found, has_sum = unsealed(told)
    except Unexpected as error:
        raise cannot_be_read(path, error) from error
    return found, has_sum


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a regular file, each with its end.

    Raises:
        RunError: it is missing, no regular file, too long, or has too long a line.
    """
    left = MOST_LINES
    try:
        with open_regular(path) as file:
            while line := file.readline(_LONGEST_LINE + 1):
                left -= len(line)
                if left < 0 or len(line) > _LONGEST_LINE:
                    what = f"a line of more than {_LONGEST_LINE:,}" if left >= 0 else f"more than {MOST_LINES:,}"
                    raise RunError(f"{path} cannot be read: found {what} bytes, expected at most that")
                yield line
    except (OSError, ValueError) as error:
        raise cannot_be_read(path, error) from error


def for_json(value: Any) -> Any:
    """Return None for numbers that JSON cannot hold, also within lists and dictionaries."""
    if isinstance(value, Mapping):
        return {name: for_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [for_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
