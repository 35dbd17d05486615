"""Files that are there whole or not at all: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from distbp.errors import RunError

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


def remove_remains(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` left beside it."""
    place = Path(os.path.realpath(path))
    head, tail = _BESIDE.format(name=place.name, process="*").split("*")
    with suppress(OSError):
        for each in place.parent.iterdir():
            process = each.name.removeprefix(head).removesuffix(tail)
            if each.name == f"{head}{process}{tail}" and process.isdecimal() and not _is_alive(int(process)):
                each.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


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


def home_folder() -> Path | None:
    """Return the user's home; None for a user without HOME and without an entry in the list of users."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, indented."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with written_whole(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{path} cannot be read: {reason}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} cannot be read: expected a JSON object")
    return content


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays by name, and texts by name, in the safetensors format."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with written_whole(path) as beside:
        beside.touch()
        mode = stat.S_IMODE(beside.stat().st_mode)
        try:
            save_file(contiguous, beside, dict(metadata or {}))
            if beside != path:
                beside.chmod(mode)  # the umask's; safetensors renames a file to here that is its owner's alone
        except SafetensorError as error:
            raise RunError(f"{path} cannot be written: {error}") from error


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read arrays and texts by name from a safetensors file.

    Raises:
        RunError: the file is missing or damaged.
    """
    if not path.is_file():
        raise RunError(f"{path} does not exist")
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    # a type that NumPy does not have is a TypeError or an AttributeError
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def for_json(value: Any) -> Any:
    """Return None for numbers that JSON cannot hold, also within lists and dictionaries."""
    if isinstance(value, Mapping):
        return {name: for_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [for_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
