"""Data sent with a job: packed as ``train`` would read them, and verified on arrival.

Ray's own packaging omits files that .gitignore and .rayignore name, and the targets of links. Therefore this module
makes the archive, which holds byte for byte what ``train`` reads under these names; Ray only transfers and unpacks it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from distbp.data.sources import BUILT_IN
from distbp.errors import DataError, UsageError

_LIST = "sent.json"
"""Name of the archive's own list of its entries."""
_MOST, _MOST_PACKED = 500 << 20, 100 << 20
"""Most bytes that are sent, and most bytes of the archive: a Ray cluster's dashboard takes no more in one piece."""
_ADVICE = "put them where all hosts see them, and leave --upload out"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Entry:
    name: str
    """Name in the archive; a folder's name ends with a slash."""
    path: Path
    size: int


def pack(sources: Sequence[str], archive: Path) -> tuple[list[str], str]:
    """Write a zip archive of files and folders; return the names of the sources in it, and the hash of its list.

    Links are followed. Hidden folders, which are never read, are left out. Built-in names stay as they are.

    Raises:
        UsageError: a file is missing or cannot be read or sent, or the data are too large, which is checked by the
            files' sizes before any is copied.
    """
    names: list[str] = []
    entries: list[_Entry] = []
    total = 0
    for source in sources:
        if source in BUILT_IN:
            names.append(source)
            continue
        path = Path(source)
        if not os.path.lexists(path):
            raise UsageError(f"{source} does not exist on this machine: --upload sends its files and folders")
        name = path.name if path.name not in ("", "..") else path.resolve().name
        names.append(f"data-{len(names)}/{name}")
        for entry in _entries(path, names[-1], ()):
            entries.append(entry)
            total += entry.size
            _check_size(total)
    try:
        with archive.open("wb") as out, ZipFile(out, "w", ZIP_DEFLATED) as packed:
            content = json.dumps(_write_entries(entries, packed, out)).encode()
            packed.writestr(_info(_LIST), content)
    except OSError as error:
        raise UsageError(f"the data cannot be packed in {archive.parent}: {error.strerror or error}") from error
    return names, hashlib.sha256(content).hexdigest()


def _entries(path: Path, name: str, above: tuple[tuple[int, int], ...]) -> Iterator[_Entry]:
    """Yield a file, or a folder with its content; links are followed. ``above`` identifies the folders around it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{os.fsencode(path)!r} cannot be sent: its name is no UTF-8") from None
    if "\\" in name:
        raise UsageError(f"{path} cannot be sent: its name holds a backslash")
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            yield _Entry(name, path, status.st_size)
            return
        if not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path} cannot be sent: it is neither a file nor a folder")
        if above and path.name.startswith("."):
            return
        inside = sorted(path.iterdir())
    except OSError as error:
        why = "it is a link to nothing" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"{path} cannot be sent: {why}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise UsageError(f"{path} cannot be sent: it is a link to a folder that it lies in")
    yield _Entry(f"{name}/", path, 0)
    for each in inside:
        yield from _entries(each, f"{name}/{each.name}", (*above, identity))


def _check_size(size: int) -> None:
    if size > _MOST:
        raise UsageError(f"the data have more than {_MOST >> 20} MB, the most that can be uploaded: {_ADVICE}")


def _info(name: str) -> ZipInfo:
    """Return an entry without a time: the same data then make the same archive, which Ray transfers only once."""
    info = ZipInfo(name)
    info.compress_type = ZIP_DEFLATED
    info.external_attr = (0o700 if name.endswith("/") else 0o600) << 16
    return info


def _write_entries(entries: Sequence[_Entry], packed: ZipFile, out: BinaryIO) -> dict[str, Any]:
    """Write the entries to the archive; return their list: the size and hash of each file, and the folders."""
    files: dict[str, tuple[int, str]] = {}
    for entry in entries:
        if entry.name.endswith("/"):
            packed.writestr(_info(entry.name), b"")
            continue
        size, digest = 0, hashlib.sha256()
        try:
            file = entry.path.open("rb")
        except OSError as error:
            raise UsageError(f"{entry.path} cannot be sent: {error.strerror or error}") from error
        with file, packed.open(_info(entry.name), "w", force_zip64=True) as member:
            while chunk := file.read(_CHUNK):
                member.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                _check_size(size)  # the file may be growing
                if out.tell() > _MOST_PACKED:
                    raise UsageError(
                        f"packed, the data have more than {_MOST_PACKED >> 20} MB, the most that a Ray cluster's "
                        f"dashboard takes: {_ADVICE}"
                    )
        files[entry.name] = size, digest.hexdigest()
    return {"files": files, "folders": [entry.name for entry in entries if entry.name.endswith("/")]}


def check_arrived(folder: Path, expected: str) -> None:
    """Verify the unpacked data in ``folder``: their list by the hash ``expected``, the files by the list.

    Raises:
        DataError: a file is missing or has changed, or was not sent.
    """
    try:
        content = (folder / _LIST).read_bytes()
    except OSError as error:
        raise DataError(f"the data did not arrive: {folder / _LIST}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(f"the data did not arrive as they were sent: {_LIST} is another one")
    sent = json.loads(content)
    arrived = {
        f"{path.relative_to(folder)}{'/' * path.is_dir()}"
        for each in folder.glob("data-*")
        for path in [each, *each.rglob("*")]
        if path.parent != folder
    }
    wanted = {*sent["files"], *sent["folders"]}
    for name in sorted(wanted ^ arrived):
        how = "did not arrive" if name in wanted else "arrived, but was not sent"
        raise DataError(f"{name} {how}: submit the run again")
    for name, (size, digest) in sent["files"].items():
        if (actual := (folder / name).stat().st_size) != size:
            raise DataError(f"{name} arrived with {actual} bytes, {size} were sent: submit the run again")
        if _hash(folder / name) != digest:
            raise DataError(f"{name} arrived with other bytes than were sent: submit the run again")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
