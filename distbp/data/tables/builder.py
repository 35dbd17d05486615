"""From tables to the parts of a data set, read once: rows are held out, kept, and what they hold is counted up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from distbp.data.columns.column import CATEGORY, Column, Target, stored_rows
from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet, Rows
from distbp.data.formats.table import Table
from distbp.data.hold_out import held_out
from distbp.data.reading import Reading
from distbp.data.reporting import Note, Progress, silent
from distbp.data.tables.cells import Codes, numbers_of, pixels_of, refuse_large, values_of
from distbp.data.tables.chunks import Chunks, Mark
from distbp.data.tables.moments import Moments, knots_of
from distbp.data.tables.schema import Schema, check_same_columns, schema_of
from distbp.data.tables.stores import Store
from distbp.data.tables.target_column import TargetColumn
from distbp.errors import DataError
from distbp.randomness import Purpose

_PIECES = 6
_MOST_INPUTS = 256
"""Categories of a column that get an input of their own, the most frequent ones."""


class DataSetBuilder:
    """A data set that is being built from tables; it can be left and gone on with after every chunk."""

    def __init__(self, tables: Sequence[Table], tests: Sequence[Table], reading: Reading, parts: Store) -> None:
        """Find out what the tables hold.

        Args:
            tables: of equal columns, taken one after the other.
            tests: those with the test rows; empty if rows of ``tables`` are held out.
            reading: what was said of how to read them.
            parts: takes in the rows.
        """
        self.schema: Schema = schema_of(tables[0], reading)
        check_same_columns(tests, tables[0], self.schema, self.schema.wanted_of_test)
        check_same_columns(tables, tables[0], self.schema, self.schema.wanted)
        self._tables, self._tests = tables, tests
        self._reading, self._parts = reading, parts
        self._codes: dict[str, Codes] = {c.name: {} for c in self.schema.columns if c.kind == CATEGORY}
        self._counts: dict[str, Array] = {name: np.zeros(0) for name in self._codes}
        self._numbers = sum(len(column.numbers) for column in self.schema.columns)
        self._moments = Moments(self._numbers)
        self._of_target = Moments(1)
        self.labels = TargetColumn(self.schema.target, self.schema.target_kind, reading.task)
        self._columns: tuple[Column, ...] = ()
        self._chunk = 0
        self._in_tests = False
        self._mark: tuple[Mark, int, list[int]] | None = None

    def read(self, note: Note = silent, progress: Progress = silent, kept: Callable[[], None] = silent) -> None:
        """Read all that is left; ``kept`` is called after each chunk, when :meth:`state` can be kept."""
        for table in (*self._tables, *self._tests):
            for text in table.notes:
                note(text)
        if not self._in_tests:
            self._read(self._tables, self._add, progress, kept)
            self._in_tests, self._mark = True, None
        self.labels.settle()
        if self._tests:
            self._read(self._tests, self._add_test, progress, kept)
        for text in self.labels.notes:
            note(text)

    def _read(
        self,
        tables: Sequence[Table],
        add: Callable[[Chunks, Any], None],
        progress: Progress,
        kept: Callable[[], None],
    ) -> None:
        chunks = Chunks(tables, progress)
        if self._mark is not None:
            chunks.go_on(*self._mark)
        for rows in chunks:
            add(chunks, rows)
            self._mark = (*_after(chunks, rows.num_rows), chunks.starts())
            kept()
        if not chunks.rows:
            raise DataError(f"{tables[0].name} holds no rows")

    def _add(self, chunks: Chunks, rows: Any) -> None:
        """Take in a chunk of the training table, some of whose rows may be held out."""
        reading = self._reading
        y = self.labels.of(rows[self.schema.target], chunks)
        weights = self._weights_of(rows, chunks)
        by_class = self.labels.are_classes(y)
        test = validation = np.zeros(len(y), bool)
        if not self._tests:
            test = held_out(y, reading.test_fraction, reading.seed, by_class, place=self._chunk)
        if reading.validation_fraction:
            left = np.flatnonzero(~test)
            chosen = held_out(
                y[left], reading.validation_fraction, reading.seed, by_class, Purpose.VALIDATION_SPLIT, self._chunk
            )
            validation = np.zeros(len(y), bool)
            validation[left[chosen]] = True
        train = ~(test | validation)
        kept = self._kept(chunks, rows, train)
        self.labels.count(y[train])
        self._of_target.add(y[train][None])
        for part, chosen in (("train", train), ("test", test), ("validation", validation)):
            if chosen.any():
                self._append(part, kept, y, weights if part != "test" else None, chosen)
        self._chunk += 1

    def _add_test(self, chunks: Chunks, rows: Any) -> None:
        """Take in a chunk of the test table."""
        y = self.labels.of(rows[self.schema.target], chunks, is_test=True)
        self._append("test", self._kept(chunks, rows, None), y, None, np.ones(len(y), bool))

    def _append(self, part: str, kept: Array, y: Array, weights: Array | None, chosen: Array) -> None:
        whole = chosen.all()
        self._parts.append(f"{part}-x", kept if whole else kept[chosen])
        self._parts.append(f"{part}-targets", y if whole else y[chosen])
        if weights is not None:
            self._parts.append(f"{part}-weights", weights[chosen].astype(self._reading.dtype))

    def _kept(self, chunks: Chunks, rows: Any, train: Array | None) -> Array:
        """Return the rows as they are kept; those of ``train`` count for the statistics."""
        columns = self.schema.columns
        if self.schema.is_pixels:
            return pixels_of(rows, columns, chunks)
        values = values_of(rows, columns, self._codes, chunks, grow=train is not None)
        refuse_large(values, columns, chunks, self._reading.dtype)
        if train is not None:
            seen = values if train.all() else values[:, train]
            self._moments.add(seen[: self._numbers])
            for k, name in enumerate(self._codes):
                codes = seen[self._numbers + k]
                found = np.bincount(codes[codes >= 0].astype(np.intp), minlength=len(self._codes[name])).astype(float)
                found[: len(self._counts[name])] += self._counts[name]
                self._counts[name] = found
        if not self._columns:
            self._columns = self._with_references()
        return stored_rows(values, self._columns, self._reading.dtype)

    def _with_references(self) -> tuple[Column, ...]:
        """Return the columns with numbers near which theirs are: the means of the first chunk's training rows."""
        means = iter(self._moments.mean.tolist())
        return tuple(
            replace(column, numbers=tuple(replace(number, reference=next(means)) for number in column.numbers))
            for column in self.schema.columns
        )

    def _weights_of(self, rows: Any, chunks: Chunks) -> Array | None:
        if self.schema.weights is None:
            return None
        weights = numbers_of(rows[self.schema.weights])
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            row = int(bad.argmax())
            what = "missing" if np.isnan(weights[row]) else f"{weights[row]:g}"
            where = f"{chunks.here(row)} column {self.schema.weights!r}"
            raise DataError(f"{where} is {what}: a row counts a number of at least 0")
        return weights

    def finish(self, name: str) -> DataSet:
        """Return the data set."""
        reading, labels = self._reading, self.labels
        scaled = labels.task == "regression" and reading.standardise
        target = Target(self.schema.target)
        if scaled:
            target = replace(
                target, mean=float(self._of_target.mean[0]), deviation=float(self._of_target.deviations()[0])
            )
        preprocessing = Preprocessing(self._settled_columns(), target, self.schema.has_names)
        rows = {part: self._rows(part, preprocessing) for part in ("train", "test", "validation")}
        if rows["train"] is None or rows["test"] is None:
            raise DataError(f"{self._tables[0].name} has too few rows for a training and a test part")
        weights = rows["train"].weights
        if weights is not None and not weights.any():
            raise DataError("all weights are 0: at least one row must count")
        return DataSet(
            name, labels.task, rows["train"], rows["test"], labels.classes, rows["validation"], preprocessing
        )

    def _rows(self, part: str, preprocessing: Preprocessing) -> Rows | None:
        target, dtype = preprocessing.target, self._reading.dtype

        def values(y: Array) -> Array:
            return ((y - target.mean) / target.deviation).astype(dtype)[:, None]

        self._parts.convert(
            f"{part}-targets", f"{part}-y", self.labels.numbers if self.labels.task == "classification" else values
        )
        x, y = self._parts.array(f"{part}-x"), self._parts.array(f"{part}-y")
        if x is None or y is None:
            return None
        factor = PIXEL_FACTOR if preprocessing.is_pixels else 1.0
        return Rows(x, y, factor, self._parts.array(f"{part}-weights"), preprocessing.encoding(dtype))

    def _settled_columns(self) -> tuple[Column, ...]:
        """Return the columns with all that the training rows told of them."""
        moments = self._moments
        deviations, quantiles = moments.deviations(), moments.quantiles(_PIECES)
        missing = moments.rows - moments.count
        settled, place = [], 0
        for column in self._columns or self.schema.columns:
            numbers = []
            for number in column.numbers:
                is_plain = column.kind == "boolean"
                numbers.append(
                    replace(
                        number,
                        reference=0.0 if is_plain and not number.reference else number.reference,
                        mean=0.0 if is_plain else float(moments.mean[place]),
                        deviation=1.0 if is_plain else float(deviations[place]),
                        median=float(quantiles[place][_PIECES // 2]),
                        knots=() if is_plain else knots_of(quantiles[place]),
                        missing=int(missing[place]),
                        is_used=bool(moments.varies[place] or 0 < missing[place] < moments.rows),
                    )
                )
                place += 1
            if column.kind == CATEGORY:
                column = replace(column, values=tuple(self._codes[column.name]), kept=self._kept_values(column.name))
            settled.append(replace(column, numbers=tuple(numbers)))
        return tuple(settled)

    def _kept_values(self, name: str) -> tuple[str, ...]:
        """Return the categories that get an input of their own, sorted; none where all training rows are the same."""
        values, counts = list(self._codes[name]), self._counts[name]
        order = np.argsort(-counts, kind="stable")[:_MOST_INPUTS]
        chosen = [values[k] for k in order if counts[k] > 0]
        rows = self._moments.rows if self._numbers else self.labels.rows
        if len(chosen) == 1 and counts.sum() == rows:
            return ()
        return tuple(sorted(chosen))

    def state(self) -> tuple[dict[str, Array], dict[str, str]]:
        """Return what is needed to go on, beside the parts: arrays and texts by name."""
        arrays = {f"moments.{name}": array for name, array in self._moments.state().items()}
        arrays |= {f"target.{name}": array for name, array in self._of_target.state().items()}
        arrays |= {f"counts.{k}": array for k, array in enumerate(self._counts.values())}
        mark, done, starts = self._mark or (Mark(0, 0, 0, 0), 0, [0])
        told = {
            "mark": asdict(mark), "done": done, "starts": starts, "chunk": self._chunk, "in_tests": self._in_tests,
            "codes": {name: list(codes) for name, codes in self._codes.items()}, "labels": self.labels.state(),
            "columns": Preprocessing(self._columns, Target("")).to_json(),
        }  # fmt: skip
        return arrays, {"building": json.dumps(told)}

    def go_on(self, arrays: Mapping[str, Array], texts: Mapping[str, str]) -> None:
        """Go on from what :meth:`state` gave."""
        told = json.loads(texts["building"])

        def of(prefix: str) -> dict[str, Array]:
            return {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(prefix + ".")}

        self._moments, self._of_target = Moments.from_state(of("moments")), Moments.from_state(of("target"))
        self._codes = {name: {v: k for k, v in enumerate(values)} for name, values in told["codes"].items()}
        self._counts = {name: of("counts")[str(k)].copy() for k, name in enumerate(self._codes)}
        self._columns = Preprocessing.from_json(told["columns"]).columns
        self._chunk, self._in_tests = told["chunk"], told["in_tests"]
        self._mark = (Mark(**told["mark"]), told["done"], told["starts"])
        self.labels.go_on(told["labels"])


def _after(chunks: Chunks, rows: int) -> tuple[Mark, int]:
    """Return where to go on after the chunk of so many rows that was just taken in."""
    chunks.rows += rows
    try:
        return chunks.mark()
    finally:
        chunks.rows -= rows
