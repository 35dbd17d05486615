"""Checks of arrays: each returns numbers that can be trained on, or raises an error that names the row and column."""

from __future__ import annotations

from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.data.lazy import LazyRows
from distbp.errors import DataError

_ROWS_AT_ONCE = 4096
_LAST_CHARACTER = 0x10FFFF


def features(x: Any, name: str, dtype: str) -> Any:
    """Return x as a C-contiguous table of finite floats, or of unsigned bytes; further dimensions become columns.

    A :class:`LazyRows` was checked when it was made, and is returned as it is.
    """
    if x.ndim == 0 or len(x) == 0 or 0 in x.shape:
        raise DataError(f"{name} has no rows or no columns: its shape is {x.shape}")
    if isinstance(x, LazyRows):
        return x
    table = x.reshape(len(x), -1)
    if table.dtype == np.uint8:
        return np.ascontiguousarray(table)
    return _finite_numbers(table, name, dtype)


def numbers(x: Any, dtype: str, factor: float) -> Array:
    """Return x as an array of floats: unsigned bytes are multiplied by ``factor``, lazy rows are read."""
    if isinstance(x, LazyRows):
        x = np.asarray(x, None if x.dtype == np.uint8 else dtype)
    if x.dtype != np.uint8:
        array: Array = x
        return array
    wide: Array = x.astype(dtype)
    if factor != 1.0:
        np.multiply(wide, factor, out=wide)
    return wide


def target_values(y: Array, name: str, dtype: str) -> Array:
    """Return y as a C-contiguous table of finite floats with one column or more."""
    return _finite_numbers(y.reshape(len(y), -1), name, dtype)


def text(cells: Array, name: str, first: int = 0) -> Array:
    """Return fixed-width text or bytes as text; ``first`` is the number of the first row, for messages.

    Raises:
        DataError: a cell holds an invalid character (with its row).
    """
    if cells.dtype.kind == "S":
        decoded: Array = np.char.decode(cells, "utf-8", "replace")
        return decoded
    codes = np.ascontiguousarray(cells).view(np.dtype(np.uint32).newbyteorder(cells.dtype.byteorder))
    bad = (codes > _LAST_CHARACTER) | ((codes >= 0xD800) & (codes < 0xE000))
    if bad.any():
        row = int(bad.reshape(len(cells), -1).any(axis=1).argmax())
        raise DataError(f"{name} row {first + row} holds an invalid character: is the file damaged?")
    return cells


def _finite_numbers(table: Array, name: str, dtype: str) -> Array:
    if table.dtype.kind not in "buif":
        raise DataError(f"{name} must hold numbers, found {_kind(table)}{_first_text(table, name)}")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(table, dtype=dtype)
    for start in range(0, len(converted), _ROWS_AT_ONCE):
        bad = ~np.isfinite(converted[start : start + _ROWS_AT_ONCE])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = table[start + row, column]
            problem = f"is {value}" if not np.isfinite(value) else f"is {value}, too large for {dtype}"
            raise DataError(f"{name} row {start + row} column {column} {problem}: expected a finite number")
    return converted


def _kind(table: Array) -> str:
    return {"U": "text", "S": "text", "M": "dates", "m": "durations", "c": "complex numbers"}.get(
        table.dtype.kind, str(table.dtype)
    )


def _first_text(table: Array, name: str) -> str:
    """Return words for the first cell that is no number, if the array is text."""
    if table.dtype.kind not in "US":
        return ""
    for row, cells in enumerate(text(table, name)):
        for column, cell in enumerate(cells):
            try:
                float(cell)
            except ValueError:
                return f" ({str(cell)[:40]!r} in row {row} column {column})"
    return ""


def row_weights(weights: Array, rows: int, dtype: str) -> Array:
    """Return the weights of rows as finite floats of at least 0, not all 0; shape (rows,)."""
    if weights.size != rows:
        raise DataError(f"found {rows} training rows but {weights.size} weights: each row needs one")
    counts: Array = _finite_numbers(weights.reshape(rows, 1), "weights", dtype)[:, 0].copy()
    if counts.min() < 0:
        row = int(counts.argmin())
        raise DataError(f"weights row {row} is {counts[row]:g}: expected a weight of at least 0")
    if not counts.any():
        raise DataError("all weights are 0: at least one row must count")
    return counts


def check_rows(x: Any, y: Array, part: str) -> None:
    """Refuse targets that do not match the rows, and a part without rows."""
    if y.ndim == 0 or x.ndim == 0:
        raise DataError(f"the {part} part needs rows of x and as many targets, found shapes {x.shape} and {y.shape}")
    if len(x) != len(y):
        raise DataError(f"the {part} part has {len(x)} rows but {len(y)} targets: each row needs one")
    if not len(x):
        raise DataError(f"the {part} part has no rows: expected at least one")


def check_same_columns(x_train: Any, x_test: Any) -> None:
    """Refuse a test part whose columns differ from those of the training part."""
    if x_train.shape[1] != x_test.shape[1]:
        raise DataError(f"x_train has {x_train.shape[1]} columns, x_test {x_test.shape[1]}: they must be the same")
    if (x_train.dtype == np.uint8) != (x_test.dtype == np.uint8):
        raise DataError(f"x_train holds {x_train.dtype}, x_test {x_test.dtype}: one is pixels in 0..255, the other not")
