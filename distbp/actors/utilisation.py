"""How the workers use their time, and which shards each of them has, for the driver's display."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from distbp.actors.host_handle import HostHandle
from distbp.parallel.step.records import TimeSpent, WorkerRecord
from distbp.parallel.step.shards import Span, cut

_FADING_SECONDS = 2.0
"""Time constant of the moving average."""
_LONGEST_SHARD_SECONDS = 10.0
"""A worker that reports no shard for this many seconds counts as waiting."""


class ComputingShares:
    """The share of time that each worker computes, as a moving average over the last seconds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float, float | None]] = {}
        """For each worker the time of its last update, its seconds until then, and its share."""

    def update(self, worker: str, computed: float) -> None:
        """Note the seconds that a worker has computed so far; a replacement starts again at 0."""
        now = time.monotonic()
        then, before, share = self._known.get(worker, (now, computed, None))
        if computed == before and worker in self._known and now - then < _LONGEST_SHARD_SECONDS:
            return  # it may be in the middle of its shards: their time is added at the end
        if now > then and computed >= before:
            latest = min(1.0, (computed - before) / (now - then))
            weight = 1.0 if share is None else 1 - np.exp((then - now) / _FADING_SECONDS)
            share = latest if share is None else share + weight * (latest - share)
        self._known[worker] = now, computed, share

    def of(self, worker: str) -> float | None:
        """Return a worker's share; None before its second update."""
        return self._known.get(worker, (0.0, 0.0, None))[2]


def allotted(shards: int, workers: int) -> list[Span]:
    """Return the shards of each worker in a step without losses and stragglers; empty spans for idle workers."""
    spans = cut(shards, workers) if workers else []
    return spans + [Span(0, 0)] * (workers - len(spans))


class HostsTime:
    """The time that workers and servers of several hosts have spent, updated from the hosts' status."""

    def __init__(self) -> None:
        self._computing, self._serving = Counter[str](), Counter[str]()
        self._shares = ComputingShares()

    def update(self, member: HostHandle, spent: list[float]) -> None:
        """Add the time that a host's workers and server have spent since its last status."""
        *computing, serving = np.subtract(spent, member.spent or 0.0).tolist()
        for number, seconds in zip(member.numbers, computing, strict=False):
            worker = _name(number, member)
            self._computing[worker] += seconds
            self._shares.update(worker, self._computing[worker])
        self._serving[member.ping.host] += serving
        member.spent = spent

    def spent(self) -> TimeSpent:
        """Return the time that each worker, and the server of the slowest host, has spent so far."""
        return TimeSpent(dict(self._computing), max(self._serving.values(), default=0.0))

    def workers(self, members: Sequence[HostHandle], shards: int) -> list[WorkerRecord]:
        """Return the workers of these hosts, as of each host's last status."""
        now = time.monotonic()
        workers = [(number, member) for member in members for number in member.numbers]
        records = []
        for (number, member), span in zip(workers, allotted(shards, len(workers)), strict=True):
            silence = max(0.0, now - (member.last_answer or now))
            records.append(
                WorkerRecord(number, member.ping.host, span, self._shares.of(_name(number, member)), silence)
            )
        return records


def _name(number: int, member: HostHandle) -> str:
    return f"worker {number} on host {member.ping.host}"
