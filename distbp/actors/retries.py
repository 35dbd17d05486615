"""Decides when a host may be started again on a node."""

from __future__ import annotations

import math
import time


class Retries:
    """Pauses before a host is started again, by node and worker slots. Times are in seconds."""

    def __init__(self) -> None:
        self._not_before: dict[tuple[str, tuple[int, ...]], float] = {}
        self._unreachable: dict[str, tuple[int, float]] = {}
        """For each node that other hosts do not reach, the number of its pauses and the end of the last."""

    def is_due(self, node: str, numbers: tuple[int, ...]) -> bool:
        """Return whether a host may be started now for these slots of a node."""
        pause_end = self._unreachable.get(node, (0, 0.0))[1]
        return time.monotonic() >= max(self._not_before.get((node, numbers), 0.0), pause_end)

    def pause(self, node: str, numbers: tuple[int, ...], seconds: float) -> None:
        """Start no host for these slots for this many seconds."""
        self._not_before[node, numbers] = time.monotonic() + seconds

    def never(self, node: str, numbers: tuple[int, ...]) -> None:
        """Start no host for these slots any more: it would fail again."""
        self._not_before[node, numbers] = math.inf

    def unreachable(self, node: str, seconds: float) -> float:
        """Pause a node that other hosts do not reach: for ``seconds``, doubled each time; return the pause."""
        times, _ = self._unreachable.get(node, (0, 0.0))
        pause: float = seconds * 2**times
        self._unreachable[node] = times + 1, time.monotonic() + pause
        return pause

    def forgive(self) -> None:
        """End the pauses of unreachable nodes."""
        self._unreachable = {node: (times, 0.0) for node, (times, _) in self._unreachable.items()}
