"""The work plan of a span: which shards a worker computes into which buffers, and which buffers it adds."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from distbp.parallel.step.shards import Span, children, cut, subtrees


class Compute(NamedTuple):
    """Compute the gradient of a shard into buffer number ``out``."""

    shard: int
    rows: slice
    """The shard's rows, counted from the first row of the span."""
    out: int


class Add(NamedTuple):
    """Add buffer number ``other`` to buffer number ``out``."""

    out: int
    other: int


class WorkPlan(NamedTuple):
    """A worker's tasks for a span, the same in every step whose mini-batch has the same number of rows."""

    rows: slice
    """The span's rows in the mini-batch."""
    sums: int
    """Number of sums that the worker passes on; they end up in the first buffers."""
    tasks: tuple[Compute | Add, ...]
    last: int
    """Index in ``tasks`` of the last shard; only additions follow it."""


@lru_cache(maxsize=1024)
def work_plan(mini_batch: int, shards: int, span: Span) -> WorkPlan:
    """Return the plan for a span of a mini-batch of ``mini_batch`` rows, which is cut into ``shards`` shards.

    >>> [type(task).__name__ for task in work_plan(8, 4, Span(0, 3)).tasks]
    ['Compute', 'Compute', 'Add', 'Compute']
    """
    parts = cut(mini_batch, shards)
    first = parts[span.first].first
    nodes = subtrees(span, len(parts))
    tasks: list[Compute | Add] = []

    def add_tasks(node: Span, out: int, free: int) -> None:
        """Add the tasks that leave the sum of ``node`` in buffer ``out``; buffers from ``free`` on are unused."""
        if node.stop - node.first == 1:
            part = parts[node.first]
            tasks.append(Compute(node.first, slice(part.first - first, part.stop - first), out))
            return
        left, right = children(node)
        add_tasks(left, out, free)
        add_tasks(right, free, free + 1)
        tasks.append(Add(out, free))

    for number, node in enumerate(nodes):
        add_tasks(node, number, len(nodes))
    last = max(number for number, task in enumerate(tasks) if isinstance(task, Compute))
    return WorkPlan(slice(first, parts[span.stop - 1].stop), len(nodes), tuple(tasks), last)
