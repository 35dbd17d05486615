"""New rows for a trained model: its preprocessing applied to tables, in chunks, whatever the order of their columns."""

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
from distbp.data.tables.cells import numbers_of, pixels_of, refuse_large, values_of
from distbp.data.tables.chunks import Chunks
from distbp.data.targets import shown_classes
from distbp.errors import DataError

_READ_AS = {NUMBER: kinds.NUMBER, BOOLEAN: kinds.BOOLEAN, CATEGORY: kinds.TEXT, DATE: kinds.DATE, PIXEL: kinds.NUMBER}


class TransformedRows(NamedTuple):
    """Rows as the model's data set would keep them, and their targets if they were asked for."""

    kept: Array
    targets: Any


def transformed_chunks(
    tables: Sequence[Table],
    preprocessing: Preprocessing,
    dtype: str,
    classes: Sequence[Any] | None = None,
    progress: Progress = silent,
) -> Iterator[TransformedRows]:
    """Yield the rows of tables in their order, 65,536 at a time.

    With ``classes`` (empty for values) their targets come along.

    Raises:
        DataError: a column that the model needs is missing, a cell cannot be read, or a target is none of the classes.
    """
    columns, target = preprocessing.columns, preprocessing.target.name
    names = [column.name for column in columns]
    for table in tables:
        if not preprocessing.has_names and isinstance(table, TextTable) and not table.dialect.header:
            _name_columns(table, names)
        check_columns(columns, list(table.kinds), table.name)
        if classes is not None and target not in table.kinds:
            raise DataError(f"{table.name} has no column {target!r}, the target: evaluate needs it (predict does not)")
        wanted = [*names, *([target] if classes is not None else [])]
        select_columns = {column.name: _READ_AS[column.kind] for column in columns}
        if preprocessing.is_pixels:  # those that are no bytes are looked at one by one
            select_columns |= {name: kinds.PIXEL for name in names if table.kinds[name] == kinds.PIXEL}
        if classes is not None:
            is_text = any(isinstance(each, str) for each in classes)
            kind = kinds.TEXT if is_text else table.kinds[target]
            select_columns[target] = kinds.INTEGER if kind == kinds.PIXEL else kind
        table.select_columns(select_columns, wanted)
    codes = {
        column.name: {value: code for code, value in enumerate(column.values)}
        for column in columns
        if column.kind == CATEGORY
    }
    chunks = Chunks(tables, progress)
    for rows in chunks:
        if preprocessing.is_pixels:
            kept = pixels_of(rows, columns, chunks)
        else:
            values = values_of(rows, columns, codes, chunks)
            refuse_large(values, columns, chunks, dtype)
            kept = stored_rows(values, columns, dtype)
        yield TransformedRows(kept, None if classes is None else targets_of(rows[target], chunks, target, classes))


def _name_columns(table: TextTable, features: Sequence[str]) -> None:
    """Call the columns of a text without header as the model does, whether or not the target is among them."""
    if len(table.kinds) == len(features):
        table.renamed(features)


def targets_of(cells: Any, chunks: Chunks, name: str, classes: Sequence[Any]) -> Array:
    """Return targets as they stand in a table: text, booleans, whole numbers or floats.

    Raises:
        DataError: one is missing, or none of the classes.
    """
    if cells.null_count:
        row = int(np.flatnonzero(cells.is_null().to_numpy())[0])
        raise DataError(f"{chunks.here(row)} column {name!r} is missing: every row needs a target")
    kind = kinds.kind_of(cells.type)
    if kind == kinds.TEXT:
        targets = without_stops(np.array([text.strip() for text in cells.to_pylist()]), classes)
    else:
        targets = np.asarray(cells.to_numpy(), bool) if kind == kinds.BOOLEAN else numbers_of(cells)
    if classes:
        strange = ~np.isin(targets, np.asarray(classes))
        if strange.any():
            row = int(strange.argmax())
            raise DataError(
                f"{chunks.here(row)} column {name!r} is {cells[row].as_py()!r}, which is none of the classes "
                f"{shown_classes(classes)}"
            )
    return targets


def without_stops(targets: Array, classes: Sequence[Any]) -> Array:
    """Return text targets without the full stop that UCI's test files have after them, if they are classes then."""
    different = np.unique(targets)
    if np.isin(different, classes).any() or not all(text.endswith(".") for text in different):
        return targets
    return np.array([text[:-1] for text in targets]) if np.isin([t[:-1] for t in different], classes).all() else targets


def named_table(x: Any) -> Table | None:
    """Return the table of an object with named columns, None for an array without names."""
    if isinstance(x, np.ndarray) and x.dtype.names is None:
        return None
    return table_of(x) if is_table(x) else None


def transform_table(table: Table, preprocessing: Preprocessing, dtype: str) -> Array:
    """Return all rows of a table in memory."""
    return np.concatenate([applied.kept for applied in transformed_chunks([table], preprocessing, dtype)])
