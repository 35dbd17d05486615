"""The settings of the data: how tables are read, and which rows are held out."""

from __future__ import annotations

from dataclasses import dataclass

from distbp.config.option import names_of, option
from distbp.config.values import FRACTION, Column, Columns, FilePath, Flag, Name, Number, Text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)  # Config has these methods
class DataOptions:
    """The settings of the data."""

    task: str | None = option(
        Name(), None, f"Kind of targets: {names_of('task')}.", if_open="guessed from the targets", metavar="NAME"
    )
    target: str | int | None = option(
        Column(),
        None,
        "Target column of a table: its name, or its number from 0, -1 for the last.",
        if_open="the one called target, label, class or y",
        metavar="COLUMN",
    )
    drop: tuple[str, ...] = option(
        Columns(), (), "Column of a table to leave out, by name or number; may be repeated.", metavar="COLUMN"
    )
    weights: str | None = option(
        Text(),
        None,
        "Column of a table with each row's weight: training costs are weighted means.",
        if_open="1 each",
        metavar="COLUMN",
    )
    separator: str | None = option(
        Text(),
        None,
        "Separator of a text table's cells: a character, or its name: comma, semicolon, tab, bar, space.",
        if_open="guessed",
        metavar="CHARACTER",
    )
    header: bool | None = option(
        Flag(), None, "Whether a text table begins with a row of column names.", if_open="guessed"
    )
    test_file: str | None = option(
        FilePath(), None, "Table with the test rows.", if_open="rows of DATA are held out", metavar="FILE"
    )
    test_fraction: float = option(
        Number(most=1, above=True, below=True),
        0.2,
        "Fraction of the rows held out for testing, if the data have no test part.",
    )
    validation_fraction: float = option(
        FRACTION,
        0.0,
        "Fraction of the training rows held out for --early-stopping (0.1 unless given) and for --schedule plateau "
        "(none unless given). The validation cost includes --weights, but not --class-weights or --label-smoothing.",
    )
