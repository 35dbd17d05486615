"""Statistics of the feature columns of a table, over its training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distbp.data.columns.column import BOOLEAN, CATEGORY, Column, Number, Target
from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import Array
from distbp.data.tables.cells import Codes
from distbp.data.tables.moments import Moments, knots_of

_PIECES = 6
_MOST_INPUTS = 256
"""Categories of a column that get an input of their own, the most frequent ones."""


class ColumnStatistics:
    """Moments of numbers and counts of categories; they are added chunk by chunk."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.codes: dict[str, Codes] = {column.name: {} for column in columns if column.kind == CATEGORY}
        """The codes of each category column, which grow while training rows are read."""
        self._columns = columns
        self._counts: dict[str, Array] = {name: np.zeros(0) for name in self.codes}
        self._numbers = sum(len(column.numbers) for column in columns)
        self._moments = Moments(self._numbers)
        self._stored: tuple[Column, ...] = ()

    def add(self, values: Array) -> None:
        """Add training rows, shape (stored columns, rows)."""
        self._moments.add(values[: self._numbers])
        for k, name in enumerate(self.codes):
            codes = values[self._numbers + k]
            counts = np.bincount(codes[codes >= 0].astype(np.intp), minlength=len(self.codes[name])).astype(float)
            counts[: len(self._counts[name])] += self._counts[name]
            self._counts[name] = counts

    def stored_columns(self) -> tuple[Column, ...]:
        """Return the columns with the references of their numbers: the means of the first chunk's training rows."""
        if not self._stored:
            means = iter(self._moments.mean.tolist())
            self._stored = tuple(
                replace(column, numbers=tuple(replace(number, reference=next(means)) for number in column.numbers))
                for column in self._columns
            )
        return self._stored

    def final_columns(self, rows: int) -> tuple[Column, ...]:
        """Return the columns with all statistics; ``rows`` is the number of training rows."""
        settled: list[Column] = []
        numbers = iter(self._final_numbers())
        for column in self._stored or self._columns:
            if column.kind == CATEGORY:
                kept = self._frequent_categories(column.name, self._moments.rows if self._numbers else rows)
                column = replace(column, values=tuple(self.codes[column.name]), kept=kept)
            settled.append(replace(column, numbers=tuple(next(numbers) for _ in column.numbers)))
        return tuple(settled)

    def _final_numbers(self) -> list[Number]:
        moments = self._moments
        deviations, quantiles = moments.deviations(), moments.quantiles(_PIECES)
        missing = moments.rows - moments.count
        settled: list[Number] = []
        for column in self._stored or self._columns:
            is_boolean = column.kind == BOOLEAN
            for number in column.numbers:
                k = len(settled)
                settled.append(
                    replace(
                        number,
                        reference=0.0 if is_boolean and not number.reference else number.reference,
                        mean=0.0 if is_boolean else float(moments.mean[k]),
                        deviation=1.0 if is_boolean else float(deviations[k]),
                        median=float(quantiles[k][_PIECES // 2]),
                        knots=() if is_boolean else knots_of(quantiles[k]),
                        missing=int(missing[k]),
                        is_used=bool(moments.varies[k] or 0 < missing[k] < moments.rows),
                    )
                )
        return settled

    def _frequent_categories(self, name: str, rows: int) -> tuple[str, ...]:
        """Return the categories that get an input of their own, sorted; none if all training rows are the same."""
        values, counts = list(self.codes[name]), self._counts[name]
        order = np.argsort(-counts, kind="stable")[:_MOST_INPUTS]
        frequent = [values[k] for k in order if counts[k] > 0]
        if len(frequent) == 1 and counts.sum() == rows:
            return ()
        return tuple(sorted(frequent))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return what :meth:`restore` needs: arrays by name, and JSON."""
        arrays = {f"moments.{name}": array for name, array in self._moments.state().items()}
        arrays |= {f"counts.{k}": array for k, array in enumerate(self._counts.values())}
        codes = {name: list(codes) for name, codes in self.codes.items()}
        return arrays, {"codes": codes, "columns": Preprocessing(self._stored, Target("")).to_json()}

    def restore(self, arrays: Mapping[str, Array], content: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        self._moments = Moments.from_state(with_prefix(arrays, "moments"))
        self.codes = {name: {v: k for k, v in enumerate(values)} for name, values in content["codes"].items()}
        self._counts = {name: arrays[f"counts.{k}"].copy() for k, name in enumerate(self.codes)}
        self._stored = Preprocessing.from_json(content["columns"]).columns


def with_prefix(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names begin with ``prefix`` and a dot, by the rest of their names."""
    return {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{prefix}.")}
