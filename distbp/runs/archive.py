"""Packs a run directory as text, for channels that carry only text, such as the log of a cluster job."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from distbp.errors import RunError
from distbp.files.json_files import read_json, write_json
from distbp.runs.directory import CONFIG

_BEGIN, _END = "-----BEGIN RUN-----", "-----END RUN-----"


def pack(directory: Path, checkpoints: bool) -> str:
    """Return a run directory as text."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", dereference=True) as archive:
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            is_wanted = checkpoints or name.parts[0] != "checkpoints"
            if path.is_file() and is_wanted and not path.name.startswith("."):  # hidden are locks and partial files
                archive.add(path, arcname=str(name))
    return f"{_BEGIN}\n{base64.encodebytes(content.getvalue()).decode()}{_END}"


def unpack(log: str, target: Path) -> None:
    """Write the run directory that a log contains; leave nothing behind if it is damaged.

    Raises:
        RunError: the log contains no run directory or a damaged one, or the target cannot be written.
    """
    text, end, _ = log.partition(_BEGIN)[2].partition(_END)
    if not end:
        raise RunError(f"no run was received for {target}: {(log.strip().splitlines() or ['no output'])[-1]}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            beside = Path(folder) / target.name
            beside.mkdir()
            content = io.BytesIO(base64.b64decode("".join(text.split()), validate=True))
            with tarfile.open(fileobj=content, mode="r:gz") as archive:
                for member in archive:
                    _write(archive, member, beside)
            _leave_cluster(beside / CONFIG)
            beside.rename(target)
    except (ValueError, tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise RunError(f"the run received for {target} is damaged: {error}") from error
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror or error}") from error


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file of an archive into a folder.

    Only regular files inside the folder are accepted; tarfile in Python 3.11.0 to 3.11.3 does not check that.

    Raises:
        TarError: the member is no regular file, or its path leads out of the folder.
    """
    path, content = (folder / member.name).resolve(), archive.extractfile(member) if member.isreg() else None
    if content is None or not path.is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"{member.name!r} is no file of a run directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.read())


def _leave_cluster(config: Path) -> None:
    """Remove the cluster's address from a run's settings, so that resuming the run computes on this machine."""
    if config.exists():
        settings = read_json(config)
        if settings.get("address") is not None:
            write_json(config, {**settings, "address": None})
