"""Writes the state that a run resumes from: checkpoints, and the weights of its best epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distbp.data.dataset import Array
from distbp.errors import RunError
from distbp.files.tensors import write_tensors
from distbp.runs.checkpoint_writer import CheckpointWriter
from distbp.runs.checkpoints import Checkpoint
from distbp.runs.directory import BEST
from distbp.runs.epoch_sums import EpochSums


class StateWriter:
    """Writes best weights and checkpoints, in an order that lets the run resume from every checkpoint."""

    def __init__(
        self,
        checkpoints: CheckpointWriter,
        path: Path,
        described: Mapping[str, Any],
        slots: tuple[str, ...],
        seconds: float,
        note: Callable[[str], None],
    ) -> None:
        """``described`` is part of every checkpoint; one is due ``seconds`` after the one before."""
        self._checkpoints = checkpoints
        self._best_path, self._note = path / BEST, note
        self._described, self._slots = described, slots
        self._seconds, self._last = seconds, time.monotonic()
        self._unwritten_best: Array | None = None

    @property
    def is_due(self) -> bool:
        """Whether the next checkpoint should not wait for the end of the epoch."""
        return time.monotonic() - self._last > self._seconds

    @property
    def last_good(self) -> int | None:
        """The step of the newest checkpoint on the disk, None if there is none."""
        return self._checkpoints.last_good

    def best(self, weights: Array) -> None:
        """Write the weights of the best epoch so far; if that fails, try again before the next checkpoint."""
        is_first_attempt = self._unwritten_best is None
        self._unwritten_best = weights
        self._write_best(notes_failure=is_first_attempt)

    def _write_best(self, notes_failure: bool = False) -> None:
        if self._unwritten_best is None:
            return
        try:
            write_tensors(self._best_path, {"weights": self._unwritten_best})
            self._unwritten_best = None
        except RunError as error:
            if notes_failure:
                self._note(
                    f"{error}; the weights of the best epoch are kept in memory, and no checkpoint is written until "
                    "they are on the disk; the run goes on"
                )

    def checkpoint(self, step: int, state: Array, sums: EpochSums, recoveries: int, health: Any) -> None:
        """Queue a checkpoint of the state after ``step`` steps; a thread writes it."""
        self._last = time.monotonic()
        self._write_best()
        if self._unwritten_best is not None:  # resuming from this checkpoint would use outdated best weights
            return
        described = {**self._described, "epoch": sums.to_json(), "recoveries": recoveries, "health": health}
        self._checkpoints.offer(Checkpoint(step, state, self._slots, described))

    def take_written(self) -> list[tuple[int, Path]]:
        """Return steps and paths of the checkpoints written since the last call."""
        return self._checkpoints.take_written()

    def close(self) -> None:
        """Write the queued checkpoint and end the thread."""
        self._checkpoints.close()
