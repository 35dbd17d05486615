"""The run directory: the settings, one record per epoch, checkpoints, the model and the summary."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
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
    """Refuse a run directory that already holds a run, or anything else that is not ours to write into.

    Raises:
        UsageError: it does.
    """
    if (path / CONFIG).exists() or (path / SUMMARY).exists():
        raise UsageError(f"{path} already holds a run: choose another --run-dir, or remove it")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file: --run-dir must be a folder that can be made")


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
