"""Adds gradient sums in the order of the fixed tree (see :mod:`distbp.parallel.step.shards`)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from distbp.data.dataset import Array
from distbp.parallel.step.shards import Addition, Span, additions


@lru_cache(maxsize=256)
def plan_of(root: Span, available: tuple[Span, ...]) -> tuple[Addition, ...]:
    """Return the additions that turn the sums of the spans in ``available`` into the sum of ``root``."""
    return tuple(additions(root, available))


def buffers_of(plan: Sequence[Addition]) -> int:
    """Return the number of buffers that a plan needs."""
    return 1 + max([addition.out for addition in plan], default=0)


def add_up(
    plan: Sequence[Addition], sums: Mapping[Span, Array], root: Span, block: slice, buffers: Sequence[Array] | Array
) -> Array:
    """Return one block of the sum of ``root``: a view of an existing sum, or the first buffer."""
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
    """Adds ranges of gradient sums on any thread, in thread-local buffers."""

    def __init__(self, longest: int, dtype: str) -> None:
        """Prepare for ranges of at most ``longest`` numbers."""
        self._longest, self._dtype = longest, dtype
        self._own = threading.local()

    def node(self, span: Span, sums: Mapping[Span, Array], params: slice) -> Array:
        """Return the sum of ``span`` for these parameters; ``sums`` contains that span or parts of it."""
        if span in sums:
            return sums[span][params]
        inside = {part: row for part, row in sums.items() if span.first <= part.first and part.stop <= span.stop}
        return self.add(span, inside, params, np.empty(params.stop - params.start, self._dtype))

    def add(self, root: Span, sums: Mapping[Span, Array], params: slice, out: Array) -> Array:
        """Write the sum over the shards of ``root``, for these parameters, into ``out`` and return it."""
        plan = plan_of(root, tuple(sums))
        if len(getattr(self._own, "scratch", ())) < buffers_of(plan):
            self._own.scratch = np.empty((buffers_of(plan), self._longest), self._dtype)
        buffers = [out, *self._own.scratch[1:, : len(out)]]
        with np.errstate(over="ignore", invalid="ignore"):
            total = add_up(plan, sums, root, params, buffers)
        if total is not out:
            np.copyto(out, total)
        return out
