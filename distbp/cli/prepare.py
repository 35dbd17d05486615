"""``distbp prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distbp.cli.options import data_options


@click.command()
@click.argument("data", nargs=-1, required=True)
@data_options
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder to write the data set to.",
)
def prepare(data: tuple[str, ...], out: Path, **reading: Any) -> None:
    """Convert DATA into a data set on disk that train maps into memory; for data larger than memory.

    Memory use is bounded. After an interruption, the same command continues where it stopped. The data set includes
    the split into training, validation and test rows and all options below. For large files, train prepares data by
    itself, in a cache.

    \b
    Example:
      distbp prepare big.csv --target price -o big
    """
    from distbp.cli.progress import column_lines, reading_bar
    from distbp.cli.streams import echo_stderr
    from distbp.data import load
    from distbp.data import prepare as prepare_data

    with reading_bar("reading") as progress:
        prepare_data(*data, out=out, note=lambda text: echo_stderr(f"note: {text}"), progress=progress, **reading)
    prepared = load(out)
    for line in column_lines(prepared.preprocessing.described() if prepared.preprocessing is not None else ()):
        echo_stderr(line)
    validation = f"{len(prepared.validation):,} validation rows, " if prepared.validation is not None else ""
    echo_stderr(f"{len(prepared.train):,} training rows, {validation}{len(prepared.test):,} test rows; saved in {out}")
