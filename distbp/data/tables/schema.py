"""Which column of a table is what: features, target, weights; and what each holds."""

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


@dataclass(frozen=True)
class Schema:
    """The columns of a table to train on."""

    columns: tuple[Column, ...]
    target: str
    target_kind: str
    weights: str | None
    has_names: bool

    @property
    def wanted(self) -> list[str]:
        """All columns that are read."""
        return [*self.wanted_of_test, *([self.weights] if self.weights is not None else [])]

    @property
    def wanted_of_test(self) -> list[str]:
        """The columns that are read of test rows, which all count the same."""
        return [*(column.name for column in self.columns), self.target]

    def kinds(self, table: Table) -> dict[str, str]:
        """Return as what the columns are to be read."""
        held = {column.name: table.kinds[column.name] for column in self.columns}
        if not self.is_pixels:
            held = {name: kinds.NUMBER if kind == kinds.PIXEL else kind for name, kind in held.items()}
        held[self.target] = kinds.INTEGER if self.target_kind == kinds.PIXEL else self.target_kind
        return held | ({self.weights: kinds.NUMBER} if self.weights is not None else {})

    @property
    def is_pixels(self) -> bool:
        """Whether all features are unsigned bytes."""
        return all(column.kind == PIXEL for column in self.columns)


def schema_of(table: Table, reading: Reading) -> Schema:
    """Find out which columns of the table are what.

    Raises:
        DataError: a column that was named is not there, or nothing is left to learn from.
    """
    names = list(table.kinds)
    target = reading.target_of(names, table.name)
    dropped = {column_of(name, names, table.name, "--drop") for name in reading.drop}
    weights = None if reading.weights is None else column_of(reading.weights, names, table.name, "--weights")
    if target in dropped or target == weights:
        raise DataError(f"{table.name} column {target!r} is the target: it can be neither dropped nor weights")
    if table.kinds[target] == kinds.DATE:
        raise DataError(f"{table.name} column {target!r} holds dates: a target is a number, text or a boolean")
    chosen = [name for name in names if name not in dropped | {target, weights}]
    if not chosen:
        raise DataError(f"{table.name} has no column beside the target {target!r}: nothing to learn from")
    held = {name: _FEATURE_KINDS.get(table.kinds[name], NUMBER) for name in chosen}
    if set(held.values()) != {PIXEL}:  # among others, an unsigned byte is a number
        held = {name: NUMBER if kind == PIXEL else kind for name, kind in held.items()}
    has_names = getattr(getattr(table, "dialect", None), "header", True)
    columns = tuple(_column(name, kind, table) for name, kind in held.items())
    return Schema(columns, target, table.kinds[target], weights, has_names)


def _column(name: str, kind: str, table: Table) -> Column:
    if kind == PIXEL:
        return Column(name, kind, width=getattr(table, "widths", {}).get(name, 1))
    if kind == DATE:
        return Column(name, kind, tuple(Number(part) for part in DATE_PARTS))
    return Column(name, kind, () if kind == CATEGORY else (Number(),))


def check_same_columns(tables: Sequence[Table], first: Table, schema: Schema, wanted: Sequence[str]) -> None:
    """Let every table give the ``wanted`` columns as ``first`` does; without names they need as many columns.

    Raises:
        DataError: a table lacks one of them, or holds another kind.
    """
    select_columns = schema.kinds(first)
    for table in tables:
        if not schema.has_names and len(table.kinds) != len(first.kinds):
            raise DataError(f"{table.name} has {len(table.kinds)} columns, {first.name} has {len(first.kinds)}")
        lost = [name for name in wanted if name not in table.kinds]
        if lost:
            raise DataError(f"{table.name} has no column {lost[0]!r}, which {first.name} has")
        table.select_columns(select_columns, wanted)
