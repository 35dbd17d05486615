"""``distbp evaluate`` and ``distbp predict``: what a finished run's network says about other rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from distbp.cli.trained_network import load_network
from distbp.errors import UsageError

if TYPE_CHECKING:
    from distbp.model.scoring import Score

_MOST_CLASSES_SHOWN = 30


def _data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says how the text of tables is read."""
    command = click.option(
        "--header/--no-header", default=None, help="Whether a table's first row names the columns.  [default: guessed]"
    )(command)
    return click.option(
        "--separator", metavar="CHARACTER", help="Between the cells of a table's text.  [default: guessed]"
    )(command)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@_data_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(run: Path, data: tuple[str, ...], separator: str | None, header: bool | None, as_json: bool) -> None:
    """Measure the network of RUN on DATA: its test part, or all rows where there is none.

    Each row counts once. The cost is training's, without penalties, smoothing and dropout, on tables of standardised
    values. Of several values per row rmse and mae are over all cells, r2 is the mean.

    Prints a name and a number per line: rows, cost, accuracy, log_loss, roc_auc; or rows, cost, rmse, mae, r2 for
    values. For classes, a table follows: the confusion matrix (true classes down, predicted ones across), and
    precision and recall. log_loss and roc_auc are those of the probabilities that predict gives.

    \b
    Example:
      distbp evaluate runs/20261123-181500-digits digits
    """
    from distbp.cli.progress import reading_bar
    from distbp.model.scoring import chunks_of, score

    network = load_network(run)
    with reading_bar("reading") as progress:
        found = score(network, chunks_of(network, data, True, separator, header, progress))
    if as_json:
        click.echo(json.dumps(_described(found, network.classes)))
        return
    click.echo(f"rows {found.rows}\ncost {found.cost:.6f}")
    for name, value in found.scores._asdict().items():
        if isinstance(value, float):
            click.echo(f"{name} {value:.6f}")
    if network.classes:
        for line in _class_table(found, network.classes):
            click.echo(line)


def _described(found: Score, classes: Sequence[Any]) -> dict[str, Any]:
    """Return all scores as JSON's types; what cannot be told is null."""
    from distbp.files.json_files import for_json

    told: dict[str, Any] = {"rows": found.rows, "cost": found.cost}
    for name, value in found.scores._asdict().items():
        told[name] = value.tolist() if hasattr(value, "tolist") else value
    if classes:
        told["classes"] = list(classes)

    described: dict[str, Any] = for_json(told)
    return described


def _class_table(found: Score, classes: Sequence[Any]) -> list[str]:
    """Return the confusion matrix with precision and recall as lines; with many classes the latter alone."""
    from distbp.nn.scores import ClassScores

    scores = found.scores
    assert isinstance(scores, ClassScores)
    shown = classes if len(classes) <= _MOST_CLASSES_SHOWN else ()
    rows = [["true \\ predicted" if shown else "class", *map(str, shown), "precision", "recall"]]
    for k, name in enumerate(classes):
        counts = map(str, scores.confusion[k].tolist()) if shown and scores.confusion is not None else ()
        rows.append([str(name), *counts, f"{scores.precision[k]:.4f}", f"{scores.recall[k]:.4f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["", *("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write there, as its ending says: .csv, .jsonl or .parquet.  [default: CSV to stdout]")  # fmt: skip
@_data_options
def predict(run: Path, data: tuple[str, ...], out: Path | None, separator: str | None, header: bool | None) -> None:
    """Predict the rows of DATA with the network of RUN: its test part, or all rows where there is none.

    Classes come with each class's probability, values in the target's own unit. Rows keep their order. Tables of any
    size are read and written piece by piece; their columns may stand in any order.

    The class is the one with the largest output; of equal ones that with the largest input to its activation. Outputs
    of a softmax are the probabilities. Others (--output sigmoid, identity, ..) are made such: below 0 they count as
    0, and each is divided by the sum of all classes; where nothing is above 0 all have the same.

    \b
    Example:
      distbp predict runs/20261123-181500-digits new.csv -o predictions.csv
    """
    import numpy as np

    from distbp.cli.progress import reading_bar
    from distbp.data.formats.predictions import check_ending, writer
    from distbp.files.atomic import atomic_write, remove_partial_files
    from distbp.model.scoring import chunks_of

    if out is not None:
        check_ending(out)
        for source in data:
            if out.is_file() and Path(source).is_file() and out.samefile(source):
                raise UsageError(f"-o {out} is what is read: write the predictions to another file")
        remove_partial_files(out)
    network = load_network(run)
    outputs = network.structure.sizes[-1]
    if network.classes:
        columns, form = ["class", *(f"probability_{name}" for name in network.classes)], "%.6g"
    else:
        columns, form = ["value"] if outputs == 1 else [f"value_{k}" for k in range(outputs)], "%.9g"
    names = np.asarray(network.classes)
    with ExitStack() as stack:
        progress = stack.enter_context(reading_bar("predicting"))
        chunks = chunks_of(network, data, False, separator, header, progress)
        first = next(chunks)  # what cannot be read at all is told before anything is written
        file: TextIO | None = sys.stdout if out is None else None
        path = None if out is None else stack.enter_context(atomic_write(out))
        kind = ".csv" if out is None else out.suffix.lower()
        writing = stack.enter_context(writer(path, file, kind, columns, form))
        for chunk in _with(first, chunks):
            answers = network.answers(chunk.x)
            if network.classes:
                writing.write(names[answers.chosen].tolist(), answers.probabilities)
            else:
                writing.write(None, network.in_own_unit(answers.outputs))


def _with(first: Any, rest: Any) -> Any:
    yield first
    yield from rest
