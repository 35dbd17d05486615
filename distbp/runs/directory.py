"""The run directory: the settings, one record per epoch, checkpoints, the model and the summary."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distbp.errors import RunError, UsageError
from distbp.runs.files import write_json

CONFIG = "config.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
CHECKPOINTS = "checkpoints"


def default_run_directory(data_name: str) -> Path:
    """Return ``runs/<time>-<data>``, with a number behind it if a run began there in the same second."""
    base = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{data_name}"
    path, number = base, 2
    while path.exists():
        path = base.with_name(f"{base.name}-{number}")
        number += 1
    return path


def check_unused(path: Path) -> None:
    """Refuse a run directory that already holds a run, or that is no folder.

    Raises:
        UsageError: it does.
    """
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: --run-dir must be a folder that can be made")
        taken = (path / CONFIG).exists() or (path / SUMMARY).exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"--run-dir {str(path)[:80]!r} cannot be used: {error}") from error
    if taken:
        raise UsageError(f"{path} already holds a run: choose another --run-dir, or remove it")


@contextmanager
def made(path: Path) -> Iterator[None]:
    """Make the folder before anything starts; if the block fails before something was written, take it away again."""
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}") from error
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # it holds something by now
                path.rmdir()
        raise


class RunDirectory:
    """A new run's directory, made with its settings in it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        check_unused(path)
        self.path = path
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            write_json(path / CONFIG, settings)
            self._metrics = (path / METRICS).open("a", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}") from error

    def write_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one epoch's record and flush it to the disk."""
        try:
            self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        except OSError as error:
            raise RunError(f"{self.path / METRICS} cannot be written: {error.strerror}") from error

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, which marks the run as finished."""
        write_json(self.path / SUMMARY, summary)

    def close(self) -> None:
        """Close the metrics file."""
        self._metrics.close()
