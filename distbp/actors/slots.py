"""The workers of one host: started in its places, watched, and replaced when they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from distbp.actors.connection.calls import ending, in_brackets
from distbp.config import Settings
from distbp.errors import PeerLostError
from distbp.parallel.host.roster import Roster
from distbp.parallel.host.shared_memory import SharedMemory

_CAUSE_SECONDS = 0.5
"""What Ray may take to say why a process has ended that the kernel says has ended."""


class Slots:
    """The places for workers that share one host's memory."""

    def __init__(
        self,
        exchange: SharedMemory,
        config: Settings,
        start: Callable[[int], Any],
        name: Callable[[int], str],
        note: Callable[[str], None],
        longest_start: float,
        tells_layers: bool = False,
    ) -> None:
        """Fill the places with what ``start`` returns, an actor.

        Args:
            exchange: the shared memory, with a place for each.
            config: for its timeout.
            start: starts an actor in a place, and ends the one that was there.
            name: returns what to call it.
            note: is told what the user should know.
            longest_start: seconds after which one that is to come is given up for another one.
            tells_layers: whether workers tell the server of each layer that they have finished.
        """
        self._exchange, self._config, self._start = exchange, config, start
        self._name, self._note = name, note
        self._longest_start, self._tells_layers = longest_start, tells_layers
        self._roster = Roster(exchange.shape.workers)
        self._working: dict[int, Any] = {}
        self._started_at: dict[int, float] = {}
        self._unheard: set[int] = set()
        self.lost = 0
        """Workers lost so far."""

    @property
    def present(self) -> int:
        """How many workers are there."""
        return self._roster.present

    @property
    def filled(self) -> list[int]:
        """The numbers of those who are there."""
        return sorted(self._roster.filled)

    @property
    def silent(self) -> list[int]:
        """Those that a server before this one had and that have not come to this one."""
        return sorted(self._unheard)

    @property
    def calls(self) -> list[Any]:
        """What the workers that are there will have answered once they have ended."""
        return [self._working[number] for number in self._roster.filled]

    def begin(self, number: int, worker: Any) -> None:
        """Let an actor begin to work in its place."""
        self._roster.started(number)
        self._started_at[number] = time.monotonic()
        self._exchange.doing[number] = -1
        self._exchange.processes[number] = 0
        self._working[number] = worker.work.remote(
            self._exchange.folder, self._exchange.shape, number, self._tells_layers
        )

    def hear(self, news: dict[str, Any]) -> None:
        """Take in what the server says about a worker."""
        if "joined" in news:
            self._roster.joined(news["joined"])
            self._unheard.discard(news["joined"])
            return
        if "note" in news:
            self._note(news["note"])
            return
        number = news["lost"] if "lost" in news else news["left"]
        if "why" in news:
            self.lost += 1
            cause = in_brackets(self._cause(number, _CAUSE_SECONDS) or "" if "left" in news else "")
            self._note(f"{self._name(number)}: {news['why']}{cause}; others compute its shards")
        if "left" in news:
            self._roster.ended(number, time.monotonic())

    def care(self) -> None:
        """Start workers in empty places, and look whether those who are to come are still alive."""
        now = time.monotonic()
        for number in self._roster.starting:
            cause = self._cause(number)
            if cause is not None:
                if cause:
                    self._note(f"{self._name(number)} did not come: {cause}")
                self._unheard.discard(number)
                self._roster.ended(number, now)
            elif number in self._unheard and self._exchange.silence(number) > self._config.timeout:
                self._exchange.end_process(number)
            elif now - self._started_at[number] > self._longest_start:
                self._exchange.end_process(number)
                if self._exchange.has_ended(number):  # it may have had no process yet
                    self._roster.ended(number, now)
        for number in self._roster.due(now):
            self.begin(number, self._start(number))

    def server_lost(self) -> None:
        """Note that all have to come again, to a new server."""
        self._unheard |= set(self._roster.filled)
        self._started_at |= dict.fromkeys(self._unheard, time.monotonic())
        self._roster.silent()

    def _cause(self, number: int, seconds: float = 0.0) -> str | None:
        """Return what a worker has ended with, None if it works on."""
        try:
            return ending(self._working[number], self._name(number), seconds)
        except PeerLostError as error:  # such as having found no server for too long, which is no error of the run's
            return str(error)
