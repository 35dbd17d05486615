"""``distbp evaluate`` and ``distbp predict``: what a finished run's network says about other rows."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import click

from distbp.errors import DataError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
def evaluate(run: Path, data: tuple[str, ...]) -> None:
    """Measure the network of RUN on DATA: its test part, or all rows where there is none.

    Prints a name and a number per line: rows, cost, accuracy; or rows, cost, rmse, r2 for values.

    \b
    Example:
      distbp evaluate runs/20261123-181500-digits digits
    """
    from distbp.data import load_rows
    from distbp.network import Network

    network = Network.load(run)
    x, y = load_rows(*data, dtype=network.weights.dtype.name)
    if y is None:
        raise DataError(f"{data[0]} holds no targets: evaluate needs y (predict does not)")
    for name, value in network.evaluate(x, y)._asdict().items():
        if value is not None:
            click.echo(f"{name} {value}" if name == "rows" else f"{name} {value:.6f}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE.csv", help="Write there, not to stdout.")
def predict(run: Path, data: tuple[str, ...], out: Path | None) -> None:
    """Predict the rows of DATA with the network of RUN, as CSV: its test part, or all rows where there is none.

    Classes come with each class's probability, values as they are. Rows keep their order.

    \b
    Example:
      distbp predict runs/20261123-181500-digits new.npz -o predictions.csv
    """
    from distbp.data import load_rows
    from distbp.files import written_whole
    from distbp.network import Network

    network = Network.load(run)
    x, _ = load_rows(*data, dtype=network.weights.dtype.name)
    if network.classes:
        probabilities = network.probabilities(x)
        classes = network.predict(x).tolist()
        header = ["class", *(f"probability_{name}" for name in network.classes)]
        rows: Iterable[list[Any]] = (
            [name, *(f"{p:.6g}" for p in row)] for name, row in zip(classes, probabilities, strict=True)
        )
    else:
        values = network.outputs(x)
        header = ["value"] if values.shape[1] == 1 else [f"value_{k}" for k in range(values.shape[1])]
        rows = ([f"{value:.9g}" for value in row] for row in values)
    with ExitStack() as stack:
        file: TextIO = sys.stdout
        if out is not None:
            file = stack.enter_context(stack.enter_context(written_whole(out)).open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
