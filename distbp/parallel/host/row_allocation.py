"""Slab rows for tasks: a worker's own rows, or spare rows for shards that are computed again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from distbp.parallel.host.decisions import Compute
from distbp.parallel.step.shards import Span, cut


class RowAllocation:
    """Chooses worker and rows for each task, so that no two workers write the same rows.

    Worker n owns the rows from ``n * sums`` on. The rows from number ``spare`` on, one per shard, are shared by all.
    """

    def __init__(self, sums: int, spare: int) -> None:
        self._sums, self._spare = sums, spare
        self.being_sent: frozenset[int] = frozenset()
        """Rows that the mesh is still sending, which no worker may write."""
        self.has_spare: Callable[[], bool] = lambda: True
        """Returns whether the spare rows have memory; called only if no other rows are free."""
        self._plans: dict[tuple[Span, tuple[int, ...]], list[tuple[int, Span, int]]] = {}

    def first_tasks(self, whole: Span, idle: Sequence[int]) -> list[tuple[int, Span, int]]:
        """Cut the shards of a new step among the idle workers; return worker, span and row of each task."""
        self.being_sent = frozenset()
        key = whole, tuple(idle)
        plan = self._plans.get(key)
        if plan is None:
            spans = [Span(whole.first + part.first, whole.first + part.stop) for part in cut(size_of(whole), len(idle))]
            plan = [(worker, span, worker * self._sums) for worker, span in zip(idle, spans, strict=False)]
            self._plans[key] = plan
        return plan

    def later_task(
        self, span: Span, idle: Sequence[int], done: Collection[Compute], writing: Iterable[Compute]
    ) -> tuple[int, int] | None:
        """Return an idle worker and its first row for the sums of ``span``; None if no rows are free.

        Args:
            span: the shards.
            idle: the idle workers.
            done: the tasks of this step whose results are used.
            writing: the tasks whose workers may still write.
        """
        used = {task.row for task in done} | self.being_sent
        for worker in idle:
            if worker * self._sums not in used:
                return worker, worker * self._sums
        spare = range(self._spare + span.first, self._spare + span.stop)
        others = [task for task in (*writing, *done) if task.row >= self._spare]
        is_free = all(task.row + size_of(task.span) <= spare.start or task.row >= spare.stop for task in others)
        return (idle[0], spare.start) if idle and is_free and self.has_spare() else None


def size_of(span: Span) -> int:
    """Return the number of shards."""
    return span.stop - span.first
