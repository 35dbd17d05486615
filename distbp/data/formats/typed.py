"""Tables whose columns have types: Parquet files, Arrow and pandas tables, Ray data sets, NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.checks import text
from distbp.data.formats.kinds import TEXT, cast_to_kinds, check_kinds, kind_of
from distbp.data.formats.npy import mapped_array
from distbp.data.formats.regular_files import check_file, open_file
from distbp.data.formats.table import Block, arrow, check_names
from distbp.errors import DataError

_ROWS = 1 << 16
_NUMBER_BYTES = 4
_BUFFER = 1 << 20
"""Bytes of a column that are read from a Parquet file at a time; without a buffer it is the whole row group."""

Batches = Callable[[int, Sequence[str]], Iterator[tuple[int, Any]]]
"""Yields (position, Arrow rows) from a position on, with the columns of these names."""


class TypedTable:
    """A table whose columns have Arrow types. See :class:`Table`."""

    def __init__(self, name: str, types: Mapping[str, Any], batches: Batches, size: int = 0, rows: int = 0) -> None:
        check_names(list(types), name)
        self.name, self.size = name, size
        self.notes: list[str] = []
        self.kinds: dict[str, str] = {}
        self._nested = {}
        self.widths: dict[str, int] = {}
        """Pixels per row of each column of images."""
        for column, type_ in types.items():
            kind = kind_of(type_)
            self.kinds[column] = kind or "nested"
            if kind is None:
                self._nested[column] = type_
            elif hasattr(type_, "list_size"):
                self.widths[column] = type_.list_size
        self.rows = rows
        """Number of rows, 0 if unknown."""
        self.row_bytes = sum(self.widths.get(column, _NUMBER_BYTES) for column in types)
        """Approximate size of a row in memory."""
        self._batches = batches
        self._wanted = list(types)

    def select_columns(self, kinds: Mapping[str, str], wanted: Sequence[str]) -> None:
        """Make :meth:`blocks` yield the ``wanted`` columns only, with these kinds."""
        for column in wanted:
            if column in self._nested:
                raise DataError(
                    f"{self.name} column {column!r} holds {self._nested[column]}: expected numbers, text, booleans or "
                    f"dates; leave it out with --drop {column}"
                )
        check_kinds(self.kinds, {name: kinds[name] for name in wanted if name in kinds}, self.name)
        self.kinds = {**self.kinds, **{name: kind for name, kind in kinds.items() if name in self.kinds}}
        self._wanted = list(wanted)

    def rename_columns(self, names: Sequence[str]) -> None:
        """Typed columns have names of their own."""

    def row_name(self, row: int) -> str:
        """Return the name of a row for messages; ``row`` counts from 0, the name from 1."""
        return f"{self.name} row {row + 1}"

    def blocks(self, start: int = 0, rows_before: int = 0) -> Iterator[Block]:
        """Yield the blocks from a position on."""
        for position, rows in self._batches(start, self._wanted):
            self._check_text(rows, rows_before)
            rows_before += rows.num_rows
            yield Block(position, cast_to_kinds(rows, self.kinds, self))

    def _check_text(self, rows: Any, rows_before: int) -> None:
        """Refuse text that is not UTF-8: Arrow does not check it."""
        pa = arrow(self.name)
        for column in rows.column_names:
            if self.kinds[column] != TEXT:
                continue
            try:
                rows[column].validate(full=True)
            except pa.ArrowInvalid as error:
                where = self.row_name(rows_before + _first_invalid(rows[column], pa))
                raise DataError(f"{where} column {column!r} is not UTF-8 text: save it as UTF-8") from error


def _first_invalid(cells: Any, pa: Any) -> int:
    """Return the index of the first cell that is invalid for its type."""
    for row in range(len(cells)):
        try:
            cells[row].as_py()
        except (UnicodeDecodeError, pa.ArrowException, IndexError):
            return row
    return 0


def parquet_table(path: Path) -> TypedTable:
    """Return the table of a Parquet file; a position is a row group's number."""
    pa, parquet = arrow(f"reading {path}"), arrow(f"reading {path}", "pyarrow.parquet")
    check_file(path)

    def open_parquet() -> Any:
        try:
            return parquet.ParquetFile(path, buffer_size=_BUFFER)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error

    def batches(start: int, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
        with open_parquet() as file:
            for group in range(start, file.num_row_groups):
                try:
                    for batch in file.iter_batches(_ROWS, [group], columns=list(names)):
                        yield group, pa.Table.from_batches([batch])
                except (pa.ArrowException, OSError) as error:
                    raise DataError(f"{path} row group {group} is damaged: {str(error).splitlines()[0]}") from error

    with open_parquet() as file:
        schema, groups = file.schema_arrow, file.num_row_groups
        rows = file.metadata.num_rows
    if not rows:
        raise DataError(f"{path} holds no rows")
    return TypedTable(str(path), _types(schema), batches, groups, rows)


def _types(schema: Any) -> dict[str, Any]:
    check_names(schema.names, "the table")
    return dict(zip(schema.names, schema.types, strict=True))


def arrow_table(rows: Any, name: str = "the table") -> TypedTable:
    """Return the table of an Arrow table, or of any object that can be converted to one (pandas, polars)."""
    pa = arrow(name)
    try:
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error
    unnamed = [column for column in table.column_names if column.startswith("__index_level_")]
    table = table.drop_columns(unnamed)
    if not table.num_rows:
        raise DataError(f"{name} holds no rows")

    def batches(start: int, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
        for first in range(start, table.num_rows, _ROWS):
            yield first, table.select(list(names)).slice(first, _ROWS)

    return TypedTable(name, _types(table.schema), batches, table.num_rows, table.num_rows)


def ray_table(data: Any) -> TypedTable:
    """Return the table of a Ray data set, which is read in one pass.

    While it is read, Ray Data preserves the order of its blocks instead of yielding them as they become ready. This is
    slower, but every pass yields the same rows in the same order. After ``random_shuffle``, or a ``map_batches`` that
    is not deterministic, the weights differ from run to run; a run directory keeps a hash of the rows, and ``resume``
    refuses others.
    """
    pa = arrow("a Ray data set")
    schema = data.schema()
    types = dict(zip(schema.names, schema.types, strict=True))

    def batches(start: int, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
        first = 0
        options = data.context.execution_options
        before, options.preserve_order = options.preserve_order, True
        try:
            for batch in data.iter_batches(batch_size=_ROWS, batch_format="pyarrow"):
                if first >= start:
                    yield first, pa.table(batch).select(list(names))
                first += batch.num_rows
        finally:
            options.preserve_order = before

    return TypedTable("the Ray data set", types, batches)


def array_table(array: Any, name: str) -> TypedTable:
    """Return the table of a two-dimensional array, with columns named 0, 1, .., or of an array with named fields."""
    pa = arrow(name)
    if array.dtype.names:
        columns = {field: array[field] for field in array.dtype.names}
    elif array.ndim == 2:
        columns = {str(k): array[:, k] for k in range(array.shape[1])}
    else:
        raise DataError(f"{name} has the shape {array.shape}: expected rows and columns, or named fields")
    if not len(array):
        raise DataError(f"{name} holds no rows")

    def converted(column: str, first: int, count: int) -> Any:
        values = np.ascontiguousarray(columns[column][first : first + count])
        try:
            if values.dtype.kind in "US":  # Arrow has no fixed-width text
                return pa.array(text(values, f"{name} column {column!r}", first).tolist(), pa.string())
            return pa.array(values.astype(values.dtype.newbyteorder("=")), from_pandas=True)
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise DataError(f"{name} column {column!r} cannot be read: {str(error).splitlines()[0]}") from error

    def batches(start: int, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
        for first in range(start, len(array), _ROWS):
            yield first, pa.table({column: converted(column, first, _ROWS) for column in names})

    types = {column: converted(column, 0, 1).type for column in columns}
    return TypedTable(name, types, batches, len(array), len(array))


def npy_table(path: Path) -> TypedTable:
    """Return the table of a ``.npy`` file, which is mapped without pickle."""
    with open_file(path) as file:
        if file.read(4) == b"PK\x03\x04":
            raise DataError(f"{path} is an archive of arrays: call it .npz")
    return array_table(mapped_array(path), str(path))
