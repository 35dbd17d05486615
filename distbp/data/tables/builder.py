"""The building of a data set from tables, in one pass: rows are held out, stored and counted in the statistics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from distbp.data.columns.column import Target, stored_rows
from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet, Rows
from distbp.data.formats.table import Table
from distbp.data.hold_out import held_out
from distbp.data.reading import Reading
from distbp.data.reporting import Note, Progress, silent
from distbp.data.tables.cells import check_size, numbers_of, pixels_of, values_of
from distbp.data.tables.chunks import Chunks, Mark
from distbp.data.tables.moments import Moments
from distbp.data.tables.schema import Schema, check_same_columns, schema_of
from distbp.data.tables.statistics import ColumnStatistics, with_prefix
from distbp.data.tables.stores import Store
from distbp.data.tables.target_column import TargetColumn
from distbp.errors import DataError
from distbp.randomness import Purpose


class DataSetBuilder:
    """Builds a data set from tables. It can be interrupted and continued after each chunk."""

    def __init__(self, tables: Sequence[Table], tests: Sequence[Table], reading: Reading, store: Store) -> None:
        """Settle the role and the kind of each column.

        Args:
            tables: of equal columns, read one after the other.
            tests: those with the test rows; empty if rows of ``tables`` are held out.
            reading: the settings of reading.
            store: collects the rows.
        """
        self.schema: Schema = schema_of(tables[0], reading)
        check_same_columns(tests, tables[0], self.schema, self.schema.test_columns)
        check_same_columns(tables, tables[0], self.schema, self.schema.all_columns)
        self._tables, self._tests = tables, tests
        self._reading, self._store = reading, store
        self._statistics = ColumnStatistics(self.schema.columns)
        self._target = TargetColumn(self.schema.target, self.schema.target_kind, reading.task)
        self._target_moments = Moments(1)
        self._chunk = 0
        self._in_tests = False
        self._mark: tuple[Mark, int, list[int]] | None = None

    def read(self, note: Note = silent, progress: Progress = silent, after_chunk: Callable[[], None] = silent) -> None:
        """Read the rest of the tables; ``after_chunk`` is called when :meth:`state` is consistent."""
        for table in (*self._tables, *self._tests):
            for text in table.notes:
                note(text)
        if not self._in_tests:
            self._read(self._tables, self._add, progress, after_chunk)
            self._in_tests, self._mark = True, None
        self._target.settle()
        if self._tests:
            self._read(self._tests, self._add_test, progress, after_chunk)
        for text in self._target.notes:
            note(text)

    def _read(
        self,
        tables: Sequence[Table],
        add: Callable[[Chunks, Any], None],
        progress: Progress,
        after_chunk: Callable[[], None],
    ) -> None:
        chunks = Chunks(tables, progress)
        if self._mark is not None:
            chunks.resume(*self._mark)
        for rows in chunks:
            add(chunks, rows)
            self._mark = (*_mark_after(chunks, rows.num_rows), chunks.starts())
            after_chunk()
        if not chunks.rows:
            raise DataError(f"{tables[0].name} holds no rows")

    def _add(self, chunks: Chunks, rows: Any) -> None:
        """Add a chunk of the training table; some of its rows may be held out."""
        y = self._target.read(rows[self.schema.target], chunks)
        weights = self._weights_of(rows, chunks)
        test, validation = self._split(y)
        train = ~(test | validation)
        stored = self._stored(chunks, rows, train)
        self._target.count(y[train])
        self._target_moments.add(y[train][None])
        for part, chosen in (("train", train), ("test", test), ("validation", validation)):
            if chosen.any():
                self._append(part, stored, y, weights if part != "test" else None, chosen)
        self._chunk += 1

    def _split(self, y: Array) -> tuple[Array, Array]:
        """Return which rows of a chunk belong to the test part, and which to the validation part."""
        reading, by_class = self._reading, self._target.are_classes(y)
        test = validation = np.zeros(len(y), bool)
        if not self._tests:
            test = held_out(y, reading.test_fraction, reading.seed, by_class, chunk=self._chunk)
        if reading.validation_fraction:
            rest = np.flatnonzero(~test)
            chosen = held_out(
                y[rest], reading.validation_fraction, reading.seed, by_class, Purpose.VALIDATION_SPLIT, self._chunk
            )
            validation = np.zeros(len(y), bool)
            validation[rest[chosen]] = True
        return test, validation

    def _add_test(self, chunks: Chunks, rows: Any) -> None:
        """Add a chunk of the test table."""
        y = self._target.read(rows[self.schema.target], chunks, is_test=True)
        self._append("test", self._stored(chunks, rows, None), y, None, np.ones(len(y), bool))

    def _append(self, part: str, stored: Array, y: Array, weights: Array | None, chosen: Array) -> None:
        takes_all = chosen.all()
        self._store.append(f"{part}-x", stored if takes_all else stored[chosen])
        self._store.append(f"{part}-targets", y if takes_all else y[chosen])
        if weights is not None:
            self._store.append(f"{part}-weights", weights[chosen].astype(self._reading.dtype))

    def _stored(self, chunks: Chunks, rows: Any, train: Array | None) -> Array:
        """Return the rows as they are stored; the rows in ``train`` are added to the statistics."""
        columns = self.schema.columns
        if self.schema.is_pixels:
            return pixels_of(rows, columns, chunks)
        values = values_of(rows, columns, self._statistics.codes, chunks, add_new=train is not None)
        check_size(values, columns, chunks, self._reading.dtype)
        if train is not None:
            self._statistics.add(values if train.all() else values[:, train])
        return stored_rows(values, self._statistics.stored_columns(), self._reading.dtype)

    def _weights_of(self, rows: Any, chunks: Chunks) -> Array | None:
        if self.schema.weights is None:
            return None
        weights = numbers_of(rows[self.schema.weights])
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            row = int(bad.argmax())
            what = "missing" if np.isnan(weights[row]) else f"{weights[row]:g}"
            where = f"{chunks.row_in_chunk(row)} column {self.schema.weights!r}"
            raise DataError(f"{where} is {what}: expected a weight of at least 0")
        return weights

    def finish(self, name: str) -> DataSet:
        """Return the data set."""
        task, classes = self._target.task, self._target.classes
        target = Target(self.schema.target)
        if task == "regression" and self._reading.standardise:
            moments = self._target_moments
            target = replace(target, mean=float(moments.mean[0]), deviation=float(moments.deviations()[0]))
        columns = self._statistics.final_columns(self._target.rows)
        preprocessing = Preprocessing(columns, target, self.schema.has_names)
        train, test, validation = (self._rows(part, preprocessing) for part in ("train", "test", "validation"))
        if train is None or test is None:
            raise DataError(f"{self._tables[0].name} has too few rows for a training and a test part")
        if train.weights is not None and not train.weights.any():
            raise DataError("all weights are 0: at least one row must count")
        return DataSet(name, task, train, test, classes, validation, preprocessing)

    def _rows(self, part: str, preprocessing: Preprocessing) -> Rows | None:
        target, dtype = preprocessing.target, self._reading.dtype

        def standardised(y: Array) -> Array:
            return ((y - target.mean) / target.deviation).astype(dtype)[:, None]

        convert = self._target.class_numbers if self._target.task == "classification" else standardised
        self._store.convert(f"{part}-targets", f"{part}-y", convert)
        x, y = self._store.array(f"{part}-x"), self._store.array(f"{part}-y")
        if x is None or y is None:
            return None
        factor = PIXEL_FACTOR if preprocessing.is_pixels else 1.0
        return Rows(x, y, factor, self._store.array(f"{part}-weights"), preprocessing.encoding(dtype))

    def state(self) -> tuple[dict[str, Array], dict[str, str]]:
        """Return what :meth:`restore` needs beside the stored rows: arrays and texts by name."""
        arrays, statistics = self._statistics.state()
        arrays |= {f"target.{name}": array for name, array in self._target_moments.state().items()}
        mark, done, starts = self._mark or (Mark(0, 0, 0, 0), 0, [0])
        content = {
            "mark": asdict(mark),
            "done": done,
            "starts": starts,
            "chunk": self._chunk,
            "in_tests": self._in_tests,
            "labels": self._target.state(),
            **statistics,
        }
        return arrays, {"building": json.dumps(content)}

    def restore(self, arrays: Mapping[str, Array], texts: Mapping[str, str]) -> None:
        """Continue from what :meth:`state` returned."""
        content = json.loads(texts["building"])
        self._statistics.restore(arrays, content)
        self._target_moments = Moments.from_state(with_prefix(arrays, "target"))
        self._chunk, self._in_tests = content["chunk"], content["in_tests"]
        self._mark = (Mark(**content["mark"]), content["done"], content["starts"])
        self._target.restore(content["labels"])


def _mark_after(chunks: Chunks, rows: int) -> tuple[Mark, int]:
    """Return the mark after the chunk of ``rows`` rows that was just added."""
    chunks.rows += rows
    try:
        return chunks.mark()
    finally:
        chunks.rows -= rows
