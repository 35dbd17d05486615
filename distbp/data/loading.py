"""From a name, a file, a folder or arrays to a checked data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.building import Building
from distbp.data.checks import check_rows, check_same_columns, features, row_weights
from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet, Rows
from distbp.data.formats.idx import read_idx_folder
from distbp.data.formats.npz import read_npz
from distbp.data.formats.opening import file_table, folder_tables, is_table, table_of
from distbp.data.formats.table import Note, Progress, Table, unheard
from distbp.data.formats.text import TextTable
from distbp.data.parts import InMemory
from distbp.data.prepared import cache_folder, check_parts, is_prepared, read_prepared, save, source_of
from distbp.data.prepared import prepare as prepare_tables
from distbp.data.reading import Reading
from distbp.data.targets import class_numbers, classes_of, guess_task, held_out, values
from distbp.errors import DataError, UsageError, unknown_name
from distbp.files import read_json

BUILT_IN = ("digits",)
"""The data sets that come with the package."""

_DIGITS_FACTOR = 1 / 16

_LARGE_BYTES = 512 << 20
"""Files from this size on are read into a data set on the disk instead of into memory."""

Source = Any
"""A built-in name, a file, a folder, arrays (x, y) or (x, y, weights), a table (pandas, Arrow, polars, Ray Data, an
array of rows and columns), or what :func:`load` returned."""


def load(*sources: Source, note: Note = unheard, progress: Progress = unheard, **reading: Any) -> DataSet:
    """Read, join and check data; several sources of equal columns are taken one after the other.

    Args:
        sources: each a built-in name, a path, a table, or arrays (x, y), with what each training row counts as a
            third if they do not count the same.
        note: told what was guessed, and what else the user should know.
        progress: told how much of how much was read, where that takes long.
        reading: settings by name (see :class:`distbp.Config`): task, test_fraction, seed, dtype; for tables also
            target, drop, weights, separator, header, test_file, validation_fraction.

    Large files are prepared once, into a cache on the disk, and mapped.

    Raises:
        UsageError: a name is unknown.
        DataError: a source is missing, damaged, or holds what cannot be used.

    >>> data = load("digits")
    >>> len(data.train), len(data.test), data.features, data.task
    (1437, 360, 64, 'classification')
    """
    return load_as(sources, Reading.from_names(reading), note, progress)


def load_as(sources: Sequence[Source], reading: Reading, note: Note = unheard, progress: Progress = unheard) -> DataSet:
    """Read data as :func:`load` does."""
    if len(sources) == 1 and isinstance(sources[0], DataSet):
        return sources[0]
    if len(sources) == 1 and (folder := _prepared(sources[0])) is not None:
        check_parts(folder, reading)
        return read_prepared(folder)
    found = _tables(sources, reading)
    if found is None:
        if reading.chosen:
            raise UsageError(f"{reading.chosen[0].replace('_', '-')} is for tables: {_name(sources)} holds arrays")
        return _from_arrays(sources, reading)
    if is_large(sources):
        paths = [Path(source) for source in sources] + [path for path in [reading.test_path()] if path]
        source = source_of(paths, reading)
        folder = cache_folder(source, _name(sources))
        if not is_prepared(folder):
            note(f"{_name(sources)} is large: it is read once into {folder}; later runs use that")
            prepare_tables(*found, reading, folder, source, note, progress)
        return replace(read_prepared(folder), name=_name(sources))
    building = Building(*found, reading, InMemory())
    building.read(note, progress)
    return building.finish(_name(sources))


def is_large(sources: Sequence[Source]) -> bool:
    """Return whether the sources are files that are read into a data set on the disk by themselves."""
    if not all(isinstance(source, str | Path) for source in sources):
        return False
    paths = [Path(source) for source in sources if str(source) not in BUILT_IN]
    with suppress(OSError, ValueError):
        found = [each for path in paths for each in (path.glob("*.p*q*") if path.is_dir() else [path])]
        return sum(path.stat().st_size for path in found if path.suffix != ".npz") >= _LARGE_BYTES
    return False


def prepare(
    *sources: Source, out: str | Path, note: Note = unheard, progress: Progress = unheard, **reading: Any
) -> Path:
    """Read sources once into a data set on the disk, which :func:`load` maps; return its folder.

    Memory stays bounded, and a reading that was broken off is gone on with. ``reading`` is as for :func:`load`.

    Raises:
        UsageError: the folder holds something else.
        DataError: a source cannot be used; nothing is left behind then.
    """
    wanted, folder = Reading.from_names(reading), Path(out)
    found = _tables(sources, wanted)
    paths = [Path(each) for each in sources if isinstance(each, str | Path) and str(each) not in BUILT_IN]
    source = source_of([*paths, *(path for path in [wanted.test_path()] if path)], wanted)
    if folder.exists():
        if is_prepared(folder) and read_json(folder / "dataset.json").get("source") == source:
            note(f"{folder} is there already, from the same files")
            return folder
        raise UsageError(f"{folder} exists already: choose another folder, or remove it")
    if found is None:
        save(_from_arrays(sources, wanted), folder, wanted.dtype, source, note)
    else:
        prepare_tables(*found, wanted, folder, source, note, progress)
    return folder


def _prepared(source: Source) -> Path | None:
    if not isinstance(source, str | Path):
        return None
    with suppress(OSError, ValueError):
        return Path(source) if is_prepared(Path(source)) else None
    return None


def _tables(sources: Sequence[Source], reading: Reading) -> tuple[list[Table], list[Table]] | None:
    """Return the tables of the sources and those with the test rows; None if the sources hold arrays."""
    if not sources:
        raise UsageError(f"no data given: name a file, a folder or one of {', '.join(BUILT_IN)}")
    found: list[Table] = []
    tests: list[Table] = []
    for source in sources:
        opened = _opened(source, reading, found)
        if opened is None:
            if found:
                raise UsageError(f"{source} holds arrays, {sources[0]} a table: train on one of them")
            return None
        found += opened[0]
        tests += opened[1]
    test = reading.test_path()
    if test is not None:
        if tests:
            raise UsageError(f"--test-file {test}: {sources[0]} brings a test part of its own")
        opened = _opened(test, reading, found)
        if opened is None:
            raise UsageError(f"--test-file {test} holds arrays: expected a table")
        tests = list(opened[0])
    return found, tests


def _opened(
    source: Source, reading: Reading, before: Sequence[Table]
) -> tuple[Sequence[Table], Sequence[Table]] | None:
    """Return the tables of one source, and of its test part; text is read as that of the tables before."""
    if isinstance(source, DataSet | tuple) or source in BUILT_IN if isinstance(source, str) else False:
        return None
    if is_table(source):
        return [table_of(source)], []
    if not isinstance(source, str | Path):
        return None
    path = _existing(source)
    if is_prepared(path):
        raise UsageError(f"{path} is a prepared data set: it stands alone")
    if path.is_dir():
        return None if any(path.glob("*idx?-ubyte*")) else folder_tables(path)
    if path.suffix.lower() == ".npz":
        return None
    dialect = next((table.dialect for table in before if isinstance(table, TextTable)), None)
    separator, header = reading.separator, reading.header
    if dialect is not None:
        separator, header = separator or dialect.separator, dialect.header if header is None else header
    return [file_table(path, separator, header)], []


def load_rows(*sources: Source, dtype: str = "float32") -> tuple[Array, Array | None]:
    """Return the rows of arrays to predict or evaluate on, and their targets as they stand there.

    Where the sources bring a test part it is that, else all rows. Targets may be missing (None).
    """
    if len(sources) == 1 and (folder := _prepared(sources[0])) is not None:
        sources = (read_prepared(folder),)
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


def tables_to_apply(
    sources: Sequence[Source], separator: str | None = None, header: bool | None = None
) -> list[Table] | None:
    """Return the tables whose rows are to be predicted: a test part where there is one; None for arrays."""
    if len(sources) == 1 and _prepared(sources[0]) is not None:
        return None
    found = _tables(sources, Reading(separator=separator, header=header))
    return None if found is None else found[1] or found[0]


def _from_arrays(sources: Sequence[Source], reading: Reading) -> DataSet:
    """Return the data set of arrays, whose numbers are taken as they are."""
    task, test_fraction, seed, dtype = reading.task, reading.test_fraction, reading.seed, reading.dtype
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
    if not isinstance(source, str | Path):
        raise UsageError(f"data must be a name, a path or a pair (x, y), found {type(source).__name__}")
    return _read_path(_existing(source)), PIXEL_FACTOR


def _read_path(path: Path) -> Mapping[str, Array]:
    return read_idx_folder(path) if path.is_dir() else read_npz(path)


def _existing(source: str | Path) -> Path:
    """Return the path of a file or folder that is there."""
    path = Path(source)
    try:
        if path.is_dir() or path.is_file():
            return path
        exists = path.exists()
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        raise DataError(f"{str(path)[:80]!r} is no usable path: {error}") from error
    if exists:
        raise DataError(f"{path} is neither a file nor a folder")
    if len(path.parts) == 1 and not path.suffix:
        raise unknown_name("data set (and no file or folder)", str(path), BUILT_IN)
    raise DataError(f"{path} does not exist")


def address_of(source: Source) -> str:
    """Return where a source can be found again: a built-in name, an absolute path, or ``arrays``, which cannot."""
    if isinstance(source, DataSet | tuple) or is_table(source):
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
    return Path(first).resolve().stem or "data" if isinstance(first, str | Path) else "arrays"


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
