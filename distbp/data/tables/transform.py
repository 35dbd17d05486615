"""New rows for a trained model: its preprocessing, applied to tables chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from distbp.data.columns.column import BOOLEAN, CATEGORY, DATE, NUMBER, PIXEL, check_columns, stored_rows
from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import Array
from distbp.data.formats import kinds
from distbp.data.formats.detect import is_table, table_of
from distbp.data.formats.table import Table
from distbp.data.formats.text import TextTable
from distbp.data.reporting import Progress, silent
from distbp.data.tables.cells import check_size, numbers_of, pixels_of, values_of
from distbp.data.tables.chunks import Chunks
from distbp.data.targets import shown_classes
from distbp.errors import DataError

_READ_AS = {NUMBER: kinds.NUMBER, BOOLEAN: kinds.BOOLEAN, CATEGORY: kinds.TEXT, DATE: kinds.DATE, PIXEL: kinds.NUMBER}
"""The kind of cells that each kind of feature is read as."""


class TransformedRows(NamedTuple):
    """Rows as the model's data set stores them, and their targets if they were asked for."""

    stored: Array
    targets: Any


def transformed_chunks(
    tables: Sequence[Table],
    preprocessing: Preprocessing,
    dtype: str,
    classes: Sequence[Any] | None = None,
    progress: Progress = silent,
) -> Iterator[TransformedRows]:
    """Yield the rows of tables, 65,536 at a time; their columns may stand in any order.

    With ``classes`` (empty for regression) each row comes with its target.

    Raises:
        DataError: a column of the model is missing, a cell cannot be read, or a target is none of the classes.
    """
    columns, target = preprocessing.columns, preprocessing.target.name
    for table in tables:
        _select_columns(table, preprocessing, classes)
    codes = {
        column.name: {value: code for code, value in enumerate(column.values)}
        for column in columns
        if column.kind == CATEGORY
    }
    chunks = Chunks(tables, progress)
    for rows in chunks:
        if preprocessing.is_pixels:
            stored = pixels_of(rows, columns, chunks)
        else:
            values = values_of(rows, columns, codes, chunks)
            check_size(values, columns, chunks, dtype)
            stored = stored_rows(values, columns, dtype)
        yield TransformedRows(stored, None if classes is None else targets_of(rows[target], chunks, target, classes))


def _select_columns(table: Table, preprocessing: Preprocessing, classes: Sequence[Any] | None) -> None:
    """Make a table yield the model's columns, and its target if there are ``classes``, with the kinds of training."""
    columns, target = preprocessing.columns, preprocessing.target.name
    names = [column.name for column in columns]
    if not preprocessing.has_names and isinstance(table, TextTable) and not table.dialect.header:
        _name_columns(table, names)
    check_columns(columns, list(table.kinds), table.name)
    cell_kinds = {column.name: _READ_AS[column.kind] for column in columns}
    if preprocessing.is_pixels:  # columns of other types are checked cell by cell
        cell_kinds |= {name: kinds.PIXEL for name in names if table.kinds[name] == kinds.PIXEL}
    if classes is None:
        table.select_columns(cell_kinds, names)
        return
    if target not in table.kinds:
        raise DataError(f"{table.name} has no column {target!r}, the target: evaluate needs it (predict does not)")
    is_text = any(isinstance(each, str) for each in classes)
    kind = kinds.TEXT if is_text else table.kinds[target]
    cell_kinds[target] = kinds.INTEGER if kind == kinds.PIXEL else kind
    table.select_columns(cell_kinds, [*names, target])


def _name_columns(table: TextTable, features: Sequence[str]) -> None:
    """Name the columns of a text without header as the model does if it has no target column."""
    if len(table.kinds) == len(features):
        table.rename_columns(features)


def targets_of(cells: Any, chunks: Chunks, name: str, classes: Sequence[Any]) -> Array:
    """Return targets in the form of their table: text, booleans, whole numbers or floats.

    Raises:
        DataError: a target is missing, or is none of the classes.
    """
    if cells.null_count:
        row = int(np.flatnonzero(cells.is_null().to_numpy())[0])
        raise DataError(f"{chunks.row_in_chunk(row)} column {name!r} is missing: every row needs a target")
    kind = kinds.kind_of(cells.type)
    if kind == kinds.TEXT:
        targets = without_stops(np.array([text.strip() for text in cells.to_pylist()]), classes)
    else:
        targets = np.asarray(cells.to_numpy(), bool) if kind == kinds.BOOLEAN else numbers_of(cells)
    if classes:
        unknown = ~np.isin(targets, np.asarray(classes))
        if unknown.any():
            row = int(unknown.argmax())
            raise DataError(
                f"{chunks.row_in_chunk(row)} column {name!r} is {cells[row].as_py()!r}, which is none of the classes "
                f"{shown_classes(classes)}"
            )
    return targets


def without_stops(targets: Array, classes: Sequence[Any]) -> Array:
    """Return text targets without the full stop that UCI's test files append, if that makes all of them classes."""
    distinct = np.unique(targets)
    if np.isin(distinct, classes).any() or not all(text.endswith(".") for text in distinct):
        return targets
    return np.array([text[:-1] for text in targets]) if np.isin([t[:-1] for t in distinct], classes).all() else targets


def named_table(x: Any) -> Table | None:
    """Return the table of an object with named columns; None for an array without names."""
    if isinstance(x, np.ndarray) and x.dtype.names is None:
        return None
    return table_of(x) if is_table(x) else None


def transform_table(table: Table, preprocessing: Preprocessing, dtype: str) -> Array:
    """Return all rows of a table, as the model's data set stores them."""
    return np.concatenate([rows.stored for rows in transformed_chunks([table], preprocessing, dtype)])
