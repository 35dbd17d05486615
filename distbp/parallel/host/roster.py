"""Which places for workers are filled, and when somebody new is to be started in an empty one: decisions alone."""

from __future__ import annotations

_LONGEST_PAUSE = 30.0


class Roster:
    """The places for workers of one run, by number. Times are in seconds.

    >>> roster = Roster(2)
    >>> roster.due(0.0)
    [0, 1]
    >>> roster.started(0), roster.started(1), roster.joined(0)
    (None, None, None)
    >>> roster.ended(0, 10.0)
    >>> roster.due(10.0), roster.present, roster.starting
    ([0], 0, [1])
    """

    def __init__(self, places: int) -> None:
        self._empty = dict.fromkeys(range(places), 0.0)
        """The empty places, with the time from which on they may be filled."""
        self._failures = dict.fromkeys(range(places), 0)
        self._starting: set[int] = set()
        self._present: set[int] = set()

    @property
    def present(self) -> int:
        """How many workers are there."""
        return len(self._present)

    @property
    def starting(self) -> list[int]:
        """The places whose workers have been started and have not come yet."""
        return sorted(self._starting)

    @property
    def filled(self) -> list[int]:
        """The places whose workers are there."""
        return sorted(self._present)

    def due(self, now: float) -> list[int]:
        """Return the places in which somebody is to be started now."""
        return [place for place, time in sorted(self._empty.items()) if time <= now]

    def started(self, place: int) -> None:
        """Note that somebody is being started in this place."""
        del self._empty[place]
        self._starting.add(place)

    def joined(self, place: int) -> None:
        """Note that the worker of this place is there."""
        self._starting.discard(place)
        self._present.add(place)
        self._failures[place] = 0

    def silent(self) -> None:
        """Note that all have to come again, to a new server."""
        self._starting |= self._present
        self._present.clear()

    def ended(self, place: int, now: float) -> None:
        """Note that the worker of this place has ended; if it had not even come, the next one waits for a while."""
        if place in self._empty:
            return
        if place in self._starting:
            self._failures[place] += 1
        self._starting.discard(place)
        self._present.discard(place)
        pause = min(_LONGEST_PAUSE, 2.0 ** self._failures[place]) if self._failures[place] else 0.0
        self._empty[place] = now + pause
