"""From a name, a file, a folder or arrays to a checked data set."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

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


def load(*sources: Source, note: Note = silent, progress: Progress = silent, **reading: Any) -> DataSet:
    """Read, join and check data; several sources of equal columns are taken one after the other.

    Args:
        sources: each a built-in name, a path, a table, a data set of one's own (:class:`RowSource`), or arrays (x, y),
            with what each training row counts as a third if they do not count the same; x may be sparse.
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


def load_as(sources: Sequence[Source], reading: Reading, note: Note = silent, progress: Progress = silent) -> DataSet:
    """Read data as :func:`load` does."""
    with one_thread():
        return _load(sources, reading, note, progress)


def _load(sources: Sequence[Source], reading: Reading, note: Note, progress: Progress) -> DataSet:
    if len(sources) == 1 and isinstance(sources[0], DataSet):
        return sources[0]
    if len(sources) == 1 and (folder := _prepared(sources[0])) is not None:
        check_reading(folder, reading)
        return read_prepared(folder, note)
    found = _tables(sources, reading)
    if found is None:
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
            prepare_tables(*found, reading, folder, source, note, progress)
        return replace(read_prepared(folder, note), name=sources_name(sources))
    check_tables_fit([*found[0], *found[1]], in_memory=True)
    building = DataSetBuilder(*found, reading, MemoryStore())
    building.read(note, progress)
    return building.finish(sources_name(sources))


def prepare(
    *sources: Source, out: str | Path, note: Note = silent, progress: Progress = silent, **reading: Any
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
        if is_prepared(folder) and read_description(folder)[0].get("source") == source:
            note(f"{folder} is there already, from the same files")
            return folder
        raise UsageError(f"{folder} exists already: choose another folder, or remove it")
    with one_thread():
        if found is None:
            save(from_arrays(sources, wanted), folder, wanted.dtype, source, note)
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
    if isinstance(source, str) and source in BUILT_IN:
        return None
    if isinstance(source, np.ndarray) and source.dtype.names is None and reading.target is None:
        raise UsageError(
            "data must be a name, a path, a pair (x, y) or a table: an array alone needs its target's number"
        )
    if is_table(source):
        return [table_of(source)], []
    if not isinstance(source, str | Path):
        return None
    path = existing_path(source)
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
        return checked(rows.x), _as_told(rows.y, sources[0])
    parts, _ = read_all(sources)
    end = "_test" if "x_test" in parts else ""
    if "x" + end not in parts:
        raise DataError(f"{sources_name(sources)} holds neither x_test nor X: no rows to predict")
    x = features(parts["x" + end], "x" + end, dtype)
    y = parts.get("y" + end)
    if y is not None:
        check_rows(x, y, end.strip("_") or "given")
    return x, y


def _as_told(y: Array, data: DataSet) -> Array:
    """Return a data set's targets as they stood in its table: classes, or values in their own unit."""
    if data.classes:
        return np.asarray(data.classes)[y]
    return y if data.preprocessing is None else data.preprocessing.target.in_own_unit(y)


def tables_to_apply(
    sources: Sequence[Source], separator: str | None = None, header: bool | None = None
) -> list[Table] | None:
    """Return the tables whose rows are to be predicted: a test part where there is one; None for arrays."""
    if len(sources) == 1 and _prepared(sources[0]) is not None:
        return None
    found = _tables(sources, Reading(separator=separator, header=header))
    return None if found is None else found[1] or found[0]
