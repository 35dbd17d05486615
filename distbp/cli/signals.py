"""Signals while a run goes on: the first ends it after its step, with a checkpoint; the second ends it at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from distbp.parallel.step.records import StepRecord
from distbp.system.signals import interrupt, not_ignored
from distbp.training.callbacks import Callback, RunRecord

_SAME_SECONDS = 0.2
"""Signals so close together are one: a terminal or a supervisor may send it to the process and to its group."""


class StopRequest(Callback):
    """Ends the run after the step in which a signal came. Before the first step there is nothing to save."""

    def __init__(self) -> None:
        self._running = False
        self._asked_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if self._asked_at and now - self._asked_at < _SAME_SECONDS:
            return
        before, self._asked_at = self._asked_at, now
        if not self._running or before:
            interrupt(number, frame)
        # not through Python's streams, which this signal may have interrupted; the terminal may have gone
        with suppress(OSError):
            os.write(2, b"\nending after this step with a checkpoint; once more to stop at once\n")

    def on_start(self, run: RunRecord) -> None:
        """From now on there is something to save."""
        if self._asked_at:  # what was raised then got lost in a library's callback
            raise KeyboardInterrupt
        self._running = True

    def on_step(self, record: StepRecord) -> bool:
        """End the run here if a signal asked for it."""
        return self._asked_at > 0


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Handle the signals that end a run within the ``with`` block."""
    stop = StopRequest()
    before = {number: signal.signal(number, stop) for number in not_ignored()}
    hook = sys.unraisablehook

    def say_nothing_of_interrupts(told: sys.UnraisableHookArgs) -> None:
        """Leave out the interrupt that came in a library's callback, where Python prints it and goes on."""
        if told.exc_type is not KeyboardInterrupt:
            hook(told)

    sys.unraisablehook = say_nothing_of_interrupts
    try:
        yield stop
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
