"""From the cells of an Arrow table to numbers: a row of them per kept column."""

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
"""The code of each category that was seen."""

LARGEST = {"float32": 1e37, "float64": 1e150}
"""What numbers may reach: beyond, they or their squares would be infinite."""
_MOST_CODES = 4096
"""Categories of a column that are told apart; later ones are unknown."""
_MISSING = frozenset(MISSING)
_FIRST_DAY, _AFTER_LAST = -719_162, 2_932_897
"""When year 1 begins and year 9999 is over, in days since 1970."""
_PER_DAY = {"date32[day]": 1, "date64[ms]": 86_400_000, "s": 86_400, "ms": 86_400_000, "us": 86_400_000_000,
            "ns": 86_400_000_000_000}  # fmt: skip
_LARGEST_64 = (1 << 63) - 1


def values_of(
    rows: Any, columns: Sequence[Column], codes: Mapping[str, Codes], chunks: Chunks, grow: bool = False
) -> Array:
    """Return numbers, NaN where missing, and category codes, -1 where missing or unknown; (kept columns, rows).

    With ``grow``, categories that are new get a code.

    Raises:
        DataError: a date is of no year that has four digits.
    """
    numbers = sum(len(column.numbers) for column in columns)
    categories = sum(column.kind == CATEGORY for column in columns)
    values = np.empty((numbers + categories, rows.num_rows))
    place, category = 0, numbers
    for column in columns:
        cells = rows[column.name]
        if column.kind == CATEGORY:
            values[category] = category_codes(cells, codes[column.name], grow)
            category += 1
        elif column.kind == DATE:
            for part, numbers_of_part in enumerate(_date_parts(cells, column.name, chunks)):
                values[place + part] = numbers_of_part
            place += len(DATE_PARTS)
        else:
            values[place] = numbers_of(cells)
            place += 1
    return values


def pixels_of(rows: Any, columns: Sequence[Column], chunks: Chunks) -> Array:
    """Return unsigned bytes, shape (rows, pixels).

    Raises:
        DataError: a cell is missing, or no whole number from 0 to 255.
    """
    pixels = np.empty((rows.num_rows, sum(column.width for column in columns)), np.uint8)
    place = 0
    for column in columns:
        cells = rows[column.name]
        if cells.null_count:
            row = int(np.flatnonzero(cells.is_null().to_numpy())[0])
            raise DataError(f"{chunks.here(row)} column {column.name!r} is missing: pixels cannot be")
        first = 0
        for chunk in cells.chunks:  # one by one, since together they may be as large as all that is read
            if not len(chunk):
                continue
            flat = chunk.flatten() if hasattr(chunk.type, "list_size") else chunk
            found = flat.to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
            _check_pixels(found, column, first, chunks)
            pixels[first : first + len(chunk), place : place + column.width] = found
            first += len(chunk)
        place += column.width
    return pixels


def _check_pixels(found: Array, column: Column, first: int, chunks: Chunks) -> None:
    """Refuse numbers, shape (rows, pixels), that are no pixels; ``first`` is the number of the first row."""
    if found.dtype != np.uint8:
        bad = ~((found >= 0) & (found <= 255) & (found == np.floor(found)))
        if bad.any():
            row, at = (int(k) for k in np.argwhere(bad)[0])
            where = f"{chunks.here(first + row)} column {column.name!r}"
            raise DataError(f"{where} is {found[row, at]:g}: expected a pixel, 0..255")
    if found.shape[1] != column.width:
        where = f"{chunks.tables[0].name} column {column.name!r}"
        raise DataError(f"{where} has {found.shape[1]} pixels per row, expected {column.width}")


def refuse_large(values: Array, columns: Sequence[Column], chunks: Chunks, dtype: str) -> None:
    """Refuse numbers, shape (kept columns, rows), that are infinite or too large to be computed with.

    Raises:
        DataError: with the row and the column of the first one.
    """
    names = [column.name for column in columns for _ in column.numbers]
    numbers, largest = values[: len(names)], LARGEST[dtype]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("cr,cr->c", numbers, numbers)  # one pass; NaN, or too large, where a closer look is due
    for place in np.flatnonzero(~(squares <= largest * largest)):
        bad = np.abs(numbers[place]) > largest
        if bad.any():
            row = int(bad.argmax())
            limit = "" if np.isinf(numbers[place, row]) else f" of at most {largest:g} ({dtype})"
            found = f"{chunks.here(row)} column {names[place]!r} is {numbers[place, row]:g}"
            raise DataError(f"{found}: expected a finite number{limit}")


def numbers_of(cells: Any) -> Array:
    """Return a column's numbers, NaN where missing."""
    pa = arrow("a table")
    column = cells if cells.type == pa.float64() else cells.cast(pa.float64(), safe=False)
    numbers: Array = column.to_numpy()
    return numbers


def category_codes(cells: Any, codes: Codes, grow: bool = False, most: int = _MOST_CODES) -> Array:
    """Return each cell's code, -1 where it is missing or unknown."""
    encoded = cells if hasattr(cells.type, "value_type") else cells.dictionary_encode()
    found = np.empty(len(cells))
    place = 0
    for chunk in encoded.chunks:
        table = np.full(len(chunk.dictionary) + 1, -1.0)
        for index, value in enumerate(chunk.dictionary.to_pylist()):
            text = "" if value is None else value.strip()
            if text in _MISSING:
                continue
            if grow and text not in codes and len(codes) < most:
                codes[text] = len(codes)
            table[index] = codes.get(text, -1)
        indices = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        found[place : place + len(chunk)] = table[indices]
        place += len(chunk)
    return found


def _date_parts(cells: Any, name: str, chunks: Chunks) -> list[Array]:
    """Return year, month, .. of each cell; a date without a time has hour and minute 0."""
    pa, compute = arrow("dates"), arrow("dates", "pyarrow.compute")
    is_date = arrow("dates", "pyarrow.types").is_date(cells.type)
    per_day = _PER_DAY[str(cells.type) if is_date else cells.type.unit]
    numbers = (cells.cast(pa.int32()) if per_day == 1 else cells).cast(pa.int64())
    low, high = max(_FIRST_DAY * per_day, -_LARGEST_64 - 1), min(_AFTER_LAST * per_day - 1, _LARGEST_64)
    strange = compute.or_(compute.less(numbers, low), compute.greater(numbers, high))
    if compute.any(strange).as_py():
        where = f"{chunks.here(compute.index(strange, True).as_py())} column {name!r}"
        raise DataError(f"{where} is a date before year 1 or after 9999: mend it, or leave the row out")
    column = cells.cast(pa.timestamp("us")) if is_date else cells
    return [numbers_of(getattr(compute, part)(column)) for part in DATE_PARTS]
