"""Preparation of a data set on the disk: arrays in NumPy's format and their description, made in a folder beside it."""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from distbp.data.dataset import DataSet
from distbp.data.fingerprint import data_fingerprint
from distbp.data.formats.table import Table
from distbp.data.prepared.cache import CACHE_ADVICE, is_cached
from distbp.data.prepared.description import PARTS, write_description
from distbp.data.prepared.reader import is_prepared
from distbp.data.reading import Reading
from distbp.data.reporting import Note, Progress, silent
from distbp.data.tables.builder import DataSetBuilder
from distbp.data.tables.memory import check_tables_fit
from distbp.data.tables.stores import FileStore
from distbp.errors import DataError, DistbpError, RunError, UsageError
from distbp.files.json_files import read_json, write_json
from distbp.files.locks import acquire
from distbp.files.tensors import read_tensors, write_tensors

_STATE, _SOURCE = "state.safetensors", "source.json"
_SECONDS_BETWEEN_STATES = 5.0
_ROWS_AT_ONCE = 1 << 16


def prepare(
    tables: Sequence[Table],
    tests: Sequence[Table],
    reading: Reading,
    folder: Path,
    source: dict[str, Any],
    note: Note = silent,
    progress: Progress = silent,
) -> None:
    """Read tables once into a data set on the disk; an interrupted preparation is continued.

    Args:
        tables: of equal columns, read one after the other.
        tests: those with the test rows; empty if rows are held out.
        reading: the settings of reading.
        folder: where the data set goes; it appears when it is complete.
        source: identity of the source files as they are now (JSON's types).
        note: receives what the user should know.
        progress: receives the amount that was read, and the total.

    Raises:
        DataError: the tables cannot be used; nothing is left behind then.
    """
    check_tables_fit([*tables, *tests], in_memory=False)
    with _partial(folder, note) as partial:
        if is_prepared(folder):  # by the process whose lock was awaited
            partial.rmdir()
            return
        try:
            store, builder = _begin(partial, source, lambda into: DataSetBuilder(tables, tests, reading, into), note)
            with closing(store):
                builder.read(note, progress, _StateKeeper(partial, store, builder))
                data = builder.finish(folder.name)
                store.finish()
            data = replace(data, sha256=data_fingerprint(data))
            write_description(partial, data, reading.dtype, source)
        except DistbpError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        except KeyboardInterrupt:
            if (partial / _STATE).exists():
                note(f"what was read is kept in {partial}: the same command continues from there")
            raise
        for path in (partial / _STATE, partial / _SOURCE, *partial.glob("*-targets.npy")):
            path.unlink(missing_ok=True)


def save(data: DataSet, folder: Path, dtype: str, source: dict[str, Any], note: Note = silent) -> None:
    """Write a data set that is in memory to the disk."""
    with _partial(folder, note) as partial:
        if is_prepared(folder):  # by the process whose lock was awaited
            partial.rmdir()
            return
        store = FileStore(partial)
        for part in PARTS:
            rows = getattr(data, part)
            for name in ("x", "y", "weights") if rows is not None else ():
                array = getattr(rows, name)
                for start in range(0, len(array) if array is not None else 0, _ROWS_AT_ONCE):
                    store.append(f"{part}-{name}", array[start : start + _ROWS_AT_ONCE])
        store.finish()
        write_description(partial, replace(data, sha256=data_fingerprint(data)), dtype, source)


@contextmanager
def _partial(folder: Path, note: Note) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``, to one process at a time; then rename it, unless it was removed.

    Raises:
        UsageError: it cannot be created.
        LostError: another process has taken over the lock meanwhile.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(
            folder.with_name(f".{folder.name}.lock"),
            folder,
            note,
            waits=f"another process is making {folder}: waiting for it",
        )
    except (OSError, RunError) as error:
        why = f"{folder} cannot be made: {getattr(error, 'strerror', error)}"
        raise DataError(f"{why}; {CACHE_ADVICE}") if is_cached(folder) else UsageError(why) from error
    try:
        partial.mkdir(exist_ok=True)
        yield partial
        lock.check()
        if partial.exists():
            partial.rename(folder)
    except DataError as error:
        if is_cached(folder) and getattr(error.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"{error}; {CACHE_ADVICE}") from error
        raise
    finally:
        lock.release()


def _begin(
    partial: Path, source: dict[str, Any], new_builder: Callable[[FileStore], DataSetBuilder], note: Note
) -> tuple[FileStore, DataSetBuilder]:
    """Return a store and a builder, in the state of an interrupted preparation if that had the same source."""
    if (partial / _STATE).exists() and (partial / _SOURCE).exists():
        with suppress(RunError, DataError, KeyError, ValueError, OSError):
            if read_json(partial / _SOURCE) == source:
                arrays, texts = read_tensors(partial / _STATE)
                store = FileStore(partial, json.loads(texts["rows"]))
                builder = new_builder(store)
                builder.restore(arrays, texts)
                note(f"continuing in {partial} after {sum(store.rows.get(f'{part}-x', 0) for part in PARTS):,} rows")
                return store, builder
    for path in partial.iterdir():
        path.unlink()
    store = FileStore(partial)
    builder = new_builder(store)
    write_json(partial / _SOURCE, source)
    return store, builder


class _StateKeeper:
    """Saves the state of a preparation every few seconds, when it is called."""

    def __init__(self, partial: Path, store: FileStore, builder: DataSetBuilder) -> None:
        self._partial, self._store, self._builder = partial, store, builder
        self._saved_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_STATES:
            _save_state(self._partial, self._store, self._builder)
            self._saved_at = time.monotonic()


def _save_state(partial: Path, store: FileStore, builder: DataSetBuilder) -> None:
    """Save the state of a preparation: first the rows, then the file that counts them."""
    store.flush()
    arrays, texts = builder.state()
    write_tensors(partial / _STATE, arrays, {**texts, "rows": json.dumps(store.rows)})
