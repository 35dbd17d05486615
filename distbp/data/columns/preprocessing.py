"""What a model knows of the table it was trained on: what each column holds, and how it becomes numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from distbp.data.columns.column import _COLUMN, _TARGET, CATEGORY, PIXEL, Column, Target, _column
from distbp.data.columns.encoding import Encoding
from distbp.data.columns.summary import _told
from distbp.errors import DataError
from distbp.files.json_checks import flag, list_of, record


@dataclass(frozen=True)
class Preprocessing:
    """How rows of a table become numbers, in training and ever after."""

    columns: tuple[Column, ...]
    target: Target
    has_names: bool = True
    """Whether the training table had names for its columns; else they are numbers, counted from 0."""

    @property
    def is_pixels(self) -> bool:
        """Whether all features are unsigned bytes, which are kept as they are."""
        return all(column.kind == PIXEL for column in self.columns)

    @property
    def stored_columns(self) -> int:
        """Numbers per kept row."""
        if self.is_pixels:
            return sum(column.width for column in self.columns)
        return sum(len(column.numbers) for column in self.columns) + sum(c.kind == CATEGORY for c in self.columns)

    @property
    def inputs(self) -> int:
        """m_0, the numbers that a network sees of a row."""
        encoding = self.encoding("float32")
        return self.stored_columns if encoding is None else encoding.width

    def encoding(self, dtype: str) -> Encoding | None:
        """Return how kept rows become inputs; None for pixels."""
        if self.is_pixels:
            return None
        numbers = [number for column in self.columns for number in column.numbers]
        used = [place for place, number in enumerate(numbers) if number.is_used]
        categories = [column for column in self.columns if column.kind == CATEGORY]
        marked = [k for k, place in enumerate(used) if numbers[place].missing]
        chosen = [k for k, column in enumerate(categories) if column.is_used]
        pieces = [
            (k, low, high)
            for k, place in enumerate(used)
            for low, high in pairwise(np.subtract(numbers[place].knots, numbers[place].reference).tolist())
        ]
        piece_of = np.array([k for k, _, _ in pieces], np.intp)
        middle = np.array([(low + high) / 2 for _, low, high in pieces], dtype)
        slope = np.array([2 / (high - low) for _, low, high in pieces], dtype)
        first: list[int] = []
        inputs: list[int] = []
        width = len(used) + len(marked) + len(pieces)
        for k in chosen:
            places = {value: width + place for place, value in enumerate(categories[k].kept)}
            unknown = width + len(places)
            first.append(len(inputs) + 1)
            inputs += [unknown, *(places.get(value, unknown) for value in categories[k].values)]
            width = unknown + 1
        centre = np.array([numbers[place].mean - numbers[place].reference for place in used], dtype)
        scale = np.array([1 / numbers[place].deviation for place in used], dtype)
        median = np.array([numbers[place].median - numbers[place].reference for place in used], dtype)
        if not width:
            raise DataError("no column varies from row to row: there is nothing to learn from")
        return Encoding(
            np.array(used, np.intp),
            centre,
            scale,
            (median - centre) * scale,
            np.array(marked, np.intp),
            piece_of,
            middle,
            slope,
            np.clip((median[piece_of] - middle) * slope, -1, 1),
            np.array([len(numbers) + k for k in chosen], np.intp),
            np.array(first, np.intp),
            np.array(inputs, np.intp),
            width,
        )

    def with_target(self, mean: float, deviation: float) -> Preprocessing:
        """Return this with what the target's values are standardised by."""
        return replace(self, target=replace(self.target, mean=mean, deviation=deviation))

    def described(self) -> list[tuple[str, str, str]]:
        """Return name, kind and what is done with each column, to be printed as a table."""
        if self.is_pixels and len(self.columns) > 3:
            one = ("", f"{len(self.columns)} columns of pixels", "0..255 scaled to 0..1")
            return [one]
        return [(column.name, column.kind, _told(column)) for column in self.columns]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Return what :meth:`to_json` gave.

        Raises:
            Unexpected: it is damaged.
        """
        _CONTENT(content, "preprocessing")
        columns = tuple(_column(told) for told in content["columns"])
        return cls(columns, Target(**content["target"]), content["has_names"])


_CONTENT = record({"columns": list_of(_COLUMN, 1), "target": _TARGET, "has_names": flag})
