"""Poisoned shards: those on which one worker after the other dies."""

from __future__ import annotations

from collections import Counter

MOST_DEATHS = 3
"""A shard is poisoned once this many workers have died while computing it in one step."""


class Deaths:
    """Workers that died in one step, by the shard that they were computing."""

    def __init__(self) -> None:
        self._by_shard: Counter[int] = Counter()
        self._shards = 0
        self._has_computed_another = False

    def begin(self, shards: int) -> None:
        """Begin a step with this many shards, and forget the deaths in the step before."""
        self._shards = shards
        if self._by_shard:
            self._by_shard.clear()
        self._has_computed_another = False

    def __bool__(self) -> bool:
        return bool(self._by_shard)

    def add(self, shard: int, first: int) -> None:
        """Note that a worker died while computing a shard of the task whose first shard is ``first``."""
        self._by_shard[shard] += 1
        if shard > first:
            self._has_computed_another = True

    def poisoned(self, step: int, has_results: bool) -> str | None:
        """Return the reason to end the run if a shard is poisoned, else None.

        ``has_results`` is whether some shards of the step are computed. If none is, the machine may be the cause of the
        deaths, and not a shard.
        """
        if not (has_results or self._has_computed_another or self._shards == 1):
            return None
        for shard, deaths in self._by_shard.items():
            if deaths >= MOST_DEATHS:
                return (
                    f"{deaths} workers died one after the other while they computed shard {shard} of step {step}: "
                    "check its rows, and the memory that one shard needs"
                )
        return None
