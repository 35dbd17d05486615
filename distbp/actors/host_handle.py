"""A host of a run as the driver sees it: while it comes, and once it takes part."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from distbp.actors.host_actor import HostStatus
from distbp.actors.worker_actors import Ping


@dataclass(eq=False)
class HostHandle:
    """A host that has answered."""

    actor: Any
    pulse: Ping
    numbers: tuple[int, ...]
    """Of the workers that have their places there."""
    address: tuple[str, int] = ("", 0)
    """Where other hosts reach it."""
    news: Any = None
    """The call that will say what happens next."""
    heard: float = 0.0
    done: dict[str, Any] | None = None
    """What its rounds said at their end; None while they go on."""
    lost: int = 0
    """Workers it has lost."""
    spent: list[float] = field(default_factory=list)
    """See HostStatus."""

    @property
    def name(self) -> str:
        """Return what to call it."""
        count = len(self.numbers)
        return f"host {self.pulse.host} with {count} worker{'s' * (count > 1)}"

    def ask(self, known: int, wants_records: bool) -> None:
        """Have it say what happens next."""
        self.news = self.actor.news.remote(known, wants_records)

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for what it says; return False if it has failed."""
        if ray.wait([self.news], timeout=seconds)[0]:
            try:
                self.done = self.answer().done
            except RayError:
                return False
        return True

    def answer(self) -> HostStatus:
        """Return what it has said; the call is at its end."""
        news: HostStatus = ray.get(self.news)
        self.news, self.heard = None, time.monotonic()
        return news


@dataclass
class JoiningHost:
    """A host whose process is starting, or that is getting ready: what it waits for is the end of a call."""

    actor: Any
    node: str
    numbers: tuple[int, ...]
    call: Any
    until: float
    """When it is given up."""
    is_ready: bool = False
    """Whether nothing is missing but to know that it reaches those who take part."""
    member: HostHandle | None = None
    """What it becomes, once its process has answered."""
