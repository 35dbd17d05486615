"""Tables of text: CSV, TSV and files of any other ending, plain or gzipped. pyarrow parses them block by block."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from distbp.data.formats.dialect import NAMES, SAMPLE, Dialect, are_mostly_numbers, guess_dialect
from distbp.data.formats.kinds import BOOLEAN, DATE, INTEGER, MISSING, NUMBER, TEXT, cast_to_kinds, kind_of
from distbp.data.formats.regular_files import open_file
from distbp.data.formats.table import Block, arrow, begins, check_names, prefetched
from distbp.errors import DataError

_BLOCK = 32 << 20
"""Bytes that are parsed at once. The kinds of columns are those of the first block's cells."""
_TRUE, _FALSE = ("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")
_NULLS = [*MISSING, *(f" {value}" for value in MISSING)]
_CONTENT = re.compile(rb"\S")
_ERRORS = (OSError, EOFError, zlib.error)


class TextTable:
    """A table of text, one row per line. See :class:`Table`."""

    def __init__(
        self, path: Path, separator: str | None = None, header: bool | None = None, dialect: Dialect | None = None
    ) -> None:
        self.name = str(path)
        self.path = path
        self.notes: list[str] = []
        self.is_compressed = begins(path, b"\x1f\x8b")
        self.size = 0 if self.is_compressed else path.stat().st_size
        with self._open() as file:
            sample = self._read(file, SAMPLE)
            while sample.count(b"\n") < 2 and len(sample) < _BLOCK and (more := self._read(file, len(sample))):
                sample += more  # a table with many columns has a long first line
        self.dialect = dialect or guess_dialect(self.name, sample, separator, header)
        if dialect is None:
            self._add_notes(header is not None)
        check_names(self.dialect.names, self.name)
        self._wanted: list[str] = list(self.dialect.names)
        self._dates: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self.kinds = self._first_kinds()

    def select_columns(self, kinds: Mapping[str, str], wanted: Sequence[str]) -> None:
        """Make :meth:`blocks` yield the ``wanted`` columns only, with these kinds."""
        self.kinds = {**self.kinds, **{name: kind for name, kind in kinds.items() if name in self.kinds}}
        self._wanted = list(wanted)

    def rename_columns(self, names: Sequence[str]) -> None:
        """Name the columns of a text without header."""
        self.kinds = dict(zip(names, self.kinds.values(), strict=True))
        self.dialect = replace(self.dialect, names=tuple(names))
        self._wanted = list(names)

    def row_name(self, row: int) -> str:
        """Return the name of a row for messages; ``row`` counts from 0, the name from 1."""
        return f"{self.name} row {row + 1}"

    def blocks(self, start: int = 0, rows_before: int = 0) -> Iterator[Block]:
        """Yield the blocks from a position on, which counts bytes after decompression."""

        def parsed() -> Iterator[Block]:
            rows = rows_before
            for position, block in self._lines(start or self.dialect.start):
                table = self._parse(block, rows)
                rows += table.num_rows
                yield Block(position, table)

        yield from prefetched(parsed())

    def _first_kinds(self) -> dict[str, str]:
        """Return the kinds of the columns, as the cells of the first block show them."""
        types = arrow(f"reading {self.name}", "pyarrow.types")
        for _, block in self._lines(self.dialect.start):
            table = self._parse(block, 0, typed=False)
            kinds = {}
            self._dates = {name: table[name].type for name in table.column_names if kind_of(table[name].type) == DATE}
            for name in self.dialect.names:
                kind = kind_of(table[name].type)
                # types without a kind, such as times of the day, are read as text
                kinds[name] = TEXT if kind is None else NUMBER if types.is_null(table[name].type) else kind
                if kinds[name] == TEXT and are_mostly_numbers(table[name]):
                    kinds[name] = NUMBER  # so that an error names the cell that is not a number
            return kinds
        raise DataError(f"{self.name} holds no rows{' below its header' if self.dialect.header else ''}")

    def _open(self) -> Any:
        file = open_file(self.path)
        if not self.is_compressed:
            return file
        file.close()
        return gzip.open(self.path)

    def _read(self, file: IO[bytes], count: int) -> bytes:
        try:
            return file.read(count)
        except _ERRORS as error:
            raise DataError(f"{self.name} cannot be read: {error}; is the file complete?") from error

    def _lines(self, start: int) -> Iterator[tuple[int, Any]]:
        """Yield blocks of whole rows, each with its position; a block is valid until the next one is read."""
        quote = self.dialect.quote.encode()
        # one buffer for all blocks: allocating one of this size per block would cost more than reading
        buffer = bytearray(2 * _BLOCK)
        view = memoryview(buffer)
        with self._open() as file:
            file.seek(start)
            length = 0
            while True:
                try:
                    read = file.readinto(view[length : length + _BLOCK])
                except _ERRORS as error:
                    raise DataError(f"{self.name} cannot be read: {error}; is the file complete?") from error
                length += read
                end = _end_of_rows(buffer, length, quote) if read else length
                if not end and length > _BLOCK:
                    raise DataError(f"{self.name} has a row of over {_BLOCK >> 20} MB: it is no table of this kind")
                if _CONTENT.search(view[:end]):
                    yield start, view[:end]
                if not read:
                    return
                start += end
                length -= end
                view[:length] = view[end : end + length]

    def _cleaned(self, block: Any) -> Any:
        """Return a block without comments; several spaces become one if the separator is a space."""
        comment = self.dialect.comment.encode()
        if comment:
            block = re.sub(rb"(?m)^" + re.escape(comment) + rb".*\n?", b"", block)
        if self.dialect.separator == " ":
            block = re.sub(rb"(?m)^ +| +(?=\r?$)", b"", re.sub(rb"[ \t]+", b" ", block))
        return block

    def _parse(self, block: Any, rows_before: int, typed: bool = True) -> Any:
        """Parse a block into an Arrow table of the wanted columns; without ``typed``, of all with guessed types.

        Raises:
            DataError: a row has too many or too few cells, or a cell is not of its column's kind.
        """
        pa, reader = arrow(f"reading {self.name}"), arrow(f"reading {self.name}", "pyarrow.csv")
        dialect = self.dialect
        types = {
            NUMBER: pa.float64(),
            INTEGER: pa.float64(),
            BOOLEAN: pa.bool_(),
            DATE: pa.timestamp("us"),
            TEXT: pa.dictionary(pa.int32(), pa.string()),
        }
        given = {name: self._dates.get(name, types[kind]) for name, kind in self.kinds.items()} if typed else None
        block = self._cleaned(block)
        if not _CONTENT.search(block):
            return pa.table({name: pa.nulls(0) for name in self._wanted})
        try:
            table = reader.read_csv(
                pa.BufferReader(pa.py_buffer(block)),
                reader.ReadOptions(column_names=list(dialect.names)),
                reader.ParseOptions(
                    delimiter=dialect.separator,
                    quote_char=dialect.quote,
                    newlines_in_values=re.search(re.escape(dialect.quote.encode()), block) is not None,
                ),
                reader.ConvertOptions(
                    column_types=given,
                    include_columns=self._wanted if typed else list(dialect.names),
                    null_values=_NULLS,
                    true_values=list(_TRUE),
                    false_values=list(_FALSE),
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            raise self._located_error(block, rows_before, str(error)) from error
        except pa.ArrowKeyError as error:
            raise DataError(f"{self.name} has no column {error}") from error
        return cast_to_kinds(table, self.kinds, self) if typed else table

    def _located_error(self, block: Any, rows_before: int, message: str) -> DataError:
        """Return an error that names the row and the column at which pyarrow failed with this message."""
        dialect = self.dialect
        expected = len(dialect.names)
        text = io.StringIO(bytes(block).decode("utf-8", "surrogateescape"), newline="")
        row = rows_before
        try:
            for cells in csv.reader(text, delimiter=dialect.separator, quotechar=dialect.quote):
                if not cells:
                    continue
                where = self.row_name(row)
                if len(cells) != expected:
                    return DataError(
                        f"{where} has {len(cells)} cells, expected {expected}: is a separator missing or too many?"
                    )
                for name, cell in zip(dialect.names, cells, strict=True):
                    problem = self._problem(name, cell)
                    if problem:
                        return DataError(f"{where} column {name!r} {problem}")
                row += 1
        except csv.Error as error:
            return DataError(f"{self.row_name(row)} cannot be read: {error}")
        return DataError(f"{self.name} cannot be read: {message.splitlines()[0]}")

    def _problem(self, name: str, cell: str) -> str:
        """Return what is wrong with a cell; an empty text if nothing is."""
        try:
            cell.encode()
        except UnicodeEncodeError:
            shown = cell.encode("utf-8", "surrogateescape")
            return f"is not UTF-8 text ({shown[:40]!r}): save the file as UTF-8"
        value, kind = cell.strip(), self.kinds.get(name)
        if value in MISSING:
            return ""
        if kind in (NUMBER, INTEGER):
            try:
                float(value)
            except ValueError:
                return f"is {value[:40]!r}: expected a number, as in the first rows"
        if kind == BOOLEAN and value not in (*_TRUE, *_FALSE):
            return f"is {value[:40]!r}: expected true or false, as in the first rows"
        if kind == DATE and not re.match(r"\d{4}-\d\d-\d\d", value):
            return f"is {value[:40]!r}: expected a date such as 2026-11-25, as in the first rows"
        return ""

    def _add_notes(self, header_given: bool) -> None:
        """Note what was guessed, unless the file's ending implies it."""
        separator, header, comment = self.dialect.separator, self.dialect.header, self.dialect.comment
        ending = (self.path.with_suffix("") if self.path.suffix == ".gz" else self.path).suffix.lower()
        usual = {".csv": ",", ".tsv": "\t", ".tab": "\t"}.get(ending)
        if separator != usual or not (header or header_given):
            what = f"{NAMES.get(separator, separator)} as separator, {'a' if header else 'no'} header"
            self.notes.append(f"{self.name}: {what} (--separator, --header/--no-header to change)")
        if comment:
            self.notes.append(f"{self.name}: lines that begin with {comment} are comments")


def _end_of_rows(buffer: bytearray, length: int, quote: bytes) -> int:
    """Return the end of the last complete row: the end of a line that is not inside quotes."""
    last = end = buffer.rfind(b"\n", 0, length) + 1
    quotes = buffer.count(quote, 0, end)
    while quotes % 2 and end > 0:
        before = buffer.rfind(b"\n", 0, end - 1) + 1
        quotes -= buffer.count(quote, before, end)
        end = before
    return end or last  # a lone quote that never closes, such as the inch sign of 5", is no quote
