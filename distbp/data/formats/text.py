"""Tables of text: CSV, TSV, files whose ending says nothing; plain or gzipped. pyarrow parses them block by block."""

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
from distbp.data.formats.kinds import BOOLEAN, DATE, INTEGER, MISSING, NUMBER, TEXT, as_kinds, kind_of
from distbp.data.formats.regular_files import opened_file
from distbp.data.formats.table import Block, ahead, arrow, begins, check_names
from distbp.errors import DataError

_BLOCK = 32 << 20
"""Bytes that are parsed at once. The types are those of the first block's cells."""
_TRUE, _FALSE = ("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")
_NULLS = [*MISSING, *(f" {value}" for value in MISSING)]
_CONTENT = re.compile(rb"\S")
_ERRORS = (OSError, EOFError, zlib.error)


class TextTable:
    """A table of text, a row per line. See :class:`Table`."""

    def __init__(
        self, path: Path, separator: str | None = None, header: bool | None = None, dialect: Dialect | None = None
    ) -> None:
        self.name = str(path)
        self.path = path
        self.notes: list[str] = []
        self.is_compressed = begins(path, b"\x1f\x8b")
        self.size = 0 if self.is_compressed else path.stat().st_size
        with self._opened() as file:
            sample = self._read(file, SAMPLE)
            while sample.count(b"\n") < 2 and len(sample) < _BLOCK and (more := self._read(file, len(sample))):
                sample += more  # the first line of a table with many columns is long
        self.dialect = dialect or guess_dialect(self.name, sample, separator, header)
        if dialect is None:
            self._note(header is not None)
        check_names(self.dialect.names, self.name)
        self._wanted: list[str] = list(self.dialect.names)
        self._dates: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self.kinds = self._first_kinds()

    def select_columns(self, kinds: Mapping[str, str], wanted: Sequence[str]) -> None:
        """From now on give the ``wanted`` columns only, as these kinds."""
        self.kinds = {**self.kinds, **{name: kind for name, kind in kinds.items() if name in self.kinds}}
        self._wanted = list(wanted)

    def rename_columns(self, names: Sequence[str]) -> None:
        """Call the columns so, where no header does."""
        self.kinds = dict(zip(names, self.kinds.values(), strict=True))
        self.dialect = replace(self.dialect, names=tuple(names))
        self._wanted = list(names)

    def row_name(self, row: int) -> str:
        """Return the words for the row of this number, counted from 0; people count from 1."""
        return f"{self.name} row {row + 1}"

    def blocks(self, start: int = 0, before: int = 0) -> Iterator[Block]:
        """Yield the blocks from the one at this byte on; a gzipped file's bytes are those after decompression."""

        def parsed() -> Iterator[Block]:
            rows = before
            for position, block in self._lines(start or self.dialect.start):
                table = self._parse(block, rows)
                rows += table.num_rows
                yield Block(position, table)

        yield from ahead(parsed())

    def _first_kinds(self) -> dict[str, str]:
        """Return what the cells of the first block show the columns to hold."""
        types = arrow(f"reading {self.name}", "pyarrow.types")
        for _, block in self._lines(self.dialect.start):
            table = self._parse(block, 0, typed=False)
            kinds = {}
            self._dates = {name: table[name].type for name in table.column_names if kind_of(table[name].type) == DATE}
            for name in self.dialect.names:
                kind = kind_of(table[name].type)
                # times of the day and the like are text
                kinds[name] = TEXT if kind is None else NUMBER if types.is_null(table[name].type) else kind
                if kinds[name] == TEXT and are_mostly_numbers(table[name]):
                    kinds[name] = NUMBER  # reading will name the cell that is none
            return kinds
        raise DataError(f"{self.name} holds no rows{' below its header' if self.dialect.header else ''}")

    def _opened(self) -> Any:
        file = opened_file(self.path)
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
        """Yield blocks of whole lines, and where they begin; a block is valid until the next."""
        quote = self.dialect.quote.encode()
        # one buffer for all blocks: fresh ones of this size would cost more than reading
        buffer = bytearray(2 * _BLOCK)
        view = memoryview(buffer)
        with self._opened() as file:
            file.seek(start)
            have = 0
            while True:
                try:
                    read = file.readinto(view[have : have + _BLOCK])
                except _ERRORS as error:
                    raise DataError(f"{self.name} cannot be read: {error}; is the file complete?") from error
                have += read
                end = _end_of_rows(buffer, have, quote) if read else have
                if not end and have > _BLOCK:
                    raise DataError(f"{self.name} has a row of over {_BLOCK >> 20} MB: it is no table of this kind")
                if _CONTENT.search(view[:end]):
                    yield start, view[:end]
                if not read:
                    return
                start += end
                have -= end
                view[:have] = view[end : end + have]

    def _cleaned(self, block: Any) -> Any:
        """Return a block without comments, and with one separator where several spaces stand for one."""
        comment = self.dialect.comment.encode()
        if comment:
            block = re.sub(rb"(?m)^" + re.escape(comment) + rb".*\n?", b"", block)
        if self.dialect.separator == " ":
            block = re.sub(rb"(?m)^ +| +(?=\r?$)", b"", re.sub(rb"[ \t]+", b" ", block))
        return block

    def _parse(self, block: Any, rows_before: int, typed: bool = True) -> Any:
        pa, reader = arrow(f"reading {self.name}"), arrow(f"reading {self.name}", "pyarrow.csv")
        dialect = self.dialect
        types = {NUMBER: pa.float64(), INTEGER: pa.float64(), BOOLEAN: pa.bool_(), DATE: pa.timestamp("us"),
                 TEXT: pa.dictionary(pa.int32(), pa.string())}  # fmt: skip
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
            raise self._located(block, rows_before, str(error)) from error
        except pa.ArrowKeyError as error:
            raise DataError(f"{self.name} has no column {error}") from error
        return as_kinds(table, self.kinds, self, rows_before) if typed else table

    def _located(self, block: Any, rows_before: int, said: str) -> DataError:
        """Return the error that names the row, and the column, that pyarrow stumbled over."""
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
                    wrong = self._wrong(name, cell)
                    if wrong:
                        return DataError(f"{where} column {name!r} {wrong}")
                row += 1
        except csv.Error as error:
            return DataError(f"{self.row_name(row)} cannot be read: {error}")
        return DataError(f"{self.name} cannot be read: {said.splitlines()[0]}")

    def _wrong(self, name: str, cell: str) -> str:
        """Return what is wrong with a cell, nothing if it is as expected."""
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

    def _note(self, told: bool) -> None:
        """Note what was guessed and the file's ending does not say."""
        separator, header, comment = self.dialect.separator, self.dialect.header, self.dialect.comment
        ending = (self.path.with_suffix("") if self.path.suffix == ".gz" else self.path).suffix.lower()
        usual = {".csv": ",", ".tsv": "\t", ".tab": "\t"}.get(ending)
        if separator != usual or not (header or told):
            what = f"{NAMES.get(separator, separator)} as separator, {'a' if header else 'no'} header"
            self.notes.append(f"{self.name}: {what} (--separator, --header/--no-header to change)")
        if comment:
            self.notes.append(f"{self.name}: lines that begin with {comment} are comments")


def _end_of_rows(buffer: bytearray, have: int, quote: bytes) -> int:
    """Return where the last whole row of a block ends: at the end of a line that is within no quotes."""
    last = end = buffer.rfind(b"\n", 0, have) + 1
    quotes = buffer.count(quote, 0, end)
    while quotes % 2 and end > 0:
        before = buffer.rfind(b"\n", 0, end - 1) + 1
        quotes -= buffer.count(quote, before, end)
        end = before
    return end or last  # a single quote that is none, such as that of 5", closes nowhere
