"""Blocks of the parameter vector: how much of it is updated at a time, and by which thread."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Structure
from distbp.parallel.step.shards import cut
from distbp.system.limits import cpu_count

_BLOCK = 65_536
"""Parameters that are updated at a time: a block of every vector should stay in cache, yet each call be worth it."""

_PARAMETERS_PER_THREAD = 131_072
"""Below that, waking a thread takes longer than what it would save."""


class Block(NamedTuple):
    """Some neighbouring parameters and both versions of their state."""

    params: slice
    states: Array
    """Shape (2, 1 + slots, parameters of the block)."""
    weights: tuple[slice, ...]
    """Where in the block weights are; what lies between them are biases."""
    connections: Array | None
    """0 where a connection is left out, else 1; None if none is."""


def blocks_of(structure: Structure, states: Array, most_threads: int) -> list[list[Block]]:
    """Cut the parameters into blocks, and those into a part per thread: nobody else computes while the server does.

    The blocks depend on the number of parameters alone, the parts also on the cores.
    """
    count = states.shape[2]
    threads = max(1, min(cpu_count(), most_threads, count // _PARAMETERS_PER_THREAD))
    connections = structure.connection_vector(states.dtype)
    places = [slice(*span) for span in cut(count, -(-count // _BLOCK))]
    blocks = [block_at(place, structure, states, connections) for place in places]
    return [blocks[first:stop] for first, stop in cut(len(blocks), threads)]


def block_at(place: slice, structure: Structure, states: Array, connections: Array | None) -> Block:
    """Return the block of these parameters; ``connections`` is Structure.connection_vector's."""
    weights = []
    for w_first, w_stop in structure.weight_ranges:
        inside = max(place.start, w_first) - place.start, min(place.stop, w_stop) - place.start
        if inside[0] < inside[1]:
            weights.append(slice(*inside))
    chosen = None if connections is None or np.all(connections[place]) else connections[place]
    return Block(place, states[:, :, place], tuple(weights), chosen)
