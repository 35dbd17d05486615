"""Deadlines: when a worker is a straggler, when it counts as lost, and when a step without workers ends the run."""

from __future__ import annotations

from distbp.parallel.host.decisions import Compute

_STRAGGLER_FACTOR = 4.0
"""A straggler takes at least this many times as long per shard as the last finished task."""
_STRAGGLER_SECONDS = 0.25
"""A straggler takes at least this long: shorter delays may be due to other load on the machine."""
_STUCK_FACTOR = 50.0
"""A worker is lost once it takes this many times as long, and at least the timeout, even if it sends heartbeats."""
_STUCK_TIMEOUTS = 60.0
"""The same limit in timeouts, while no task has finished."""


class Deadlines:
    """The limits of --timeout and --wait, and the time that a shard takes. Times are in seconds."""

    def __init__(self, timeout: float, wait: float) -> None:
        self.timeout = timeout
        self._wait = wait
        self._seconds_per_shard = 0.0
        self._stalled_since: float | None = None

    def measured(self, task: Compute, seconds: float) -> None:
        """Note how long a task took."""
        self._seconds_per_shard = seconds / (task.span.stop - task.span.first)

    def _usual(self, task: Compute) -> float:
        """Return the expected time for a task, 0 if unknown."""
        return self._seconds_per_shard * (task.span.stop - task.span.first)

    def is_straggler(self, task: Compute, seconds: float) -> bool:
        """Return whether a worker is a straggler after ``seconds`` on its task."""
        usual = self._usual(task)
        return bool(usual) and seconds > max(_STRAGGLER_SECONDS, _STRAGGLER_FACTOR * usual)

    def silence_reason(self, step: int, silence: float) -> str | None:
        """Return why a worker counts as lost after ``silence`` seconds without a heartbeat; None if it does not."""
        return f"no heartbeat for {self.timeout:g} s in step {step} (--timeout)" if silence > self.timeout else None

    def stuck_reason(self, task: Compute, seconds: float) -> str | None:
        """Return why a worker counts as lost after ``seconds`` on its task; None if it does not."""
        usual = self._usual(task)
        limit = max(self.timeout, _STUCK_FACTOR * usual) if usual else _STUCK_TIMEOUTS * self.timeout
        return (
            f"no result for {seconds:.0f} s in step {task.step}, although it sends heartbeats"
            if seconds > limit
            else None
        )

    def not_stalled(self) -> None:
        """Note that the step is not stalled: it is complete, or a worker is computing it."""
        self._stalled_since = None

    def stall_reason(self, step: int, now: float, has_idle: bool) -> str | None:
        """Return the reason to end the run once no worker has computed a step for --wait; None before."""
        if self._stalled_since is None:
            self._stalled_since = now
        if now - self._stalled_since <= self._wait:
            return None
        none = "no worker that can compute the missing shards has" if has_idle else "no worker is left, and none has"
        return f"{none} joined for {self._wait:g} s in step {step} (--wait)"
