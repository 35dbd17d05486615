"""The gradient sums in a host's slab rows, and which of their layers are final."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from distbp.data.dataset import Array
from distbp.parallel.host.decisions import Compute
from distbp.parallel.host.messages import LayerDone
from distbp.parallel.step.shards import Span, subtrees


class Slabs:
    """Views of the slab rows, by task."""

    def __init__(self, slabs: Array) -> None:
        self._slabs = slabs
        self._known: dict[tuple[int, tuple[tuple[Span, int], ...]], dict[Span, Array]] = {}

    def sums(self, tasks: Iterable[Compute], shards: int) -> Mapping[Span, Array]:
        """Return the sums of these tasks by span, in a mini-batch of this many shards."""
        key = shards, tuple(sorted((task.span, task.row) for task in tasks))
        if key not in self._known:
            self._known[key] = {
                subtree: self._slabs[row + i]
                for span, row in key[1]
                for i, subtree in enumerate(subtrees(span, shards))
            }
        return self._known[key]

    def rows(self, task: Compute, shards: int) -> Array:
        """Return the sums of one task as one array."""
        rows: Array = self._slabs[task.row : task.row + len(subtrees(task.span, shards))]
        return rows


def factor_buffers(tasks: Iterable[Compute]) -> Mapping[int, int]:
    """Return the factor buffers of these tasks' shards, where they are not 0."""
    return {shard: task.factor_buffer for task in tasks if task.factor_buffer for shard in range(*task.span)}


class LayerProgress:
    """Tracks which layers of a round are final on all workers of this host; the last layer is final first."""

    def __init__(self, tasks: Sequence[Compute] = (), depth: int = 0) -> None:
        self.tasks = tasks
        self._task_of = {task.worker: task for task in tasks}
        self._reached = dict.fromkeys(self._task_of, depth)

    def update(self, worker: int, message: LayerDone) -> int | None:
        """Note that a worker's sums are final from a layer on; a message of another round is ignored.

        Return the layer that all workers have reached, if this message has changed it.
        """
        task = self._task_of.get(worker)
        if task is None or (task.round, task.span) != (message.round, message.span):
            return None
        before = max(self._reached.values())
        self._reached[worker] = message.layer
        reached = max(self._reached.values())
        return reached if reached < before else None
