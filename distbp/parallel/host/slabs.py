"""Which rows of the shared memory hold which sums, and how far those of a step have come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from distbp.data.dataset import Array
from distbp.parallel.host.decisions import Compute
from distbp.parallel.step.shards import Span, subtrees


class Slabs:
    """The rows of gradient sums, by the tasks whose results they hold."""

    def __init__(self, slabs: Array) -> None:
        self._slabs = slabs
        self._known: dict[tuple[int, tuple[tuple[Span, int], ...]], dict[Span, Array]] = {}

    def sums(self, tasks: Iterable[Compute], shards: int) -> Mapping[Span, Array]:
        """Return the sums of these tasks of one mini-batch of so many shards, by their spans."""
        key = shards, tuple(sorted((task.held, task.row) for task in tasks))
        if key not in self._known:
            self._known[key] = {
                span: self._slabs[row + i] for held, row in key[1] for i, span in enumerate(subtrees(held, shards))
            }
        return self._known[key]

    def rows(self, task: Compute, shards: int) -> Array:
        """Return the sums of one task as one array."""
        rows: Array = self._slabs[task.row : task.row + len(subtrees(task.held, shards))]
        return rows


def places_of(tasks: Iterable[Compute]) -> Mapping[int, int]:
    """Return where the factors of these tasks' shards are, of all that are not at place 0."""
    return {shard: task.place for task in tasks if task.place for shard in range(*task.held)}


class Progress:
    """How far this host's workers have come with the layers of one round, from the last one on."""

    def __init__(self, tasks: Sequence[Compute] = (), depth: int = 0) -> None:
        self.tasks = tasks
        self._task_of = {task.worker: task for task in tasks}
        self._reached = dict.fromkeys(self._task_of, depth)

    def hear(self, worker: int, number: int, held: Span, layer: int) -> int | None:
        """Take in that a worker's sums of this round are final from ``layer`` on.

        Return the layer that all have reached, if it is new; what belongs to another round counts for nothing.
        """
        task = self._task_of.get(worker)
        if task is None or (task.round, task.held) != (number, held):
            return None
        before = max(self._reached.values())
        self._reached[worker] = layer
        reached = max(self._reached.values())
        return reached if reached < before else None
