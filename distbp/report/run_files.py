"""Reading of a run directory for a report; the run may be unfinished, damaged or of an older version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.config import CONFIG_JSON
from distbp.errors import RunError, UsageError
from distbp.files.json_files import read_sealed
from distbp.report.json_values import text
from distbp.runs.directory import CONFIG, is_locked, state_of
from distbp.runs.records import METRICS, SUMMARY, metrics_so_far, read_summary
from distbp.runs.saved import resume_command
from distbp.runs.timeline import NAME as TIMELINE
from distbp.runs.timeline import read_timeline

_WATCHED_FILES = (CONFIG, METRICS, SUMMARY, TIMELINE, "model.json")


@dataclass(frozen=True)
class Run:
    """The files of a run, finished or not."""

    path: Path
    name: str
    """Short name that is unique on the page."""
    settings: Mapping[str, Any]
    """Content of config.json."""
    epochs: list[Mapping[str, Any]]
    """Epoch records of metrics.jsonl."""
    summary: Mapping[str, Any]
    """Content of summary.json; empty until the run is finished."""
    timeline: list[Mapping[str, Any]]
    notes: tuple[str, ...]
    """Messages about files that could not be read."""
    disk_state: str
    """State by the run's files and its lock, from :func:`distbp.runs.directory.state_of`."""

    @property
    def state(self) -> str:
        """State of the run: finished, going on, interrupted, failed, or left (no end was recorded)."""
        if self.disk_state != "left":
            return self.disk_state
        last = self.timeline[-1] if self.timeline else {}
        return str(last["how"]) if last.get("how") in ("interrupted", "failed") else "left"

    @property
    def state_text(self) -> str:
        """Explanation of the state, such as the command that resumes the run."""
        last = self.timeline[-1] if self.timeline else {}
        address = self.settings.get("address")
        command = resume_command(self.path, address if isinstance(address, str) else None)
        return {
            "failed": text(last.get("text", "")),
            "interrupted": f"{command} resumes it",
            "left": f"no end was recorded; {command} resumes it",
        }.get(self.state, "")

    @property
    def task(self) -> str:
        """Task of the run: ``classification`` or ``regression``, guessed if the settings have none."""
        if self.settings.get("task") in ("classification", "regression"):
            return str(self.settings["task"])
        return "regression" if any("test_rmse" in record for record in self.epochs[-1:]) else "classification"

    @property
    def sizes(self) -> list[int]:
        """Nodes of each layer, input first; empty if the timeline does not contain them."""
        for record in self.timeline:
            sizes = record.get("sizes")
            if isinstance(sizes, list) and all(isinstance(size, int) and size > 0 for size in sizes):
                return sizes
        return []


def read_run(path: Path, name: str) -> Run:
    """Read the files of a run.

    Raises:
        UsageError: the directory contains no run.
        RunError: the run's settings cannot be read.
    """
    if not (path / CONFIG).exists() and is_locked(path):
        raise UsageError(f"the run in {path} is still starting: try again in a moment")
    if not (path / CONFIG).exists():
        raise UsageError(f"{path} contains no run: expected a directory that distbp train wrote")
    settings, has_sum = read_sealed(path / CONFIG, CONFIG_JSON)
    notes: list[str] = []
    if not has_sum:
        notes.append(f"{path / CONFIG} has no checksum, since an earlier version wrote it")
    epochs, _, damage = metrics_so_far(path)
    if damage is not None:
        notes.append(str(damage))
    timeline: list[Mapping[str, Any]] = []
    summary: Mapping[str, Any] = {}
    try:
        timeline = [*read_timeline(path)]
    except RunError as error:
        notes.append(str(error))
    if (path / SUMMARY).exists():
        try:
            summary = read_summary(path)
        except RunError as error:
            notes.append(str(error))
    return Run(path, name, settings, [*epochs], summary, timeline, tuple(notes), state_of(path))


def names_of(paths: list[Path]) -> list[str]:
    """Return a short name for each path; different paths get different names.

    >>> names_of([Path("runs/a"), Path("runs/b"), Path("old/a")])
    ['runs/a', 'b', 'old/a']
    """
    absolute = [path.absolute() for path in paths]
    names = []
    for position, path in enumerate(absolute):
        others = [other for other in absolute if other != path]
        parts = 1
        while parts < len(path.parts) and any(other.parts[-parts:] == path.parts[-parts:] for other in others):
            parts += 1
        name = "/".join(path.parts[-parts:])
        earlier = absolute[:position].count(path)
        names.append(f"{name} ({earlier + 1})" if earlier else name)
    return names


def version_of(path: Path) -> tuple[Any, ...]:
    """Return a value that changes when the run writes a file or ends."""
    version: list[Any] = [is_locked(path)]
    for name in _WATCHED_FILES:
        try:
            status = (path / name).stat()
            version.append((status.st_mtime_ns, status.st_size))
        except OSError:
            version.append(None)
    return tuple(version)
