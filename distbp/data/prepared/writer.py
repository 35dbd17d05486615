"""Data sets on the disk: arrays in NumPy's format, mapped when they are used, and JSON that says what they are."""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from distbp.data.dataset import DataSet
from distbp.data.fingerprint import data_fingerprint
from distbp.data.formats.table import Table
from distbp.data.prepared.cache import CACHE_ADVICE, is_cached
from distbp.data.prepared.description import write_description
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
    """Read tables once into an on-disk data set; a reading that was broken off is gone on with.

    Args:
        tables: of equal columns, taken one after the other.
        tests: those with the test rows; empty if rows are held out.
        reading: how they are read.
        folder: where the data set goes; it appears when it is whole.
        source: what tells these sources, as they are now, from others (JSON's types).
        note: told what the user should know.
        progress: told how much of how much was read.

    Raises:
        DataError: the tables cannot be used; nothing is left behind then.
    """
    check_tables_fit([*tables, *tests], in_memory=False)
    with _partial(folder, note) as partial:
        if is_prepared(folder):  # by the process that was waited for
            partial.rmdir()
            return
        files: FileStore | None = None
        kept_at = time.monotonic()

        def keep() -> None:
            nonlocal kept_at
            assert files is not None
            if time.monotonic() - kept_at > _SECONDS_BETWEEN_STATES:
                _keep(partial, files, building)
                kept_at = time.monotonic()

        try:
            files, building = _begun(partial, source, lambda into: DataSetBuilder(tables, tests, reading, into), note)
            building.read(note, progress, keep)
            data = building.finish(folder.name)
            files.finish()
            data = replace(data, sha256=data_fingerprint(data))
            write_description(partial, data, reading.dtype, source)
        except DistbpError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        except KeyboardInterrupt:
            if (partial / _STATE).exists():
                note(f"what was read is kept in {partial}: the same command goes on from there")
            raise
        finally:
            if files is not None:
                files.close()
        for path in (partial / _STATE, partial / _SOURCE, *partial.glob("*-targets.npy")):
            path.unlink(missing_ok=True)


def save(data: DataSet, folder: Path, dtype: str, source: dict[str, Any], note: Note = silent) -> None:
    """Write a data set that is in memory to the disk."""
    with _partial(folder, note) as partial:
        if is_prepared(folder):  # by the process that was waited for
            partial.rmdir()
            return
        files = FileStore(partial)
        for part in ("train", "test", "validation"):
            rows = getattr(data, part)
            for end in ("x", "y", "weights") if rows is not None else ():
                array = getattr(rows, end)
                for start in range(0, len(array) if array is not None else 0, _ROWS_AT_ONCE):
                    files.append(f"{part}-{end}", array[start : start + _ROWS_AT_ONCE])
        files.finish()
        write_description(partial, replace(data, sha256=data_fingerprint(data)), dtype, source)


@contextmanager
def _partial(folder: Path, note: Note) -> Iterator[Path]:
    """Give the folder beside ``folder`` in which it is made, to one process at a time; then rename it, if it is there.

    Raises:
        UsageError: it cannot be made.
        LostError: another process has taken over meanwhile.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(
            folder.with_name(f".{folder.name}.lock"), folder, note,
            waits=f"another process is making {folder}: waiting for it",
        )  # fmt: skip
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


def _begun(
    partial: Path, source: dict[str, Any], building_in: Callable[[FileStore], DataSetBuilder], note: Note
) -> tuple[FileStore, DataSetBuilder]:
    """Return the files and the building, as they were left if that was for the same source."""
    if (partial / _STATE).exists() and (partial / _SOURCE).exists():
        with suppress(RunError, DataError, KeyError, ValueError, OSError):
            if read_json(partial / _SOURCE) == source:
                arrays, texts = read_tensors(partial / _STATE)
                files = FileStore(partial, json.loads(texts["rows"]))
                building = building_in(files)
                building.restore(arrays, texts)
                note(f"going on in {partial} after {sum(files.rows.get(part, 0) for part in _X):,} rows")
                return files, building
    for path in partial.iterdir():
        path.unlink()
    files = FileStore(partial)
    building = building_in(files)
    write_json(partial / _SOURCE, source)
    return files, building


_X = ("train-x", "test-x", "validation-x")


def _keep(partial: Path, files: FileStore, building: DataSetBuilder) -> None:
    """Keep how far reading has come: first the rows, then what says that they are there."""
    files.flush()
    arrays, texts = building.state()
    write_tensors(partial / _STATE, arrays, {**texts, "rows": json.dumps(files.rows)})
