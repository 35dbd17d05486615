"""Decides when a new worker is started in an empty slot; the caller starts and watches it."""

from __future__ import annotations

_LONGEST_PAUSE = 30.0


class Roster:
    """The worker slots of one run, by number. Times are in seconds.

    >>> roster = Roster(2)
    >>> roster.due(0.0)
    [0, 1]
    >>> roster.started(0), roster.started(1), roster.joined(0)
    (None, None, None)
    >>> roster.ended(0, 10.0)
    >>> roster.due(10.0), roster.present, roster.starting
    ([0], 0, [1])
    """

    def __init__(self, slots: int) -> None:
        self._empty = dict.fromkeys(range(slots), 0.0)
        """For each empty slot the earliest time for a new worker."""
        self._failures = dict.fromkeys(range(slots), 0)
        """For each slot the failed starts since a worker last connected."""
        self._starting: set[int] = set()
        self._present: set[int] = set()

    @property
    def present(self) -> int:
        """The number of connected workers."""
        return len(self._present)

    @property
    def starting(self) -> list[int]:
        """The slots whose workers were started and have not connected yet."""
        return sorted(self._starting)

    @property
    def filled(self) -> list[int]:
        """The slots whose workers are connected."""
        return sorted(self._present)

    def due(self, now: float) -> list[int]:
        """Return the slots in which a worker is to be started now."""
        return [slot for slot, time in sorted(self._empty.items()) if time <= now]

    def started(self, slot: int) -> None:
        """Note that a worker was started in an empty slot."""
        del self._empty[slot]
        self._starting.add(slot)

    def joined(self, slot: int) -> None:
        """Note that a slot's worker has connected."""
        self._starting.discard(slot)
        self._present.add(slot)
        self._failures[slot] = 0

    def disconnected(self) -> None:
        """Note that the server was lost, so that all connected workers must connect again."""
        self._starting |= self._present
        self._present.clear()

    def ended(self, slot: int, now: float) -> None:
        """Note that a slot's worker has ended; if it had never connected, the next one starts after a pause."""
        if slot in self._empty:
            return
        if slot in self._starting:
            self._failures[slot] += 1
        self._starting.discard(slot)
        self._present.discard(slot)
        pause = min(_LONGEST_PAUSE, 2.0 ** self._failures[slot]) if self._failures[slot] else 0.0
        self._empty[slot] = now + pause
