"""Early updates: parameters are updated range by range as their gradient totals arrive, before the step is complete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Structure
from distbp.parallel.step.blocks import Block, block_at

Finish = Callable[[Block, Array, float, Array], bool]
"""Updates a block from its total, the divisor and scratch rows; returns whether the new parameters are finite."""


class EarlyUpdates:
    """Updates parameters as their totals arrive, on any thread, and counts how many of the current step are done.

    The divisor of a step (see ParameterServer.update) is known only from all reports. Early updates assume that it is
    the number of rows. Once this is wrong for a step, the updates of that step are discarded and later steps wait.
    """

    def __init__(self, structure: Structure, states: Array, finish: Finish) -> None:
        self._structure, self._states, self._finish = structure, states, finish
        self._blocks: dict[tuple[int, int], Block] = {}
        self._lock = threading.Lock()
        self._own = threading.local()
        self._applied = 0
        self._is_finite = True
        self._is_active = False
        self._divides_by_rows = True
        """Whether the divisor has been the number of rows in every step so far."""
        self.divisor = 0.0

    @cached_property
    def _connections(self) -> Array | None:
        return self._structure.connection_vector(self._states.dtype)

    def begin(self, rows: int, is_possible: bool) -> Callable[[slice, Array], None] | None:
        """Begin a step; return the function that applies each total, or None if this step cannot be updated early."""
        self._is_active = is_possible and self._divides_by_rows
        self.divisor, self._applied, self._is_finite = float(rows), 0, True
        return self._apply if self._is_active else None

    def _apply(self, params: slice, total: Array) -> None:
        """Update these parameters; the sum of their gradients over all shards is in ``total``."""
        count = params.stop - params.start
        key = params.start, params.stop
        if key not in self._blocks:
            self._blocks[key] = block_at(params, self._structure, self._states, self._connections)
        if getattr(self._own, "count", 0) < count:
            self._own.count, self._own.scratch = count, np.empty((2, count), self._states.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = self._finish(self._blocks[key], total, self.divisor, self._own.scratch)
        with self._lock:
            self._applied += count
            self._is_finite = self._is_finite and is_finite

    def end(self, rows: int, divisor: float) -> bool | None:
        """End the step; return whether its new parameters are finite, or None if it still has to be updated."""
        was_active, self._is_active = self._is_active, False
        self._divides_by_rows = self._divides_by_rows and divisor == rows
        if not was_active or self._applied != self._states.shape[2] or divisor != self.divisor:
            return None
        return self._is_finite
