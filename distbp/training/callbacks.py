"""What a run tells those who watch it, while it goes on."""

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
    workers: Callable[[], Sequence[WorkerRecord]] = tuple
    """Says who computes at the moment it is called, also from another thread; nobody where this process does it all."""


@dataclass(frozen=True)
class EpochRecord:
    """An epoch that was done."""

    epoch: int
    """Counted from 1."""
    step: int
    """Steps done since the run began."""
    metrics: Mapping[str, Any]
    """The epoch's line of metrics.jsonl."""
    network: Network
    """With the weights after this epoch; they stay as they are."""


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint that is whole on the disk; the newest three stay there."""

    step: int
    """Steps done in it."""
    path: Path


@dataclass(frozen=True)
class RecoveryRecord:
    """A worker or a server that was lost, without consequence for the result."""

    step: int
    """The step at which it was seen."""
    text: str
    """Who, and why."""
    recoveries: int
    """How many were lost in this run so far."""


class Callback:
    """Watches a run. Override what you need; each method does nothing by itself.

    Everything is called in the process and the thread that called :func:`distbp.train`. What a callback raises ends
    the run with a checkpoint, as a :class:`distbp.CallbackError` that names the callback, the method and the step.

    >>> import distbp
    >>> class GoodEnough(distbp.Callback):
    ...     def on_epoch_end(self, record):
    ...         return record.metrics["test_accuracy"] > 0.8
    >>> result = distbp.train("digits", workers=0, epochs=100, callbacks=[GoodEnough()])
    >>> len(result.history) < 20
    True
    """

    def on_note(self, text: str) -> None:
        """Something the user should know, in one line."""

    def on_reading(self, done: int, total: int) -> None:
        """So much of so much of the data has been read; not called where that takes but a moment."""

    def on_start(self, run: RunRecord) -> None:
        """Everything is ready; the first step comes next."""

    def on_step(self, record: StepRecord) -> bool | None:
        """A step was done. Return True to interrupt the run here, with a checkpoint to resume from."""

    def on_epoch_end(self, record: EpochRecord) -> bool | None:
        """An epoch was done and the network was tried on the test rows. Return True to finish the run with it."""

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """A checkpoint was written, some steps ago; only runs with a run directory have any."""

    def on_recovery(self, record: RecoveryRecord) -> None:
        """Somebody was lost, and others do the work."""

    def on_end(self, error: BaseException | None) -> None:
        """The run that began is over: finished and written if ``error`` is None, else ended by it."""


class Callbacks:
    """All who watch a run, told one after the other."""

    def __init__(self, each: Sequence[Callback]) -> None:
        self._each = tuple(each)
        self.step = 0
        """The steps done when somebody is told something."""

    @contextmanager
    def until_end(self) -> Iterator[None]:
        """Tell all of them when the block ends, by itself or by an error; one that fails then keeps it from nobody.

        Raises:
            CallbackError: the first of those that failed, if the block ended by itself.
        """
        try:
            yield
        except BaseException as error:
            self._tell_end(error)  # the first error is the one that counts
            raise
        failed = self._tell_end(None)
        if failed is not None:
            raise failed

    def _tell_end(self, error: BaseException | None) -> Exception | None:
        """Tell all of them the end, whoever fails at it; return the first error of theirs."""
        first: Exception | None = None
        for callback in self._each:
            try:
                self._tell(callback, "on_end", error)
            except DistbpError as failed:
                first = first or failed
        return first

    def tell(self, event: str, *told: object) -> bool:
        """Tell all of them; return whether one wants the run to end.

        Raises:
            CallbackError: one raised what is no error of this library.
        """
        wants_end = False
        for callback in self._each:
            wants_end = self._tell(callback, event, *told) or wants_end
        return wants_end

    def note(self, text: str) -> None:
        """Tell all of them what the user should know."""
        self.tell("on_note", text)

    def _tell(self, callback: Callback, event: str, *told: object) -> bool:
        method: Callable[..., object] = getattr(callback, event)
        try:
            return bool(method(*told))
        except DistbpError:
            raise
        except Exception as error:
            raise CallbackError(f"{type(callback).__name__}.{event}", self.step, error) from error
