"""The memory that tables need, checked before they are read."""

from __future__ import annotations

from collections.abc import Sequence

from distbp.data.formats.table import Table
from distbp.data.memory import ROWS_MEASURED, check_memory
from distbp.data.tables.chunks import ROWS


def check_tables_fit(tables: Sequence[Table], in_memory: bool) -> None:
    """Refuse tables that do not fit in free memory: all rows with ``in_memory``, else one chunk.

    Raises:
        DataError: with the rows, the bytes per row and both sizes.
    """
    for table in tables:
        rows, row_bytes = getattr(table, "rows", 0), getattr(table, "row_bytes", 0)
        needed = 4 * min(rows, ROWS) * row_bytes  # as read, as numbers, and split into parts
        if in_memory:  # all rows, and the block that is encoded when the network is evaluated
            needed += rows * row_bytes + 5 * min(rows, ROWS_MEASURED) * row_bytes
        what = f"{table.name} with {rows:,} rows of {row_bytes:,} bytes"
        smaller = "fewer or smaller ones are needed, such as images of fewer pixels"
        check_memory(needed, what, smaller if rows <= ROWS or not in_memory else f"distbp prepare it, or {smaller}")
