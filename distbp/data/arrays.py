"""Data sets of arrays: the built-in digits, .npz files, the MNIST IDX files, arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.checks import check_rows, check_same_columns, features, row_weights, target_values
from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet, Rows
from distbp.data.formats.idx import read_idx_folder
from distbp.data.formats.npz import read_npz
from distbp.data.hold_out import held_out
from distbp.data.lazy import LazyRows, RowSource, SparseRows, read_source
from distbp.data.reading import Reading
from distbp.data.sources import BUILT_IN, existing_path, sources_name
from distbp.data.targets import class_numbers, classes_of, guess_task
from distbp.errors import DataError, UsageError

_DIGITS_FACTOR = 1 / 16


def from_arrays(sources: Sequence[Any], reading: Reading) -> DataSet:
    """Return the data set of arrays; their numbers are used as they are."""
    task, test_fraction, seed, dtype = reading.task, reading.test_fraction, reading.seed, reading.dtype
    parts, byte_factor = read_all(sources)
    name = sources_name(sources)
    parts = _with_test_part(parts, name, task, test_fraction, seed)
    x_train, x_test = (features(parts[part], part, dtype) for part in ("x_train", "x_test"))
    y_train, y_test = parts["y_train"], parts["y_test"]
    check_same_columns(x_train, x_test)
    check_rows(x_train, y_train, "train")
    check_rows(x_test, y_test, "test")
    task = task or guess_task(y_train)
    classes: tuple[Any, ...] = ()
    if task == "regression":
        y_train, y_test = target_values(y_train, "y_train", dtype), target_values(y_test, "y_test", dtype)
        if y_train.shape[1] != y_test.shape[1]:
            raise DataError(f"y_train has {y_train.shape[1]} values per row, y_test {y_test.shape[1]}")
    else:
        classes = classes_of(y_train)
        y_train, y_test = class_numbers(y_train, classes, "y_train"), class_numbers(y_test, classes, "y_test")
    factor = byte_factor if x_train.dtype == np.uint8 else 1.0
    weights = row_weights(parts["weights_train"], len(x_train), dtype) if "weights_train" in parts else None
    return DataSet(name, task, Rows(x_train, y_train, factor, weights), Rows(x_test, y_test, factor), classes)


def read_all(sources: Sequence[Any]) -> tuple[dict[str, Array], float]:
    """Return the arrays of all sources, joined, and the factor of unsigned bytes among them."""
    if not sources:
        raise UsageError(f"no data given: name a file, a folder or one of {', '.join(BUILT_IN)}")
    read = [_read(source) for source in sources]
    first, factor = read[0]
    if len(read) > 1 and any(isinstance(part, LazyRows) for parts, _ in read for part in parts.values()):
        raise UsageError("sparse rows and data sets of your own cannot be joined with other data: join them yourself")
    for (parts, other_factor), source in zip(read[1:], sources[1:], strict=True):
        if parts.keys() != first.keys():
            raise DataError(f"{source} holds {sorted(parts)}, {sources[0]} holds {sorted(first)}")
        if other_factor != factor:
            raise DataError(f"{source} and {sources[0]} scale their pixels differently: train on one of them")
        for part, array in parts.items():
            if array.shape[1:] != first[part].shape[1:] or array.dtype.kind != first[part].dtype.kind:
                raise DataError(
                    f"{part} of {source} has columns {array.shape[1:]} of {array.dtype}, "
                    f"that of {sources[0]} {first[part].shape[1:]} of {first[part].dtype}"
                )
    joined = {
        part: np.concatenate([parts[part] for parts, _ in read]) if len(read) > 1 else first[part] for part in first
    }
    return joined, factor


def _read(source: Any) -> tuple[Mapping[str, Array], float]:
    if isinstance(source, DataSet):
        raise UsageError("a loaded data set cannot be joined with other data: join files or arrays when loading them")
    if isinstance(source, tuple):
        return _arrays_of(source), PIXEL_FACTOR
    if isinstance(source, RowSource):
        return read_source(source, lambda x, name: features(x, name, "float64")), PIXEL_FACTOR
    if isinstance(source, str) and source == "digits":
        with as_file(files("distbp.data") / "digits.npz") as path:
            return read_npz(path), _DIGITS_FACTOR
    if not isinstance(source, str | Path):
        raise UsageError(f"data must be a name, a path or a pair (x, y), found {type(source).__name__}")
    return _read_path(existing_path(source)), PIXEL_FACTOR


def _arrays_of(source: tuple[Any, ...]) -> Mapping[str, Array]:
    """Return the arrays of a tuple (x, y) or (x, y, weights) by name."""
    size = len(source)
    if size not in (2, 3) or (size == 3 and not all(np.ndim(part) for part in source)):
        raise UsageError(f"data must be arrays (x, y) or (x, y, weights), found a tuple of {size}")
    try:
        x, *rest = source
        arrays: list[Any] = [SparseRows(x) if hasattr(x, "tocsr") else np.atleast_1d(x), *map(np.atleast_1d, rest)]
        return dict(zip(("x", "y", "weights"), arrays, strict=False))
    except ValueError as error:
        raise DataError(f"x and y must be tables of equally long rows: {error}") from error


def _read_path(path: Path) -> Mapping[str, Array]:
    return read_idx_folder(path) if path.is_dir() else read_npz(path)


def _with_test_part(
    parts: dict[str, Array], name: str, task: str | None, test_fraction: float, seed: int
) -> dict[str, Array]:
    """Return x_train, y_train, x_test, y_test; X and y without a test part are split in two."""
    if "x_train" in parts:
        for part in ("y_train", "x_test", "y_test"):
            if part not in parts:
                raise DataError(f"{name} holds x_train but no {part}")
        return parts
    if "x" not in parts or "y" not in parts:
        raise DataError(f"{name} holds {', '.join(parts) or 'no known array'}: expected x_train, y_train .. or X and y")
    x, y = parts["x"], parts["y"]
    check_rows(x, y, "given")
    test = held_out(y, test_fraction, seed, by_class=(task or guess_task(y)) == "classification")
    split = {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}
    if "weights" in parts:
        weights = parts["weights"]
        if len(weights) != len(x):
            raise DataError(f"found {len(x)} rows but {len(weights)} weights: each row needs one")
        split["weights_train"] = weights[~test]
    return split
