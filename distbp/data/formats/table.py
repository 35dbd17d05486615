"""Tables: named columns that are read in blocks, from the first row to the last."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from distbp.data.formats.regular_files import open_file
from distbp.errors import DataError, UsageError

_Item = TypeVar("_Item")


class Block(NamedTuple):
    """Consecutive rows of a table."""

    position: int
    """Position of the block, at which :meth:`Table.blocks` can begin again."""
    rows: Any
    """An Arrow table."""


class Table(Protocol):
    """Named columns, read in blocks."""

    name: str
    """Name of the table in messages, usually a path."""
    kinds: dict[str, str]
    """The kind of each column, in their order (see :mod:`distbp.data.formats.kinds`)."""
    size: int
    """Length in the unit of the blocks' positions, 0 if unknown."""
    notes: list[str]
    """What was guessed, for the user to see."""

    def select_columns(self, kinds: Mapping[str, str], wanted: Sequence[str]) -> None:
        """Make :meth:`blocks` yield the ``wanted`` columns only, with these kinds."""

    def blocks(self, start: int = 0, rows_before: int = 0) -> Iterator[Block]:
        """Yield the blocks from a position on; ``rows_before`` is the number of rows before it.

        Raises:
            DataError: a cell is not of its column's kind.
        """

    def row_name(self, row: int) -> str:
        """Return the name of a row for messages; ``row`` counts from 0."""


def arrow(what: str, module: str = "pyarrow") -> Any:
    """Import a module of pyarrow (or Pillow) that is needed for ``what``.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{what} needs {module.partition('.')[0]}: pip install 'distbp[data]'") from error


def begins(path: Path, magic: bytes) -> bool:
    """Return whether a file begins with these bytes.

    Raises:
        DataError: it cannot be read, or is not a regular file.
    """
    with open_file(path) as file:
        try:
            return file.read(len(magic)) == magic
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def check_names(names: Sequence[str], table: str) -> None:
    """Refuse duplicate column names."""
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        count, name = names.count(duplicates[0]), duplicates[0]
        raise DataError(f"{table} has {count} columns called {name!r}: names must differ")


def prefetched(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items of an iterator while a thread prepares the next one."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item
