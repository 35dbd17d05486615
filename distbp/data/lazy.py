"""Rows that are not one array in memory: sparse ones, and those of a data set of one's own, read when needed."""

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
    """A data set of one's own: anything that knows how many rows it has and can give those that are asked for.

    ``rows`` must give the same numbers for the same indices whenever and wherever it is called: then a run has the
    same bits for any number of workers, as with arrays. It is called in the driver once for all rows, to check them
    and to read the targets, which are kept; and then for each shard by the worker that computes it, in another
    process or on another host, to which the object travels by pickle.

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
        """Return x, shape (len(indices), features), and y of these rows; and what each counts, if they differ."""


class LazyRows(ABC):
    """Rows of ``shape[1]`` numbers each, in the few ways in which an array of shape (rows, m_0) is used."""

    ndim = 2

    def __init__(self, rows: int, columns: int, dtype: Any) -> None:
        self.shape = rows, columns
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._chosen: Array | None = None

    @abstractmethod
    def _read(self, rows: Array, out: Array) -> None:
        """Write these rows into ``out``."""

    def take(self, indices: Any, axis: int = 0, out: Any = None, mode: str = "raise") -> Array:
        """Return these rows as an array; this is what ``np.take`` calls."""
        rows = np.asarray(indices) if self._chosen is None else self._chosen[indices]
        result: Array = np.empty((len(rows), self.shape[1]), self.dtype) if out is None else out
        self._read(rows, result)
        return result

    def __getitem__(self, part: Any) -> Self:
        """Return a table of some of the rows: a slice, numbers, or booleans."""
        rows = np.arange(len(self)) if self._chosen is None else self._chosen
        table = copy(self)
        table._chosen = rows[part]
        table.shape = len(table._chosen), self.shape[1]
        return table

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole = self.take(np.arange(len(self)))
        return whole if dtype is None else whole.astype(dtype)


class SparseRows(LazyRows):
    """Compressed sparse rows; only the rows of a mini-batch are ever made dense."""

    def __init__(self, matrix: Any) -> None:
        """Take over a sparse matrix or array of SciPy's, of any format.

        Raises:
            DataError: it holds other things than finite numbers.
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
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - counts), counts)
        out[:] = 0
        out[np.repeat(np.arange(len(rows)), counts), self._columns[places]] = self._data[places]


class SourceRows(LazyRows):
    """The x of a :class:`RowSource`."""

    def __init__(self, source: RowSource, columns: int, dtype: Any) -> None:
        super().__init__(len(source), columns, dtype)
        self.source = source

    def _read(self, rows: Array, out: Array) -> None:
        (x,) = _asked(self.source, rows, 1)
        if x.shape != out.shape:
            what = f"{type(self.source).__name__}.rows gave x of shape {x.shape} for {_named(rows)}"
            raise DataError(f"{what}: expected {out.shape}")
        _check_type(self.source, rows, x, self.dtype)
        np.copyto(out, x, casting="same_kind")


def as_rows(x: Any) -> Any:
    """Return a sparse matrix as a table, a table as it is, and all else as an array."""
    if isinstance(x, LazyRows):
        return x
    return SparseRows(x) if hasattr(x, "tocsr") else np.asarray(x)


def read_source(source: RowSource, check: Callable[[Array, str], object]) -> dict[str, Any]:
    """Return x, y and perhaps weights of a data set of one's own; each block of x goes through ``check``.

    Raises:
        DataError: it gives something else than rows.
    """
    count, name = len(source), type(source).__name__
    if count < 1:
        raise DataError(f"{name} has no rows")
    parts: list[list[Array]] = [[], []]
    first: Array | None = None
    for start in range(0, count, _ROWS_AT_ONCE):
        indices = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        x, *rest = _asked(source, indices)
        if x.ndim != 2 or any(len(part) != len(indices) for part in (x, *rest)):
            shapes = ", ".join(str(part.shape) for part in (x, *rest))
            raise DataError(f"{name}.rows gave shapes {shapes} for {len(indices)} rows: expected as many rows in each")
        check(x, f"x from row {start} on:")
        if first is None:
            first, parts = x, [[] for _ in rest]
        _check_type(source, indices, x, first.dtype)
        before = [first, *(held[0] for held in parts if held)]
        if start and [_form(part) for part in (x, *rest)] != [_form(part) for part in before]:
            kinds = [", ".join(f"{part.dtype} {part.shape}" for part in each) for each in ((x, *rest), before)]
            raise DataError(f"{name}.rows gave {kinds[0]} for {_named(indices)}, unlike {kinds[1]} for those before")
        for held, part in zip(parts, rest, strict=True):
            held.append(part)
    assert first is not None
    named = zip(("y", "weights"), parts, strict=False)
    joined: dict[str, Any] = {key: np.concatenate(held) for key, held in named}
    return {"x": SourceRows(source, first.shape[1], first.dtype), **joined}


def _asked(source: RowSource, indices: Array, most: int = 3) -> tuple[Array, ...]:
    """Return what a data set of one's own says of these rows, the first ``most`` parts of it, as arrays.

    Raises:
        DataError: it raises something, or gives no rows.
    """
    name = type(source).__name__
    try:
        found: Any = source.rows(indices)
        if isinstance(found, tuple) and len(found) in (2, 3):
            return tuple(map(np.asarray, found[:most]))
    except DistbpError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        raise DataError(f"{name}.rows failed for {_named(indices)}: {type(error).__name__}: {said}") from error
    raise DataError(f"{name}.rows must return (x, y) or (x, y, weights), found {type(found).__name__}")


def _check_type(source: RowSource, indices: Array, x: Array, expected: np.dtype[Any]) -> None:
    """Raise a DataError if x has numbers of another type than the first rows: bytes are pixels, others are not."""
    fits = np.can_cast(x.dtype, expected, "same_kind") and (x.dtype == np.uint8) == (expected == np.uint8)
    if not fits:
        what = f"{type(source).__name__}.rows gave x as {x.dtype} for {_named(indices)}"
        raise DataError(f"{what} and as {expected} for the first ones: expected one type for all rows")


def _form(part: Array) -> tuple[bool, tuple[int, ...]]:
    """Return what must be the same in all blocks: whether these are numbers, and the shape of a row."""
    return part.dtype.kind in "biuf", part.shape[1:]


def _named(indices: Array) -> str:
    """Return which rows these are.

    >>> _named(np.arange(3, 9)), _named(np.array([4, 1, 7, 2]))
    ('rows 3 to 8', '4 rows (4, 1, 7, ..)')
    """
    if len(indices) and (indices == np.arange(indices[0], indices[0] + len(indices))).all():
        return f"rows {indices[0]} to {indices[-1]}"
    return f"{len(indices)} rows ({', '.join(map(str, indices[:3]))}{', ..' * (len(indices) > 3)})"
