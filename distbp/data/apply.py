"""New rows for a trained model: its preprocessing applied to tables, in chunks, whatever the order of their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from distbp.data.cells import numbers_of, pixels_of, values_of
from distbp.data.chunks import Chunks
from distbp.data.dataset import Array
from distbp.data.formats import table as kinds
from distbp.data.formats.opening import is_table, table_of
from distbp.data.formats.table import Progress, Table, unheard
from distbp.data.formats.text import TextTable
from distbp.data.preprocessing import BOOLEAN, CATEGORY, DATE, NUMBER, PIXEL, Preprocessing, kept_rows, missing_columns
from distbp.errors import DataError

_READ_AS = {NUMBER: kinds.NUMBER, BOOLEAN: kinds.BOOLEAN, CATEGORY: kinds.TEXT, DATE: kinds.DATE, PIXEL: kinds.PIXEL}


class Applied(NamedTuple):
    """Rows as the model's data set would keep them, and their targets if they were asked for."""

    kept: Array
    targets: Any


def kept_chunks(
    tables: Sequence[Table],
    preprocessing: Preprocessing,
    dtype: str,
    with_targets: bool = False,
    progress: Progress = unheard,
) -> Iterator[Applied]:
    """Yield the rows of tables in their order, 65,536 at a time.

    Raises:
        DataError: a column that the model needs is missing, or a cell cannot be read.
    """
    columns, target = preprocessing.columns, preprocessing.target.name
    names = [column.name for column in columns]
    for table in tables:
        if not preprocessing.has_names and isinstance(table, TextTable) and not table.dialect.header:
            _name_columns(table, names)
        missing_columns(columns, list(table.kinds), table.name)
        if with_targets and target not in table.kinds:
            raise DataError(f"{table.name} has no column {target!r}, the target: evaluate needs it (predict does not)")
        wanted = [*names, *([target] if with_targets else [])]
        read_as = {column.name: _READ_AS[column.kind] for column in columns}
        if with_targets:
            read_as[target] = kinds.INTEGER if table.kinds[target] == kinds.PIXEL else table.kinds[target]
        table.read_as(read_as, wanted)
    codes = {
        column.name: {value: code for code, value in enumerate(column.values)}
        for column in columns
        if column.kind == CATEGORY
    }
    chunks = Chunks(tables, progress)
    for rows in chunks:
        if preprocessing.is_pixels:
            kept = pixels_of(rows, columns)
            if kept.shape[1] != preprocessing.kept_columns:
                raise DataError(
                    f"{tables[0].name} has {kept.shape[1]} pixels per row, expected {preprocessing.kept_columns}"
                )
        else:
            values = values_of(rows, columns, codes)
            _refuse_infinite(values, preprocessing, chunks)
            kept = kept_rows(values, columns, dtype)
        yield Applied(kept, targets_of(rows[target], chunks, target) if with_targets else None)


def _name_columns(table: TextTable, features: Sequence[str]) -> None:
    """Call the columns of a text without header as the model does, whether or not the target is among them."""
    if len(table.kinds) == len(features):
        table.renamed(features)


def _refuse_infinite(values: Array, preprocessing: Preprocessing, chunks: Chunks) -> None:
    bad = np.isinf(values)
    if bad.any():
        row = int(bad.any(axis=0).argmax())
        names = [column.name for column in preprocessing.columns for _ in column.numbers]
        place = f"{chunks.place(chunks.rows + row)} column {names[int(bad[:, row].argmax())]!r}"
        raise DataError(f"{place} is infinite: expected a finite number")


def targets_of(cells: Any, chunks: Chunks, name: str) -> Array:
    """Return targets as they stand in a table: text, booleans, whole numbers or floats.

    Raises:
        DataError: one is missing.
    """
    if cells.null_count:
        row = int(np.flatnonzero(cells.is_null().to_numpy())[0])
        raise DataError(f"{chunks.place(chunks.rows + row)} column {name!r} is missing: every row needs a target")
    kind = kinds.kind_of(cells.type)
    if kind == kinds.TEXT:
        return np.array([text.strip() for text in cells.to_pylist()])
    if kind == kinds.BOOLEAN:
        return np.asarray(cells.to_numpy(), bool)
    return numbers_of(cells)


def frame_table(x: Any) -> Table | None:
    """Return the table of an object with named columns, None for an array without names."""
    if isinstance(x, np.ndarray) and x.dtype.names is None:
        return None
    return table_of(x) if is_table(x) else None


def only_chunk(table: Table, preprocessing: Preprocessing, dtype: str) -> Array:
    """Return all rows of a table in memory."""
    return np.concatenate([applied.kept for applied in kept_chunks([table], preprocessing, dtype)])
