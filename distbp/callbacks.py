"""What a run tells those who watch it, while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.config import Config
from distbp.nn.structure import Structure
from distbp.parallel.records import StepRecord


@dataclass(frozen=True)
class RunRecord:
    """A run that is about to begin."""

    config: Config
    structure: Structure
    train_rows: int
    test_rows: int
    steps_per_epoch: int
    run_directory: Path | None
    step: int = 0
    """Steps that were done before."""
    columns: Sequence[tuple[str, str, str]] = ()
    """Of a table: each column's name, what it holds, and what is done with it."""


class Callback:
    """Watches a run. Override what you need; each method does nothing by itself."""

    def on_note(self, text: str) -> None:
        """Something the user should know, in one line."""

    def on_reading(self, done: int, total: int) -> None:
        """So much of so much of the data has been read; not called where that takes but a moment."""

    def on_start(self, run: RunRecord) -> None:
        """Everything is ready; the first step comes next."""

    def on_step(self, record: StepRecord) -> bool | None:
        """A step was done. Return True to end the run here, with a checkpoint."""

    def on_epoch_end(self, record: Mapping[str, Any]) -> None:
        """An epoch was done and the network was tried on the test rows; ``record`` is the line of metrics.jsonl."""
