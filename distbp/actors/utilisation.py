"""What the driver sees of workers: what they do with their time, and which shards are theirs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from distbp.actors.host_handle import HostHandle
from distbp.parallel.step.records import TimeSpent, WorkerRecord
from distbp.parallel.step.shards import Span, cut

_FADING_SECONDS = 2.0
"""A share is over about so long."""
_LONGEST_SHARD_SECONDS = 10.0
"""Who has told of no shard for so long is taken to wait."""


class Shares:
    """The share of the last seconds in which each worker computed, from the seconds that it has computed so far."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float, float | None]] = {}

    def hear(self, worker: str, computed: float) -> None:
        """Take in how many seconds a worker has computed until now; one that begins again begins at 0."""
        now = time.monotonic()
        then, before, share = self._known.get(worker, (now, computed, None))
        if computed == before and worker in self._known and now - then < _LONGEST_SHARD_SECONDS:
            return  # it may be in the middle of its shards, of which it tells at their end
        if now > then and computed >= before:
            newest = min(1.0, (computed - before) / (now - then))
            weight = 1.0 if share is None else 1 - np.exp((then - now) / _FADING_SECONDS)
            share = newest if share is None else share + weight * (newest - share)
        self._known[worker] = now, computed, share

    def of(self, worker: str) -> float | None:
        """Return the share of a worker that was heard of twice."""
        return self._known.get(worker, (0.0, 0.0, None))[2]


def allotted(shards: int, workers: int) -> list[Span]:
    """Return which shards so many workers compute if nobody is lost or late; empty spans for those that have none."""
    spans = cut(shards, workers) if workers else []
    return spans + [Span(0, 0)] * (workers - len(spans))


class HostsTime:
    """What the workers of several hosts have done with their time, as their hosts tell now and then."""

    def __init__(self) -> None:
        self._computing, self._serving = Counter[str](), Counter[str]()
        self._shares = Shares()

    def hear(self, member: HostHandle, spent: list[float]) -> None:
        """Take in what a host's workers and rounds have done since it was heard last."""
        *computing, serving = np.subtract(spent, member.spent or 0.0).tolist()
        for number, seconds in zip(member.numbers, computing, strict=False):
            worker = _name(number, member)
            self._computing[worker] += seconds
            self._shares.hear(worker, self._computing[worker])
        self._serving[member.pulse.host] += serving
        member.spent = spent

    def spent(self) -> TimeSpent:
        """Return what the workers, and the rounds of the host that took longest, have done so far."""
        return TimeSpent(dict(self._computing), max(self._serving.values(), default=0.0))

    def workers(self, members: Sequence[HostHandle], shards: int) -> list[WorkerRecord]:
        """Return the workers that are there, as far as their hosts' last words tell."""
        now = time.monotonic()
        everybody = [(number, member) for member in members for number in member.numbers]
        return [
            WorkerRecord(
                number, member.pulse.host, span, self._shares.of(_name(number, member)),
                max(0.0, now - (member.heard or now)),
            )
            for (number, member), span in zip(everybody, allotted(shards, len(everybody)), strict=True)
        ]  # fmt: skip


def _name(number: int, member: HostHandle) -> str:
    return f"worker {number} on host {member.pulse.host}"
