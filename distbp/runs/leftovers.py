"""Runs in a folder, and what of runs on this machine may go: told apart by what proves that it is distbp's."""

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
from distbp.runs.checkpoints import remove_partial
from distbp.runs.directory import BEST, CHECKPOINTS, CONFIG, LOCK, host_of, state_of
from distbp.runs.records import METRICS, SUMMARY, read_metrics, read_summary

_SETTINGS_OF_A_RUN = {"hidden", "batch_size", "shards", "optimizer", "seed"}
_DEEPEST = 3
_OF_A_RUN = {
    CONFIG, METRICS, SUMMARY, CHECKPOINTS, "steps.bin", BEST, "model.safetensors", "model.json",
    "connections.safetensors", "timeline.jsonl",
}  # fmt: skip
"""What distbp itself writes into a run directory."""
_REMAINS = re.compile(
    rf"\.(?:{'|'.join(map(re.escape, sorted(_OF_A_RUN)))})\.\d+\.partial|\.tmp\w{{6}}|\.lock(?:\..*)?"
)
"""What writers that were killed leave: files that are not whole yet, those that safetensors writes first, locks."""


@dataclass(frozen=True)
class FoundRun:
    """A run directory."""

    path: Path
    began: float
    """When its settings were written, in seconds since 1970."""
    state: str
    """See state_of; or ``broken``."""
    settings: Mapping[str, Any]
    last: Mapping[str, Any]
    """The summary of a finished run, else the last epoch's record."""
    damage: str = ""
    """Why it is ``broken``."""
    host: str | None = None
    """Where a run is going on that is not on this host."""

    @property
    def strangers(self) -> list[str]:
        """Names in the directory that distbp did not write."""
        names = (each.name for each in self.path.iterdir())
        return sorted(name for name in names if name not in _OF_A_RUN and not _REMAINS.fullmatch(name))


def remove_partial_files(path: Path) -> None:
    """Remove what killed writers left in a run directory, which this process holds."""
    with suppress(OSError):
        for each in path.iterdir():
            if _REMAINS.fullmatch(each.name) and each.name != LOCK:
                each.unlink()
    remove_partial(path / CHECKPOINTS)


def find_runs(folder: Path) -> list[FoundRun]:
    """Return the runs in a folder and those below it, newest first; what cannot be read is left out, or ``broken``."""
    found: list[FoundRun] = []
    _walk(folder, found, 0)
    return sorted(found, key=lambda run: run.began, reverse=True)


def _walk(folder: Path, found: list[FoundRun], depth: int) -> None:
    with suppress(OSError):
        if (folder / CONFIG).exists():
            run = read_run(folder)
            if run is not None:
                found.append(run)
                return
        if depth < _DEEPEST:
            for each in sorted(folder.iterdir()):
                if each.is_dir() and not each.is_symlink() and not each.name.startswith("."):
                    _walk(each, found, depth + 1)


def read_run(path: Path) -> FoundRun | None:
    """Return the run in this directory; None if its config.json is none of distbp's."""
    began = (path / CONFIG).stat().st_mtime
    try:
        settings = read_json(path / CONFIG, CONFIG_JSON)
    except RunError as error:
        is_ours = (path / CHECKPOINTS).is_dir() and (path / METRICS).is_file()
        return FoundRun(path, began, "broken", {}, {}, damage=str(error)) if is_ours else None
    if not settings.keys() >= _SETTINGS_OF_A_RUN:
        return None
    try:
        state = state_of(path)
        last = read_summary(path) if state == "finished" else next(reversed(read_metrics(path)), {})
    except RunError as error:
        return FoundRun(path, began, "broken", settings, {}, damage=str(error))
    host = host_of(path) if state == "going on" else None
    return FoundRun(path, began, state, settings, last, host=host)
