"""``distbp evaluate``: scores of a run's network on labelled data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.tables import aligned
from distbp.cli.trained_network import load_network, table_text_options

if TYPE_CHECKING:
    from distbp.model.scoring import Score

_MOST_CLASSES_SHOWN = 30


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@table_text_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(run: Path, data: tuple[str, ...], separator: str | None, header: bool | None, as_json: bool) -> None:
    """Measure the network of RUN on the test part of DATA, or on all rows if DATA has no test part.

    Every row has weight 1. The cost is the training cost without penalties, label smoothing and dropout; for tables
    with numeric targets it is in standardised units. With several target columns, rmse and mae are taken over all
    cells, and r2 is the mean of the columns.

    Prints one name and number per line: rows, cost, accuracy, log_loss, roc_auc for classes; rows, cost, rmse, mae, r2
    for values. For classes a table follows: the confusion matrix (rows: true classes, columns: predicted classes) with
    precision and recall. log_loss and roc_auc use the probabilities that predict prints.

    \b
    Example:
      distbp evaluate runs/20261123-181500-digits digits
    """
    from distbp.cli.progress import reading_bar
    from distbp.model.scoring import chunks_of, score

    network = load_network(run)
    with reading_bar("reading") as progress:
        result = score(network, chunks_of(network, data, True, separator, header, progress))
    if as_json:
        click.echo(json.dumps(_described(result, network.classes)))
        return
    click.echo(f"rows {result.rows}\ncost {result.cost:.6f}")
    for name, value in result.scores._asdict().items():
        if isinstance(value, float):
            click.echo(f"{name} {value:.6f}")
    if network.classes:
        for line in _class_table(result, network.classes):
            click.echo(line)


def _described(result: Score, classes: Sequence[Any]) -> dict[str, Any]:
    """Return all scores as JSON types; an undefined score is null."""
    from distbp.files.json_files import for_json

    values: dict[str, Any] = {"rows": result.rows, "cost": result.cost}
    for name, value in result.scores._asdict().items():
        values[name] = value.tolist() if hasattr(value, "tolist") else value
    if classes:
        values["classes"] = list(classes)

    described: dict[str, Any] = for_json(values)
    return described


def _class_table(result: Score, classes: Sequence[Any]) -> list[str]:
    """Return precision and recall of each class as lines, with the confusion matrix if there are few classes."""
    from distbp.nn.scores import ClassScores

    scores = result.scores
    assert isinstance(scores, ClassScores)
    shown = classes if len(classes) <= _MOST_CLASSES_SHOWN else ()
    rows = [["true \\ predicted" if shown else "class", *map(str, shown), "precision", "recall"]]
    for k, name in enumerate(classes):
        counts = map(str, scores.confusion[k].tolist()) if shown and scores.confusion is not None else ()
        rows.append([str(name), *counts, f"{scores.precision[k]:.4f}", f"{scores.recall[k]:.4f}"])
    return ["", *aligned(rows)]
