"""Compares the sums of shards that two workers of a host compute: they must have the same bits."""

from __future__ import annotations

import socket

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import CorruptError
from distbp.parallel.host.decisions import Compare, Compute, contradiction
from distbp.parallel.step.shards import Span


class Duplicates:
    """The sums of faster workers, kept until the slower ones have computed the same shards."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, Span], Array] = {}

    def keep(self, task: Compute, rows: Array) -> None:
        """Keep a copy of the sums that are used."""
        self._kept[task.round, task.span] = rows.copy()

    def compare(self, decision: Compare, rows: Array, oldest: int) -> None:
        """Compare the straggler's sums with the kept ones, unless its weights were overwritten while it computed.

        ``oldest`` is the first round whose weights are still intact.

        Raises:
            CorruptError: the sums differ.
        """
        task = decision.task
        kept = self._kept.pop((task.round, task.span), None)
        if kept is None or task.round < oldest:
            return
        if not np.array_equal(kept.view(np.uint8), rows.view(np.uint8)):
            raise CorruptError(contradiction(decision, socket.gethostname()))

    def forget_all_but(self, pending: dict[tuple[int, Span], int]) -> None:
        """Drop the sums that no second worker is computing any more."""
        self._kept = {key: rows for key, rows in self._kept.items() if key in pending}
