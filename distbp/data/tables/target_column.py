"""The cells of a target column: classes or values, which classes there are, and what is wrong with a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.kinds import BOOLEAN, INTEGER, PIXEL, TEXT
from distbp.data.tables.cells import LARGEST, Codes, category_codes, numbers_of
from distbp.data.tables.chunks import Chunks
from distbp.data.targets import shown_classes
from distbp.errors import DataError

_MOST_CLASSES_GUESSED = 20
_MOST_CLASSES = 1 << 16
_LARGEST_WHOLE = 1 << 53


class TargetColumn:
    """The targets of a data set that is being read. They are kept as numbers; text as codes in order of appearance."""

    def __init__(self, name: str, kind: str, task: str | None) -> None:
        self.name, self.kind = name, kind
        self.task = task or ""
        """Classification or regression, once that is settled."""
        self.classes: tuple[Any, ...] = ()
        self.notes: list[str] = []
        self.rows = 0
        self._asked = task
        self._codes: Codes = {}
        self._found: set[float] = set()
        """The different targets of the training rows, as far as they may be classes."""
        self._is_open = True
        self._drops_stop = False
        if task == "regression" and kind == TEXT:
            raise DataError(f"the target column {name!r} holds text: values to predict are numbers")

    def of(self, cells: Any, chunks: Chunks, is_test: bool = False) -> Array:
        """Return the targets of a chunk.

        Raises:
            DataError: one is missing, infinite, or in a test table none of the classes.
        """
        if self.kind == TEXT:
            y = self._text(cells, is_test)
        else:
            y = numbers_of(cells)
        missing = cells.is_null().to_numpy() if cells.null_count else np.isnan(y)
        if self.kind == TEXT and not is_test:
            missing = y < 0
        bad = missing | (np.abs(y) > LARGEST["float64"])
        if bad.any():
            row = int(bad.argmax())
            is_large = not missing[row] and np.isfinite(y[row])
            what = "missing" if missing[row] else f"{y[row]:g}"
            why = f"expected at most {LARGEST['float64']:g} in size" if is_large else "every row needs a target"
            raise DataError(f"{self._where(chunks, row)} is {what}: {why}; mend it or leave the row out")
        if is_test and self.task == "classification":
            self._refuse_strange(y, cells, chunks)
        return y

    def _where(self, chunks: Chunks, row: int) -> str:
        return f"{chunks.here(row)} column {self.name!r}"

    def _text(self, cells: Any, is_test: bool) -> Array:
        if not is_test:
            y = category_codes(cells, self._codes, grow=True, most=_MOST_CLASSES)
            if len(self._codes) >= _MOST_CLASSES:
                raise DataError(f"the target column {self.name!r} holds more than {_MOST_CLASSES} different texts")
            return y
        known = self._codes
        y = category_codes(cells, known)
        if not self._drops_stop and (y < 0).all():
            known = {f"{text}.": code for text, code in self._codes.items()}
            again = category_codes(cells, known)
            if (again >= 0).all():
                self._drops_stop = True
                self.notes.append(
                    f"the full stop after every target (column {self.name!r}) of the test file is dropped"
                )
                return again
        return category_codes(cells, {f"{text}.": code for text, code in known.items()}) if self._drops_stop else y

    def _refuse_strange(self, y: Array, cells: Any, chunks: Chunks) -> None:
        known = np.array(sorted(self._found))
        strange = ~np.isin(y, known)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(
                f"{self._where(chunks, row)} is {cells[row].as_py()!r}, which is none of the training classes "
                f"{shown_classes(self.classes)}"
            )

    def are_classes(self, y: Array) -> bool:
        """Return whether these targets look like classes, or were said to be."""
        if self._asked is not None:
            return self._asked == "classification"
        if self.kind in (TEXT, BOOLEAN):
            return True
        return self.kind in (INTEGER, PIXEL) and self._is_open and len(np.unique(y)) <= _MOST_CLASSES_GUESSED

    def count(self, y: Array) -> None:
        """Take in the targets of training rows."""
        self.rows += len(y)
        if not self._is_open or self._asked == "regression" or (self._asked is None and self.kind == "number"):
            return
        self._found.update(np.unique(y).tolist())
        if self._asked is None and self.kind in (INTEGER, PIXEL):
            # a second table may hold fractions where the first has whole numbers alone
            self._is_open = len(self._found) <= _MOST_CLASSES_GUESSED and bool((y == np.floor(y)).all())
        if len(self._found) > _MOST_CLASSES:
            raise DataError(f"the target column {self.name!r} holds more than {_MOST_CLASSES} different values")

    def settle(self) -> None:
        """Decide what the targets are, once all training rows were seen."""
        classes = self.kind in (TEXT, BOOLEAN) or (self.kind in (INTEGER, PIXEL) and self._is_open)
        self.task = self._asked or ("classification" if classes else "regression")
        if self.task == "regression":
            return
        if self.kind == TEXT:
            texts = list(self._codes)
            self.classes = tuple(sorted(texts[int(code)] for code in self._found))
        elif self.kind == BOOLEAN:
            self.classes = tuple(bool(number) for number in sorted(self._found))
        elif max(map(abs, self._found)) >= _LARGEST_WHOLE:
            raise DataError(
                f"the target column {self.name!r} holds classes of 2^53 and more, which numbers do not tell apart: "
                "write them with a letter, as text"
            )
        elif all(number == int(number) for number in self._found):
            self.classes = tuple(int(number) for number in sorted(self._found))
        else:
            self.classes = tuple(sorted(self._found))
        if len(self.classes) < 2:
            raise DataError(
                f"all training rows are of class {self.classes[0]!r} (column {self.name!r}): at least two classes are "
                "needed"
            )

    def numbers(self, y: Array) -> Array:
        """Return the class numbers 0..K-1 of targets as they were kept."""
        if self.kind == TEXT:
            place = {text: number for number, text in enumerate(self.classes)}
            table = np.array([place.get(text, -1) for text in self._codes], np.int64)
            found: Array = table[y.astype(np.intp)]
            return found
        return np.searchsorted(np.array(sorted(self._found)), y).astype(np.int64)

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        return {"codes": list(self._codes), "found": sorted(self._found), "open": self._is_open, "rows": self.rows,
                "stop": self._drops_stop}  # fmt: skip

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._codes = {text: code for code, text in enumerate(state["codes"])}
        self._found, self._is_open = set(state["found"]), state["open"]
        self.rows, self._drops_stop = state["rows"], state["stop"]
