"""A run's directory as the report reads it: whole, half written, of an older version, or still going on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.config import CONFIG_JSON
from distbp.errors import RunError, UsageError
from distbp.files.json_files import read_sealed
from distbp.report.json_values import text
from distbp.runs.directory import CONFIG, is_held, state_of
from distbp.runs.records import METRICS, SUMMARY, metrics_so_far, read_summary
from distbp.runs.saved import resume_command
from distbp.runs.timeline import NAME as TIMELINE
from distbp.runs.timeline import read_timeline

_FOLLOWED = (CONFIG, METRICS, SUMMARY, TIMELINE, "model.json")


@dataclass(frozen=True)
class Run:
    """What a run has left so far."""

    path: Path
    name: str
    """Short, and different from those of the other runs on the page."""
    settings: Mapping[str, Any]
    """What config.json holds."""
    epochs: list[Mapping[str, Any]]
    """The records of metrics.jsonl that are of an epoch."""
    summary: Mapping[str, Any]
    """Empty as long as the run is not finished."""
    timeline: list[Mapping[str, Any]]
    notes: tuple[str, ...]
    """What could not be read."""
    standing: str
    """See :func:`distbp.runs.directory.state_of`."""

    @property
    def state(self) -> str:
        """How the run stands: finished, going on, interrupted, failed, or left, where no end was recorded."""
        if self.standing != "left":
            return self.standing
        last = self.timeline[-1] if self.timeline else {}
        return str(last["how"]) if last.get("how") in ("interrupted", "failed") else "left"

    @property
    def state_text(self) -> str:
        """What a person should know of the state beyond its name."""
        last = self.timeline[-1] if self.timeline else {}
        address = self.settings.get("address")
        command = resume_command(self.path, address if isinstance(address, str) else None)
        return {
            "failed": text(last.get("text", "")),
            "interrupted": f"{command} goes on with it",
            "left": f"no end was recorded; {command} goes on with it",
        }.get(self.state, "")

    @property
    def task(self) -> str:
        """``classification`` or ``regression``, as far as it can be told."""
        if self.settings.get("task") in ("classification", "regression"):
            return str(self.settings["task"])
        return "regression" if any("test_rmse" in record for record in self.epochs[-1:]) else "classification"

    @property
    def sizes(self) -> list[int]:
        """The nodes of each layer, the input first; empty where nobody has written them down."""
        for record in self.timeline:
            sizes = record.get("sizes")
            if isinstance(sizes, list) and all(isinstance(size, int) and size > 0 for size in sizes):
                return sizes
        return []


def read_run(path: Path, name: str) -> Run:
    """Read what is there.

    Raises:
        UsageError: there is no run.
        RunError: its settings cannot be read.
    """
    if not (path / CONFIG).exists() and is_held(path):
        raise UsageError(f"the run in {path} is only starting: try again once it has begun")
    if not (path / CONFIG).exists():
        raise UsageError(f"{path} holds no run: expected a directory that distbp train made")
    settings, has_sum = read_sealed(path / CONFIG, CONFIG_JSON)
    notes: list[str] = []
    if not has_sum:
        notes.append(f"{path / CONFIG} carries no sum, as it was written by an earlier version")
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
    """Return short names that differ where the paths do.

    >>> names_of([Path("runs/a"), Path("runs/b"), Path("old/a")])
    ['runs/a', 'b', 'old/a']
    """
    whole = [path.absolute() for path in paths]
    names = []
    for number_, path in enumerate(whole):
        others = [other for other in whole if other != path]
        parts = 1
        while parts < len(path.parts) and any(other.parts[-parts:] == path.parts[-parts:] for other in others):
            parts += 1
        name = "/".join(path.parts[-parts:])
        again = whole[:number_].count(path)
        names.append(f"{name} ({again + 1})" if again else name)
    return names


def version_of(path: Path) -> tuple[Any, ...]:
    """Return what changes when the run has written something, or has ended."""
    found: list[Any] = [is_held(path)]
    for name in _FOLLOWED:
        try:
            told = (path / name).stat()
            found.append((told.st_mtime_ns, told.st_size))
        except OSError:
            found.append(None)
    return tuple(found)
