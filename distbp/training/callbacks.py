"""Callbacks: the interface by which a calling program watches a run and ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.config import Config
from distbp.errors import CallbackError, DistbpError
from distbp.model.network import Network
from distbp.nn.structure import Structure
from distbp.parallel.step.records import StepRecord, WorkerRecord


@dataclass(frozen=True)
class RunRecord:
    """A run that is ready for its first step."""

    config: Config
    structure: Structure
    train_rows: int
    test_rows: int
    steps_per_epoch: int
    run_directory: Path | None
    step: int = 0
    """Steps done before; more than 0 in a resumed run."""
    columns: Sequence[tuple[str, str, str]] = ()
    """Name, content and treatment of each column of a table; empty for arrays."""
    workers: Callable[[], Sequence[WorkerRecord]] = tuple
    """Returns the workers at the moment of the call; it may be called from any thread. Without workers it returns an
    empty sequence."""


@dataclass(frozen=True)
class EpochRecord:
    """An epoch that is done."""

    epoch: int
    """Number of the epoch, from 1."""
    step: int
    """Steps done since the start of the run."""
    metrics: Mapping[str, Any]
    """The epoch's record in metrics.jsonl."""
    network: Network
    """The network after this epoch; later steps do not change it."""


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint that is complete on the disk; the newest three are kept."""

    step: int
    """Steps done before the checkpoint."""
    path: Path


@dataclass(frozen=True)
class RecoveryRecord:
    """The loss of a worker or a server; it does not change the result."""

    step: int
    """The step at which the loss was noticed."""
    text: str
    """The process that was lost, and the cause."""
    recoveries: int
    """Number of recoveries in this run so far."""


class Callback:
    """Watches a run. Override the methods you need; the inherited ones do nothing.

    All methods are called in the process and thread that called :func:`distbp.train`. An exception raised by a callback
    ends the run with a checkpoint, as a :class:`distbp.CallbackError` that names the callback, the method and the step.

    >>> import distbp
    >>> class GoodEnough(distbp.Callback):
    ...     def on_epoch_end(self, record):
    ...         return record.metrics["test_accuracy"] > 0.8
    >>> result = distbp.train("digits", workers=0, epochs=100, callbacks=[GoodEnough()])
    >>> len(result.history) < 20
    True
    """

    def on_note(self, text: str) -> None:
        """Called with each message for the user; a message is one line."""

    def on_reading(self, done: int, total: int) -> None:
        """Called while data are read, ``done`` of ``total`` so far; not if reading takes only a moment."""

    def on_start(self, run: RunRecord) -> None:
        """Called before the first step, when everything is ready."""

    def on_step(self, record: StepRecord) -> bool | None:
        """Called after each step. Return True to interrupt the run here, with a checkpoint to resume from."""

    def on_epoch_end(self, record: EpochRecord) -> bool | None:
        """Called after each epoch and its evaluation. Return True to finish the run with this epoch."""

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Called some steps after a checkpoint was written; only in runs with a run directory."""

    def on_recovery(self, record: RecoveryRecord) -> None:
        """Called after a worker or server was lost and the run recovered."""

    def on_end(self, error: BaseException | None) -> None:
        """Called once when a started run is over; ``error`` is what ended it, None if it finished."""


class Callbacks:
    """Calls all callbacks of a run, in their order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = tuple(callbacks)
        self.step = 0
        """Steps done so far; the error of a failing callback names it."""
        self.last_note = ""
        """The newest note; executors note a recovery before they count it."""

    @contextmanager
    def until_end(self) -> Iterator[None]:
        """Call ``on_end`` of all callbacks when the block ends, even if some of them fail.

        Raises:
            CallbackError: the first failure of a callback, if the block itself raised nothing.
        """
        try:
            yield
        except BaseException as error:
            self._notify_end(error)  # the error of the block counts, not those of callbacks
            raise
        failure = self._notify_end(None)
        if failure is not None:
            raise failure

    def _notify_end(self, error: BaseException | None) -> Exception | None:
        """Call ``on_end`` of all callbacks; return the first error that one of them raises."""
        first: Exception | None = None
        for callback in self._callbacks:
            try:
                self._call(callback, "on_end", error)
            except DistbpError as failure:
                first = first or failure
        return first

    def notify(self, event: str, *arguments: object) -> bool:
        """Call this method of all callbacks; return whether one of them wants the run to end.

        Raises:
            CallbackError: a callback raised an exception that is no DistbpError.
        """
        wants_end = False
        for callback in self._callbacks:
            wants_end = self._call(callback, event, *arguments) or wants_end
        return wants_end

    def note(self, text: str) -> None:
        """Pass a message for the user to all callbacks."""
        self.last_note = text
        self.notify("on_note", text)

    def _call(self, callback: Callback, event: str, *arguments: object) -> bool:
        method: Callable[..., object] = getattr(callback, event)
        try:
            return bool(method(*arguments))
        except DistbpError:
            raise
        except Exception as error:
            raise CallbackError(f"{type(callback).__name__}.{event}", self.step, error) from error
