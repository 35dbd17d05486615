"""Where what comes from other hosts belongs, and what of it cannot be meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distbp.data.dataset import Array
from distbp.parallel.mesh.factors import FactorBroadcast
from distbp.parallel.mesh.frames import FACTORS, PART, TOTAL, DamagedError, Frame
from distbp.parallel.mesh.step_exchange import StepExchange
from distbp.parallel.mesh.view import Chunk, View, held


class ReceiveBuffers:
    """The arrays that are received into: two of each, for steps of even and of odd number."""

    def __init__(
        self, view: View, here: int, chunks: Sequence[Chunk], totals: Array, factors: FactorBroadcast | None
    ) -> None:
        """Take in chunks at host number ``here``; ``totals`` are its, shape (2, parameters)."""
        self._view, self._here, self._chunks, self._totals, self._factors = view, here, chunks, totals, factors
        self._sums: dict[tuple[int, int, int], Array] = {}

    def room(self, sender: int, frame: Frame, collection: StepExchange) -> Array:
        """Return the array that a frame's bytes become.

        Raises:
            DamagedError: that host has nothing of the kind to send.
        """
        chunk = self._chunks[frame.chunk]
        if frame.kind == TOTAL and chunk.server == sender:
            return self.total(frame.step, chunk.params)
        if frame.kind == PART and self._adds_up(chunk) and self._is_node_of(sender, frame, collection):
            return self.sums(frame.step, frame.chunk, frame.node)
        if frame.kind == FACTORS and chunk.is_factored and self._factors is not None:
            span = self._view.span(sender, collection.shards)
            if span.first <= frame.node < span.stop:
                return self._factors.room(frame.step, frame.node, chunk.layer)
        raise DamagedError(f"a message of kind {frame.kind} for chunk {frame.chunk}, which is not its own")

    def needed(self, collection: StepExchange, chunk: Chunk) -> int:
        """Return how many sums make a chunk: of layers that travel as factors the others' come shard by shard."""
        if not chunk.is_factored:
            return len(collection.nodes)
        mine = self._view.span(self._here, collection.shards)
        return len(held(mine, collection.shards)) + collection.shards - (mine.stop - mine.first)

    def total(self, step: int, place: slice) -> Array:
        """Return where a part of a step's sum over all shards is."""
        total: Array = self._totals[step % 2][place]
        return total

    def sums(self, step: int, number: int, node: int) -> Array:
        """Return where the sum of a chunk's node is that comes, or is formed of factors, or as others will read it."""
        key = step % 2, number, node
        if key not in self._sums:
            place = self._chunks[number].params
            self._sums[key] = np.empty(place.stop - place.start, self._totals.dtype)
        return self._sums[key]

    def _adds_up(self, chunk: Chunk) -> bool:
        return chunk.server in (None, self._here) and not chunk.is_factored

    @staticmethod
    def _is_node_of(sender: int, frame: Frame, collection: StepExchange) -> bool:
        return frame.node < len(collection.nodes) and collection.nodes[frame.node].host == sender
