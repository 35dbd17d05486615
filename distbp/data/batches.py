"""Streams of batches as arrays: a stream can be read only once, but each epoch needs its rows in a new order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import DataError


def from_batches(batches: Iterable[tuple[Any, Any]]) -> tuple[Array, Array]:
    """Collect the batches (x, y) of a generator, of any sizes, as arrays to train on.

    All rows stay in memory. Their order is part of the data: a run has the same bits only if the generator yields the
    same rows in the same order. A run directory keeps a hash of the rows, and ``resume`` refuses others.

    Raises:
        DataError: a batch is no pair of arrays with as many rows, or there is no batch.

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
