"""The columns of a trained model's table: kind, statistics of the training rows, categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from distbp.data.columns.encoding import Array
from distbp.errors import DataError
from distbp.files.json_checks import above_0, flag, list_of, number, one_of, record, text, whole
from distbp.files.json_text import Unexpected, shown

NUMBER, BOOLEAN, CATEGORY, DATE, PIXEL = "number", "boolean", "category", "date", "pixel"
"""The kinds of a feature column. :mod:`distbp.data.tables.schema` derives them from the kinds of the table's cells."""

DATE_PARTS = ("year", "month", "day", "day_of_week", "hour", "minute")
"""The numbers that a date becomes, named as pyarrow.compute names its functions."""


@dataclass(frozen=True)
class Number:
    """Training statistics of a column of numbers, or of one part of a date column.

    Numbers are stored relative to ``reference``, which lies near their mean: single precision then keeps their digits.
    """

    part: str = ""
    """The date part; empty for a number."""
    reference: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    """Standard deviation; 1 for booleans, which stay 0 and 1, and for numbers that do not vary."""
    median: float = 0.0
    knots: tuple[float, ...] = ()
    """Boundaries of the pieces; empty for numbers with few different values."""
    missing: int = 0
    """Training rows without a value."""
    is_used: bool = True
    """Whether it varies in the training rows."""


@dataclass(frozen=True)
class Column:
    """A feature column."""

    name: str
    kind: str
    numbers: tuple[Number, ...] = ()
    values: tuple[str, ...] = ()
    """The categories of the training rows, by code."""
    kept: tuple[str, ...] = ()
    """The categories that have an input of their own."""
    width: int = 1
    """Numbers per cell: above 1 for images."""

    @property
    def is_used(self) -> bool:
        """Whether the network has an input for this column."""
        return self.kind == PIXEL or bool(self.kept) or any(number.is_used for number in self.numbers)


@dataclass(frozen=True)
class Target:
    """The target column; values to predict are standardised by ``mean`` and ``deviation``."""

    name: str
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def is_scaled(self) -> bool:
        """Whether training uses standardised values."""
        return (self.mean, self.deviation) != (0, 1)

    def in_own_unit(self, values: Array) -> Array:
        """Return standardised values in the unit of the table's target column."""
        return values.astype(np.float64) * self.deviation + self.mean if self.is_scaled else values


_PARTS = {NUMBER: ("",), BOOLEAN: ("",), CATEGORY: (), DATE: DATE_PARTS, PIXEL: ()}
"""The parts of the numbers that each kind of column has."""
_FINITE = dict.fromkeys(("reference", "mean", "median"), number())
_NUMBER = record(
    {"part": text(), "deviation": above_0, **_FINITE, "knots": list_of(number()), "missing": whole(), "is_used": flag},
    is_open=False,
)
COLUMN_JSON = record(
    {"name": text(), "kind": one_of(*_PARTS), "numbers": list_of(_NUMBER)}
    | dict.fromkeys(("values", "kept"), list_of(text())),
    {"width": whole(1)},
    is_open=False,
)
TARGET_JSON = record({"name": text(), "mean": number(), "deviation": above_0}, is_open=False)


def column_from_json(content: Mapping[str, Any]) -> Column:
    """Build a column from JSON that ``COLUMN_JSON`` has checked.

    Raises:
        Unexpected: its numbers do not fit its kind, or its knots do not ascend.
    """
    numbers = tuple(Number(**{**each, "knots": tuple(each["knots"])}) for each in content["numbers"])
    parts = tuple(each.part for each in numbers)
    if parts != _PARTS[content["kind"]]:
        what = f"found {len(parts)} numbers, expected those of a {content['kind']}"
        raise Unexpected(f"column {shown(content['name'])}: {what}")
    relative = [np.subtract(each.knots, each.reference).tolist() for each in numbers]  # as the encoding uses them
    if not all(low < high for knots in relative for low, high in pairwise(knots)):
        raise Unexpected(f"column {shown(content['name'])}: found knots that do not ascend")
    return Column(**{**content, "numbers": numbers, "values": tuple(content["values"]), "kept": tuple(content["kept"])})


def check_columns(columns: Sequence[Column], present: Sequence[str], table: str) -> None:
    """Refuse a table that lacks one of the model's columns; ``present`` are the names that it has."""
    missing = [column.name for column in columns if column.name not in present]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        names = ", ".join(map(repr, missing[:3]))
        raise DataError(
            f"{table} has no column {names}{more}, which the model was trained with; it has "
            f"{', '.join(list(present)[:20])}"
        )


def stored_rows(values: Array, columns: Sequence[Column], dtype: str) -> Array:
    """Return values, shape (stored columns, rows), as stored rows: relative to the references, in the run's type."""
    references = np.zeros(len(values))
    numbers = [number.reference for column in columns for number in column.numbers]
    references[: len(numbers)] = numbers
    stored = np.empty((values.shape[1], len(values)), dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(stored), 2048):  # transposed in pieces that fit in the cache
            piece = values[:, start : start + 2048]
            np.subtract(piece.T, references, out=stored[start : start + 2048], casting="same_kind")
    return stored
