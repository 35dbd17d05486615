"""The view: the hosts that take part in the exchange, and the shards that each of them computes."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from distbp.parallel.step.shards import Span, cut, subtrees


class View(NamedTuple):
    """The hosts of the exchange, the same on all of them until a host leaves or joins."""

    number: int
    """Incremented with every change of the hosts."""
    addresses: tuple[tuple[str, int], ...]
    """Address and port of each host."""
    workers: tuple[int, ...]
    """Number of workers on each host."""
    servers: int
    """Number of partitions, one on each of the first hosts; 0 if every host adds up everything itself."""
    shards: int
    """Number of shards of a full mini-batch."""
    wire: str
    """Format of numbers between hosts (see distbp.parallel.mesh.wire)."""
    timeout: float
    """Seconds of silence after which a host is lost."""
    measures: bool = False
    """Whether the hosts first measure their links, to decide which layers are exchanged as factors."""

    @property
    def hosts(self) -> int:
        """The number of hosts."""
        return len(self.workers)

    def span(self, host: int, shards: int) -> Span:
        """Return the span that a host computes of a mini-batch of ``shards`` shards, divided evenly among workers."""
        before = sum(self.workers[:host])
        parts = cut(shards, sum(self.workers))[before : before + self.workers[host]]
        return Span(parts[0].first, parts[-1].stop) if parts else Span(shards, shards)


def servers_for(wanted: int | None, hosts: int) -> int:
    """Return the number of partitions: the wanted one if given, else the best.

    Two hosts exchange all their sums and add them up themselves: that takes as many bytes as two partitions, and no
    host waits for totals. From three hosts on, every host serves a partition, so that all links carry the same load.
    """
    if wanted is not None:
        return min(wanted, hosts)
    return 0 if hosts <= 2 else hosts


class Node(NamedTuple):
    """A sum that a host sends: a node of the tree over the shards."""

    span: Span
    host: int


@lru_cache(maxsize=256)
def nodes_of(view: View, shards: int) -> tuple[Node, ...]:
    """Return the sums that the hosts send for a mini-batch of ``shards`` shards, from left to right."""
    spans = [(host, view.span(host, shards)) for host in range(view.hosts)]
    return tuple(Node(node, host) for host, span in spans for node in subtrees(span, shards))
