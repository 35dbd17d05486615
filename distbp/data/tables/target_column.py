"""The target column of a table: its cells, the task that they imply, and the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.kinds import BOOLEAN, INTEGER, NUMBER, PIXEL, TEXT
from distbp.data.tables.cells import LARGEST, Codes, category_codes, numbers_of
from distbp.data.tables.chunks import Chunks
from distbp.data.targets import shown_classes
from distbp.errors import DataError

_MOST_CLASSES_GUESSED = 20
_MOST_CLASSES = 1 << 16
_LARGEST_WHOLE = 1 << 53


class TargetColumn:
    """Reads the targets of a table. They are stored as numbers; text is stored as codes in order of appearance."""

    def __init__(self, name: str, kind: str, task: str | None) -> None:
        self.name, self.kind = name, kind
        self.task = task or ""
        """Classification or regression; empty until :meth:`settle` if the user chose none."""
        self.classes: tuple[Any, ...] = ()
        self.notes: list[str] = []
        self.rows = 0
        """Training rows that were counted."""
        self._chosen_task = task
        self._codes: Codes = {}
        self._values: set[float] = set()
        """Distinct targets of the training rows, as long as they may be classes."""
        self._may_be_classes = True
        self._drops_stop = False
        """Whether the targets of the test file end in a full stop, unlike those of the training file."""
        if task == "regression" and kind == TEXT:
            raise DataError(f"the target column {name!r} holds text: values to predict are numbers")

    def read(self, cells: Any, chunks: Chunks, is_test: bool = False) -> Array:
        """Return the targets of the current chunk.

        Raises:
            DataError: a target is missing or infinite, or is a class of the test table that training does not have.
        """
        y = self._codes_of(cells, is_test) if self.kind == TEXT else numbers_of(cells)
        missing = cells.is_null().to_numpy() if cells.null_count else np.isnan(y)
        if self.kind == TEXT and not is_test:
            missing = y < 0
        bad = missing | (np.abs(y) > LARGEST["float64"])
        if bad.any():
            row = int(bad.argmax())
            is_large = not missing[row] and np.isfinite(y[row])
            what = "missing" if missing[row] else f"{y[row]:g}"
            why = f"expected at most {LARGEST['float64']:g} in size" if is_large else "every row needs a target"
            raise DataError(f"{self._where(chunks, row)} is {what}: {why}; correct it or leave the row out")
        if is_test and self.task == "classification":
            self._refuse_unknown(y, cells, chunks)
        return y

    def _where(self, chunks: Chunks, row: int) -> str:
        return f"{chunks.row_in_chunk(row)} column {self.name!r}"

    def _codes_of(self, cells: Any, is_test: bool) -> Array:
        """Return the codes of text; targets of a test file may all carry a full stop, as UCI's do."""
        if not is_test:
            y = category_codes(cells, self._codes, add_new=True, most=_MOST_CLASSES)
            if len(self._codes) >= _MOST_CLASSES:
                raise DataError(f"the target column {self.name!r} holds more than {_MOST_CLASSES} different texts")
            return y
        with_stop = {f"{text}.": code for text, code in self._codes.items()}
        if self._drops_stop:
            return category_codes(cells, with_stop)
        y = category_codes(cells, self._codes)
        if (y < 0).all():
            again = category_codes(cells, with_stop)
            if (again >= 0).all():
                self._drops_stop = True
                self.notes.append(
                    f"the full stop after every target (column {self.name!r}) of the test file is dropped"
                )
                return again
        return y

    def _refuse_unknown(self, y: Array, cells: Any, chunks: Chunks) -> None:
        known = np.array(sorted(self._values))
        unknown = ~np.isin(y, known)
        if unknown.any():
            row = int(unknown.argmax())
            raise DataError(
                f"{self._where(chunks, row)} is {cells[row].as_py()!r}, which is none of the training classes "
                f"{shown_classes(self.classes)}"
            )

    def are_classes(self, y: Array) -> bool:
        """Return whether these targets are classes, by the chosen task or by their kind and number."""
        if self._chosen_task is not None:
            return self._chosen_task == "classification"
        if self.kind in (TEXT, BOOLEAN):
            return True
        return self.kind in (INTEGER, PIXEL) and self._may_be_classes and len(np.unique(y)) <= _MOST_CLASSES_GUESSED

    def count(self, y: Array) -> None:
        """Count the targets of training rows."""
        self.rows += len(y)
        is_regression = self._chosen_task == "regression" or (self._chosen_task is None and self.kind == NUMBER)
        if not self._may_be_classes or is_regression:
            return
        self._values.update(np.unique(y).tolist())
        if self._chosen_task is None and self.kind in (INTEGER, PIXEL):
            # whole numbers in the first table may be followed by fractions in the second
            few = len(self._values) <= _MOST_CLASSES_GUESSED
            self._may_be_classes = few and bool((y == np.floor(y)).all())
        if len(self._values) > _MOST_CLASSES:
            raise DataError(f"the target column {self.name!r} holds more than {_MOST_CLASSES} different values")

    def settle(self) -> None:
        """Settle the task and the classes, after all training rows were counted."""
        has_classes = self.kind in (TEXT, BOOLEAN) or (self.kind in (INTEGER, PIXEL) and self._may_be_classes)
        self.task = self._chosen_task or ("classification" if has_classes else "regression")
        if self.task == "regression":
            return
        if self.kind == TEXT:
            texts = list(self._codes)
            self.classes = tuple(sorted(texts[int(code)] for code in self._values))
        elif self.kind == BOOLEAN:
            self.classes = tuple(bool(number) for number in sorted(self._values))
        elif max(map(abs, self._values)) >= _LARGEST_WHOLE:
            raise DataError(
                f"the target column {self.name!r} holds classes of 2^53 and more, which floating-point numbers cannot "
                "tell apart: write them as text, with a letter"
            )
        elif all(number == int(number) for number in self._values):
            self.classes = tuple(int(number) for number in sorted(self._values))
        else:
            self.classes = tuple(sorted(self._values))
        if len(self.classes) < 2:
            raise DataError(
                f"all training rows are of class {self.classes[0]!r} (column {self.name!r}): at least two classes are "
                "needed"
            )

    def class_numbers(self, y: Array) -> Array:
        """Return the class numbers 0..K-1 of stored targets."""
        if self.kind == TEXT:
            number_of = {text: number for number, text in enumerate(self.classes)}
            numbers = np.array([number_of.get(text, -1) for text in self._codes], np.int64)
            result: Array = numbers[y.astype(np.intp)]
            return result
        return np.searchsorted(np.array(sorted(self._values)), y).astype(np.int64)

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs, as JSON's types."""
        return {
            "codes": list(self._codes),
            "found": sorted(self._values),
            "open": self._may_be_classes,
            "rows": self.rows,
            "stop": self._drops_stop,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        self._codes = {text: code for code, text in enumerate(state["codes"])}
        self._values, self._may_be_classes = set(state["found"]), state["open"]
        self.rows, self._drops_stop = state["rows"], state["stop"]
