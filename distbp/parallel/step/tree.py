"""Adding up gradient sums in the order of the fixed tree (see :mod:`distbp.parallel.step.shards`)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from distbp.data.dataset import Array
from distbp.parallel.step.shards import Addition, Span, additions


@lru_cache(maxsize=256)
def plan_of(root: Span, held: tuple[Span, ...]) -> tuple[Addition, ...]:
    """Return the additions that turn the sums of ``held`` into that of ``root``."""
    return tuple(additions(root, held))


def buffers_of(plan: Sequence[Addition]) -> int:
    """Return how many buffers a plan needs."""
    return 1 + max([addition.out for addition in plan], default=0)


def add_up(
    plan: Sequence[Addition], sums: Mapping[Span, Array], root: Span, block: slice, buffers: Sequence[Array] | Array
) -> Array:
    """Return one block of the sum of ``root``: the sum that is there, or the first of the buffers."""
    if not plan:
        only: Array = sums[root][block]
        return only
    for out, left, right in plan:
        np.add(
            buffers[left] if isinstance(left, int) else sums[left][block],
            buffers[right] if isinstance(right, int) else sums[right][block],
            out=buffers[out],
        )
    total: Array = buffers[0]
    return total


class Adder:
    """Adds up pieces of sums, on any thread, in buffers of that thread's own."""

    def __init__(self, longest: int, dtype: str) -> None:
        """Take pieces of at most so many numbers."""
        self._longest, self._dtype = longest, dtype
        self._own = threading.local()

    def node(self, span: Span, sums: Mapping[Span, Array], place: slice) -> Array:
        """Return a piece of the sum of ``span``, which ``sums`` holds as a whole or in parts."""
        if span in sums:
            return sums[span][place]
        inside = {part: row for part, row in sums.items() if span.first <= part.first and part.stop <= span.stop}
        return self.add(span, inside, place, np.empty(place.stop - place.start, self._dtype))

    def add(self, root: Span, sums: Mapping[Span, Array], place: slice, out: Array) -> Array:
        """Write a piece of the sum of ``root`` into ``out``, and return that."""
        plan = plan_of(root, tuple(sums))
        if len(getattr(self._own, "scratch", ())) < buffers_of(plan):
            self._own.scratch = np.empty((buffers_of(plan), self._longest), self._dtype)
        buffers = [out, *self._own.scratch[1:, : len(out)]]
        with np.errstate(over="ignore", invalid="ignore"):
            found = add_up(plan, sums, root, place, buffers)
        if found is not out:
            np.copyto(out, found)
        return out
