"""Atomic writes: a file is written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from distbp.errors import RunError
from distbp.system.processes import process_exists

_TEMPORARY = ".{name}.{process}.partial"
"""Temporary name of a file, which no file of a user has."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; on success flush the file and rename it to ``path``.

    If ``path`` is a symbolic link, its target is replaced.

    Raises:
        RunError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(_TEMPORARY.format(name=target.name, process=os.getpid()))
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, which a rename would remove
            yield path
            return
        yield temporary
        with temporary.open("rb+") as file:
            flush(file.fileno())
        temporary.replace(target)
        _flush_folder(target.parent)
    except BrokenPipeError:  # the reader has closed the pipe, which is no error of the file
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files; none of them is created or changed unless all were written.

    Raises:
        RunError: one cannot be written.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            stack.enter_context(atomic_write(path)).write_bytes(content)


def remove_partial_files(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote ``path``."""
    target = Path(os.path.realpath(path))
    head, tail = _TEMPORARY.format(name=target.name, process="*").split("*")
    with suppress(OSError):
        for each in target.parent.iterdir():
            process = each.name.removeprefix(head).removesuffix(tail)
            if each.name == f"{head}{process}{tail}" and process.isdecimal() and not process_exists(int(process)):
                each.unlink()


def flush(handle: int) -> None:
    """Flush an open file or folder to its disk, if the file system supports it."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SUCH_FLUSH:
            raise


_NO_SUCH_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""Errors of file systems that cannot flush folders: VirtualBox, older CIFS, several in user space."""


def _flush_folder(folder: Path) -> None:
    """Flush a folder, so that a rename in it survives a power cut."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder may be writable but not readable
        return
    try:
        flush(handle)
    finally:
        os.close(handle)
