"""Signals during a run: the first stops it after the current step, with a checkpoint; the second stops it at once."""

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

_SAME_SIGNAL_SECONDS = 0.2
"""Signals within this time count as one: a terminal may send a signal to the process and again to its group."""


class StopRequest(Callback):
    """Ends the run after the step in which a signal arrives, or at once before the first step."""

    def __init__(self) -> None:
        self._running = False
        self._signal_time = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if self._signal_time and now - self._signal_time < _SAME_SIGNAL_SECONDS:
            return
        before, self._signal_time = self._signal_time, now
        if not self._running or before:
            interrupt(number, frame)
        # not through Python's streams, which this signal may have interrupted in a write
        with suppress(OSError):
            os.write(2, b"\nstopping after this step with a checkpoint; interrupt again to stop at once\n")

    def on_start(self, run: RunRecord) -> None:
        """From now on, stop with a checkpoint."""
        if self._signal_time:  # a library's callback swallowed the interrupt of that signal
            raise KeyboardInterrupt
        self._running = True

    def on_step(self, record: StepRecord) -> bool:
        """End the run if a signal has arrived."""
        return self._signal_time > 0


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Handle the signals that end a run while the ``with`` block runs."""
    stop = StopRequest()
    before = {number: signal.signal(number, stop) for number in not_ignored()}
    hook = sys.unraisablehook

    def ignore_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
        """Print nothing for an interrupt in a library's callback, which Python cannot raise."""
        if unraisable.exc_type is not KeyboardInterrupt:
            hook(unraisable)

    sys.unraisablehook = ignore_interrupts
    try:
        yield stop
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
