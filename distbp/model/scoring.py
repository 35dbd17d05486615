"""Scores of a trained network on new rows, which are read chunk by chunk from any source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array, Rows
from distbp.data.loading import load_rows, tables_to_predict
from distbp.data.reporting import Progress, silent
from distbp.data.sources import Source
from distbp.data.tables.transform import transformed_chunks
from distbp.errors import DataError
from distbp.model.network import Network, evaluate
from distbp.nn.scores import ClassScores, ValueScores, class_scores, value_scores


class Chunk(NamedTuple):
    """Rows as a network's data set stores them, and their targets if they are known."""

    x: Array
    targets: Array | None
    first: int
    """The number of the first row."""


def chunks_of(
    network: Network,
    sources: Sequence[Source],
    with_targets: bool,
    separator: str | None = None,
    header: bool | None = None,
    progress: Progress = silent,
) -> Iterator[Chunk]:
    """Yield the rows of sources: those of the test part if there is one, otherwise all.

    Raises:
        DataError: the rows cannot be read, or do not fit the network.
    """
    dtype = network.weights.dtype.name
    tables = tables_to_predict(sources, separator, header)
    if tables is None:
        x, y = load_rows(*sources, dtype=dtype)
        if with_targets and y is None:
            raise DataError(f"{sources[0]} holds no targets: evaluate needs y (predict does not)")
        yield Chunk(x, y, 0)
        return
    if network.preprocessing is None:
        raise DataError(f"{tables[0].name} is a table, the model was trained on arrays, whose columns have no names")
    first = 0
    classes = network.classes if with_targets else None
    for rows in transformed_chunks(tables, network.preprocessing, dtype, classes, progress):
        yield Chunk(rows.stored, rows.targets, first)
        first += len(rows.stored)


class Score(NamedTuple):
    """The scores of a network on rows with known targets."""

    rows: int
    cost: float
    """Mean cost of the examples, as in training."""
    scores: ClassScores | ValueScores


def score(network: Network, chunks: Iterator[Chunk]) -> Score:
    """Compare a network's answers with the targets of all chunks.

    Only the target and the answer of each row stay in memory.
    """
    rows, cost = 0, 0.0
    collected: list[tuple[Array, ...]] = []
    for chunk in chunks:
        answers = network.answers(chunk.x)
        y = network.targets(chunk.targets, len(answers.outputs), chunk.first)
        cost += len(y) * evaluate(network, _rows(network, chunk.x, y)).cost
        rows += len(y)
        if network.classes:
            collected.append((y, answers.chosen, answers.probabilities))
        else:
            collected.append((network.in_own_unit(y), network.in_own_unit(answers.outputs)))
    arrays = [np.concatenate(parts) for parts in zip(*collected, strict=True)]
    return Score(rows, cost / rows, class_scores(*arrays) if network.classes else value_scores(*arrays))


def _rows(network: Network, x: Array, y: Array) -> Rows:
    """Return the rows in the form that training uses."""
    rows = Rows(x, y, network.byte_factor if x.dtype == np.uint8 else 1.0)
    if network.preprocessing is None:
        return rows
    return replace(rows, encoding=network.preprocessing.encoding(network.weights.dtype.name))
