"""A worker's report on its shards as bytes: how it travels on one host and between hosts."""

from __future__ import annotations

import struct

from distbp.parallel.step.records import Divergence, Report
from distbp.parallel.step.shards import Span

_WHATS = ("", "the cost", "a gradient", "a weight")
_REPORT = struct.Struct("<qIIqqBI")
_PER_SHARD = 4
"""Numbers that a report has for each shard."""
_PROGRESS = 255
"""Where a report names what diverged."""


def report_size(shards: int) -> int:
    """Return the size of a worker's report where a mini-batch has so many shards."""
    return _REPORT.size + _PER_SHARD * 8 * shards


def pack_report(number: int, report: Report, shards: int) -> bytes:
    """Return a worker's report on round ``number`` as bytes."""
    what, layer = report.divergence or ("", 0)
    rest = [0.0] * (_PER_SHARD * (shards - len(report.costs)))
    return _REPORT.pack(number, *report.span, report.rows, report.right, _WHATS.index(what), layer) + struct.pack(
        f"<{_PER_SHARD * shards}d", *report.costs, *report.weights, *report.squares, *report.weight_squares, *rest
    )


def pack_progress(number: int, held: Span, layer: int, shards: int) -> bytes:
    """Return as bytes, as many as a report has, that in this round these shards' sums are final from ``layer`` on."""
    return _REPORT.pack(number, *held, 0, 0, _PROGRESS, layer) + bytes(_PER_SHARD * 8 * shards)


def unpack_progress(message: bytes) -> tuple[int, Span, int] | None:
    """Return round, shards and layer of what :func:`pack_progress` gave, None of a report."""
    number, first, stop, _, _, what, layer = _REPORT.unpack_from(message)
    return (number, Span(first, stop), layer) if what == _PROGRESS else None


def unpack_report(message: bytes) -> tuple[int, Report]:
    """Return the round and the report on it."""
    number, first, stop, rows, right, what, layer = _REPORT.unpack_from(message)
    count = stop - first
    told = struct.unpack_from(f"<{_PER_SHARD * count}d", message, _REPORT.size)
    costs, weights, squares, weight_squares = (told[i * count : (i + 1) * count] for i in range(_PER_SHARD))
    divergence = Divergence(_WHATS[what], layer) if what else None
    return number, Report(Span(first, stop), rows, costs, right, weights, squares, weight_squares, divergence)
