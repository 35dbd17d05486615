"""The traffic of a step's exchange, computed from the same chunks and trees that the mesh uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from distbp.parallel.mesh.chunks import Chunk, chunks_of
from distbp.parallel.step.shards import Span, cut, subtrees


class Traffic(NamedTuple):
    """The traffic of a step at the busiest host and link."""

    link_numbers: float
    """Count of numbers sent over the busiest link, in its busier direction."""
    numbers: float
    """Numbers that the busiest host sends and receives."""
    messages: float
    """Messages that the busiest host sends and receives."""


@lru_cache(maxsize=4096)
def traffic_of_sums(
    bounds: tuple[int, ...], shards: int, hosts: int, servers: int, per_host: int = 1, factored: tuple[int, ...] = ()
) -> Traffic:
    """Return the busiest host's traffic per step, for the layers exchanged as sums.

    >>> traffic_of_sums((0, 300_000, 900_000), shards=4, hosts=3, servers=3).link_numbers  # 2 (N - 1) / N of them
    1200000
    """
    if hosts == 1:
        return Traffic(0, 0, 0)
    chunks = _summed_chunks(bounds, servers, factored)
    pieces, parts = Counter[int | None](), Counter[int | None]()
    for chunk in chunks:
        pieces[chunk.server] += 1
        parts[chunk.server] += chunk.params.stop - chunk.params.start
    all_parts = sum(parts.values())
    sums = _sums(shards, hosts, per_host)
    loads = []
    for host, own in enumerate(sums):
        others = sum(sums) - own
        if servers:
            rest, other_pieces = all_parts - parts[host], len(chunks) - pieces[host]
            sent, received = own * rest + (hosts - 1) * parts[host], others * parts[host] + rest
            messages = (own + 1) * other_pieces + (others + hosts - 1) * pieces[host]
        else:
            sent, received = own * all_parts * (hosts - 1), others * all_parts
            messages = (own * (hosts - 1) + others) * len(chunks)
        loads.append((max(sent, received), sent + received, messages))
    return Traffic(*(max(column) for column in zip(*loads, strict=True)))


@lru_cache(maxsize=4096)
def _summed_chunks(bounds: tuple[int, ...], servers: int, factored: tuple[int, ...]) -> list[Chunk]:
    """Return the chunks of all layers exchanged as sums."""
    return [chunk for chunk in chunks_of(bounds, servers, factored) if not chunk.is_factored]


def traffic_of_factors(numbers: int, shards: int, hosts: int, per_host: int = 1) -> Traffic:
    """Return the busiest host's traffic for a layer exchanged as factors, with ``numbers`` numbers per shard."""
    counts = shard_counts(shards, hosts, per_host)
    most, fewest = max(counts), min(counts)
    link, both = max((hosts - 1) * most, shards - fewest), (hosts - 2) * most + shards
    return Traffic(link * numbers, both * numbers, both)


@lru_cache(maxsize=256)
def _sums(shards: int, hosts: int, per_host: int) -> tuple[int, ...]:
    """Return the number of sums that each host sends; it may be 0."""
    return tuple(len(subtrees(span, shards)) for span in _spans(shards, hosts, per_host))


@lru_cache(maxsize=256)
def shard_counts(shards: int, hosts: int, per_host: int) -> tuple[int, ...]:
    """Return the number of shards that each host computes; it may be 0."""
    return tuple(span.stop - span.first for span in _spans(shards, hosts, per_host))


def _spans(shards: int, hosts: int, per_host: int) -> Iterator[Span]:
    """Yield the span of each host."""
    parts = cut(shards, hosts * per_host)
    for first in range(0, hosts * per_host, per_host):
        own = parts[first : first + per_host]
        yield Span(own[0].first, own[-1].stop) if own else Span(shards, shards)


def traffic_of_layer(
    layer: int, bounds: tuple[int, ...], shards: int, hosts: int, servers: int, per_host: int, factored: tuple[int, ...]
) -> Traffic:
    """Return the part of :func:`traffic_of_sums` for the chunks that begin with this layer."""
    traffic = traffic_of_sums(bounds, shards, hosts, servers, per_host, factored)
    chunks = _summed_chunks(bounds, servers, factored)
    of_layer = [chunk for chunk in chunks if chunk.layer == layer]
    share = _count(of_layer) / _count(chunks)
    messages = traffic.messages * len(of_layer) / len(chunks)
    return Traffic(traffic.link_numbers * share, traffic.numbers * share, messages)


def _count(chunks: Sequence[Chunk]) -> int:
    return sum(chunk.params.stop - chunk.params.start for chunk in chunks)
