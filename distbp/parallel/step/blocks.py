"""Blocks: contiguous ranges of parameters that are updated one at a time, and their division among threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Structure
from distbp.parallel.step.shards import cut
from distbp.system.limits import cpu_count

_BLOCK = 65_536
"""Parameters per block: few enough that a block of every vector stays in cache, enough to amortize the calls."""

_PARAMETERS_PER_THREAD = 131_072
"""With fewer parameters per thread, waking another thread costs more than it saves."""


class Block(NamedTuple):
    """A contiguous range of parameters, with views of both versions of their state."""

    params: slice
    states: Array
    """Shape (2, 1 + slots, parameters of the block)."""
    weights: tuple[slice, ...]
    """Ranges of the block that are weights; the parameters between these ranges are biases."""
    connections: Array | None
    """Mask of the block, 0 where a connection is missing, else 1; None if none is missing."""


def blocks_of(structure: Structure, states: Array, most_threads: int) -> list[list[Block]]:
    """Return the blocks of the parameter vector, grouped by the thread that updates them.

    The blocks depend only on the number of parameters, the groups also on the number of cores. Every core may be used:
    the workers wait while the server updates.
    """
    count = states.shape[2]
    threads = max(1, min(cpu_count(), most_threads, count // _PARAMETERS_PER_THREAD))
    connections = structure.connection_vector(states.dtype)
    ranges = [slice(*span) for span in cut(count, -(-count // _BLOCK))]
    blocks = [block_at(params, structure, states, connections) for params in ranges]
    return [blocks[first:stop] for first, stop in cut(len(blocks), threads)]


def block_at(params: slice, structure: Structure, states: Array, connections: Array | None) -> Block:
    """Return the block of these parameters; ``connections`` comes from Structure.connection_vector."""
    weights = []
    for w_first, w_stop in structure.weight_ranges:
        inside = max(params.start, w_first) - params.start, min(params.stop, w_stop) - params.start
        if inside[0] < inside[1]:
            weights.append(slice(*inside))
    mask = None if connections is None or np.all(connections[params]) else connections[params]
    return Block(params, states[:, :, params], tuple(weights), mask)
