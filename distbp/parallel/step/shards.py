"""How a mini-batch is cut into shards, and the fixed tree that adds up their gradients.

Floating-point addition is not associative, so the order of additions is part of the result. It is a binary tree over
shard numbers, ((0+1)+(2+3))+.., that depends on the number of shards alone. A span is a node of that tree: the
neighbouring shards [first, stop) under it. A process that has all shards of a span may add them and pass on the sum
alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple


class Span(NamedTuple):
    """The neighbouring shards from ``first`` to before ``stop``."""

    first: int
    stop: int


def cut(count: int, parts: int) -> list[Span]:
    """Cut ``count`` items into at most ``parts`` contiguous non-empty spans whose sizes differ by at most one.

    >>> cut(7, 3)
    [Span(first=0, stop=3), Span(first=3, stop=5), Span(first=5, stop=7)]
    >>> len(cut(2, 3))
    2
    """
    parts = min(count, parts)
    size, longer = divmod(count, parts) if parts else (0, 0)
    spans, first = [], 0
    for part in range(parts):
        stop = first + size + (part < longer)
        spans.append(Span(first, stop))
        first = stop
    return spans


def children(span: Span) -> tuple[Span, Span]:
    """Return the two children of a node; the left one is the largest power of two smaller than the node.

    >>> children(Span(0, 3))
    (Span(first=0, stop=2), Span(first=2, stop=3))
    """
    middle = span.first + _largest_power_of_two(span.stop - span.first - 1)
    return Span(span.first, middle), Span(middle, span.stop)


def _largest_power_of_two(most: int) -> int:
    """Return the largest power of two that is at most ``most``."""
    return 1 << (most.bit_length() - 1)


def subtrees(span: Span, shards: int) -> list[Span]:
    """Return the largest nodes of the tree over ``shards`` that lie within ``span``, from left to right.

    An empty span has none.

    >>> subtrees(Span(1, 4), 4)
    [Span(first=1, stop=2), Span(first=2, stop=4)]
    """

    def within(node: Span) -> list[Span]:
        if span.first <= node.first and node.stop <= span.stop:
            return [node]
        if node.stop <= span.first or span.stop <= node.first or node.stop - node.first == 1:
            return []
        left, right = children(node)
        return within(left) + within(right)

    return within(Span(0, shards))


@lru_cache(maxsize=64)
def buffers_for(shards: int, most_workers: int) -> int:
    """Return the most sums that one of up to ``most_workers`` workers passes on, in mini-batches of any length.

    >>> [buffers_for(shards, 2) for shards in (4, 5, 9, 1000)]
    [1, 2, 3, 9]
    """
    most = 1
    for count in range(shards, 0, -1):
        for workers in range(2, min(count, most_workers) + 1):
            if -(-count // workers) < _fewest_shards(most + 1):  # smaller spans have no more sums than this one
                break
            most = max(most, *(_count_of_subtrees(span, count) for span in cut(count, workers)))
    return most


def _fewest_shards(sums: int) -> int:
    """Return the fewest shards of a span with this number of subtrees, which have 1, 2, 4 .. shards on both sides."""
    return (1 << (sums + 1) // 2) + (1 << sums // 2) - 2


def _count_of_subtrees(span: Span, shards: int) -> int:
    """Return len(subtrees(span, shards)) without building the list: :func:`buffers_for` makes millions of calls."""
    first, stop = span
    count = 0
    while first < stop:
        size = first & -first or shards  # this is the largest node that can start at ``first``
        if stop == shards and first + size >= shards:
            return count + 1
        first += min(size, _largest_power_of_two(stop - first))
        count += 1
    return count


class Addition(NamedTuple):
    """One addition of the tree: buffer ``out`` = left + right. An operand is an available span or a buffer number."""

    out: int
    left: Span | int
    right: Span | int


def additions(node: Span, available: Iterable[Span], buffer: int = 0) -> list[Addition]:
    """Return the additions that turn the sums of the spans in ``available`` into the sum of ``node``.

    The sum ends up in buffer number ``buffer``; others are numbered upwards from it, at most as many as the tree has
    levels. If ``node`` itself is available, nothing has to be added.

    >>> additions(Span(0, 3), [Span(0, 1), Span(1, 2), Span(2, 3)])  # doctest: +NORMALIZE_WHITESPACE
    [Addition(out=0, left=Span(first=0, stop=1), right=Span(first=1, stop=2)),
     Addition(out=0, left=0, right=Span(first=2, stop=3))]
    """
    ready = frozenset(available)

    def operand(child: Span, buffer: int) -> tuple[list[Addition], Span | int]:
        return ([], child) if child in ready else (plan(child, buffer), buffer)

    def plan(node: Span, buffer: int) -> list[Addition]:
        if node.stop - node.first < 2:
            raise ValueError(f"shard {node.first} is missing")
        left, right = children(node)
        before, left_operand = operand(left, buffer)
        # a left sum that had to be added occupies ``buffer`` until the right one is ready
        free = buffer + 1 if isinstance(left_operand, int) else buffer
        then, right_operand = operand(right, free)
        return [*before, *then, Addition(buffer, left_operand, right_operand)]

    return [] if node in ready else plan(node, buffer)
