"""From the form in which a table's rows are kept to the numbers that a network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Encoding:
    """How kept rows become inputs: numbers standardised, missing ones filled and marked, categories one-hot.

    Beside its standardised value, a number has an input for each of its pieces, the sixths of the training rows: -1
    below the piece, 1 above it, and linear within (piecewise linear encoding; Gorishniy, Rubachev and Babenko, "On
    embeddings for numerical features in tabular deep learning", 2022). So heavy tails and fine structure are seen too.

    A kept row holds numbers, NaN where missing, then a code per category, -1 where it is missing or unknown.
    """

    numbers: Array
    """Places of the numbers that are used, in a kept row."""
    centre: Array
    scale: Array
    """An input is (kept - centre) * scale."""
    fill: Array
    """The input where the number is missing."""
    marked: Array
    """Which of the numbers have an input that is 1 where they are missing."""
    piece_of: Array
    """Which of the numbers each piece is of."""
    middle: Array
    slope: Array
    """A piece's input is (kept - middle) * slope, but at least -1 and at most 1."""
    piece_fill: Array
    """A piece's input where the number is missing."""
    categories: Array
    """Places of the categories that are used, in a kept row."""
    first: Array
    """Where the inputs of each category begin in ``inputs``."""
    inputs: Array
    """The input that is 1 for each code, one category after the other, each beginning with that of code -1."""
    width: int
    """m_0, the number of inputs."""


class Encoder:
    """Encodes up to ``capacity`` rows at a time, into an array that is given; allocates nothing then."""

    def __init__(self, encoding: Encoding, capacity: int, kept: int, dtype: str) -> None:
        self._encoding = encoding
        count = len(encoding.numbers)
        self._is_all = np.array_equal(encoding.numbers, np.arange(count))
        self._numbers = None if self._is_all else np.empty((capacity, count), dtype)
        self._missing = np.empty((capacity, count), bool)
        self._marked = np.empty((capacity, len(encoding.marked)), bool)
        self._pieces = np.empty((capacity, len(encoding.piece_of)), dtype)
        self._codes = np.empty((capacity, len(encoding.categories)), dtype)
        self._places = np.empty((capacity, len(encoding.categories)), np.intp)
        self._rows = np.arange(capacity)[:, None] * encoding.width

    def __call__(self, kept: Array, x: Array) -> None:
        """Write the inputs of ``kept``, shape (rows, kept columns), to ``x``, shape (rows, m_0), C-contiguous."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is found when the step is computed
            self._encode(kept, x)

    def _encode(self, kept: Array, x: Array) -> None:
        encoding, rows = self._encoding, len(kept)
        count, marks = len(encoding.numbers), len(encoding.marked)
        source = kept[:, :count]
        if self._numbers is not None:
            source = np.take(kept, encoding.numbers, axis=1, out=self._numbers[:rows], mode="clip")
        numbers, missing = x[:, :count], self._missing[:rows]
        np.subtract(source, encoding.centre, out=numbers)
        np.multiply(numbers, encoding.scale, out=numbers)
        np.isnan(numbers, out=missing)
        if missing.any():
            np.copyto(numbers, encoding.fill, where=missing)
        if marks:
            marked = np.take(missing, encoding.marked, axis=1, out=self._marked[:rows], mode="clip")
            np.copyto(x[:, count : count + marks], marked)
        pieces = count + marks + len(encoding.piece_of)
        if len(encoding.piece_of):
            self._encode_pieces(source, missing, x[:, count + marks : pieces])
        if len(encoding.categories):
            x[:, pieces:] = 0
            codes, places = self._codes[:rows], self._places[:rows]
            np.take(kept, encoding.categories, axis=1, out=codes, mode="clip")
            np.copyto(places, codes, casting="unsafe")
            np.add(places, encoding.first, out=places)
            np.take(encoding.inputs, places, out=places, mode="clip")
            np.add(places, self._rows[:rows], out=places)
            x.reshape(-1)[places] = 1

    def _encode_pieces(self, numbers: Array, missing: Array, x: Array) -> None:
        encoding, pieces = self._encoding, self._pieces[: len(x)]
        np.take(numbers, encoding.piece_of, axis=1, out=pieces, mode="clip")
        np.subtract(pieces, encoding.middle, out=pieces)
        np.multiply(pieces, encoding.slope, out=pieces)
        np.clip(pieces, -1, 1, out=x)
        if missing.any():
            np.copyto(x, encoding.piece_fill, where=missing[:, encoding.piece_of])


def encode(encoding: Encoding, kept: Array) -> Array:
    """Return the inputs of these rows."""
    x = np.empty((len(kept), encoding.width), kept.dtype)
    Encoder(encoding, len(kept), kept.shape[1], kept.dtype.name)(kept, x)
    return x
