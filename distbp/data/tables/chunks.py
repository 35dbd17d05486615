"""The rows of tables, one after the other, in chunks of equal size whatever the tables' own blocks are."""

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
    """Where reading can go on: a block of a table, with what lies before it."""

    table: int
    position: int
    rows_of_table: int
    """Rows of the table before the block."""
    rows: int
    """Rows of all tables before the block."""


class Chunks:
    """Reads tables in chunks; knows where each row came from, and where to go on."""

    def __init__(self, tables: Sequence[Table], progress: Progress = silent) -> None:
        self.tables = tables
        self.rows = 0
        """Rows of the chunks so far."""
        self._marks: list[Mark] = [Mark(0, 0, 0, 0)]
        self._starts = [0]
        """The first row of each table so far."""
        self._progress = progress

    def mark(self) -> tuple[Mark, int]:
        """Return the last block that begins at or before the rows so far, and how many of its rows are done."""
        while len(self._marks) > 1 and self._marks[1].rows <= self.rows:
            self._marks.pop(0)
        return self._marks[0], self.rows - self._marks[0].rows

    def starts(self) -> list[int]:
        """Return the first row of each table that was begun."""
        return self._starts

    def go_on(self, mark: Mark, done: int, starts: Sequence[int]) -> None:
        """Begin where another reading was left."""
        self._marks, self.rows, self._starts = [mark], mark.rows + done, list(starts)

    def place(self, row: int) -> str:
        """Return the words for a row, counted over all tables."""
        number = bisect_right(self._starts, row) - 1
        return self.tables[number].place(row - self._starts[number])

    def here(self, row: int) -> str:
        """Return the words for a row of the chunk that was yielded last."""
        return self.place(self.rows + row)

    def __iter__(self) -> Iterator[Any]:
        """Yield Arrow tables of :data:`ROWS` rows, the last one shorter; ``rows`` counts those that came before."""
        pa = arrow("a table")
        waiting: list[Any] = []
        have = 0
        for rows in self._blocks():
            waiting.append(rows)
            have += rows.num_rows
            while have >= ROWS:
                whole = pa.concat_tables(waiting, promote_options="permissive")
                yield whole.slice(0, ROWS)
                self.rows += ROWS
                have -= ROWS
                waiting = [whole.slice(ROWS)]
        if have:
            yield pa.concat_tables(waiting, promote_options="permissive")
            self.rows += have

    def _blocks(self) -> Iterator[Any]:
        """Yield the blocks' rows from the mark on, without those that are done."""
        mark, skip = self.mark()
        total = sum(table.size for table in self.tables)
        rows = mark.rows
        for number in range(mark.table, len(self.tables)):
            table = self.tables[number]
            is_first = number == mark.table
            position, before = (mark.position, mark.rows_of_table) if is_first else (0, 0)
            if len(self._starts) <= number:
                self._starts.append(rows)
            read = sum(earlier.size for earlier in self.tables[:number])
            for block in table.blocks(position, before):
                if block.position != self._marks[-1].position or number != self._marks[-1].table:
                    self._marks.append(Mark(number, block.position, before, rows))
                rows += block.rows.num_rows
                before += block.rows.num_rows
                part = block.rows.slice(skip)
                skip = max(0, skip - block.rows.num_rows)
                if total and table.size:
                    self._progress(read + min(block.position, table.size), total)
                if part.num_rows:
                    yield part
        if total:
            self._progress(total, total)
