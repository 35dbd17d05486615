"""How long one and the same step has come to nothing, with whatever is started again for it."""

from __future__ import annotations

import time


class Standstill:
    """Counts the seconds since a step was found undone first; another step begins anew."""

    def __init__(self) -> None:
        self._step, self._since = -1, 0.0

    def seconds(self, step: int) -> float:
        """Return for how many seconds this step has come to nothing, 0 if it is found so for the first time."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._since = step, now
        return now - self._since
