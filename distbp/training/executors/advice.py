"""Advice to a user who fixed the number of workers, where another number would be clearly faster."""

from __future__ import annotations

import math

from distbp.config import Settings
from distbp.training.executors.choice import RAY_START_SECONDS, faster_workers_note, slower_workers_note
from distbp.training.executors.start import useful_workers


class WorkersAdvice:
    """Compares the measured speed of a run with what another number of workers could reach."""

    def __init__(self, is_fixed: bool, process_step: float | None) -> None:
        """Advise only if the user fixed the number of workers.

        ``process_step`` is the time of a step in this process, None if it was not measured.
        """
        self._is_fixed, self._process_step = is_fixed, process_step

    def text(self, config: Settings, rows: int, step: float, steps_left: int) -> str | None:
        """Return the advice, None if there is none; ``step`` is the median time of the run's steps, NaN before any."""
        if not self._is_fixed or math.isnan(step):
            return None
        if config.workers.in_process:
            if steps_left * step < RAY_START_SECONDS:  # so that a short run does not load the actors
                return None
            return faster_workers_note(config, rows, useful_workers(config, rows), step, steps_left)
        if self._process_step is None:
            return None
        return slower_workers_note(config.workers, rows, step, self._process_step)
