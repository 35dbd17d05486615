"""A run directory as text, for ways that carry nothing else."""

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
    """Return a run directory as text that a job can say."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", dereference=True) as archive:
        for path in sorted(directory.rglob("*")):
            inside = path.relative_to(directory)
            is_wanted = checkpoints or inside.parts[0] != "checkpoints"
            if path.is_file() and is_wanted and not path.name.startswith("."):  # locks, and what is half written
                archive.add(path, arcname=str(inside))
    return f"{_BEGIN}\n{base64.encodebytes(content.getvalue()).decode()}{_END}"


def unpack(said: str, target: Path) -> None:
    """Write the run directory that somebody's words hold; nothing is left behind if it is damaged.

    Raises:
        RunError: it is damaged or not there, or cannot be written.
    """
    text, end, _ = said.partition(_BEGIN)[2].partition(_END)
    if not end:
        raise RunError(f"nothing came for {target}: {(said.strip().splitlines() or ['no word'])[-1]}")
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
        raise RunError(f"what came for {target} is damaged: {error}") from error
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror or error}") from error


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file of an archive into a folder.

    Nothing but files, and nowhere else: the tarfile of Python 3.11.0 to 3.11.3 does not see to that by itself.

    Raises:
        TarError: it is no file, or it lies elsewhere.
    """
    place, content = (folder / member.name).resolve(), archive.extractfile(member) if member.isreg() else None
    if content is None or not place.is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"{member.name!r} is no file of a run directory")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.read())


def _leave_cluster(config: Path) -> None:
    """Let a run's settings name no cluster, which is not here: whoever resumes it here computes here."""
    if config.exists():
        settings = read_json(config)
        if settings.get("address") is not None:
            write_json(config, {**settings, "address": None})
