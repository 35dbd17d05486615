"""What a run leaves on the disk while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from distbp.config import Settings, deciding_sha256
from distbp.data.dataset import Array
from distbp.errors import DivergedError, HeadLostError, Interrupted, LostError, RunError
from distbp.files.locks import Lock
from distbp.files.tensors import write_tensors
from distbp.model.files import write_connections
from distbp.model.network import Network
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.step.records import StepRecord, TimeSpent
from distbp.runs.checkpoint_writer import CheckpointWriter
from distbp.runs.checkpoints import Checkpoint
from distbp.runs.directory import BEST, CHECKPOINTS, RunDirectory
from distbp.runs.saved import SavedRun, resume_command
from distbp.runs.steplog import StepLog
from distbp.runs.sums import Sums
from distbp.runs.timeline import Timeline
from distbp.system.limits import cpu_count

Note = Callable[[str], None]


class RunWriter:
    """Keeps a run in its directory: settings, the log of its steps, a record per epoch, checkpoints.

    Every method that writes makes sure first that the run is still this process's.
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
        past: SavedRun | None,
    ) -> None:
        """Begin the run's directory that ``lock`` is for, or go on with that of ``past``.

        ``described`` goes to config.json; ``initial`` are the hashes of the layers' initial parameters.

        Raises:
            LostError: the directory was removed, or another process has taken the run over.
        """
        lock.check()
        path = lock.what
        self.path, self._lock, self._note = path, lock, note
        self._described = {
            "structure": structure.described(),
            "has_connections": bool(structure.connections),
            "settings_sha256": deciding_sha256(described),
        }
        self._slots = optimizer_of(config).slots
        self._seconds, self._address = config.checkpoint_seconds, config.address
        self._last = time.monotonic()
        self._unwritten_best: Array | None = None
        if past is None:
            self._directory = RunDirectory(path, described, note)
            if structure.connections:
                write_connections(path, structure.connections)
            self._log = StepLog(path, initial, note)
        else:
            step = past.checkpoint.step
            self._directory = RunDirectory.again(path, described, past.epochs(steps_per_epoch), note)
            self._log = StepLog.again(path, step, note, len(initial))
        begun = None if past is None else past.checkpoint.step
        self.timeline = Timeline(path, structure.sizes, begun or 0, cpu_count(), note)
        self._began, self._spent = time.perf_counter(), TimeSpent({}, 0.0)
        self._writer = CheckpointWriter(path / CHECKPOINTS, note, lock.check, begun)

    def best(self, weights: Array) -> None:
        """Keep the weights of the best epoch so far; if the disk has no room, try again before the next checkpoint."""
        self._lock.check()
        is_first = self._unwritten_best is None
        self._unwritten_best = weights
        self._write_best(tells=is_first)

    def _write_best(self, tells: bool = False) -> None:
        if self._unwritten_best is None:
            return
        try:
            write_tensors(self.path / BEST, {"weights": self._unwritten_best})
            self._unwritten_best = None
        except RunError as error:
            if tells:
                self._note(f"{error}; the weights of the best epoch are kept in memory, and no checkpoint is written "
                           "until they are on the disk; the run goes on")  # fmt: skip

    def step(self, record: StepRecord) -> None:
        """Log a step."""
        if self._lock.is_lost:
            self._lock.check()
        self._log.append(record)

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is so long ago that the next one should not wait for the epoch's end."""
        return time.monotonic() - self._last > self._seconds

    def checkpoint(self, step: int, state: Array, sums: Sums, recoveries: int, health: Any) -> None:
        """Keep the state after ``step`` steps; the disk is written to meanwhile, not now."""
        self._lock.check()
        self._log.flush()
        self._last = time.monotonic()
        self._write_best()
        if self._unwritten_best is not None:  # who goes on from this checkpoint would take older weights for the best
            return
        described = {**self._described, "epoch": sums.to_json(), "recoveries": recoveries, "health": health}
        self._writer.offer(Checkpoint(step, state, self._slots, described))

    def written(self) -> list[tuple[int, Path]]:
        """Return the steps and paths of the checkpoints that have come to the disk since this was asked last."""
        return self._writer.written()

    def begin_epoch(self, spent: TimeSpent) -> None:
        """Note what everybody has done with their time before an epoch's first step here."""
        self._began, self._spent = time.perf_counter(), spent

    def end_epoch(self, record: dict[str, Any], seconds: float, spent: TimeSpent) -> None:
        """Keep an epoch's record, and where its time went: the ``seconds`` of its steps here."""
        self._lock.check()
        self._directory.write_metrics(record)
        computing = {name: each - self._spent.computing.get(name, 0.0) for name, each in spent.computing.items()}
        self.timeline.epoch(record["epoch"], self._began, seconds, computing, spent.serving - self._spent.serving)

    def ended(self, step: int, error: BaseException) -> str | None:
        """Note that the run did not come to its end; return how to go on with it, None if that makes no sense."""
        with suppress(LostError):
            self._lock.check()
            how = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
            self.timeline.ended(step, how, str(error))
        self.close()  # so that the last checkpoint can be told of
        if self._lock.is_lost or isinstance(error, DivergedError):
            return None
        last = self._writer.last_good
        if last is None:
            return f"{self.path} has no checkpoint to go on from: start the run again"
        there = None if isinstance(error, HeadLostError) else self._address  # else it is no more
        return f"to go on from step {last}: {resume_command(self.path, there)}"

    def diverged(self, record: dict[str, Any]) -> None:
        """Keep the record of an epoch that came to no end."""
        self._lock.check()
        self._directory.write_metrics(record)

    def finish(self, network: Network, summary: Mapping[str, Any]) -> None:
        """Write the model, and the summary, which marks the run as finished.

        Raises:
            RunError: there is no room for them.
            LostError: the run is no longer this process's.
        """
        self._lock.check()
        network.save(self.path)
        self.close()
        self._directory.write_summary(summary)
        self.timeline.ended(summary["steps"], "finished")

    def close(self) -> None:
        """Write what is waiting; nothing if the run is no longer this process's."""
        self._writer.close()
        with suppress(LostError):
            self._lock.check()
            self._log.flush()
