"""The worker slots of one host: workers are started in them, watched, and replaced when they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from distbp.actors.connection.calls import ending, in_brackets
from distbp.config import Settings
from distbp.errors import PeerLostError
from distbp.parallel.host.messages import Event, Note, WorkerEnded, WorkerJoined, WorkerLost
from distbp.parallel.host.roster import Roster
from distbp.parallel.host.shared_memory import SharedMemory

_CAUSE_SECONDS = 0.5
"""Time for Ray to report why a process ended, after the kernel has closed its channel."""


class Slots:
    """The slots for workers that share one host's memory."""

    def __init__(
        self,
        memory: SharedMemory,
        config: Settings,
        start: Callable[[int], Any],
        name: Callable[[int], str],
        note: Callable[[str], None],
        longest_start: float,
        sends_layers: bool = False,
    ) -> None:
        """Fill the slots by ``start``.

        Args:
            memory: the shared memory, whose shape has the number of slots.
            config: for its timeout.
            start: starts an actor for a slot, and ends the slot's previous one.
            name: returns an actor's name for messages.
            note: takes notes for the user.
            longest_start: seconds after which a starting worker is replaced.
            sends_layers: whether workers report each layer that they have finished to the server.
        """
        self._memory, self._config, self._start = memory, config, start
        self._name, self._note = name, note
        self._longest_start, self._sends_layers = longest_start, sends_layers
        self._roster = Roster(memory.shape.workers)
        self._calls: dict[int, Any] = {}
        """The call of each worker's loop."""
        self._started_at: dict[int, float] = {}
        self._orphans: set[int] = set()
        self.lost = 0
        """Workers lost so far."""

    @property
    def present(self) -> int:
        """The number of connected workers."""
        return self._roster.present

    @property
    def filled(self) -> list[int]:
        """The numbers of the connected workers."""
        return sorted(self._roster.filled)

    @property
    def orphans(self) -> list[int]:
        """Workers of the previous server that have not connected to this one."""
        return sorted(self._orphans)

    @property
    def calls(self) -> list[Any]:
        """The pending calls of the connected workers' loops."""
        return [self._calls[number] for number in self._roster.filled]

    def begin(self, number: int, worker: Any) -> None:
        """Start the loop of a worker in its slot."""
        memory = self._memory
        self._roster.started(number)
        self._started_at[number] = time.monotonic()
        memory.doing[number] = -1
        memory.processes.ids[number] = 0
        self._calls[number] = worker.work.remote(memory.folder, memory.shape, number, self._sends_layers)

    def handle(self, event: Event) -> None:
        """Handle an event that the server reports."""
        match event:
            case WorkerJoined(number):
                self._roster.joined(number)
                self._orphans.discard(number)
            case WorkerLost(number, reason):
                self._note_loss(number, reason, "")
            case WorkerEnded(number, reason):
                if reason is not None:
                    self._note_loss(number, reason, self._cause(number, _CAUSE_SECONDS) or "")
                self._roster.ended(number, time.monotonic())
            case Note(text):
                self._note(text)

    def _note_loss(self, number: int, reason: str, cause: str) -> None:
        self.lost += 1
        self._note(f"{self._name(number)}: {reason}{in_brackets(cause)}; others compute its shards")

    def maintain(self) -> None:
        """Start workers in empty slots, and give up those that take too long to start."""
        now, processes = time.monotonic(), self._memory.processes
        for number in self._roster.starting:
            cause = self._cause(number)
            if cause is not None:
                if cause:
                    self._note(f"{self._name(number)} did not connect: {cause}")
                self._orphans.discard(number)
                self._roster.ended(number, now)
            elif number in self._orphans and processes.silence(number) > self._config.timeout:
                processes.kill(number)
            elif now - self._started_at[number] > self._longest_start:
                processes.kill(number)
                if processes.has_ended(number):  # it may have had no process yet
                    self._roster.ended(number, now)
        for number in self._roster.due(now):
            self.begin(number, self._start(number))

    def server_lost(self) -> None:
        """Note that all workers must connect to a new server."""
        self._orphans |= set(self._roster.filled)
        self._started_at |= dict.fromkeys(self._orphans, time.monotonic())
        self._roster.disconnected()

    def _cause(self, number: int, seconds: float = 0.0) -> str | None:
        """Return why a worker has ended, empty if unknown; None if it has not."""
        try:
            return ending(self._calls[number], self._name(number), seconds)
        except PeerLostError as error:  # the worker's own error, such as no server in time, does not end the run
            return str(error)
