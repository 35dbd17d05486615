"""The kinds of cells: which kind a column holds, and the cast of its cells to the type of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distbp.data.formats.table import Table, arrow
from distbp.errors import DataError

NUMBER, INTEGER, BOOLEAN, TEXT, DATE, PIXEL = "number", "integer", "boolean", "text", "date", "pixel"
"""The kinds. A pixel is an unsigned byte; a column of fixed-size lists of them holds images."""

MISSING = ("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None")
"""The texts that stand for a missing value."""


def kind_of(type_: Any) -> str | None:
    """Return the kind of an Arrow type; None for nested types and other types that are not supported."""
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


def check_kinds(kinds: Mapping[str, str], expected: Mapping[str, str], table: str) -> None:
    """Refuse columns of a typed table whose kind differs from the expected one; numbers of all kinds are alike."""
    numeric = {NUMBER, INTEGER, BOOLEAN, PIXEL}
    for name, kind in expected.items():
        if name in kinds and kinds[name] != kind and not (kinds[name] in numeric and kind in (numeric | {TEXT})):
            raise DataError(f"{table} column {name!r} holds {kinds[name]}s: expected {kind}s as in training")


def cast_to_kinds(rows: Any, kinds: Mapping[str, str], table: Table) -> Any:
    """Return Arrow rows with every column cast to the type of its kind.

    Raises:
        DataError: a cell cannot be cast.
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
                reason = str(error).splitlines()[0]
                raise DataError(f"{table.name} column {name!r} is no {kind}: {reason}") from error
        columns.append(column)
    return pa.table(columns, names=rows.column_names)


def _is_text_dictionary(type_: Any, kind: str) -> bool:
    types = arrow("a table", "pyarrow.types")
    return kind == TEXT and types.is_dictionary(type_) and types.is_string(type_.value_type)
