"""What a model knows of each column of its table: kind, statistics of the training rows, categories."""

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

DATE_PARTS = ("year", "month", "day", "day_of_week", "hour", "minute")


@dataclass(frozen=True)
class Number:
    """What the training rows told of a column's numbers, or of a part of its dates.

    Numbers are kept relative to ``reference``, which is near their mean, so that single precision holds them well.
    """

    part: str = ""
    reference: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    """Standard deviation; 1 for booleans, which stay 0 and 1, and for what does not vary."""
    median: float = 0.0
    knots: tuple[float, ...] = ()
    """Between which its pieces lie; empty for what has few different numbers."""
    missing: int = 0
    """Training rows without a value."""
    is_used: bool = True
    """Whether it varies."""


@dataclass(frozen=True)
class Column:
    """A feature column. Categories have ``values``, by code, and ``kept``: those that have an input of their own."""

    name: str
    kind: str
    numbers: tuple[Number, ...] = ()
    values: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    width: int = 1
    """Numbers per cell: above 1 for images."""

    @property
    def is_used(self) -> bool:
        """Whether the network sees anything of it."""
        return self.kind == PIXEL or bool(self.kept) or any(number.is_used for number in self.numbers)


@dataclass(frozen=True)
class Target:
    """The target column; values are standardised by ``mean`` and ``deviation`` and predicted in their own unit."""

    name: str
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def is_scaled(self) -> bool:
        """Whether values of training are others than those of the table."""
        return (self.mean, self.deviation) != (0, 1)

    def in_own_unit(self, values: Array) -> Array:
        """Return values of training as the table has them."""
        return values.astype(np.float64) * self.deviation + self.mean if self.is_scaled else values


_PARTS = {NUMBER: ("",), BOOLEAN: ("",), CATEGORY: (), DATE: DATE_PARTS, PIXEL: ()}
"""Of each kind of column the numbers that it has."""
_NUMBERS = dict.fromkeys(("reference", "mean", "median"), number())
_NUMBER = record(
    {"part": text(), "deviation": above_0, **_NUMBERS, "knots": list_of(number()), "missing": whole(), "is_used": flag},
    is_open=False,
)
_COLUMN = record(
    {"name": text(), "kind": one_of(*_PARTS), "numbers": list_of(_NUMBER)}
    | dict.fromkeys(("values", "kept"), list_of(text())),
    {"width": whole(1)},
    is_open=False,
)
_TARGET = record({"name": text(), "mean": number(), "deviation": above_0}, is_open=False)


def _column(told: Mapping[str, Any]) -> Column:
    """Return the column that its JSON tells of.

    Raises:
        Unexpected: its numbers are not those of its kind, or their pieces have no width.
    """
    numbers = tuple(Number(**{**each, "knots": tuple(each["knots"])}) for each in told["numbers"])
    parts = tuple(each.part for each in numbers)
    if parts != _PARTS[told["kind"]]:
        what = f"found {len(parts)} numbers, expected those of a {told['kind']}"
        raise Unexpected(f"column {shown(told['name'])}: {what}")
    from_references = [np.subtract(each.knots, each.reference).tolist() for each in numbers]  # as they are used
    if not all(low < high for each in from_references for low, high in pairwise(each)):
        raise Unexpected(f"column {shown(told['name'])}: found knots that do not ascend")
    return Column(**{**told, "numbers": numbers, "values": tuple(told["values"]), "kept": tuple(told["kept"])})


def feature_names(columns: Sequence[Column]) -> list[str]:
    """Return the columns' names."""
    return [column.name for column in columns]


def check_columns(columns: Sequence[Column], there: Sequence[str], table: str) -> None:
    """Refuse a table without all of the columns."""
    lost = [name for name in feature_names(columns) if name not in there]
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise DataError(
            f"{table} has no column {', '.join(map(repr, lost[:3]))}{more}, which the model was trained with; it has "
            f"{', '.join(list(there)[:20])}"
        )


def stored_rows(values: Array, columns: Sequence[Column], dtype: str) -> Array:
    """Return values, shape (kept columns, rows), as kept rows: relative to the references, in the run's own type."""
    references = np.zeros(len(values))
    numbers = [number.reference for column in columns for number in column.numbers]
    references[: len(numbers)] = numbers
    kept = np.empty((values.shape[1], len(values)), dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(kept), 2048):  # turned piece by piece, within the cache
            piece = values[:, start : start + 2048]
            np.subtract(piece.T, references, out=kept[start : start + 2048], casting="same_kind")
    return kept
