"""The preprocessing of a table that a model was trained on: its columns, and the encoding that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from distbp.data.columns.column import (
    CATEGORY,
    COLUMN_JSON,
    PIXEL,
    TARGET_JSON,
    Column,
    Number,
    Target,
    column_from_json,
)
from distbp.data.columns.encoding import CategoryEncoding, Encoding, NumberEncoding, PieceEncoding
from distbp.data.columns.summary import PIXELS_SCALED, treatment
from distbp.errors import DataError
from distbp.files.json_checks import flag, list_of, record

_CONTENT = record({"columns": list_of(COLUMN_JSON, 1), "target": TARGET_JSON, "has_names": flag})


@dataclass(frozen=True)
class Preprocessing:
    """How rows of a table become numbers, in training and for every prediction after it."""

    columns: tuple[Column, ...]
    target: Target
    has_names: bool = True
    """Whether the training table named its columns; otherwise their names are numbers, counted from 0."""

    @property
    def is_pixels(self) -> bool:
        """Whether all features are unsigned bytes, which are stored as they are."""
        return all(column.kind == PIXEL for column in self.columns)

    @property
    def stored_columns(self) -> int:
        """Numbers per stored row."""
        if self.is_pixels:
            return sum(column.width for column in self.columns)
        return sum(len(column.numbers) for column in self.columns) + sum(c.kind == CATEGORY for c in self.columns)

    @property
    def inputs(self) -> int:
        """m_0, the number of the network's inputs."""
        encoding = self.encoding("float32")
        return self.stored_columns if encoding is None else encoding.width

    def encoding(self, dtype: str) -> Encoding | None:
        """Return the encoding of stored rows as inputs; None for pixels.

        Raises:
            DataError: no column varies.
        """
        if self.is_pixels:
            return None
        all_numbers = [number for column in self.columns for number in column.numbers]
        positions = [position for position, number in enumerate(all_numbers) if number.is_used]
        numbers = _number_encoding([all_numbers[position] for position in positions], positions, dtype)
        pieces = _piece_encoding([all_numbers[position] for position in positions], dtype)
        width = len(positions) + len(numbers.marked) + len(pieces.number)
        categories, width = _category_encoding(self.columns, len(all_numbers), width)
        if not width:
            raise DataError("no column varies from row to row: there is nothing to learn from")
        return Encoding(numbers, pieces, categories, width)

    def described(self) -> list[tuple[str, str, str]]:
        """Return the name, kind and treatment of each column, for a printed table."""
        if self.is_pixels and len(self.columns) > 3:
            return [("", f"{len(self.columns)} columns of pixels", PIXELS_SCALED)]
        return [(column.name, column.kind, treatment(column)) for column in self.columns]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Return the preprocessing that :meth:`to_json` wrote.

        Raises:
            Unexpected: it is damaged.
        """
        _CONTENT(content, "preprocessing")
        columns = tuple(column_from_json(column) for column in content["columns"])
        return cls(columns, Target(**content["target"]), content["has_names"])


def _number_encoding(numbers: Sequence[Number], positions: Sequence[int], dtype: str) -> NumberEncoding:
    centre = np.array([number.mean - number.reference for number in numbers], dtype)
    scale = np.array([1 / number.deviation for number in numbers], dtype)
    marked = [k for k, number in enumerate(numbers) if number.missing]
    fill = (_medians(numbers, dtype) - centre) * scale
    return NumberEncoding(np.array(positions, np.intp), centre, scale, fill, np.array(marked, np.intp))


def _piece_encoding(numbers: Sequence[Number], dtype: str) -> PieceEncoding:
    pieces = [
        (k, low, high)
        for k, number in enumerate(numbers)
        for low, high in pairwise(np.subtract(number.knots, number.reference).tolist())
    ]
    number_of = np.array([k for k, _, _ in pieces], np.intp)
    middle = np.array([(low + high) / 2 for _, low, high in pieces], dtype)
    slope = np.array([2 / (high - low) for _, low, high in pieces], dtype)
    fill = np.clip((_medians(numbers, dtype)[number_of] - middle) * slope, -1, 1)
    return PieceEncoding(number_of, middle, slope, fill)


def _medians(numbers: Sequence[Number], dtype: str) -> Any:
    """Return the median of each number as it is stored."""
    return np.array([number.median - number.reference for number in numbers], dtype)


def _category_encoding(columns: Sequence[Column], first: int, width: int) -> tuple[CategoryEncoding, int]:
    """Return the encoding of the categories, and the number of inputs including theirs.

    Args:
        columns: all feature columns.
        first: position of the first category in a stored row.
        width: number of inputs before those of the categories.
    """
    positions: list[int] = []
    offsets: list[int] = []
    inputs: list[int] = []
    categories = [column for column in columns if column.kind == CATEGORY]
    for position, column in enumerate(categories, start=first):
        if not column.is_used:
            continue
        input_of = {value: width + k for k, value in enumerate(column.kept)}
        unknown = width + len(input_of)
        positions.append(position)
        offsets.append(len(inputs) + 1)
        inputs += [unknown, *(input_of.get(value, unknown) for value in column.values)]
        width = unknown + 1
    arrays = (np.array(each, np.intp) for each in (positions, offsets, inputs))
    return CategoryEncoding(*arrays), width
