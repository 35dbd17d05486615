"""Whether the rows of tables fit in the free memory, checked before they are read."""

from __future__ import annotations

from collections.abc import Sequence

from distbp.data.formats.table import Table
from distbp.data.memory import ROWS_MEASURED, check_memory
from distbp.data.tables.chunks import ROWS


def check_tables_fit(tables: Sequence[Table], in_memory: bool) -> None:
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
        check_memory(some, what, smaller if rows <= ROWS or not in_memory else f"distbp prepare it, or {smaller}")
