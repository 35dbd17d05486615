"""Lists the runs in a folder, and tells the files that distbp wrote there from others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.config import CONFIG_JSON
from distbp.errors import RunError
from distbp.files.json_files import read_json
from distbp.runs.checkpoints import remove_partial_checkpoints
from distbp.runs.directory import BEST, CHECKPOINTS, CONFIG, LOCK, host_of, state_of
from distbp.runs.records import METRICS, SUMMARY, read_metrics, read_summary

_NAMES_IN_CONFIG = {"hidden", "batch_size", "shards", "optimizer", "seed"}
_DEEPEST = 3
_FILES_OF_A_RUN = {
    CONFIG,
    METRICS,
    SUMMARY,
    CHECKPOINTS,
    "steps.bin",
    BEST,
    "model.safetensors",
    "model.json",
    "connections.safetensors",
    "timeline.jsonl",
}
"""Names that distbp writes in a run directory."""
_PARTIAL_FILES = re.compile(
    rf"\.(?:{'|'.join(map(re.escape, sorted(_FILES_OF_A_RUN)))})\.\d+\.partial|\.tmp\w{{6}}|\.lock(?:\..*)?"
)
"""Names of the files that killed writers leave: incomplete files, temporary files of safetensors, locks."""


@dataclass(frozen=True)
class ListedRun:
    """A run directory."""

    path: Path
    began: float
    """Time when config.json was written, in seconds since 1970."""
    state: str
    """See :func:`distbp.runs.directory.state_of`; or ``broken``."""
    settings: Mapping[str, Any]
    last: Mapping[str, Any]
    """The summary if the run is finished, else the last epoch's record."""
    damage: str = ""
    """Why the run is ``broken``."""
    host: str | None = None
    """The host on which the run is going on, if it is another one."""

    @property
    def foreign_files(self) -> list[str]:
        """Names of files in the directory that distbp did not write."""
        names = (each.name for each in self.path.iterdir())
        return sorted(name for name in names if name not in _FILES_OF_A_RUN and not _PARTIAL_FILES.fullmatch(name))


def remove_partial_files(path: Path) -> None:
    """Remove what killed writers left in a run directory; this process must hold its lock."""
    with suppress(OSError):
        for each in path.iterdir():
            if _PARTIAL_FILES.fullmatch(each.name) and each.name != LOCK:
                each.unlink()
    remove_partial_checkpoints(path / CHECKPOINTS)


def find_runs(folder: Path) -> list[ListedRun]:
    """Return the runs in a folder and in folders below it, newest first; damaged runs are ``broken``."""
    runs: list[ListedRun] = []
    _walk(folder, runs, 0)
    return sorted(runs, key=lambda run: run.began, reverse=True)


def _walk(folder: Path, runs: list[ListedRun], depth: int) -> None:
    with suppress(OSError):
        if (folder / CONFIG).exists():
            run = read_run(folder)
            if run is not None:
                runs.append(run)
                return
        if depth < _DEEPEST:
            for each in sorted(folder.iterdir()):
                if each.is_dir() and not each.is_symlink() and not each.name.startswith("."):
                    _walk(each, runs, depth + 1)


def read_run(path: Path) -> ListedRun | None:
    """Return the run in this directory; None if distbp did not write its config.json."""
    began = (path / CONFIG).stat().st_mtime
    try:
        settings = read_json(path / CONFIG, CONFIG_JSON)
    except RunError as error:
        is_ours = (path / CHECKPOINTS).is_dir() and (path / METRICS).is_file()
        return ListedRun(path, began, "broken", {}, {}, damage=str(error)) if is_ours else None
    if not settings.keys() >= _NAMES_IN_CONFIG:
        return None
    try:
        state = state_of(path)
        last = read_summary(path) if state == "finished" else next(reversed(read_metrics(path)), {})
    except RunError as error:
        return ListedRun(path, began, "broken", settings, {}, damage=str(error))
    host = host_of(path) if state == "going on" else None
    return ListedRun(path, began, state, settings, last, host=host)
