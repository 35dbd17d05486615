"""Whether what is about to be read fits in the memory, asked before any of it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distbp.data.formats.table import Table
from distbp.data.tables.chunks import ROWS
from distbp.errors import DataError
from distbp.system.memory import free_memory

ROWS_MEASURED = 4096
"""Rows that are made inputs at a time, where a network is measured."""
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200


def check_room(needed: int, what: str, cure: str) -> None:
    """Refuse what would take more memory than is free.

    Raises:
        DataError: naming both sizes.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"{what} would take {needed / 1e9:,.1f} GB of memory, of which {free / 1e9:,.1f} GB are free: {cure}"
        )


def refuse_bomb(path: Path, size: int, cure: str) -> None:
    """Refuse a compressed file that is small but would fill the memory.

    Raises:
        DataError: it would.
    """
    compressed = path.stat().st_size
    if size > max(_BOMB_BYTES, _BOMB_RATIO * compressed):
        raise DataError(f"{path} is refused: {compressed:,} bytes would become {size:,}; if that is meant, {cure}")


def check_tables(tables: Sequence[Table], in_memory: bool) -> None:
    """Refuse tables whose rows, or those that are read at a time, do not fit.

    Raises:
        DataError: naming rows, numbers per row and both sizes.
    """
    for table in tables:
        rows, each = getattr(table, "rows", 0), getattr(table, "row_bytes", 0)
        some = 4 * min(rows, ROWS) * each  # as read, as numbers, and cut into the parts
        if in_memory:  # and as bytes and floats, where a network is measured
            some += rows * each + 5 * min(rows, ROWS_MEASURED) * each
        what = f"{table.name} with {rows:,} rows of {each:,} bytes"
        smaller = "fewer or smaller ones are needed, such as images of fewer pixels"
        check_room(some, what, smaller if rows <= ROWS or not in_memory else f"distbp prepare it, or {smaller}")
