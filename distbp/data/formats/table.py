"""A table that is read from its beginning to its end in blocks, whatever it comes from."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from distbp.data.formats.regular_files import opened_file
from distbp.errors import DataError, UsageError

NUMBER, INTEGER, BOOLEAN, TEXT, DATE, PIXEL = "number", "integer", "boolean", "text", "date", "pixel"
"""What a column may hold. A pixel is an unsigned byte; a column of lists of them is an image."""

MISSING = ("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None")
"""What stands for a missing value in text."""

_Item = TypeVar("_Item")


class Block(NamedTuple):
    """Rows that follow one another: an Arrow table, and the position from which :meth:`Table.blocks` finds it again."""

    position: int
    rows: Any


class Table(Protocol):
    """Named columns, read in blocks."""

    name: str
    """How messages call it: a path, mostly."""
    kinds: dict[str, str]
    """What each column holds, in their order."""
    size: int
    """Length in the unit of the blocks' positions, 0 if unknown."""
    notes: list[str]
    """What was guessed, for the user to see."""

    def read_as(self, kinds: Mapping[str, str], wanted: Sequence[str]) -> None:
        """From now on give the ``wanted`` columns only, as these kinds, or raise DataError where a cell is none."""

    def blocks(self, start: int = 0, before: int = 0) -> Iterator[Block]:
        """Yield the blocks from the one at this position on, which has so many rows before it."""

    def place(self, row: int) -> str:
        """Return the words for the row of this number, counted from 0."""


Note = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Told how much of how much has been read."""


def unheard(*_: object) -> None:
    """Nobody listens."""


def arrow(what: str, module: str = "pyarrow") -> Any:
    """Import a module of pyarrow, which reads ``what``.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{what} needs {module.partition('.')[0]}: pip install 'distbp[data]'") from error


def begins(path: Path, magic: bytes) -> bool:
    """Return whether a file begins so.

    Raises:
        DataError: it cannot be read, or is no file.
    """
    with opened_file(path) as file:
        try:
            return file.read(len(magic)) == magic
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def kind_of(type_: Any) -> str | None:
    """Return the kind of an Arrow type, None if it is nested or of another sort."""
    types = arrow("a table", "pyarrow.types")
    if types.is_dictionary(type_):
        return kind_of(type_.value_type)
    if types.is_uint8(type_) or (types.is_fixed_size_list(type_) and types.is_uint8(type_.value_type)):
        return PIXEL
    for kind, tests in {
        INTEGER: (types.is_integer,),
        NUMBER: (types.is_floating, types.is_decimal, types.is_null),
        BOOLEAN: (types.is_boolean,),
        TEXT: (types.is_string, types.is_large_string, types.is_string_view),
        DATE: (types.is_date, types.is_timestamp),
    }.items():
        if any(test(type_) for test in tests):
            return kind
    return None


def check_names(names: Sequence[str], table: str) -> None:
    """Refuse column names that come twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{table} has {names.count(twice[0])} columns called {twice[0]!r}: names must differ")


def check_kinds(found: Mapping[str, str], kinds: Mapping[str, str], table: str) -> None:
    """Refuse columns of a typed table that hold another kind than expected."""
    numeric = {NUMBER, INTEGER, BOOLEAN, PIXEL}
    for name, kind in kinds.items():
        if name in found and found[name] != kind and not (found[name] in numeric and kind in (numeric | {TEXT})):
            raise DataError(f"{table} column {name!r} holds {found[name]}s: expected {kind}s as in training")


def as_kinds(rows: Any, kinds: Mapping[str, str], table: Table, first: int) -> Any:
    """Return Arrow rows with every column cast to its kind's own type.

    Raises:
        DataError: a cell is none of the kind.
    """
    pa = arrow("a table")
    types = {NUMBER: pa.float64(), INTEGER: pa.float64(), BOOLEAN: pa.bool_(), TEXT: pa.string()}
    columns = []
    for name in rows.column_names:
        column, kind = rows[name], kinds[name]
        if kind in types and column.type != types[kind] and not _is_text_dictionary(column.type, kind):
            try:
                column = column.cast(types[kind], safe=False)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                said = str(error).splitlines()[0]
                raise DataError(f"{table.name} column {name!r} is no {kind}: {said}") from error
        columns.append(column)
    return pa.table(columns, names=rows.column_names)


def _is_text_dictionary(type_: Any, kind: str) -> bool:
    types = arrow("a table", "pyarrow.types")
    return kind == TEXT and types.is_dictionary(type_) and types.is_string(type_.value_type)


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items of an iterator while a thread already makes the next one."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item
