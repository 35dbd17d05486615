"""Shards that two workers of a host have computed: both must have come to the same bits."""

from __future__ import annotations

import socket

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import CorruptError
from distbp.parallel.host.decisions import Compare, Compute, contradiction
from distbp.parallel.step.shards import Span


class Contests:
    """The sums that were used and are to be compared, while somebody is still computing the same."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, Span], Array] = {}

    def keep(self, task: Compute, rows: Array) -> None:
        """Keep a copy of the sums that were used."""
        self._kept[task.round, task.held] = rows.copy()

    def settle(self, decision: Compare, rows: Array, oldest: int) -> None:
        """Compare the late worker's sums, which count for nothing if it has read weights that were written over.

        ``oldest`` is the first round whose weights are still whole.

        Raises:
            CorruptError: they differ.
        """
        task = decision.task
        kept = self._kept.pop((task.round, task.held), None)
        if kept is None or task.round < oldest:
            return
        if not np.array_equal(kept.view(np.uint8), rows.view(np.uint8)):
            raise CorruptError(contradiction(decision, socket.gethostname()))

    def forget(self, contested: dict[tuple[int, Span], int]) -> None:
        """Forget what nobody computes any more a second time."""
        self._kept = {key: rows for key, rows in self._kept.items() if key in contested}
