"""The encoding of stored table rows as inputs of a network: standardised numbers, pieces, indicators, one-hot codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class NumberEncoding:
    """Standardised numbers: an input is (stored - centre) * scale."""

    positions: Array
    """Positions in a stored row of the numbers that are used."""
    centre: Array
    scale: Array
    fill: Array
    """Input of a missing number."""
    marked: Array
    """Indices of the numbers that also have an indicator input, which is 1 where the number is missing."""


@dataclass(frozen=True)
class PieceEncoding:
    """Pieces of numbers: an input is (stored - middle) * slope, clipped to [-1, 1]."""

    number: Array
    """For each piece, the index of its number among the used numbers."""
    middle: Array
    slope: Array
    fill: Array
    """Input where the number is missing."""


@dataclass(frozen=True)
class CategoryEncoding:
    """One-hot categories: each code has one input that is 1."""

    positions: Array
    """Positions in a stored row of the categories that are used."""
    offsets: Array
    """Index into ``inputs`` of each category's code 0; code -1 stands just before it."""
    inputs: Array
    """Input index of each code, category by category; each category starts with code -1."""


@dataclass(frozen=True)
class Encoding:
    """How stored rows become inputs: numbers standardised, missing ones filled and marked, categories one-hot.

    Beside its standardised value, a number has an input for each of its pieces, the sixths of the training rows: -1
    below the piece, 1 above it, and linear within (piecewise linear encoding; Gorishniy, Rubachev and Babenko, "On
    embeddings for numerical features in tabular deep learning", 2022). This shows heavy tails and fine structure to the
    network.

    A stored row holds its numbers, NaN where missing, then one code per category, -1 where missing or unknown.
    """

    numbers: NumberEncoding
    pieces: PieceEncoding
    categories: CategoryEncoding
    width: int
    """m_0, the number of inputs."""


class Encoder:
    """Encodes up to ``capacity`` rows at a time into a given array, without allocating memory."""

    def __init__(self, encoding: Encoding, capacity: int, stored_columns: int, dtype: str) -> None:
        self._encoding = encoding
        positions = encoding.numbers.positions
        count, categories = len(positions), len(encoding.categories.positions)
        takes_first = np.array_equal(positions, np.arange(count))
        self._numbers = None if takes_first else np.empty((capacity, count), dtype)
        self._missing = np.empty((capacity, count), bool)
        self._marked = np.empty((capacity, len(encoding.numbers.marked)), bool)
        self._pieces = np.empty((capacity, len(encoding.pieces.number)), dtype)
        self._codes = np.empty((capacity, categories), dtype)
        self._hot = np.empty((capacity, categories), np.intp)
        self._row_starts = np.arange(capacity)[:, None] * encoding.width

    def __call__(self, stored: Array, x: Array) -> None:
        """Write the inputs of ``stored``, shape (rows, stored columns), to ``x``, shape (rows, m_0), C-contiguous."""
        with np.errstate(over="ignore", invalid="ignore"):  # the step itself reports inputs that are not finite
            self._encode(stored, x)

    def _encode(self, stored: Array, x: Array) -> None:
        encoding, rows = self._encoding.numbers, len(stored)
        count, marks = len(encoding.positions), len(encoding.marked)
        source = stored[:, :count]
        if self._numbers is not None:
            source = np.take(stored, encoding.positions, axis=1, out=self._numbers[:rows], mode="clip")
        numbers, missing = x[:, :count], self._missing[:rows]
        np.subtract(source, encoding.centre, out=numbers)
        np.multiply(numbers, encoding.scale, out=numbers)
        np.isnan(numbers, out=missing)
        if missing.any():
            np.copyto(numbers, encoding.fill, where=missing)
        if marks:
            marked = np.take(missing, encoding.marked, axis=1, out=self._marked[:rows], mode="clip")
            np.copyto(x[:, count : count + marks], marked)
        pieces = len(self._encoding.pieces.number)
        if pieces:
            self._encode_pieces(source, missing, x[:, count + marks : count + marks + pieces])
        if len(self._encoding.categories.positions):
            x[:, count + marks + pieces :] = 0
            self._encode_categories(stored, x)

    def _encode_pieces(self, numbers: Array, missing: Array, x: Array) -> None:
        encoding, pieces = self._encoding.pieces, self._pieces[: len(x)]
        np.take(numbers, encoding.number, axis=1, out=pieces, mode="clip")
        np.subtract(pieces, encoding.middle, out=pieces)
        np.multiply(pieces, encoding.slope, out=pieces)
        np.clip(pieces, -1, 1, out=x)
        if missing.any():
            np.copyto(x, encoding.fill, where=missing[:, encoding.number])

    def _encode_categories(self, stored: Array, x: Array) -> None:
        """Write a 1 for each code; ``x`` holds 0 for all inputs of categories."""
        encoding, rows = self._encoding.categories, len(stored)
        codes, hot = self._codes[:rows], self._hot[:rows]
        np.take(stored, encoding.positions, axis=1, out=codes, mode="clip")
        np.copyto(hot, codes, casting="unsafe")
        np.add(hot, encoding.offsets, out=hot)
        np.take(encoding.inputs, hot, out=hot, mode="clip")
        np.add(hot, self._row_starts[:rows], out=hot)
        x.reshape(-1)[hot] = 1


def encode(encoding: Encoding, stored: Array) -> Array:
    """Return the inputs of these stored rows."""
    x = np.empty((len(stored), encoding.width), stored.dtype)
    Encoder(encoding, len(stored), stored.shape[1], stored.dtype.name)(stored, x)
    return x
