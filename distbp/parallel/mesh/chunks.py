"""Chunks: how the parameter vector is cut for the exchange between hosts, and in which order chunks are sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from distbp.parallel.step.shards import cut

CHUNK = 131_072
"""Most parameters per chunk: enough to be worth a message, few enough that adding can start early."""


class Chunk(NamedTuple):
    """A contiguous range of parameters that is added up and sent as a unit."""

    params: slice
    layer: int
    """The first layer, counted from 0, in the chunk: it is final once this layer and all later ones are."""
    server: int | None
    """The host that adds up the chunk and sends the total to the others; None if every host adds it up itself."""
    is_factored: bool = False
    """Whether the chunk is a whole layer, exchanged as sufficient factors (see distbp.parallel.mesh.factors)."""


def chunks_of(bounds: Sequence[int], servers: int, factored: Collection[int] = ()) -> tuple[Chunk, ...]:
    """Cut the parameter vector into chunks, from its end on as backpropagation proceeds.

    ``bounds`` are those of the layers. Small layers share chunks. Each group of layers is cut evenly among the servers,
    so that all links stay busy. Every ``factored`` layer is a chunk of its own.
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
            chunks += _chunks_of_group(first, stop, layer, servers)
        stop = first
    return tuple(chunks)


def _chunks_of_group(first: int, stop: int, layer: int, servers: int) -> Iterator[Chunk]:
    """Cut a group of layers, of which ``layer`` is the first, among the servers, and each part into chunks."""
    for server, part in enumerate(cut(stop - first, max(1, servers))):
        for piece in pieces_of(slice(first + part.first, first + part.stop)):
            yield Chunk(piece, layer, server if servers else None)


def pieces_of(params: slice) -> list[slice]:
    """Cut a range of parameters into pieces no longer than a chunk."""
    count = params.stop - params.start
    return [slice(params.start + first, params.start + stop) for first, stop in cut(count, -(-count // CHUNK))]


def sending_order(chunks: Sequence[Chunk], servers: int, host: int) -> list[int]:
    """Return the numbers of the chunks in the order in which ``host`` sends them.

    Chunks are sent as they become final. Among those that become final together, every host starts with the server
    after itself, so that not all hosts send to the same server first.
    """

    def key(number: int) -> tuple[int, int, int]:
        chunk = chunks[number]
        return -chunk.layer, 0 if chunk.server is None else (chunk.server - host - 1) % servers, number

    return sorted(range(len(chunks)), key=key)
