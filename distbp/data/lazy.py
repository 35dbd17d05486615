"""Rows that are read when they are needed: sparse rows, and those of a data set of the user's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from distbp.errors import DataError, DistbpError

Array = NDArray[Any]

_ROWS_AT_ONCE = 4096


@runtime_checkable
class RowSource(Protocol):
    """A data set of the user's own: an object with a number of rows, and a method that returns some of them.

    ``rows`` must return the same numbers for the same indices in every call, on every host: then a run has the same
    bits for any number of workers, as with arrays. The driver calls it once for all rows, to check them and to keep the
    targets. Then each worker calls it for the shards that it computes; the object is sent to its process or host by
    pickle.

    >>> import distbp
    >>> class Circle:
    ...     def __len__(self):
    ...         return 600
    ...     def rows(self, indices):
    ...         angle, radius = indices * 2.4, np.sqrt(indices / 600)
    ...         x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    ...         return x, radius > 0.7
    >>> result = distbp.train(Circle(), workers=0, epochs=40, hidden=(32,), lr=0.02, batch_size=32)
    >>> result.summary["test_accuracy"] > 0.9
    True
    """

    def __len__(self) -> int:
        """Return the number of rows."""

    def rows(self, indices: Array) -> tuple[Any, ...]:
        """Return x, shape (len(indices), features), and y of these rows, and their weights if there are any."""


class LazyRows(ABC):
    """A table of numbers that supports the few operations of an array that training uses."""

    ndim = 2

    def __init__(self, rows: int, columns: int, dtype: Any) -> None:
        self.shape = rows, columns
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._chosen: Array | None = None

    @abstractmethod
    def _read(self, rows: Array, out: Array) -> None:
        """Write these rows to ``out``."""

    def take(self, indices: Any, axis: int = 0, out: Any = None, mode: str = "raise") -> Array:
        """Return these rows as an array; ``np.take`` calls this method."""
        rows = np.asarray(indices) if self._chosen is None else self._chosen[indices]
        result: Array = np.empty((len(rows), self.shape[1]), self.dtype) if out is None else out
        self._read(rows, result)
        return result

    def __getitem__(self, part: Any) -> Self:
        """Return the table of some of the rows, given as a slice, numbers or booleans."""
        rows = np.arange(len(self)) if self._chosen is None else self._chosen
        table = copy(self)
        table._chosen = rows[part]
        table.shape = len(table._chosen), self.shape[1]
        return table

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.take(np.arange(len(self)))
        return array if dtype is None else array.astype(dtype)


class SparseRows(LazyRows):
    """Compressed sparse rows. Only the rows of a mini-batch become dense."""

    def __init__(self, matrix: Any) -> None:
        """Wrap a sparse matrix or array of SciPy's, in any format.

        Raises:
            DataError: it holds something else than finite numbers.
        """
        rows = matrix.tocsr()
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        super().__init__(rows.shape[0], rows.shape[1], rows.dtype)
        self._data, self._columns, self._starts = rows.data, rows.indices, rows.indptr
        if self.dtype.kind not in "buif":
            raise DataError(f"x must hold numbers, found {self.dtype}")
        bad = ~np.isfinite(self._data)
        if bad.any():
            row = int(np.searchsorted(self._starts, bad.argmax(), side="right")) - 1
            raise DataError(f"x row {row} holds {self._data[bad.argmax()]}: expected finite numbers")

    def _read(self, rows: Array, out: Array) -> None:
        first = self._starts[rows]
        counts = self._starts[rows + 1] - first
        ends = np.cumsum(counts)
        entries = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - counts), counts)
        out[:] = 0
        out[np.repeat(np.arange(len(rows)), counts), self._columns[entries]] = self._data[entries]


class SourceRows(LazyRows):
    """The x of a :class:`RowSource`."""

    def __init__(self, source: RowSource, columns: int, dtype: Any) -> None:
        super().__init__(len(source), columns, dtype)
        self.source = source

    def _read(self, rows: Array, out: Array) -> None:
        (x,) = _rows_of(self.source, rows, 1)
        if x.shape != out.shape:
            what = f"{type(self.source).__name__}.rows gave x of shape {x.shape} for {_shown(rows)}"
            raise DataError(f"{what}: expected {out.shape}")
        _check_type(self.source, rows, x, self.dtype)
        np.copyto(out, x, casting="same_kind")


def as_rows(x: Any) -> Any:
    """Return a sparse matrix as lazy rows, lazy rows as they are, and anything else as an array."""
    if isinstance(x, LazyRows):
        return x
    return SparseRows(x) if hasattr(x, "tocsr") else np.asarray(x)


def read_source(source: RowSource, check: Callable[[Array, str], object]) -> dict[str, Any]:
    """Return x, y and perhaps weights of the user's own data set; ``check`` is called for each block of x.

    Raises:
        DataError: the data set returns something else than rows.
    """
    count, name = len(source), type(source).__name__
    if count < 1:
        raise DataError(f"{name} has no rows")
    parts: list[list[Array]] = [[], []]
    first: Array | None = None
    for start in range(0, count, _ROWS_AT_ONCE):
        indices = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        x, *rest = _rows_of(source, indices)
        if x.ndim != 2 or any(len(part) != len(indices) for part in (x, *rest)):
            shapes = ", ".join(str(part.shape) for part in (x, *rest))
            raise DataError(f"{name}.rows gave shapes {shapes} for {len(indices)} rows: expected as many rows in each")
        check(x, f"x from row {start} on:")
        if first is None:
            first, parts = x, [[] for _ in rest]
        _check_type(source, indices, x, first.dtype)
        before = [first, *(blocks[0] for blocks in parts if blocks)]
        if start and [_form(part) for part in (x, *rest)] != [_form(part) for part in before]:
            kinds = [", ".join(f"{part.dtype} {part.shape}" for part in each) for each in ((x, *rest), before)]
            raise DataError(f"{name}.rows gave {kinds[0]} for {_shown(indices)}, unlike {kinds[1]} for those before")
        for blocks, part in zip(parts, rest, strict=True):
            blocks.append(part)
    assert first is not None
    named = zip(("y", "weights"), parts, strict=False)
    joined: dict[str, Any] = {key: np.concatenate(blocks) for key, blocks in named}
    return {"x": SourceRows(source, first.shape[1], first.dtype), **joined}


def _rows_of(source: RowSource, indices: Array, most: int = 3) -> tuple[Array, ...]:
    """Return x, y and weights of these rows, or the first ``most`` of them, as arrays.

    Raises:
        DataError: the data set raises an error, or does not return rows.
    """
    name = type(source).__name__
    try:
        returned: Any = source.rows(indices)
        if isinstance(returned, tuple) and len(returned) in (2, 3):
            return tuple(map(np.asarray, returned[:most]))
    except DistbpError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise DataError(f"{name}.rows failed for {_shown(indices)}: {type(error).__name__}: {reason}") from error
    raise DataError(f"{name}.rows must return (x, y) or (x, y, weights), found {type(returned).__name__}")


def _check_type(source: RowSource, indices: Array, x: Array, expected: np.dtype[Any]) -> None:
    """Refuse x whose type differs from that of the first rows: unsigned bytes are pixels, other numbers are not."""
    fits = np.can_cast(x.dtype, expected, "same_kind") and (x.dtype == np.uint8) == (expected == np.uint8)
    if not fits:
        what = f"{type(source).__name__}.rows gave x as {x.dtype} for {_shown(indices)}"
        raise DataError(f"{what} and as {expected} for the first ones: expected one type for all rows")


def _form(part: Array) -> tuple[bool, tuple[int, ...]]:
    """Return the form that all blocks must share: whether they hold numbers, and the shape of a row."""
    return part.dtype.kind in "biuf", part.shape[1:]


def _shown(indices: Array) -> str:
    """Return row numbers as a message shows them.

    >>> _shown(np.arange(3, 9)), _shown(np.array([4, 1, 7, 2]))
    ('rows 3 to 8', '4 rows (4, 1, 7, ..)')
    """
    if len(indices) and (indices == np.arange(indices[0], indices[0] + len(indices))).all():
        return f"rows {indices[0]} to {indices[-1]}"
    return f"{len(indices)} rows ({', '.join(map(str, indices[:3]))}{', ..' * (len(indices) > 3)})"
