"""What a model knows of the table it was trained on: what each column holds, and how it becomes numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from distbp.data.columns.encoding import Array, Encoding
from distbp.errors import DataError
from distbp.files.json_text import Unexpected, above_0, flag, list_of, number, one_of, record, shown, text, whole

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


@dataclass(frozen=True)
class Preprocessing:
    """How rows of a table become numbers, in training and ever after."""

    columns: tuple[Column, ...]
    target: Target
    has_names: bool = True
    """Whether the training table had names for its columns; else they are numbers, counted from 0."""

    @property
    def is_pixels(self) -> bool:
        """Whether all features are unsigned bytes, which are kept as they are."""
        return all(column.kind == PIXEL for column in self.columns)

    @property
    def kept_columns(self) -> int:
        """Numbers per kept row."""
        if self.is_pixels:
            return sum(column.width for column in self.columns)
        return sum(len(column.numbers) for column in self.columns) + sum(c.kind == CATEGORY for c in self.columns)

    @property
    def inputs(self) -> int:
        """m_0, the numbers that a network sees of a row."""
        encoding = self.encoding("float32")
        return self.kept_columns if encoding is None else encoding.width

    def encoding(self, dtype: str) -> Encoding | None:
        """Return how kept rows become inputs; None for pixels."""
        if self.is_pixels:
            return None
        numbers = [number for column in self.columns for number in column.numbers]
        used = [place for place, number in enumerate(numbers) if number.is_used]
        categories = [column for column in self.columns if column.kind == CATEGORY]
        marked = [k for k, place in enumerate(used) if numbers[place].missing]
        chosen = [k for k, column in enumerate(categories) if column.is_used]
        pieces = [
            (k, low, high)
            for k, place in enumerate(used)
            for low, high in pairwise(np.subtract(numbers[place].knots, numbers[place].reference).tolist())
        ]
        piece_of = np.array([k for k, _, _ in pieces], np.intp)
        middle = np.array([(low + high) / 2 for _, low, high in pieces], dtype)
        slope = np.array([2 / (high - low) for _, low, high in pieces], dtype)
        first: list[int] = []
        inputs: list[int] = []
        width = len(used) + len(marked) + len(pieces)
        for k in chosen:
            places = {value: width + place for place, value in enumerate(categories[k].kept)}
            unknown = width + len(places)
            first.append(len(inputs) + 1)
            inputs += [unknown, *(places.get(value, unknown) for value in categories[k].values)]
            width = unknown + 1
        centre = np.array([numbers[place].mean - numbers[place].reference for place in used], dtype)
        scale = np.array([1 / numbers[place].deviation for place in used], dtype)
        median = np.array([numbers[place].median - numbers[place].reference for place in used], dtype)
        if not width:
            raise DataError("no column varies from row to row: there is nothing to learn from")
        return Encoding(
            np.array(used, np.intp),
            centre,
            scale,
            (median - centre) * scale,
            np.array(marked, np.intp),
            piece_of,
            middle,
            slope,
            np.clip((median[piece_of] - middle) * slope, -1, 1),
            np.array([len(numbers) + k for k in chosen], np.intp),
            np.array(first, np.intp),
            np.array(inputs, np.intp),
            width,
        )

    def with_target(self, mean: float, deviation: float) -> Preprocessing:
        """Return this with what the target's values are standardised by."""
        return replace(self, target=replace(self.target, mean=mean, deviation=deviation))

    def described(self) -> list[tuple[str, str, str]]:
        """Return name, kind and what is done with each column, to be printed as a table."""
        if self.is_pixels and len(self.columns) > 3:
            one = ("", f"{len(self.columns)} columns of pixels", "0..255 scaled to 0..1")
            return [one]
        return [(column.name, column.kind, _told(column)) for column in self.columns]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Return what :meth:`to_json` gave.

        Raises:
            Unexpected: it is damaged.
        """
        _CONTENT(content, "preprocessing")
        columns = tuple(_column(told) for told in content["columns"])
        return cls(columns, Target(**content["target"]), content["has_names"])


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
_CONTENT = record({"columns": list_of(_COLUMN, 1), "target": _TARGET, "has_names": flag})


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


def _told(column: Column) -> str:
    if column.kind == PIXEL:
        return "0..255 scaled to 0..1"
    if not column.is_used:
        return "left out: the same in all training rows"
    missing = sum(number.missing for number in column.numbers[:1])
    filled = f"; {missing} missing: the median {column.numbers[0].median:g} and an indicator" if missing else ""
    if column.kind == CATEGORY:
        rest = len(column.values) - len(column.kept)
        others = f"; {rest} rare ones count as unknown" if rest else ""
        return f"one-hot, {len(column.kept)} categories and unknown{others}"
    if column.kind == DATE:
        return ", ".join(number.part for number in column.numbers if number.is_used) + filled
    if column.kind == BOOLEAN:
        return f"0 or 1{filled}"
    pieces = f", {len(column.numbers[0].knots) - 1} pieces" if column.numbers[0].knots else ""
    return f"mean {column.numbers[0].mean:.6g}, deviation {column.numbers[0].deviation:.6g}{pieces}{filled}"


def feature_names(columns: Sequence[Column]) -> list[str]:
    """Return the columns' names."""
    return [column.name for column in columns]


def missing_columns(columns: Sequence[Column], there: Sequence[str], table: str) -> None:
    """Refuse a table without all of the columns."""
    lost = [name for name in feature_names(columns) if name not in there]
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise DataError(
            f"{table} has no column {', '.join(map(repr, lost[:3]))}{more}, which the model was trained with; it has "
            f"{', '.join(list(there)[:20])}"
        )


def kept_rows(values: Array, columns: Sequence[Column], dtype: str) -> Array:
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
