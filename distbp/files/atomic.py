"""Files that are there whole or not at all: written to a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from distbp.errors import RunError
from distbp.system.processes import process_exists

_BESIDE = ".{name}.{process}.partial"
"""Where a process writes a file until it is whole: a name that nobody gives to a file of their own."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
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
            stack.enter_context(atomic_write(path)).write_bytes(content)


def remove_partial_files(path: Path) -> None:
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
