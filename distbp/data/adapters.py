"""Data that come as a stream, turned into arrays: what can only be read once cannot be shuffled anew each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import DataError


def from_batches(batches: Iterable[tuple[Any, Any]]) -> tuple[Array, Array]:
    """Collect the batches (x, y) of a generator, of any sizes, as arrays to train on.

    What it costs: all rows are held in memory. The order in which the rows come is part of the data, so the same bits
    come out only if the generator gives the same rows in the same order again; a run directory keeps a hash of them,
    and ``resume`` refuses others.

    Raises:
        DataError: a batch is no pair of equal rows, or there is none.

    >>> x, y = from_batches((np.full((2, 3), n), [n, n]) for n in range(4))
    >>> x.shape, y.tolist()
    ((8, 3), [0, 0, 1, 1, 2, 2, 3, 3])
    """
    parts: tuple[list[Array], list[Array]] = [], []
    batch: Any
    for number, batch in enumerate(batches):
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise DataError(f"batch {number} must be a pair (x, y), found {type(batch).__name__}")
        x, y = map(np.asarray, batch)
        if x.ndim < 2 or y.ndim < 1 or len(x) != len(y) or x.shape[1:] != (parts[0] or [x])[0].shape[1:]:
            raise DataError(f"batch {number} has x of shape {x.shape} and y of shape {y.shape}, unlike the ones before")
        parts[0].append(x)
        parts[1].append(y)
    if not parts[0]:
        raise DataError("there is no batch: a generator can be read only once")
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def from_ray_data(dataset: Any, target: str, features: Sequence[str] | None = None) -> tuple[Array, Array]:
    """Collect a Ray Data set as arrays to train on.

    What it costs: all rows are held in memory, and Ray Data is told to keep the order of its blocks, which else is
    the order in which they happen to be ready. With ``random_shuffle`` or ``map_batches`` that are not the same each
    time, neither are the weights.

    Args:
        dataset: a ``ray.data.Dataset``.
        target: the column to predict.
        features: the columns to predict it from, numbers each or arrays of equal shape; None for all others.

    Raises:
        DataError: a column is missing, or there are no rows.
    """
    order = dataset.context.execution_options
    before, order.preserve_order = order.preserve_order, True
    try:
        return from_batches(_pairs(dataset.iter_batches(batch_format="numpy", batch_size=None), target, features))
    finally:
        order.preserve_order = before


def _pairs(batches: Iterable[Any], target: str, features: Sequence[str] | None) -> Iterator[tuple[Array, Array]]:
    for batch in batches:
        names = [name for name in batch if name != target] if features is None else list(features)
        missing = [name for name in (target, *names) if name not in batch]
        if missing or not names:
            raise DataError(f"the data set has no column {missing or 'to predict from'}: it has {', '.join(batch)}")
        rows = len(batch[target])
        if rows:
            yield np.concatenate([_numbers(batch[name], rows) for name in names], axis=1), batch[target]


def _numbers(column: Array, rows: int) -> Array:
    """Return a column of numbers or of equally long arrays, which may come as objects, as a table."""
    table = np.stack(list(column)) if column.dtype == object else column
    return table.reshape(rows, -1)
