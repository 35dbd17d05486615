"""Writes a run to its directory while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distbp.config import Settings, deciding_sha256
from distbp.data.dataset import Array
from distbp.errors import DivergedError, HeadLostError, Interrupted, LostError
from distbp.files.locks import Lock
from distbp.model.files import write_connections
from distbp.model.network import Network
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.step.records import StepRecord, TimeSpent
from distbp.runs.checkpoint_writer import CheckpointWriter
from distbp.runs.directory import CHECKPOINTS, RunDirectory
from distbp.runs.epoch_sums import EpochSums
from distbp.runs.saved import SavedRun, resume_command
from distbp.runs.state_writer import StateWriter
from distbp.runs.steplog import StepLog
from distbp.runs.timeline import Timeline
from distbp.system.limits import cpu_count

Note = Callable[[str], None]


class RunWriter:
    """Writes a run's settings, step log, epoch records, timeline, checkpoints, model and summary.

    Every method that writes first checks the lock: after another process has taken the run over, it raises LostError.
    """

    def __init__(
        self,
        lock: Lock,
        described: Mapping[str, Any],
        structure: Structure,
        config: Settings,
        steps_per_epoch: int,
        initial: tuple[int, ...],
        note: Note,
        saved: SavedRun | None,
    ) -> None:
        """Start the run directory that ``lock`` protects, or continue it after the checkpoint of ``saved``.

        ``described`` is the content of config.json; ``initial`` holds the hashes of the layers' initial parameters.

        Raises:
            LostError: the directory was removed, or another process has taken the run over.
        """
        lock.check()
        self.path: Path = lock.what
        self._lock, self._address = lock, config.address
        if saved is None:
            self._directory = RunDirectory(self.path, described, note)
            if structure.connections:
                write_connections(self.path, structure.connections)
            self._log = StepLog(self.path, initial, note)
        else:
            epochs = saved.epochs(steps_per_epoch)
            self._directory = RunDirectory.resumed(self.path, described, epochs, note)
            self._log = StepLog.resumed(self.path, saved.checkpoint.step, note, len(initial))
        step = None if saved is None else saved.checkpoint.step
        self._timeline = Timeline(self.path, structure.sizes, step or 0, cpu_count(), note)
        in_checkpoints = {
            "structure": structure.described(),
            "has_connections": bool(structure.connections),
            "settings_sha256": deciding_sha256(described),
        }
        checkpoints = CheckpointWriter(self.path / CHECKPOINTS, note, lock.check, step)
        slots = optimizer_of(config).slots
        self._state = StateWriter(checkpoints, self.path, in_checkpoints, slots, config.checkpoint_seconds, note)

    def begin_epoch(self, spent: TimeSpent) -> None:
        """Start the clock of an epoch, before its first step in this process."""
        self._timeline.begin_epoch(spent)

    def step(self, record: StepRecord) -> None:
        """Log a step."""
        if self._lock.is_lost:
            self._lock.check()
        self._log.append(record)

    def recovery(self, step: int, text: str) -> None:
        """Record the loss of a worker or server in the timeline."""
        self._timeline.recovery(step, text)

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is due now, before the end of the epoch."""
        return self._state.is_due

    def checkpoint(self, step: int, state: Array, sums: EpochSums, recoveries: int, health: Any) -> None:
        """Flush the step log and queue a checkpoint of the state after ``step`` steps."""
        self._lock.check()
        self._log.flush()
        self._state.checkpoint(step, state, sums, recoveries, health)

    def take_written_checkpoints(self) -> Sequence[tuple[int, Path]]:
        """Return steps and paths of the checkpoints written since the last call."""
        return self._state.take_written()

    def end_epoch(self, record: Mapping[str, Any], seconds: float, spent: TimeSpent) -> None:
        """Write an epoch's record; ``seconds`` is the duration of its steps in this process."""
        self._lock.check()
        self._directory.write_metrics(record)
        self._timeline.end_epoch(record["epoch"], seconds, spent)

    def diverged_epoch(self, record: Mapping[str, Any]) -> None:
        """Write the record of an epoch that a divergence cut short."""
        self._lock.check()
        self._directory.write_metrics(record)

    def best(self, weights: Array) -> None:
        """Write the weights of the best epoch so far."""
        self._lock.check()
        self._state.best(weights)

    def failed(self, step: int, error: BaseException) -> str | None:
        """Record that an error ended the run; return how to resume it, or None if resuming makes no sense."""
        with suppress(LostError):
            self._lock.check()
            how = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
            self._timeline.ended(step, how, str(error))
        self.close()  # completes the last checkpoint
        if self._lock.is_lost or isinstance(error, DivergedError):
            return None
        last = self._state.last_good
        if last is None:
            return f"{self.path} has no checkpoint to resume from: start the run again"
        address = None if isinstance(error, HeadLostError) else self._address  # a cluster without its head is gone
        return f"to resume from step {last}: {resume_command(self.path, address)}"

    def finish(self, network: Network, summary: Mapping[str, Any]) -> None:
        """Write the model, and then the summary, which marks the run as finished.

        Raises:
            RunError: the disk has no room for them.
            LostError: the run was removed, or another process has taken it over.
        """
        self._lock.check()
        network.save(self.path)
        self.close()
        self._directory.write_summary(summary)
        self._timeline.ended(summary["steps"], "finished")

    def close(self) -> None:
        """Write the queued checkpoint and the rest of the step log, unless the lock is lost."""
        self._state.close()
        with suppress(LostError):
            self._lock.check()
            self._log.flush()


class NoWriter:
    """Stands in for a :class:`RunWriter` where a run has no directory: writes nothing."""

    path: Path | None = None
    is_checkpoint_due = False

    def begin_epoch(self, spent: TimeSpent) -> None:
        """Do nothing."""

    def step(self, record: StepRecord) -> None:
        """Do nothing."""

    def recovery(self, step: int, text: str) -> None:
        """Do nothing."""

    def checkpoint(self, step: int, state: Array, sums: EpochSums, recoveries: int, health: Any) -> None:
        """Do nothing."""

    def take_written_checkpoints(self) -> Sequence[tuple[int, Path]]:
        """Return nothing: no checkpoint is ever written."""
        return ()

    def end_epoch(self, record: Mapping[str, Any], seconds: float, spent: TimeSpent) -> None:
        """Do nothing."""

    def diverged_epoch(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""

    def best(self, weights: Array) -> None:
        """Do nothing."""

    def failed(self, step: int, error: BaseException) -> None:
        """Return None: without a directory there is nothing to resume."""

    def finish(self, network: Network, summary: Mapping[str, Any]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
