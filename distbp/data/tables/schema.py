"""The schema of a table to train on: which column is the target, which are features, and the kind of each.

The kind of a column of cells (:mod:`distbp.data.formats.kinds`) comes from the table: from its types, or from the cells
of its first block if it is text. The kind of a feature column (:mod:`distbp.data.columns.column`) follows from it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distbp.data.columns.column import BOOLEAN, CATEGORY, DATE, DATE_PARTS, NUMBER, PIXEL, Column, Number
from distbp.data.formats import kinds
from distbp.data.formats.table import Table
from distbp.data.reading import Reading, column_of
from distbp.errors import DataError

_FEATURE_KINDS = {
    kinds.NUMBER: NUMBER,
    kinds.INTEGER: NUMBER,
    kinds.BOOLEAN: BOOLEAN,
    kinds.TEXT: CATEGORY,
    kinds.DATE: DATE,
    kinds.PIXEL: PIXEL,
}
"""The kind of feature that cells of each kind become."""


@dataclass(frozen=True)
class Schema:
    """The columns of a table to train on."""

    columns: tuple[Column, ...]
    """The features."""
    target: str
    target_kind: str
    weights: str | None
    has_names: bool

    @property
    def all_columns(self) -> list[str]:
        """The columns that are read from training tables."""
        return [*self.test_columns, *([self.weights] if self.weights is not None else [])]

    @property
    def test_columns(self) -> list[str]:
        """The columns that are read from test tables, whose rows all have the same weight."""
        return [*(column.name for column in self.columns), self.target]

    def kinds(self, table: Table) -> dict[str, str]:
        """Return the kind of cells that each column is read as."""
        result = {column.name: table.kinds[column.name] for column in self.columns}
        if not self.is_pixels:
            result = {name: kinds.NUMBER if kind == kinds.PIXEL else kind for name, kind in result.items()}
        result[self.target] = kinds.INTEGER if self.target_kind == kinds.PIXEL else self.target_kind
        return result | ({self.weights: kinds.NUMBER} if self.weights is not None else {})

    @property
    def is_pixels(self) -> bool:
        """Whether all features are unsigned bytes."""
        return all(column.kind == PIXEL for column in self.columns)


def schema_of(table: Table, reading: Reading) -> Schema:
    """Settle the role and the kind of each column.

    Raises:
        DataError: a named column is missing, or no feature is left.
    """
    names = list(table.kinds)
    target = reading.target_of(names, table.name)
    dropped = {column_of(name, names, table.name, "--drop") for name in reading.drop}
    weights = None if reading.weights is None else column_of(reading.weights, names, table.name, "--weights")
    if target in dropped or target == weights:
        raise DataError(f"{table.name} column {target!r} is the target: it can be neither dropped nor weights")
    if table.kinds[target] == kinds.DATE:
        raise DataError(f"{table.name} column {target!r} holds dates: a target is a number, text or a boolean")
    features = [name for name in names if name not in dropped | {target, weights}]
    if not features:
        raise DataError(f"{table.name} has no column beside the target {target!r}: nothing to learn from")
    has_names = getattr(getattr(table, "dialect", None), "header", True)
    columns = tuple(_column(name, kind, table) for name, kind in _feature_kinds(features, table).items())
    return Schema(columns, target, table.kinds[target], weights, has_names)


def _feature_kinds(names: Sequence[str], table: Table) -> dict[str, str]:
    """Return the kind of each feature; an unsigned byte is a pixel only if all features are."""
    result = {name: _FEATURE_KINDS.get(table.kinds[name], NUMBER) for name in names}
    if set(result.values()) != {PIXEL}:
        result = {name: NUMBER if kind == PIXEL else kind for name, kind in result.items()}
    return result


def _column(name: str, kind: str, table: Table) -> Column:
    if kind == PIXEL:
        return Column(name, kind, width=getattr(table, "widths", {}).get(name, 1))
    if kind == DATE:
        return Column(name, kind, tuple(Number(part) for part in DATE_PARTS))
    return Column(name, kind, () if kind == CATEGORY else (Number(),))


def check_same_columns(tables: Sequence[Table], first: Table, schema: Schema, wanted: Sequence[str]) -> None:
    """Make every table yield the ``wanted`` columns with the kinds of ``first``.

    Raises:
        DataError: a table lacks one of them or holds another kind, or, without names, has another number of columns.
    """
    kinds_of_first = schema.kinds(first)
    for table in tables:
        if not schema.has_names and len(table.kinds) != len(first.kinds):
            raise DataError(f"{table.name} has {len(table.kinds)} columns, {first.name} has {len(first.kinds)}")
        missing = [name for name in wanted if name not in table.kinds]
        if missing:
            raise DataError(f"{table.name} has no column {missing[0]!r}, which {first.name} has")
        table.select_columns(kinds_of_first, wanted)
