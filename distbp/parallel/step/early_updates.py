"""An update that begins before the step is complete: part by part, as the totals of the parts come."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Structure
from distbp.parallel.step.blocks import Block, block_at

Finish = Callable[[Block, Array, float, Array], bool]


class EarlyUpdates:
    """Cuts the parameters as their totals come, and keeps the books of one step at a time. Any thread may apply."""

    def __init__(self, structure: Structure, states: Array, finish: Finish) -> None:
        """``finish`` updates a block from its total, the divisor and some scratch; it returns whether it is finite."""
        self._structure, self._states, self._finish = structure, states, finish
        self._connections = structure.connection_vector(states.dtype)
        self._blocks: dict[tuple[int, int], Block] = {}
        self._lock = threading.Lock()
        self._own = threading.local()
        self._applied = 0
        self._is_finite = True
        self.divisor = 0.0

    def begin(self, divisor: float) -> None:
        """Begin a step whose total cost is divided by ``divisor``."""
        self.divisor, self._applied, self._is_finite = divisor, 0, True

    def apply(self, place: slice, total: Array) -> None:
        """Update the parameters at ``place``, whose gradients' sum over all shards is there in ``total``."""
        count = place.stop - place.start
        key = place.start, place.stop
        if key not in self._blocks:
            self._blocks[key] = block_at(place, self._structure, self._states, self._connections)
        if getattr(self._own, "count", 0) < count:
            self._own.count, self._own.scratch = count, np.empty((2, count), self._states.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = self._finish(self._blocks[key], total, self.divisor, self._own.scratch)
        with self._lock:
            self._applied += count
            self._is_finite = self._is_finite and is_finite

    def outcome(self, divisor: float) -> bool | None:
        """Return whether the new parameters are finite; None if they are not all there, or were divided otherwise."""
        if self._applied != self._states.shape[2] or divisor != self.divisor:
            return None
        return self._is_finite
