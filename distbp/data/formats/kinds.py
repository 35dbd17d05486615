"""The kinds of cells: which kind a column holds, and cells cast to the type of their kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distbp.data.formats.table import Table, arrow
from distbp.errors import DataError

NUMBER, INTEGER, BOOLEAN, TEXT, DATE, PIXEL = "number", "integer", "boolean", "text", "date", "pixel"
"""What a column may hold. A pixel is an unsigned byte; a column of lists of them is an image."""

MISSING = ("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None")
"""What stands for a missing value in text."""


def kind_of(type_: Any) -> str | None:
    """Return the kind of an Arrow type, None if it is nested or of another sort."""
    types = arrow("a table", "pyarrow.types")
    if types.is_dictionary(type_):
        return kind_of(type_.value_type)
    if types.is_uint8(type_) or (types.is_fixed_size_list(type_) and types.is_uint8(type_.value_type)):
        return PIXEL
    for kind, tests in {
        INTEGER: (types.is_integer,),
        NUMBER: (types.is_floating, types.is_decimal, types.is_null),
        BOOLEAN: (types.is_boolean,),
        TEXT: (types.is_string, types.is_large_string, types.is_string_view),
        DATE: (types.is_date, types.is_timestamp),
    }.items():
        if any(test(type_) for test in tests):
            return kind
    return None


def check_kinds(found: Mapping[str, str], kinds: Mapping[str, str], table: str) -> None:
    """Refuse columns of a typed table that hold another kind than expected."""
    numeric = {NUMBER, INTEGER, BOOLEAN, PIXEL}
    for name, kind in kinds.items():
        if name in found and found[name] != kind and not (found[name] in numeric and kind in (numeric | {TEXT})):
            raise DataError(f"{table} column {name!r} holds {found[name]}s: expected {kind}s as in training")


def as_kinds(rows: Any, kinds: Mapping[str, str], table: Table, first: int) -> Any:
    """Return Arrow rows with every column cast to its kind's own type.

    Raises:
        DataError: a cell is none of the kind.
    """
    pa = arrow("a table")
    types = {NUMBER: pa.float64(), INTEGER: pa.float64(), BOOLEAN: pa.bool_(), TEXT: pa.string()}
    columns = []
    for name in rows.column_names:
        column, kind = rows[name], kinds[name]
        if kind in types and column.type != types[kind] and not _is_text_dictionary(column.type, kind):
            try:
                column = column.cast(types[kind], safe=False)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                said = str(error).splitlines()[0]
                raise DataError(f"{table.name} column {name!r} is no {kind}: {said}") from error
        columns.append(column)
    return pa.table(columns, names=rows.column_names)


def _is_text_dictionary(type_: Any, kind: str) -> bool:
    types = arrow("a table", "pyarrow.types")
    return kind == TEXT and types.is_dictionary(type_) and types.is_string(type_.value_type)
