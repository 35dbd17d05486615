"""Who takes part in the exchange between hosts, and how the parameter vector is cut for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from distbp.parallel.step.shards import Span, cut, subtrees

CHUNK = 131_072
"""Parameters that travel at a time: so many that a message is worth it, so few that sums begin before all is there."""


class View(NamedTuple):
    """Who takes part, the same for all of them until somebody leaves or joins."""

    number: int
    """Counted up with every change."""
    addresses: tuple[tuple[str, int], ...]
    """Of each host."""
    workers: tuple[int, ...]
    """On each host."""
    servers: int
    """Partitions, served by the first so many hosts; 0 if every host adds up everything for itself."""
    shards: int
    wire: str
    timeout: float
    measures: bool = False
    """Whether the links are measured first, since layers could travel as factors (see distbp.parallel.mesh.factors)."""

    @property
    def hosts(self) -> int:
        """The number of hosts."""
        return len(self.workers)

    def span(self, host: int, shards: int) -> Span:
        """Return the shards of a mini-batch of so many that a host computes; as many per worker as can be."""
        before = sum(self.workers[:host])
        mine = cut(shards, sum(self.workers))[before : before + self.workers[host]]
        return Span(mine[0].first, mine[-1].stop) if mine else Span(shards, shards)


def servers_for(wanted: int | None, hosts: int) -> int:
    """Return the best number of partitions, or the wanted one.

    With two hosts both send all they have and add up for themselves: as many bytes as with two partitions, and nobody
    waits for an answer. From three hosts on everybody serves a partition, so that no link carries more than another.
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
    """Return the sums of a mini-batch of so many shards that the hosts send, from left to right."""
    spans = [(host, view.span(host, shards)) for host in range(view.hosts)]
    return tuple(Node(node, host) for host, span in spans for node in held(span, shards))


def held(span: Span, shards: int) -> list[Span]:
    """Return the nodes that a host passes on for these shards, which may be none."""
    return subtrees(span, shards) if span.first < span.stop else []


class Chunk(NamedTuple):
    """Some neighbouring parameters that are added up and travel together."""

    params: slice
    layer: int
    """Counted from 0: they are final once the gradients of this layer and of all behind it are there."""
    server: int | None
    """The host that adds up and tells the others the total; None if every host does so for itself."""
    is_factored: bool = False
    """Whether it is a whole layer that travels as its shards' factors (see distbp.parallel.mesh.factors)."""


def chunks_of(bounds: Sequence[int], servers: int, factored: Collection[int] = ()) -> tuple[Chunk, ...]:
    """Cut the parameter vector, whose layers lie between ``bounds``, from its end on, as backpropagation comes along.

    Small layers go together. Each group is cut evenly among the servers, so that all links work at any time. Layers
    that are ``factored`` are a chunk each.
    """
    chunks: list[Chunk] = []
    stop = bounds[-1]
    for layer in reversed(range(len(bounds) - 1)):
        first = bounds[layer]
        if layer in factored:
            chunks.append(Chunk(slice(first, bounds[layer + 1]), layer, None, is_factored=True))
        elif stop - first < CHUNK and layer and layer - 1 not in factored:
            continue
        else:
            chunks += _pieces(first, stop, layer, servers)
        stop = first
    return tuple(chunks)


def _pieces(first: int, stop: int, layer: int, servers: int) -> Iterator[Chunk]:
    """Cut neighbouring layers, of which ``layer`` is the first, among the servers, and into chunks."""
    for server, part in enumerate(cut(stop - first, max(1, servers))):
        for piece in pieces_of(slice(first + part.first, first + part.stop)):
            yield Chunk(piece, layer, server if servers else None)


def pieces_of(place: slice) -> list[slice]:
    """Cut a place into pieces of at most a chunk."""
    count = place.stop - place.start
    return [slice(place.start + first, place.start + stop) for first, stop in cut(count, -(-count // CHUNK))]


def sending_order(chunks: Sequence[Chunk], servers: int, here: int) -> list[int]:
    """Return the chunks' numbers in the order in which host ``here`` sends them: as they become final, and each host
    beginning with the server behind itself, so that nobody's link is everybody's first."""

    def key(number: int) -> tuple[int, int, int]:
        chunk = chunks[number]
        return -chunk.layer, 0 if chunk.server is None else (chunk.server - here - 1) % servers, number

    return sorted(range(len(chunks)), key=key)
