"""``distbp prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distbp.cli.options import data_options


@click.command()
@click.argument("data", nargs=-1, required=True)
@data_options
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Write it there.")
def prepare(data: tuple[str, ...], out: Path, **reading: Any) -> None:
    """Read DATA once into a data set on the disk, FOLDER, which train maps; for what is larger than the memory.

    Memory stays bounded. After an interruption the same command goes on where it was. Which rows are held out, and
    what else the options say, is part of the data set. train does this by itself, in a cache, for large files.

    \b
    Example:
      distbp prepare big.csv --target price -o big
    """
    from distbp.cli.progress import column_lines, reading_bar
    from distbp.cli.streams import say
    from distbp.data import load
    from distbp.data import prepare as prepare_data

    with reading_bar("reading") as progress:
        prepare_data(*data, out=out, note=lambda text: say(f"note: {text}"), progress=progress, **reading)
    made = load(out)
    for line in column_lines(made.preprocessing.described() if made.preprocessing is not None else ()):
        say(line)
    held_out = f", {len(made.validation)} for validation" if made.validation is not None else ""
    say(f"{len(made.train)} rows to train on{held_out}, {len(made.test)} to test; kept in {out}")
