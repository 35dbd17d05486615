"""``distbp predict``: predictions of a run's network, written row by row."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distbp.cli.trained_network import load_network, table_text_options
from distbp.errors import UsageError

if TYPE_CHECKING:
    from distbp.model.network import Network
    from distbp.model.scoring import Chunk


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to FILE in the format of its suffix: .csv, .jsonl or .parquet.  [default: CSV to stdout]",
)
@table_text_options
def predict(run: Path, data: tuple[str, ...], out: Path | None, separator: str | None, header: bool | None) -> None:
    """Predict the test part of DATA with the network of RUN, or all rows if DATA has no test part.

    Prints each row's class with the probability of every class, or its value in the target's own unit. The order of
    the rows is kept. Tables of any size are read and written in chunks; their columns may come in any order.

    The predicted class has the largest output; among equal outputs, the largest input to the activation. Softmax
    outputs are the probabilities. Of other outputs (--output sigmoid, identity, ..), negative values are set to 0 and
    each value is divided by the sum over the classes; if no output is above 0, all classes get the same probability.

    \b
    Example:
      distbp predict runs/20261123-181500-digits new.csv -o predictions.csv
    """
    from distbp.cli.progress import reading_bar
    from distbp.model.scoring import chunks_of

    if out is not None:
        _check_output(out, data)
    network = load_network(run)
    with reading_bar("predicting") as progress:
        chunks = chunks_of(network, data, False, separator, header, progress)
        first = next(chunks)  # unreadable data fail here, before any output is written
        _write_predictions(network, chain([first], chunks), out)


def _check_output(out: Path, data: tuple[str, ...]) -> None:
    """Check that predictions can be written to a file, and remove the partial file of an interrupted command.

    Raises:
        UsageError: the suffix is unknown, or the file is one of the inputs.
    """
    from distbp.data.formats.predictions import check_ending
    from distbp.files.atomic import remove_partial_files

    check_ending(out)
    for source in data:
        if out.is_file() and Path(source).is_file() and out.samefile(source):
            raise UsageError(f"-o {out} is one of the input files: write the predictions to another file")
    remove_partial_files(out)


def _write_predictions(network: Network, chunks: Iterator[Chunk], out: Path | None) -> None:
    import numpy as np

    from distbp.data.formats.predictions import writer
    from distbp.files.atomic import atomic_write

    outputs = network.structure.sizes[-1]
    if network.classes:
        columns, number_format = ["class", *(f"probability_{name}" for name in network.classes)], "%.6g"
    else:
        columns, number_format = ["value"] if outputs == 1 else [f"value_{k}" for k in range(outputs)], "%.9g"
    names = np.asarray(network.classes)
    with ExitStack() as stack:
        path = None if out is None else stack.enter_context(atomic_write(out))
        suffix = ".csv" if out is None else out.suffix.lower()
        stream = sys.stdout if out is None else None
        predictions = stack.enter_context(writer(path, stream, suffix, columns, number_format))
        for chunk in chunks:
            answers = network.answers(chunk.x)
            if network.classes:
                predictions.write(names[answers.chosen].tolist(), answers.probabilities)
            else:
                predictions.write(None, network.in_own_unit(answers.outputs))
