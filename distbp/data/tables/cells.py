"""The cells of feature columns as numbers: from Arrow columns to one row of numbers per stored column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distbp.data.columns.column import CATEGORY, DATE, DATE_PARTS, Column
from distbp.data.dataset import Array
from distbp.data.formats.kinds import MISSING
from distbp.data.formats.table import arrow
from distbp.data.tables.chunks import Chunks
from distbp.errors import DataError

Codes = dict[str, int]
"""Maps each category to its code; codes are numbered in order of first appearance."""

LARGEST = {"float32": 1e37, "float64": 1e150}
"""Largest absolute value of a number: the squares of larger numbers, or their sums, would be infinite."""
_MOST_CODES = 4096
"""Distinct categories per column; later ones count as unknown."""
_MISSING = frozenset(MISSING)
_FIRST_DAY, _AFTER_LAST = -719_162, 2_932_897
"""The first day of year 1 and the day after year 9999, in days since 1970."""
_PER_DAY = {
    "date32[day]": 1,
    "date64[ms]": 86_400_000,
    "s": 86_400,
    "ms": 86_400_000,
    "us": 86_400_000_000,
    "ns": 86_400_000_000_000,
}
"""Ticks per day, by Arrow's type of a date or by the unit of a timestamp."""
_LARGEST_64 = (1 << 63) - 1


def values_of(
    rows: Any, columns: Sequence[Column], codes: Mapping[str, Codes], chunks: Chunks, add_new: bool = False
) -> Array:
    """Return the values of feature columns, shape (stored columns, rows).

    Numbers come first, NaN where missing, then category codes, -1 where missing or unknown. With ``add_new``, a
    category that is not in ``codes`` yet gets a code.

    Raises:
        DataError: a date lies outside the years 1 to 9999.
    """
    numbers = sum(len(column.numbers) for column in columns)
    categories = sum(column.kind == CATEGORY for column in columns)
    values = np.empty((numbers + categories, rows.num_rows))
    number, category = 0, numbers
    for column in columns:
        cells = rows[column.name]
        if column.kind == CATEGORY:
            values[category] = category_codes(cells, codes[column.name], add_new)
            category += 1
        elif column.kind == DATE:
            for part, part_numbers in enumerate(_date_parts(cells, column.name, chunks)):
                values[number + part] = part_numbers
            number += len(DATE_PARTS)
        else:
            values[number] = numbers_of(cells)
            number += 1
    return values


def pixels_of(rows: Any, columns: Sequence[Column], chunks: Chunks) -> Array:
    """Return the pixels of each row as unsigned bytes, shape (rows, pixels).

    Raises:
        DataError: a cell is missing, or is not a whole number from 0 to 255.
    """
    pixels = np.empty((rows.num_rows, sum(column.width for column in columns)), np.uint8)
    start = 0
    for column in columns:
        cells = rows[column.name]
        if cells.null_count:
            row = int(np.flatnonzero(cells.is_null().to_numpy())[0])
            raise DataError(f"{chunks.row_in_chunk(row)} column {column.name!r} is missing: pixels cannot be")
        first = 0
        for chunk in cells.chunks:  # chunk by chunk: joining them could copy all that was read
            if not len(chunk):
                continue
            flat = chunk.flatten() if hasattr(chunk.type, "list_size") else chunk
            block = flat.to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
            _check_pixels(block, column, first, chunks)
            pixels[first : first + len(chunk), start : start + column.width] = block
            first += len(chunk)
        start += column.width
    return pixels


def _check_pixels(pixels: Array, column: Column, first: int, chunks: Chunks) -> None:
    """Refuse numbers, shape (rows, pixels), that are not pixels; ``first`` is the number of the first row."""
    if pixels.dtype != np.uint8:
        bad = ~((pixels >= 0) & (pixels <= 255) & (pixels == np.floor(pixels)))
        if bad.any():
            row, at = (int(k) for k in np.argwhere(bad)[0])
            where = f"{chunks.row_in_chunk(first + row)} column {column.name!r}"
            raise DataError(f"{where} is {pixels[row, at]:g}: expected a pixel, 0..255")
    if pixels.shape[1] != column.width:
        where = f"{chunks.tables[0].name} column {column.name!r}"
        raise DataError(f"{where} has {pixels.shape[1]} pixels per row, expected {column.width}")


def check_size(values: Array, columns: Sequence[Column], chunks: Chunks, dtype: str) -> None:
    """Refuse numbers, shape (stored columns, rows), that are infinite or too large to compute with.

    Raises:
        DataError: with the row and the column of the first such number.
    """
    names = [column.name for column in columns for _ in column.numbers]
    numbers, largest = values[: len(names)], LARGEST[dtype]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("cr,cr->c", numbers, numbers)  # one fast pass selects the columns that need a closer look
    for k in np.flatnonzero(~(squares <= largest * largest)):
        bad = np.abs(numbers[k]) > largest
        if bad.any():
            row = int(bad.argmax())
            limit = "" if np.isinf(numbers[k, row]) else f" of at most {largest:g} ({dtype})"
            where = f"{chunks.row_in_chunk(row)} column {names[k]!r}"
            raise DataError(f"{where} is {numbers[k, row]:g}: expected a finite number{limit}")


def numbers_of(cells: Any) -> Array:
    """Return a column's numbers, NaN where missing."""
    pa = arrow("a table")
    column = cells if cells.type == pa.float64() else cells.cast(pa.float64(), safe=False)
    numbers: Array = column.to_numpy()
    return numbers


def category_codes(cells: Any, codes: Codes, add_new: bool = False, most: int = _MOST_CODES) -> Array:
    """Return the code of each cell, -1 where it is missing or unknown.

    With ``add_new``, unknown categories are added to ``codes``, up to ``most`` of them.
    """
    encoded = cells if hasattr(cells.type, "value_type") else cells.dictionary_encode()
    result = np.empty(len(cells))
    start = 0
    for chunk in encoded.chunks:
        code_of = np.full(len(chunk.dictionary) + 1, -1.0)
        for index, value in enumerate(chunk.dictionary.to_pylist()):
            text = "" if value is None else value.strip()
            if text in _MISSING:
                continue
            if add_new and text not in codes and len(codes) < most:
                codes[text] = len(codes)
            code_of[index] = codes.get(text, -1)
        indices = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        result[start : start + len(chunk)] = code_of[indices]
        start += len(chunk)
    return result


def _date_parts(cells: Any, name: str, chunks: Chunks) -> list[Array]:
    """Return the year, month, .. of each cell; hour and minute are 0 for a date without a time."""
    pa, compute = arrow("dates"), arrow("dates", "pyarrow.compute")
    is_date = arrow("dates", "pyarrow.types").is_date(cells.type)
    per_day = _PER_DAY[str(cells.type) if is_date else cells.type.unit]
    numbers = (cells.cast(pa.int32()) if per_day == 1 else cells).cast(pa.int64())
    low, high = max(_FIRST_DAY * per_day, -_LARGEST_64 - 1), min(_AFTER_LAST * per_day - 1, _LARGEST_64)
    outside = compute.or_(compute.less(numbers, low), compute.greater(numbers, high))
    if compute.any(outside).as_py():
        where = f"{chunks.row_in_chunk(compute.index(outside, True).as_py())} column {name!r}"
        raise DataError(f"{where} is a date before year 1 or after 9999: correct it, or leave the row out")
    column = cells.cast(pa.timestamp("us")) if is_date else cells
    return [numbers_of(getattr(compute, part)(column)) for part in DATE_PARTS]
