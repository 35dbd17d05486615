"""The rows of mini-batches, gathered when a worker needs them or prefetched while it waits."""

from __future__ import annotations

from typing import NamedTuple

from distbp.data.dataset import Array, Gather, Rows
from distbp.data.epoch_order import EpochOrder


class Batch(NamedTuple):
    """Some rows of a mini-batch, their targets and their weights."""

    x: Array
    y: Array
    weights: Array | None


class MiniBatches:
    """Gathers the rows of mini-batches into one buffer, which the next call overwrites."""

    def __init__(self, order: EpochOrder, rows: Rows, dtype: str) -> None:
        self._order, self._rows, self._dtype = order, rows, dtype
        self._gather = Gather(rows, 0, dtype)
        self._prefetched: tuple[int, slice, Batch] | None = None

    def prefetch(self, step: int, rows: slice) -> None:
        """Gather these rows of the mini-batch now; the next :meth:`take` of the same rows returns them."""
        self._prefetched = (step, rows, self.take(step, rows))

    def take(self, step: int, rows: slice) -> Batch:
        """Return these rows of a step's mini-batch, valid until the next call of either method."""
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is not None and prefetched[:2] == (step, rows):
            return prefetched[2]
        indices = self._order.rows(step)[rows]
        if len(indices) > self._gather.capacity:
            self._gather = Gather(self._rows, len(indices), self._dtype)
        return Batch(*self._gather(indices), self._gather.weights)
