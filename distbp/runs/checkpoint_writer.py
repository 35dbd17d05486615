"""Writes checkpoints in a background thread, so that no step waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from distbp.errors import LostError, RunError
from distbp.runs.checkpoints import Checkpoint, write_checkpoint

_CLOSE_SECONDS = 60.0


class CheckpointWriter:
    """Writes the newest checkpoint offered; a failure to write costs a warning, not the run.

    ``note`` is called in the thread that calls :meth:`offer` or :meth:`close`. ``check`` is called in the background
    thread before each write: if it raises LostError, the checkpoint is not written.
    """

    def __init__(
        self, folder: Path, note: Callable[[str], None], check: Callable[[], None], last_good: int | None = None
    ) -> None:
        self._folder, self._note, self._check = folder, note, check
        self._changed = threading.Condition()
        self._waiting: Checkpoint | None = None
        self._writing = self._closing = False
        self._failure: str | None = None
        self._is_failure_noted = False
        self.last_good = last_good
        """The step of the newest checkpoint on the disk."""
        self._written: list[tuple[int, Path]] = []
        self._thread = threading.Thread(target=self._run, name="distbp-checkpoints", daemon=True)
        self._thread.start()

    def offer(self, checkpoint: Checkpoint) -> None:
        """Queue a checkpoint, replacing a queued one; the caller must not change its state afterwards."""
        with self._changed:
            self._waiting = checkpoint
            self._changed.notify_all()
        self._note_failure()

    def take_written(self) -> list[tuple[int, Path]]:
        """Return steps and paths of the checkpoints written since the last call."""
        written: list[tuple[int, Path]] = []
        while self._written:
            written.append(self._written.pop(0))
        return written

    def wait(self) -> None:
        """Wait until no checkpoint is queued or being written."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._writing)

    def close(self) -> None:
        """Write the queued checkpoint and end the thread; give up on a disk that does not answer for a minute."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            self._note(
                f"the disk of {self._folder} has not answered for {_CLOSE_SECONDS:g} s: the last checkpoint is missing"
            )
        self._note_failure()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting is None and not self._closing:
                    self._changed.wait()
                checkpoint, self._waiting = self._waiting, None
                self._writing = checkpoint is not None
            if checkpoint is None:
                return
            failure = None
            try:
                self._check()
                path = write_checkpoint(self._folder, checkpoint)
                self.last_good = checkpoint.step
                self._written.append((checkpoint.step, path))
            except LostError:  # the next check in the run's own thread raises it again
                pass
            except RunError as error:
                failure = str(error)
            except Exception as error:  # never let the thread die; the next call notes the error
                failure = f"{type(error).__name__}: {error}"
            with self._changed:
                self._failure, self._writing = failure, False
                self._changed.notify_all()

    def _note_failure(self) -> None:
        """Note a failure, but not again until a checkpoint has been written in between."""
        with self._changed:
            failure = self._failure
        if failure is None:
            self._is_failure_noted = False
        elif not self._is_failure_noted:
            self._is_failure_noted = True
            last = "there is none yet" if self.last_good is None else f"the last good one is of step {self.last_good}"
            self._note(f"no checkpoint: {failure}; {last}; the run goes on")
