"""A table that is read from its beginning to its end in blocks, whatever it comes from."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from distbp.data.formats.regular_files import opened_file
from distbp.errors import DataError, UsageError

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

    def select_columns(self, kinds: Mapping[str, str], wanted: Sequence[str]) -> None:
        """From now on give the ``wanted`` columns only, as these kinds, or raise DataError where a cell is none."""

    def blocks(self, start: int = 0, before: int = 0) -> Iterator[Block]:
        """Yield the blocks from the one at this position on, which has so many rows before it."""

    def row_name(self, row: int) -> str:
        """Return the words for the row of this number, counted from 0."""


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


def check_names(names: Sequence[str], table: str) -> None:
    """Refuse column names that come twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{table} has {names.count(twice[0])} columns called {twice[0]!r}: names must differ")


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items of an iterator while a thread already makes the next one."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item
