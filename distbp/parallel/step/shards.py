"""How a mini-batch is cut into shards, and the fixed tree that adds up their gradients.

Floating-point addition is not associative, so the order of additions is part of the result. It is a binary tree over
shard numbers, ((0+1)+(2+3))+.., that depends on the number of shards alone. A span is a node of that tree: the
neighbouring shards [first, stop) under it. Whoever holds all shards of a span may add them and pass on the sum alone.
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
    """Cut ``count`` things into at most ``parts`` contiguous non-empty spans whose sizes differ by at most one.

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
    """Return the two nodes under a node of the tree: the left one as large a power of two as leaves something right.

    >>> children(Span(0, 3))
    (Span(first=0, stop=2), Span(first=2, stop=3))
    """
    size = span.stop - span.first
    half = 1 << (size - 1).bit_length() - 1
    return Span(span.first, span.first + half), Span(span.first + half, span.stop)


def subtrees(held: Span, shards: int) -> list[Span]:
    """Return the largest nodes of the tree over ``shards`` that lie within ``held``, from left to right.

    >>> subtrees(Span(1, 4), 4)
    [Span(first=1, stop=2), Span(first=2, stop=4)]
    """

    def within(node: Span) -> list[Span]:
        if held.first <= node.first and node.stop <= held.stop:
            return [node]
        if node.stop <= held.first or held.stop <= node.first or node.stop - node.first == 1:
            return []
        left, right = children(node)
        return within(left) + within(right)

    return within(Span(0, shards))


@lru_cache(maxsize=64)
def buffers_for(shards: int, most_workers: int) -> int:
    """Return how many sums one of up to so many workers may have to pass on in a step, also in a short mini-batch.

    >>> [buffers_for(shards, 2) for shards in (4, 5, 9, 1000)]
    [1, 2, 3, 9]
    """
    most = 1
    for count in range(shards, 0, -1):
        for workers in range(2, min(count, most_workers) + 1):
            if -(-count // workers) < _fewest_shards(most + 1):  # nor will smaller spans have more
                break
            most = max(most, *(_count_of_subtrees(held, count) for held in cut(count, workers)))
    return most


def _fewest_shards(sums: int) -> int:
    """Return how many shards a span has at least that needs so many sums: 1, 2, 4 .. on either side of a node's end."""
    return (1 << (sums + 1) // 2) + (1 << sums // 2) - 2


def _count_of_subtrees(held: Span, shards: int) -> int:
    """Return the length of :func:`subtrees`, of which there are some millions."""
    first, stop = held
    count = 0
    while first < stop:
        size = first & -first or shards  # the largest node that begins here, if the tree is deep enough for it
        if stop == shards and first + size >= shards:
            return count + 1
        first += min(size, 1 << (stop - first).bit_length() - 1)
        count += 1
    return count


class Addition(NamedTuple):
    """One node's sum: ``left + right`` goes to buffer number ``out``; an operand is a held span or a buffer number."""

    out: int
    left: Span | int
    right: Span | int


def additions(node: Span, held: Iterable[Span], buffer: int = 0) -> list[Addition]:
    """Return the additions that turn the sums of ``held`` into the sum of ``node``, which ends in buffer ``buffer``.

    Empty if ``node`` itself is held. Buffers are numbered upwards from ``buffer``; at most as many as the tree is deep
    are used.

    >>> additions(Span(0, 3), [Span(0, 1), Span(1, 2), Span(2, 3)])  # doctest: +NORMALIZE_WHITESPACE
    [Addition(out=0, left=Span(first=0, stop=1), right=Span(first=1, stop=2)),
     Addition(out=0, left=0, right=Span(first=2, stop=3))]
    """
    there = frozenset(held)

    def operand(child: Span, buffer: int) -> tuple[list[Addition], Span | int]:
        return ([], child) if child in there else (plan(child, buffer), buffer)

    def plan(node: Span, buffer: int) -> list[Addition]:
        if node.stop - node.first < 2:
            raise ValueError(f"shard {node.first} is missing")
        left, right = children(node)
        before, left_operand = operand(left, buffer)
        then, right_operand = operand(right, buffer + isinstance(left_operand, int))
        return [*before, *then, Addition(buffer, left_operand, right_operand)]

    return [] if node in there else plan(node, buffer)
