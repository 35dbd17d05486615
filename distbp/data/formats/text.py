"""Tables of text: CSV, TSV, files whose ending says nothing; plain or gzipped. pyarrow parses them block by block."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from distbp.data.formats.table import (
    BOOLEAN,
    DATE,
    INTEGER,
    MISSING,
    NUMBER,
    TEXT,
    Block,
    ahead,
    arrow,
    as_kinds,
    check_names,
    kind_of,
)  # fmt: skip
from distbp.errors import DataError, UsageError

_BLOCK = 32 << 20
"""Bytes that are parsed at once. The types are those of the first block's cells."""
_SAMPLE = 1 << 18
_LINES_LOOKED_AT = 200
_CELLS_LOOKED_AT = 10_000
_SHARE_OF_NUMBERS = 0.95
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_NULLS = [*MISSING, *(f" {value}" for value in MISSING)]
_CONTENT = re.compile(rb"\S")
_ERRORS = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class Dialect:
    """How a table's text is written."""

    separator: str
    names: tuple[str, ...]
    header: bool
    start: int
    """Where the first row begins, in bytes."""
    comment: str = ""
    """What lines begin with that are no rows."""
    quote: str = '"'


class TextTable:
    """A table of text, a row per line. See :class:`Table`."""

    def __init__(
        self, path: Path, separator: str | None = None, header: bool | None = None, dialect: Dialect | None = None
    ) -> None:
        self.name = str(path)
        self.path = path
        self.notes: list[str] = []
        self.is_compressed = _begins(path, b"\x1f\x8b")
        self.size = 0 if self.is_compressed else path.stat().st_size
        with self._opened() as file:
            sample = self._read(file, _SAMPLE)
        self.dialect = dialect or self._guess(sample, separator, header)
        check_names(self.dialect.names, self.name)
        self._wanted: list[str] = list(self.dialect.names)
        self._dates: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self.kinds = self._first_kinds()

    def read_as(self, kinds: Mapping[str, str], wanted: Sequence[str]) -> None:
        """From now on give the ``wanted`` columns only, as these kinds."""
        self.kinds = {**self.kinds, **{name: kind for name, kind in kinds.items() if name in self.kinds}}
        self._wanted = list(wanted)

    def renamed(self, names: Sequence[str]) -> None:
        """Call the columns so, where no header does."""
        self.kinds = dict(zip(names, self.kinds.values(), strict=True))
        self.dialect = replace(self.dialect, names=tuple(names))
        self._wanted = list(names)

    def place(self, row: int) -> str:
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
                if kinds[name] == TEXT and _are_mostly_numbers(table[name]):
                    kinds[name] = NUMBER  # reading will name the cell that is none
            return kinds
        raise DataError(f"{self.name} holds no rows{' below its header' if self.dialect.header else ''}")

    def _opened(self) -> Any:
        try:
            return gzip.open(self.path) if self.is_compressed else self.path.open("rb")
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error.strerror or error}") from error

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
                where = self.place(row)
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
            return DataError(f"{self.place(row)} cannot be read: {error}")
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

    def _guess(self, sample: bytes, separator: str | None, header: bool | None) -> Dialect:
        """Find out separator, header and comments; what the file's ending does not say is noted."""
        if not sample.strip():
            raise DataError(f"{self.name} is empty: expected a table")
        if b"\0" in sample[:4096]:
            raise DataError(f"{self.name} is of no known kind: it is neither text nor a format that is read here")
        start = 3 if sample.startswith(b"\xef\xbb\xbf") else 0
        lines = [f"{line}\n" for line in sample[start:].decode("utf-8", "surrogateescape").split("\n")]
        lines = (lines[:-1] if len(sample) == _SAMPLE and len(lines) > 1 else lines)[:_LINES_LOOKED_AT]
        comment = ""
        if any(line.startswith("|") for line in lines) and not all(line.startswith("|") for line in lines):
            comment = "|" if separator != "|" else ""
        shown = [line for line in lines if line.strip() and not (comment and line.startswith(comment))]
        separator = _guess_separator(shown) if separator is None else _named_separator(separator)
        try:
            rows = [_cells(line, separator) for line in shown]
        except csv.Error as error:
            raise DataError(f"{self.name} is no table of text: {error}") from error
        told = header is not None
        if header is None:
            header = _is_header(rows)
        if header:
            for line in lines:
                start += len(line.encode("utf-8", "surrogateescape"))
                if line.strip() and not (comment and line.startswith(comment)):
                    break
        names = tuple(cell.strip() for cell in rows[0]) if header else tuple(str(k) for k in range(len(rows[0])))
        if any("\udc80" <= character <= "\udcff" for name in names for character in name):
            raise DataError(f"{self.name} has a header that is not UTF-8 text: save the file as UTF-8")
        self._note(separator, header, told, comment)
        return Dialect(separator, names, header, start, comment)

    def _note(self, separator: str, header: bool, told: bool, comment: str) -> None:
        ending = (self.path.with_suffix("") if self.path.suffix == ".gz" else self.path).suffix.lower()
        usual = {".csv": ",", ".tsv": "\t", ".tab": "\t"}.get(ending)
        if separator != usual or not (header or told):
            what = f"{_NAMES.get(separator, separator)} as separator, {'a' if header else 'no'} header"
            self.notes.append(f"{self.name}: {what} (--separator, --header/--no-header to change)")
        if comment:
            self.notes.append(f"{self.name}: lines that begin with {comment} are comments")


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _end_of_rows(buffer: bytearray, have: int, quote: bytes) -> int:
    """Return where the last whole row of a block ends: at the end of a line that is within no quotes."""
    last = end = buffer.rfind(b"\n", 0, have) + 1
    quotes = buffer.count(quote, 0, end)
    while quotes % 2 and end > 0:
        before = buffer.rfind(b"\n", 0, end - 1) + 1
        quotes -= buffer.count(quote, before, end)
        end = before
    return end or last  # a single quote that is none, such as that of 5", closes nowhere


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    return next(csv.reader([line], delimiter=separator), [])


def _named_separator(said: str) -> str:
    by_name = {name: character for character, name in _NAMES.items()}
    separator = by_name.get(said, "\t" if said == "\\t" else said)
    if len(separator) != 1 or not separator.isascii() or separator in '\r\n"':
        raise UsageError(f"separator {said!r} is no single character, nor one of {', '.join(by_name)}")
    return separator


def _are_mostly_numbers(cells: Any) -> bool:
    """Return whether a column of text looks like numbers with a mistake in it."""
    present = [text for text in cells.slice(0, _CELLS_LOOKED_AT).to_pylist() if text is not None]
    numbers = sum(map(_is_number, present))
    return numbers >= _SHARE_OF_NUMBERS * len(present) > 0 and numbers >= 2


def _guess_separator(lines: Sequence[str]) -> str:
    """Return the separator that cuts the lines into equally many cells, as many as possible."""
    best, best_score = ",", (0.0, 0)
    for separator in (",", "\t", ";", "|", " "):
        try:
            counts = Counter(len(_cells(line, separator)) for line in lines)
        except csv.Error:
            continue
        count, often = counts.most_common(1)[0]
        score = (round(often / len(lines), 1), count)
        if count > 1 and score > best_score and (separator != " " or best_score[0] < 0.9):
            best, best_score = separator, score
    return best


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns: words above numbers, or words that no row below repeats."""
    first, rest = [cell.strip() for cell in rows[0]], rows[1:]
    if any(_is_number(cell) or cell in MISSING for cell in first):
        return False
    columns = [[row[k].strip() for row in rest if k < len(row)] for k in range(len(first))]
    present = [[cell for cell in column if cell not in MISSING] for column in columns]
    if any(column and all(map(_is_number, column)) for column in present):
        return True
    return all(name not in column for name, column in zip(first, columns, strict=True))
