"""A worker's report on its shards as bytes, the same on one host and between hosts."""

from __future__ import annotations

import struct

from distbp.parallel.step.records import Divergence, Report
from distbp.parallel.step.shards import Span

_WHATS = ("", "the cost", "a gradient", "a weight")
_REPORT = struct.Struct("<IIqqBI")
_PER_SHARD = 4
"""How many numbers a report has for each shard."""


def report_size(shards: int) -> int:
    """Return the size of a worker's report if a mini-batch has this number of shards."""
    return _REPORT.size + _PER_SHARD * 8 * shards


def pack_report(report: Report, shards: int) -> bytes:
    """Return a worker's report as bytes."""
    what, layer = report.divergence or ("", 0)
    rest = [0.0] * (_PER_SHARD * (shards - len(report.costs)))
    return _REPORT.pack(*report.span, report.rows, report.right, _WHATS.index(what), layer) + struct.pack(
        f"<{_PER_SHARD * shards}d", *report.costs, *report.weights, *report.squares, *report.weight_squares, *rest
    )


def unpack_report(data: bytes, offset: int = 0) -> Report:
    """Return the report that :func:`pack_report` has packed, from ``offset`` on.

    Raises:
        struct.error, IndexError: the bytes are no report.
    """
    first, stop, rows, right, what, layer = _REPORT.unpack_from(data, offset)
    count = stop - first
    numbers = struct.unpack_from(f"<{_PER_SHARD * count}d", data, offset + _REPORT.size)
    costs, weights, squares, weight_squares = (numbers[i * count : (i + 1) * count] for i in range(_PER_SHARD))
    divergence = Divergence(_WHATS[what], layer) if what else None
    return Report(Span(first, stop), rows, costs, right, weights, squares, weight_squares, divergence)
