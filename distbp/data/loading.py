"""From a name, a file, a folder or arrays to a checked data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from distbp.config import CHOICES
from distbp.data.checks import check_rows, check_same_columns, features, row_weights
from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet, Rows
from distbp.data.idx import read_idx_folder
from distbp.data.npz import read_npz
from distbp.data.targets import class_numbers, classes_of, guess_task, held_out, values
from distbp.errors import DataError, UsageError, unknown_name

BUILT_IN = ("digits",)
"""The data sets that come with the package."""

_DIGITS_FACTOR = 1 / 16

Source = str | Path | tuple[Any, Any] | tuple[Any, Any, Any] | DataSet
"""A built-in name, a file, a folder, arrays (x, y) or (x, y, weights), or what :func:`load` returned."""


def load(
    *sources: Source, task: str | None = None, test_fraction: float = 0.2, seed: int = 0, dtype: str = "float32"
) -> DataSet:
    """Read, join and check data; several sources of equal columns are taken one after the other.

    Args:
        sources: each a built-in name, a path, or arrays (x, y), with what each training row counts as a third if
            they do not count the same.
        task: ``classification`` or ``regression``; guessed from the targets if None: text, booleans or at most 20
            different integers are classes.
        test_fraction: share of the rows held out where the sources bring no test part, in equal shares per class.
        seed: fixes which rows are held out.
        dtype: what numbers become; unsigned bytes stay bytes until a mini-batch is gathered.

    Raises:
        UsageError: a name is unknown.
        DataError: a source is missing, damaged, or holds what cannot be used.

    >>> data = load("digits")
    >>> len(data.train), len(data.test), data.features, data.task
    (1437, 360, 64, 'classification')
    """
    if task is not None and task not in CHOICES["task"]:
        raise unknown_name("task", task, CHOICES["task"])
    if len(sources) == 1 and isinstance(sources[0], DataSet):
        return sources[0]
    parts, byte_factor = _read_all(sources)
    name = _name(sources)
    parts = _with_test_part(parts, name, task, test_fraction, seed)
    x_train, x_test = (features(parts[part], part, dtype) for part in ("x_train", "x_test"))
    y_train, y_test = parts["y_train"], parts["y_test"]
    check_same_columns(x_train, x_test)
    check_rows(x_train, y_train, "train")
    check_rows(x_test, y_test, "test")
    task = task or guess_task(y_train)
    classes: tuple[Any, ...] = ()
    if task == "regression":
        y_train, y_test = values(y_train, "y_train", dtype), values(y_test, "y_test", dtype)
        if y_train.shape[1] != y_test.shape[1]:
            raise DataError(f"y_train has {y_train.shape[1]} values per row, y_test {y_test.shape[1]}")
    else:
        classes = classes_of(y_train)
        y_train, y_test = class_numbers(y_train, classes, "y_train"), class_numbers(y_test, classes, "y_test")
    factor = byte_factor if x_train.dtype == np.uint8 else 1.0
    weights = row_weights(parts["weights_train"], len(x_train), dtype) if "weights_train" in parts else None
    return DataSet(name, task, Rows(x_train, y_train, factor, weights), Rows(x_test, y_test, factor), classes)


def load_rows(*sources: Source, dtype: str = "float32") -> tuple[Array, Array | None]:
    """Return the rows to predict or evaluate on, floats or unsigned bytes, and their targets as they stand there.

    Where the sources bring a test part it is that, else all rows. Targets may be missing (None).
    """
    if len(sources) == 1 and isinstance(sources[0], DataSet):
        rows = sources[0].test
        targets = np.asarray(sources[0].classes)[rows.y] if sources[0].classes else rows.y
        return rows.x, targets
    parts, _ = _read_all(sources)
    end = "_test" if "x_test" in parts else ""
    if "x" + end not in parts:
        raise DataError(f"{_name(sources)} holds neither x_test nor X: no rows to predict")
    x = features(parts["x" + end], "x" + end, dtype)
    y = parts.get("y" + end)
    if y is not None:
        check_rows(x, y, end.strip("_") or "given")
    return x, y


def _read_all(sources: Sequence[Source]) -> tuple[dict[str, Array], float]:
    """Return the joined arrays and what unsigned bytes among them are multiplied by."""
    if not sources:
        raise UsageError(f"no data given: name a file, a folder or one of {', '.join(BUILT_IN)}")
    read = [_read(source) for source in sources]
    first, factor = read[0]
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


def _read(source: Source) -> tuple[Mapping[str, Array], float]:
    if isinstance(source, DataSet):
        raise UsageError("a loaded data set stands alone: join files or arrays before loading them")
    if isinstance(source, tuple):
        size = len(source)
        if size not in (2, 3) or (size == 3 and not all(np.ndim(part) for part in source)):
            raise UsageError(f"data must be arrays (x, y) or (x, y, weights), found a tuple of {size}")
        try:
            return dict(zip(("x", "y", "weights"), map(np.atleast_1d, source), strict=False)), PIXEL_FACTOR
        except ValueError as error:
            raise DataError(f"x and y must be tables of equally long rows: {error}") from error
    if isinstance(source, str) and source == "digits":
        with as_file(files("distbp.data") / "digits.npz") as path:
            return read_npz(path), _DIGITS_FACTOR
    try:
        path = Path(source)
    except TypeError as error:
        raise UsageError(f"data must be a name, a path or a pair (x, y), found {type(source).__name__}") from error
    return _read_path(path), PIXEL_FACTOR


def _read_path(path: Path) -> Mapping[str, Array]:
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        raise DataError(f"{str(path)[:80]!r} is no usable path: {error}") from error
    if is_folder:
        return read_idx_folder(path)
    if is_file:
        if path.suffix.lower() != ".npz":
            raise DataError(f"{path} is of no known kind: expected an .npz file or a folder with the MNIST IDX files")
        return read_npz(path)
    if path.exists():
        raise DataError(f"{path} is neither a file nor a folder")
    if len(path.parts) == 1 and not path.suffix:
        raise unknown_name("data set (and no file or folder)", str(path), BUILT_IN)
    raise DataError(f"{path} does not exist")


def address_of(source: Source) -> str:
    """Return where a source can be found again: a built-in name, an absolute path, or ``arrays``, which cannot."""
    if isinstance(source, DataSet | tuple):
        return "arrays"
    if str(source) in BUILT_IN:
        return str(source)
    try:
        return str(Path(source).absolute())
    except TypeError:  # what is no source at all is for load to refuse
        return str(source)


def _name(sources: Sequence[Source]) -> str:
    first = sources[0]
    if isinstance(first, DataSet):
        return first.name
    return "arrays" if isinstance(first, tuple) else Path(first).resolve().stem or "data"


def _with_test_part(
    parts: dict[str, Array], name: str, task: str | None, test_fraction: float, seed: int
) -> dict[str, Array]:
    """Return x_train, y_train, x_test, y_test; without a test part of their own, X and y are cut in two."""
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
    cut = {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}
    if "weights" in parts:
        weights = parts["weights"]
        if len(weights) != len(x):
            raise DataError(f"found {len(x)} rows but {len(weights)} weights: each row needs one")
        cut["weights_train"] = weights[~test]
    return cut
