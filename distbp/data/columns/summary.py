"""A line on each column for the user: what it becomes as inputs of the network."""

from __future__ import annotations

from distbp.data.columns.column import BOOLEAN, CATEGORY, DATE, PIXEL, Column

PIXELS_SCALED = "0..255 scaled to 0..1"


def treatment(column: Column) -> str:
    """Return what happens to a column before the network sees it."""
    if column.kind == PIXEL:
        return PIXELS_SCALED
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
