"""Decisions of the supervisor, which the server loop carries out."""

from __future__ import annotations

from typing import NamedTuple

from distbp.parallel.step.shards import Span


class Compute(NamedTuple):
    """Order a worker to compute the shards ``span`` of a step, and to write their sums from slab row ``row`` on."""

    worker: int
    step: int
    span: Span
    row: int
    round: int = 0
    """Number of the attempt at a step; a repeated step gets a new number."""
    factor_buffer: int = 0
    """The factor buffer for its shards, which no straggler of another round may still write."""


class Use(NamedTuple):
    """Use a worker's sums; with ``keep``, copy them too, for a comparison with those of a second worker."""

    task: Compute
    keep: bool


class Compare(NamedTuple):
    """Compare a worker's sums with those of the faster worker ``first``: both must have the same bits."""

    task: Compute
    first: int


class Kill(NamedTuple):
    """Kill a worker's process and ignore its answers."""

    worker: int
    reason: str


class Stop(NamedTuple):
    """End the run: no worker can finish the step."""

    reason: str


Decision = Compute | Use | Compare | Kill | Stop


def contradiction(decision: Compare, host: str) -> str:
    """Return the message for two workers of a host with different sums for the same shards."""
    task = decision.task
    return (
        f"worker {decision.first} on host {host} and worker {task.worker} on host {host} computed different sums for "
        f"shards {task.span.first} to {task.span.stop - 1} of step {task.step}: the memory or the CPU of one of them "
        "cannot be trusted"
    )
