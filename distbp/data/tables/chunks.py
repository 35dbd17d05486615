"""The rows of several tables in chunks of equal size, independent of the tables' own blocks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from distbp.data.formats.table import Table, arrow
from distbp.data.reporting import Progress, silent

ROWS = 1 << 16
"""Rows per chunk. Part of the results: rows are held out, and moments merged, chunk by chunk."""


@dataclass(frozen=True)
class Mark:
    """A position from which reading can resume: a block of a table."""

    table: int
    """Index of the table."""
    position: int
    """The block's position, as :meth:`Table.blocks` takes it."""
    rows_of_table: int
    """Rows of this table before the block."""
    rows: int
    """Rows before the block, counted over all tables."""


class Chunks:
    """Reads tables in chunks, names the source of each row, and marks where reading can resume."""

    def __init__(self, tables: Sequence[Table], progress: Progress = silent) -> None:
        self.tables = tables
        self.rows = 0
        """Rows before the current chunk."""
        self._marks: list[Mark] = [Mark(0, 0, 0, 0)]
        self._starts = [0]
        """Number of the first row of each table that was begun."""
        self._progress = progress

    def mark(self) -> tuple[Mark, int]:
        """Return the last block that begins at or before the current chunk, and how many of its rows are done."""
        while len(self._marks) > 1 and self._marks[1].rows <= self.rows:
            self._marks.pop(0)
        return self._marks[0], self.rows - self._marks[0].rows

    def starts(self) -> list[int]:
        """Return the number of the first row of each table that was begun."""
        return self._starts

    def resume(self, mark: Mark, done: int, starts: Sequence[int]) -> None:
        """Begin where another reading stopped."""
        self._marks, self.rows, self._starts = [mark], mark.rows + done, list(starts)

    def row_name(self, row: int) -> str:
        """Return the name of a row for messages; ``row`` counts over all tables."""
        number = bisect_right(self._starts, row) - 1
        return self.tables[number].row_name(row - self._starts[number])

    def row_in_chunk(self, row: int) -> str:
        """Return the name of a row of the current chunk for messages."""
        return self.row_name(self.rows + row)

    def __iter__(self) -> Iterator[Any]:
        """Yield Arrow tables of :data:`ROWS` rows; the last one may be shorter."""
        pa = arrow("a table")
        waiting: list[Any] = []
        count = 0
        for rows in self._blocks():
            waiting.append(rows)
            count += rows.num_rows
            while count >= ROWS:
                joined = pa.concat_tables(waiting, promote_options="permissive")
                yield joined.slice(0, ROWS)
                self.rows += ROWS
                count -= ROWS
                waiting = [joined.slice(ROWS)]
        if count:
            yield pa.concat_tables(waiting, promote_options="permissive")
            self.rows += count

    def _blocks(self) -> Iterator[Any]:
        """Yield the rows of each block from the mark on, without the rows that are done."""
        mark, skip = self.mark()
        total = sum(table.size for table in self.tables)
        rows = mark.rows
        for number in range(mark.table, len(self.tables)):
            table = self.tables[number]
            is_first = number == mark.table
            position, before = (mark.position, mark.rows_of_table) if is_first else (0, 0)
            if len(self._starts) <= number:
                self._starts.append(rows)
            size_before = sum(earlier.size for earlier in self.tables[:number])
            for block in table.blocks(position, before):
                if block.position != self._marks[-1].position or number != self._marks[-1].table:
                    self._marks.append(Mark(number, block.position, before, rows))
                rows += block.rows.num_rows
                before += block.rows.num_rows
                part = block.rows.slice(skip)
                skip = max(0, skip - block.rows.num_rows)
                if total and table.size:
                    self._progress(size_before + min(block.position, table.size), total)
                if part.num_rows:
                    yield part
        if total:
            self._progress(total, total)
