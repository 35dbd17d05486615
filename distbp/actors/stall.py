"""Measures how long a run has been stuck at one step."""

from __future__ import annotations

import time


class StallTimer:
    """The time since the first failure of a step; another step starts it anew."""

    def __init__(self) -> None:
        self._step, self._since = -1, 0.0

    def seconds(self, step: int) -> float:
        """Return the seconds since this step's first failure, 0 if this is the first."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._since = step, now
        return now - self._since
