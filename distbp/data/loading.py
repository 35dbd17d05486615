"""Loading of data: from a name, a file, a folder, a table or arrays to a checked data set."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distbp.data.arrays import from_arrays, read_all
from distbp.data.checks import check_rows, features
from distbp.data.dataset import Array, DataSet
from distbp.data.formats.detect import file_table, folder_tables, is_table, table_of
from distbp.data.formats.table import Table
from distbp.data.formats.text import TextTable
from distbp.data.prepared.cache import cache_folder, source_of
from distbp.data.prepared.checksums import checked
from distbp.data.prepared.description import read_description
from distbp.data.prepared.reader import check_reading, is_prepared, read_prepared
from distbp.data.prepared.writer import prepare as prepare_tables
from distbp.data.prepared.writer import save
from distbp.data.reading import Reading
from distbp.data.reporting import Note, Progress, silent
from distbp.data.sizes import is_large
from distbp.data.sources import BUILT_IN, Source, existing_path, sources_name
from distbp.data.tables.builder import DataSetBuilder
from distbp.data.tables.memory import check_tables_fit
from distbp.data.tables.stores import MemoryStore
from distbp.errors import DataError, UsageError
from distbp.system.blas import one_thread


class _Tables(NamedTuple):
    """The tables of all sources, and those with the test rows."""

    train: Sequence[Table]
    test: Sequence[Table]


def load(*sources: Source, note: Note = silent, progress: Progress = silent, **reading: Any) -> DataSet:
    """Read, join and check data; several sources of equal columns are read one after the other.

    Args:
        sources: each a built-in name, a path, a table, a data set of your own (:class:`RowSource`), or arrays (x, y),
            with the weights of the training rows as an optional third; x may be sparse.
        note: receives what was guessed, and what else the user should know.
        progress: receives the amount that was read and the total, if reading takes long.
        reading: settings by name (see :class:`distbp.Config`): task, test_fraction, seed, dtype; for tables also
            target, drop, weights, separator, header, test_file, validation_fraction.

    Large files are prepared once, into a cache on the disk, and mapped.

    Raises:
        UsageError: a name is unknown.
        DataError: a source is missing, damaged, or cannot be used.

    >>> data = load("digits")
    >>> len(data.train), len(data.test), data.features, data.task
    (1437, 360, 64, 'classification')
    """
    return load_as(sources, Reading.from_names(reading), note, progress)


def load_as(sources: Sequence[Source], reading: Reading, note: Note = silent, progress: Progress = silent) -> DataSet:
    """Read data as :func:`load` does, with the settings of ``reading``."""
    with one_thread():
        return _load(sources, reading, note, progress)


def _load(sources: Sequence[Source], reading: Reading, note: Note, progress: Progress) -> DataSet:
    if len(sources) == 1 and isinstance(sources[0], DataSet):
        return sources[0]
    if len(sources) == 1 and (folder := _prepared_folder(sources[0])) is not None:
        check_reading(folder, reading)
        return read_prepared(folder, note)
    tables = _tables(sources, reading)
    if tables is None:
        if reading.chosen:
            raise UsageError(
                f"{reading.chosen[0].replace('_', '-')} is for tables: {sources_name(sources)} holds arrays"
            )
        return from_arrays(sources, reading)
    if is_large(sources):
        paths = [Path(source) for source in sources] + [path for path in [reading.test_path()] if path]
        source = source_of(paths, reading)
        folder = cache_folder(source, sources_name(sources))
        if not is_prepared(folder):
            note(f"{sources_name(sources)} is large: it is read once into {folder}; later runs use that")
            prepare_tables(*tables, reading, folder, source, note, progress)
        return replace(read_prepared(folder, note), name=sources_name(sources))
    check_tables_fit([*tables.train, *tables.test], in_memory=True)
    builder = DataSetBuilder(*tables, reading, MemoryStore())
    builder.read(note, progress)
    return builder.finish(sources_name(sources))


def prepare(
    *sources: Source, out: str | Path, note: Note = silent, progress: Progress = silent, **reading: Any
) -> Path:
    """Read sources once into a data set on the disk, which :func:`load` maps; return its folder.

    Memory stays bounded, and an interrupted preparation is continued. ``reading`` is as for :func:`load`.

    Raises:
        UsageError: the folder exists and is another one.
        DataError: a source cannot be used; nothing is left behind then.
    """
    settings, folder = Reading.from_names(reading), Path(out)
    tables = _tables(sources, settings)
    paths = [Path(each) for each in sources if isinstance(each, str | Path) and str(each) not in BUILT_IN]
    source = source_of([*paths, *(path for path in [settings.test_path()] if path)], settings)
    if folder.exists():
        if is_prepared(folder) and read_description(folder)[0].get("source") == source:
            note(f"{folder} exists already, made from the same files")
            return folder
        raise UsageError(f"{folder} exists already: choose another folder, or remove it")
    with one_thread():
        if tables is None:
            save(from_arrays(sources, settings), folder, settings.dtype, source, note)
        else:
            prepare_tables(*tables, settings, folder, source, note, progress)
    return folder


def _prepared_folder(source: Source) -> Path | None:
    """Return the folder of a source that is a prepared data set; None for other sources."""
    if not isinstance(source, str | Path):
        return None
    with suppress(OSError, ValueError):
        return Path(source) if is_prepared(Path(source)) else None
    return None


def _tables(sources: Sequence[Source], reading: Reading) -> _Tables | None:
    """Return the tables of all sources; None if the sources hold arrays."""
    if not sources:
        raise UsageError(f"no data given: name a file, a folder or one of {', '.join(BUILT_IN)}")
    train: list[Table] = []
    test: list[Table] = []
    for source in sources:
        tables = _tables_of(source, reading, train)
        if tables is None:
            if train:
                raise UsageError(f"{source} holds arrays, {sources[0]} a table: train on one of them")
            return None
        train += tables.train
        test += tables.test
    path = reading.test_path()
    if path is not None:
        if test:
            raise UsageError(f"--test-file {path}: {sources[0]} has a test part already")
        tables = _tables_of(path, reading, train)
        if tables is None:
            raise UsageError(f"--test-file {path} holds arrays: expected a table")
        test = list(tables.train)
    return _Tables(train, test)


def _tables_of(source: Source, reading: Reading, earlier: Sequence[Table]) -> _Tables | None:
    """Return the tables of a source; None if it holds arrays. Text has the dialect of ``earlier`` tables."""
    if isinstance(source, str) and source in BUILT_IN:
        return None
    if isinstance(source, np.ndarray) and source.dtype.names is None and reading.target is None:
        raise UsageError(
            "data must be a name, a path, a pair (x, y) or a table: an array alone needs its target's number"
        )
    if is_table(source):
        return _Tables([table_of(source)], [])
    if not isinstance(source, str | Path):
        return None
    path = existing_path(source)
    if is_prepared(path):
        raise UsageError(f"{path} is a prepared data set: it cannot be joined with other data")
    if path.is_dir():
        return None if any(path.glob("*idx?-ubyte*")) else _Tables(*folder_tables(path))
    if path.suffix.lower() == ".npz":
        return None
    dialect = next((table.dialect for table in earlier if isinstance(table, TextTable)), None)
    separator, header = reading.separator, reading.header
    if dialect is not None:
        separator, header = separator or dialect.separator, dialect.header if header is None else header
    return _Tables([file_table(path, separator, header)], [])


def load_rows(*sources: Source, dtype: str = "float32") -> tuple[Array, Array | None]:
    """Return rows of arrays to predict or evaluate, and their targets in their original form, or None.

    These are the rows of the test part if the sources have one, otherwise all rows.
    """
    if len(sources) == 1 and (folder := _prepared_folder(sources[0])) is not None:
        sources = (read_prepared(folder),)
    if len(sources) == 1 and isinstance(sources[0], DataSet):
        rows = sources[0].test
        return checked(rows.x), _original_targets(rows.y, sources[0])
    parts, _ = read_all(sources)
    end = "_test" if "x_test" in parts else ""
    if "x" + end not in parts:
        raise DataError(f"{sources_name(sources)} holds neither x_test nor X: no rows to predict")
    x = features(parts["x" + end], "x" + end, dtype)
    y = parts.get("y" + end)
    if y is not None:
        check_rows(x, y, end.strip("_") or "given")
    return x, y


def _original_targets(y: Array, data: DataSet) -> Array:
    """Return a data set's targets as classes, or as values in their own unit."""
    if data.classes:
        return np.asarray(data.classes)[y]
    return y if data.preprocessing is None else data.preprocessing.target.in_own_unit(y)


def tables_to_predict(
    sources: Sequence[Source], separator: str | None = None, header: bool | None = None
) -> Sequence[Table] | None:
    """Return the tables whose rows are to be predicted: the test part if there is one; None for arrays."""
    if len(sources) == 1 and _prepared_folder(sources[0]) is not None:
        return None
    tables = _tables(sources, Reading(separator=separator, header=header))
    return None if tables is None else tables.test or tables.train
