"""A host of a run as the driver sees it, while it joins and as a member."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from distbp.actors.actor_base import Ping
from distbp.actors.host_actor import HostStatus
from distbp.parallel.host.messages import RunEnded


@dataclass(eq=False)
class HostHandle:
    """A host whose actor has answered a ping."""

    actor: Any
    ping: Ping
    numbers: tuple[int, ...]
    """The numbers of the worker slots on this host."""
    address: tuple[str, int] = ("", 0)
    """The address at which other hosts connect to it."""
    status_call: Any = None
    """The pending call for the next status; None if there is none."""
    last_answer: float = 0.0
    """When the host last answered, in seconds of the monotonic clock."""
    ended: RunEnded | None = None
    """The server's answer to the driver's last request; None while it is running."""
    lost: int = 0
    """Workers that the host has lost."""
    spent: list[float] = field(default_factory=list)
    """The host's ``HostStatus.spent`` so far."""

    @property
    def name(self) -> str:
        """The name for messages."""
        count = len(self.numbers)
        return f"host {self.ping.host} with {count} worker{'s' * (count > 1)}"

    def request_status(self, known: int, wants_records: bool) -> None:
        """Request the next status, with the records from step ``known`` on if they are wanted."""
        self.status_call = self.actor.status.remote(known, wants_records)

    def answers_within(self, seconds: float) -> bool:
        """Wait for the requested status; return False if the host has failed."""
        if ray.wait([self.status_call], timeout=seconds)[0]:
            try:
                self.ended = self.status().ended
            except RayError:
                return False
        return True

    def status(self) -> HostStatus:
        """Return the status that has arrived, and clear its call."""
        status: HostStatus = ray.get(self.status_call)
        self.status_call, self.last_answer = None, time.monotonic()
        return status


@dataclass
class JoiningHost:
    """A host whose actor is starting, getting ready, or trying to reach the members."""

    actor: Any
    node: str
    numbers: tuple[int, ...]
    call: Any
    """The pending call."""
    until: float
    """When the driver gives the host up."""
    is_ready: bool = False
    """Whether it is ready, and only has to reach the members."""
    handle: HostHandle | None = None
    """The handle, once the actor has answered a ping."""
