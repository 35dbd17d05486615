"""A run directory as text, for ways that carry nothing else."""

from __future__ import annotations

import base64
import io
import shutil
import tarfile
from pathlib import Path

from distbp.errors import RunError

_BEGIN, _END = "-----BEGIN RUN-----", "-----END RUN-----"


def pack(directory: Path, checkpoints: bool) -> str:
    """Return a run directory as text that a job can say."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path in sorted(directory.rglob("*")):
            inside = path.relative_to(directory)
            if path.is_file() and (checkpoints or inside.parts[0] != "checkpoints"):
                archive.add(path, arcname=str(inside))
    return f"{_BEGIN}\n{base64.encodebytes(content.getvalue()).decode()}{_END}"


def unpack(said: str, target: Path) -> None:
    """Write the run directory that somebody's words hold; nothing is left behind if it is damaged.

    Raises:
        RunError: it is damaged, or not there.
    """
    text, end, _ = said.partition(_BEGIN)[2].partition(_END)
    if not end:
        raise RunError(f"nothing came for {target}: {(said.strip().splitlines() or ['no word'])[-1]}")
    beside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        content = io.BytesIO(base64.b64decode("".join(text.split()), validate=True))
        with tarfile.open(fileobj=content, mode="r:gz") as archive:
            archive.extractall(beside, filter="data")
        beside.rename(target)
    except (ValueError, tarfile.TarError, OSError, EOFError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise RunError(f"what came for {target} is damaged: {error}") from error
