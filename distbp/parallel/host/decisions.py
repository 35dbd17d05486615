"""What the supervisor decides, and the server's rounds do."""

from __future__ import annotations

from typing import NamedTuple

from distbp.parallel.step.shards import Span


class Compute(NamedTuple):
    """A worker shall compute the shards ``held`` of a step; the first of their sums goes to row ``row``."""

    worker: int
    step: int
    held: Span
    row: int
    round: int = 0
    """Which of all that were begun: a step that comes to nothing is begun again, perhaps from another state."""
    place: int = 0
    """Where the factors of its shards belong: where no late worker may still be writing those of another round."""


class Use(NamedTuple):
    """A worker's answer is the one that counts; ``keep`` it until the other who computes the same has answered."""

    task: Compute
    keep: bool


class Compare(NamedTuple):
    """A worker has computed what somebody else was quicker with: both must be the same bits."""

    task: Compute
    first: int
    """The worker whose answer was used."""


class Lose(NamedTuple):
    """A worker is to be ended, and its answers no longer count."""

    worker: int
    why: str


class Stop(NamedTuple):
    """Nothing can be done."""

    why: str


Decision = Compute | Use | Compare | Lose | Stop


def contradiction(decision: Compare, host: str) -> str:
    """Say that two workers of a host gave different sums for the same shards."""
    task = decision.task
    return (
        f"worker {decision.first} on host {host} and worker {task.worker} on host {host} computed different sums for "
        f"shards {task.held.first} to {task.held.stop - 1} of step {task.step}: the memory or the CPU of one of them "
        "cannot be trusted"
    )
