"""A data set after reading and checking: rows of numbers, their targets, and the meaning of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distbp.data.columns.encoding import Array as Array
from distbp.data.columns.encoding import Encoder, Encoding
from distbp.data.columns.preprocessing import Preprocessing

PIXEL_FACTOR = 1 / 255
"""Factor for unsigned bytes, which brings pixels to 0..1."""


@dataclass(frozen=True)
class Rows:
    """Examples with their targets.

    ``x`` has shape (rows, m_0) and holds floats, or unsigned bytes that stand for ``factor`` times their value: pixels
    stay bytes in memory and become floats when a mini-batch is gathered. Rows of a table are stored in the form that
    ``encoding`` takes, and are encoded when a mini-batch is gathered. ``y`` holds class numbers, shape (rows,), or
    values, shape (rows, m_L).
    """

    x: Any
    """An array, or rows that are read when they are needed (see distbp.data.lazy)."""
    y: Array
    factor: float = 1.0
    weights: Array | None = None
    """Weight of each row, shape (rows,); None if all are 1."""
    encoding: Encoding | None = None
    """Encoding of a table's rows as inputs; None if ``x`` holds the inputs themselves, or bytes."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def source(self) -> Any:
        """The user's own data set from which x is read; None if there is none."""
        return getattr(self.x, "source", None)

    def __getitem__(self, part: slice | Array) -> Rows:
        weights = None if self.weights is None else self.weights[part]
        return replace(self, x=self.x[part], y=self.y[part], weights=weights)

    @property
    def inputs(self) -> int:
        """m_0, the number of the network's inputs."""
        return int(self.x.shape[1]) if self.encoding is None else self.encoding.width


@dataclass(frozen=True)
class DataSet:
    """A training part and a test part of the same columns.

    Attributes:
        name: a short name, for the run directory.
        task: ``classification`` or ``regression``.
        validation: rows held out of the training part, for early stopping and schedules; None for none.
        classes: the classes that the numbers 0..K-1 stand for; empty in regression.
        outputs: values per row in regression; the number of classes in classification.
        preprocessing: the columns of a table and their encoding; None for arrays.
    """

    name: str
    task: str
    train: Rows
    test: Rows
    classes: tuple[Any, ...] = ()
    validation: Rows | None = None
    preprocessing: Preprocessing | None = None
    sha256: str = ""
    """The fingerprint, if it is known already."""

    @property
    def features(self) -> int:
        """m_0, the number of the network's inputs."""
        return self.train.inputs

    @property
    def outputs(self) -> int:
        """The number of classes, or of values per row in regression."""
        return len(self.classes) or int(self.train.y.shape[1])


class Gather:
    """Gathers up to ``capacity`` rows of a data set at a time, as floats, into arrays that are allocated once.

    >>> rows = Rows(np.array([[0, 255], [51, 0]], dtype=np.uint8), np.array([7, 8]), PIXEL_FACTOR)
    >>> x, y = Gather(rows, 2, "float64")(np.array([1]))
    >>> x.round(6).tolist(), y.tolist()
    ([[0.2, 0.0]], [8])
    """

    def __init__(self, rows: Rows, capacity: int, dtype: str) -> None:
        self.capacity = capacity
        self._rows = rows
        self._factor = rows.factor
        self._raw = np.empty((capacity, rows.x.shape[1]), rows.x.dtype)
        self._encoder: Encoder | None = None
        self._x: Array
        if rows.encoding is not None:
            self._encoder = Encoder(rows.encoding, capacity, rows.x.shape[1], rows.x.dtype.name)
            self._x = np.empty((capacity, rows.encoding.width), dtype)
        elif rows.x.dtype == dtype and rows.factor == 1.0:
            self._x = self._raw  # floats of the run's type need no second array
        else:
            self._x = np.empty(self._raw.shape, dtype)
        self._y = np.empty((capacity, *rows.y.shape[1:]), rows.y.dtype)
        self._weights = None if rows.weights is None else np.empty(capacity, rows.weights.dtype)
        self.weights: Array | None = None
        """Weights of the rows that were gathered last; None if all are 1."""

    def __call__(self, indices: Array) -> tuple[Array, Array]:
        """Return x and y of the rows ``indices``, valid until the next call."""
        count = len(indices)
        raw, x, y = self._raw[:count], self._x[:count], self._y[:count]
        # mode="clip" writes directly into out; the default mode makes a copy first. All indices are in range.
        np.take(self._rows.x, indices, axis=0, out=raw, mode="clip")
        np.take(self._rows.y, indices, axis=0, out=y, mode="clip")
        if self._weights is not None and self._rows.weights is not None:
            self.weights = np.take(self._rows.weights, indices, out=self._weights[:count], mode="clip")
        if self._encoder is not None:
            self._encoder(raw, x)
        elif self._x is not self._raw:
            np.copyto(x, raw)
            if self._factor != 1.0:
                np.multiply(x, self._factor, out=x)
        return x, y
