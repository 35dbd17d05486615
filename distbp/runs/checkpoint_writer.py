"""Writes checkpoints in a thread of its own, so that no step waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from distbp.errors import LostError, RunError
from distbp.runs.checkpoints import Checkpoint, write_checkpoint

_MOST_SECONDS = 60.0


class CheckpointWriter:
    """Writes what it is offered, the newest first; a disk that is full costs a warning, not the run.

    ``note`` is called by whoever calls :meth:`offer` or :meth:`close`, never from the thread; ``check`` by the thread
    before it writes: if it raises LostError, nothing is written any more.
    """

    def __init__(
        self, folder: Path, note: Callable[[str], None], check: Callable[[], None], last_good: int | None = None
    ) -> None:
        self._folder, self._note, self._check = folder, note, check
        self._changed = threading.Condition()
        self._waiting: Checkpoint | None = None
        self._writing = self._closing = False
        self._failure: str | None = None
        self._told = False
        self.last_good = last_good
        """The step of the newest checkpoint on the disk."""
        self._written: list[tuple[int, Path]] = []
        self._thread = threading.Thread(target=self._run, name="distbp-checkpoints", daemon=True)
        self._thread.start()

    def offer(self, checkpoint: Checkpoint) -> None:
        """Have this checkpoint written soon; one that still waits is given up for it. Its state must not change."""
        with self._changed:
            self._waiting = checkpoint
            self._changed.notify_all()
        self._tell()

    def written(self) -> list[tuple[int, Path]]:
        """Return the steps and paths of the checkpoints that were written since this was asked last."""
        written: list[tuple[int, Path]] = []
        while self._written:
            written.append(self._written.pop(0))
        return written

    def wait(self) -> None:
        """Wait until nothing waits to be written."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._writing)

    def close(self) -> None:
        """Write what waits, and end the thread; a disk that does not answer is not waited for any longer."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_MOST_SECONDS)
        if self._thread.is_alive():
            self._note(
                f"the disk of {self._folder} has not answered for {_MOST_SECONDS:g} s: the last checkpoint is missing"
            )
        self._tell()

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
            except LostError:  # which the next check in the run's own thread raises again
                pass
            except RunError as error:
                failure = str(error)
            except Exception as error:  # never let the thread die; the next call says what it was
                failure = f"{type(error).__name__}: {error}"
            with self._changed:
                self._failure, self._writing = failure, False
                self._changed.notify_all()

    def _tell(self) -> None:
        """Say once that checkpoints fail, and again only if they have worked since."""
        with self._changed:
            failure = self._failure
        if failure is None:
            self._told = False
        elif not self._told:
            self._told = True
            last = "there is none yet" if self.last_good is None else f"the last good one is of step {self.last_good}"
            self._note(f"no checkpoint: {failure}; {last}; the run goes on")
