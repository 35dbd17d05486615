"""From the cells of an Arrow table to numbers: a row of them per kept column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.table import MISSING, arrow
from distbp.data.preprocessing import CATEGORY, DATE, DATE_PARTS, PIXEL, Column

Codes = dict[str, int]
"""The code of each category that was seen."""

_MOST_CODES = 4096
"""Categories of a column that are told apart; later ones are unknown."""
_MISSING = frozenset(MISSING)


def values_of(rows: Any, columns: Sequence[Column], codes: Mapping[str, Codes], grow: bool = False) -> Array:
    """Return numbers, NaN where missing, and category codes, -1 where missing or unknown; (kept columns, rows).

    With ``grow``, categories that are new get a code.
    """
    numbers = sum(len(column.numbers) for column in columns)
    categories = sum(column.kind == CATEGORY for column in columns)
    values = np.empty((numbers + categories, rows.num_rows))
    place, category = 0, numbers
    for column in columns:
        cells = rows[column.name]
        if column.kind == CATEGORY:
            values[category] = codes_of(cells, codes[column.name], grow)
            category += 1
        elif column.kind == DATE:
            for part, numbers_of_part in enumerate(_date_parts(cells)):
                values[place + part] = numbers_of_part
            place += len(DATE_PARTS)
        else:
            values[place] = numbers_of(cells)
            place += 1
    return values


def pixels_of(rows: Any, columns: Sequence[Column]) -> Array:
    """Return unsigned bytes, shape (rows, pixels)."""
    pixels = np.empty((rows.num_rows, sum(column.width for column in columns)), np.uint8)
    place = 0
    for column in columns:
        assert column.kind == PIXEL
        cells = rows[column.name].combine_chunks()
        flat = cells.flatten() if column.width > 1 else cells
        pixels[:, place : place + column.width] = flat.to_numpy(zero_copy_only=False).reshape(rows.num_rows, -1)
        place += column.width
    return pixels


def numbers_of(cells: Any) -> Array:
    """Return a column's numbers, NaN where missing."""
    pa = arrow("a table")
    column = cells if cells.type == pa.float64() else cells.cast(pa.float64(), safe=False)
    numbers: Array = column.to_numpy()
    return numbers


def codes_of(cells: Any, codes: Codes, grow: bool = False, most: int = _MOST_CODES) -> Array:
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


def _date_parts(cells: Any) -> list[Array]:
    """Return year, month, .. of each cell; a date without a time has hour and minute 0."""
    pa, compute = arrow("dates"), arrow("dates", "pyarrow.compute")
    column = cells.cast(pa.timestamp("us")) if arrow("dates", "pyarrow.types").is_date(cells.type) else cells
    return [numbers_of(getattr(compute, part)(column)) for part in DATE_PARTS]
