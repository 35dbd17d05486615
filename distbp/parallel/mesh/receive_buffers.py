"""The buffers into which frames from other hosts are received, and the check that a frame is valid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distbp.data.dataset import Array
from distbp.parallel.mesh.chunks import Chunk
from distbp.parallel.mesh.factors import FactorBroadcast
from distbp.parallel.mesh.frames import FACTORS, PART, TOTAL, DamagedError, Frame
from distbp.parallel.mesh.step_exchange import StepExchange
from distbp.parallel.mesh.view import View
from distbp.parallel.step.shards import subtrees


class ReceiveBuffers:
    """Buffers for sums, totals and factors, two of each: one for even and one for odd steps."""

    def __init__(
        self, view: View, host: int, chunks: Sequence[Chunk], totals: Array, factors: FactorBroadcast | None
    ) -> None:
        """``totals`` has shape (2, parameters)."""
        self._view, self._host, self._chunks, self._factors = view, host, chunks, factors
        self.totals = totals
        self._sums: dict[tuple[int, int, int], Array] = {}

    def buffer_for(self, sender: int, frame: Frame, exchange: StepExchange) -> Array:
        """Return the array that receives a frame's numbers.

        Raises:
            DamagedError: the sender has no such numbers to send.
        """
        chunk = self._chunks[frame.chunk]
        if frame.kind == TOTAL and chunk.server == sender:
            return self.total(frame.step, chunk.params)
        if frame.kind == PART and self._adds_up(chunk) and self._is_node_of(sender, frame, exchange):
            return self.sum_of(frame.step, frame.chunk, frame.node)
        if frame.kind == FACTORS and chunk.is_factored and self._factors is not None:
            span = self._view.span(sender, exchange.shards)
            if span.first <= frame.node < span.stop:
                return self._factors.buffer_for(frame.step, frame.node, chunk.layer)
        raise DamagedError(f"a message of kind {frame.kind} for chunk {frame.chunk}, which is not its own")

    def sums_needed(self, exchange: StepExchange, chunk: Chunk) -> int:
        """Return how many sums make up a chunk's total; a factored chunk needs every shard of the other hosts."""
        if not chunk.is_factored:
            return len(exchange.nodes)
        own = self._view.span(self._host, exchange.shards)
        return len(subtrees(own, exchange.shards)) + exchange.shards - (own.stop - own.first)

    def total(self, step: int, params: slice) -> Array:
        """Return the part of a step's total, the sum over all shards, with these parameters."""
        total: Array = self.totals[step % 2][params]
        return total

    def sum_of(self, step: int, number: int, node: int) -> Array:
        """Return the buffer for a node's sum of a chunk: received, reconstructed, or rounded as others read it."""
        key = step % 2, number, node
        if key not in self._sums:
            params = self._chunks[number].params
            self._sums[key] = np.empty(params.stop - params.start, self.totals.dtype)
        return self._sums[key]

    def _adds_up(self, chunk: Chunk) -> bool:
        return chunk.server in (None, self._host) and not chunk.is_factored

    @staticmethod
    def _is_node_of(sender: int, frame: Frame, exchange: StepExchange) -> bool:
        return frame.node < len(exchange.nodes) and exchange.nodes[frame.node].host == sender
