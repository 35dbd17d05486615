"""Data sets on the disk: arrays in NumPy's format, mapped when they are used, and JSON that says what they are."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import DataSet, Rows
from distbp.data.fingerprint import data_fingerprint
from distbp.data.formats.table import Note, Progress, Table, unheard
from distbp.data.memory import check_tables
from distbp.data.prepared.cache import ELSEWHERE, Use, cache, is_cached
from distbp.data.prepared.checksums import sums_of
from distbp.data.prepared.description import DESCRIPTION, FORMAT, check_parts, described, part_array
from distbp.data.reading import Reading
from distbp.data.tables.builder import Building
from distbp.data.tables.stores import InFiles
from distbp.errors import DataError, DistbpError, RunError, UsageError
from distbp.files.locks import acquire
from distbp.files.tensors import read_tensors, write_tensors
from distbp.files.whole import read_json, write_json

_STATE, _SOURCE = "state.safetensors", "source.json"
_SECONDS_BETWEEN_STATES = 5.0
_ROWS_AT_ONCE = 1 << 16


def is_prepared(folder: Path) -> bool:
    """Return whether the folder is a data set that :func:`prepare` made."""
    return (folder / DESCRIPTION).is_file()


def read_prepared(folder: Path, note: Note = unheard) -> DataSet:
    """Map the data set of a folder; ``note`` is told if it keeps no sums, by which damage would be found.

    Raises:
        DataError: it is damaged, or made by another version.
    """
    use = Use(folder)
    try:
        told, has_sum = described(folder)
        sums = told.get("blocks", {})
        if has_sum != ("blocks" in told):
            raise DataError(f"{folder} is damaged: {DESCRIPTION} lacks its sum, or those of the arrays")
        if not has_sum:
            note(
                f"{folder} was prepared without sums, so damage of its rows is not found: prepare it again to have them"
            )
        preprocessing = None if told["preprocessing"] is None else Preprocessing.from_json(told["preprocessing"])
        encoding = None if preprocessing is None else preprocessing.encoding(told["dtype"])
        parts: dict[str, Rows | None] = {}
        for part in ("train", "test", "validation"):
            arrays = {end: part_array(folder, f"{part}-{end}", sums) for end in ("x", "y", "weights")}
            x, y = arrays["x"], arrays["y"]
            if x is None or y is None or not len(x) == len(y) == told["rows"][part]:
                if told["rows"][part] or part == "train":
                    raise DataError(f"{folder} is damaged: its {part} part is not complete")
                parts[part] = None
            else:
                use.until_gone(x)
                parts[part] = Rows(x, y, float(told["factor"]), arrays["weights"], encoding)
        train, test = parts["train"], parts["test"]
        if train is None or test is None:
            raise DataError(f"{folder} is damaged: a part is missing")
        data = DataSet(
            told["name"], told["task"], train, test, tuple(told["classes"]), parts["validation"], preprocessing,
            told["sha256"],
        )  # fmt: skip
        check_parts(data)
        return data
    except (KeyError, TypeError, ValueError, ArithmeticError, RunError) as error:
        if str(error).startswith(f"{folder} is damaged"):
            raise
        raise DataError(f"{folder} is damaged: {error}") from error
    finally:
        use.close()


def check_reading(folder: Path, reading: Reading) -> None:
    """Refuse to read a prepared data set in another way than it was prepared in: that was fixed then.

    Raises:
        DataError: an option says something else.
    """
    description = described(folder)[0]
    told = description.get("source", {}).get("reading", {})
    found = {"target": (description.get("preprocessing") or {}).get("target", {}).get("name")}
    found["task"] = description.get("task")
    usual, wanted = _as_json(Reading()), _as_json(reading)
    if told.get("standardise", True) != wanted["standardise"] and description.get("task") == "regression":
        raise DataError(f"{folder} was prepared with its values standardised, not for this cost: use the files instead")
    for name in wanted.keys() - {"seed", "standardise"}:
        if wanted[name] not in (usual[name], told.get(name), found.get(name, usual[name])):
            option = f"--{name.replace('_', '-')}"
            how = "without" if told.get(name) == usual[name] else f"with {told.get(name)} as"
            raise DataError(f"{folder} was prepared {how} {option}: leave {option} out, or prepare it again with it")


def _as_json(reading: Reading) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(json.dumps(asdict(reading), default=list))
    return settings


def prepare(
    tables: Sequence[Table],
    tests: Sequence[Table],
    reading: Reading,
    folder: Path,
    source: dict[str, Any],
    note: Note = unheard,
    progress: Progress = unheard,
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
    check_tables([*tables, *tests], in_memory=False)
    with _partial(folder, note) as partial:
        if is_prepared(folder):  # by the process that was waited for
            partial.rmdir()
            return
        files: InFiles | None = None
        kept_at = time.monotonic()

        def keep() -> None:
            nonlocal kept_at
            assert files is not None
            if time.monotonic() - kept_at > _SECONDS_BETWEEN_STATES:
                _keep(partial, files, building)
                kept_at = time.monotonic()

        try:
            files, building = _begun(partial, source, lambda into: Building(tables, tests, reading, into), note)
            building.read(note, progress, keep)
            data = building.finish(folder.name)
            files.finish()
            data = replace(data, sha256=data_fingerprint(data))
            _describe(partial, data, reading.dtype, source)
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


def save(data: DataSet, folder: Path, dtype: str, source: dict[str, Any], note: Note = unheard) -> None:
    """Write a data set that is in memory to the disk."""
    with _partial(folder, note) as partial:
        if is_prepared(folder):  # by the process that was waited for
            partial.rmdir()
            return
        files = InFiles(partial)
        for part in ("train", "test", "validation"):
            rows = getattr(data, part)
            for end in ("x", "y", "weights") if rows is not None else ():
                array = getattr(rows, end)
                for start in range(0, len(array) if array is not None else 0, _ROWS_AT_ONCE):
                    files.append(f"{part}-{end}", array[start : start + _ROWS_AT_ONCE])
        files.finish()
        _describe(partial, replace(data, sha256=data_fingerprint(data)), dtype, source)


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
        raise DataError(f"{why}; {ELSEWHERE}") if is_cached(folder) else UsageError(why) from error
    try:
        partial.mkdir(exist_ok=True)
        yield partial
        lock.check()
        if partial.exists():
            partial.rename(folder)
    except DataError as error:
        if is_cached(folder) and getattr(error.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"{error}; {ELSEWHERE}") from error
        raise
    finally:
        lock.release()


def _begun(
    partial: Path, source: dict[str, Any], building_in: Callable[[InFiles], Building], note: Note
) -> tuple[InFiles, Building]:
    """Return the files and the building, as they were left if that was for the same source."""
    if (partial / _STATE).exists() and (partial / _SOURCE).exists():
        with suppress(RunError, DataError, KeyError, ValueError, OSError):
            if read_json(partial / _SOURCE) == source:
                arrays, texts = read_tensors(partial / _STATE)
                files = InFiles(partial, json.loads(texts["rows"]))
                building = building_in(files)
                building.go_on(arrays, texts)
                note(f"going on in {partial} after {sum(files.rows.get(part, 0) for part in _X):,} rows")
                return files, building
    for path in partial.iterdir():
        path.unlink()
    files = InFiles(partial)
    building = building_in(files)
    write_json(partial / _SOURCE, source)
    return files, building


_X = ("train-x", "test-x", "validation-x")


def _keep(partial: Path, files: InFiles, building: Building) -> None:
    """Keep how far reading has come: first the rows, then what says that they are there."""
    files.flush()
    arrays, texts = building.state()
    write_tensors(partial / _STATE, arrays, {**texts, "rows": json.dumps(files.rows)})


def _describe(folder: Path, data: DataSet, dtype: str, source: dict[str, Any]) -> None:
    rows = {part: len(getattr(data, part) or ()) for part in ("train", "test", "validation")}
    told = None if data.preprocessing is None else data.preprocessing.to_json()
    write_json(folder / DESCRIPTION, {
        "format": FORMAT, "name": data.name, "task": data.task, "classes": list(data.classes), "dtype": dtype,
        "factor": data.train.factor, "rows": rows, "preprocessing": told, "sha256": data.sha256, "source": source,
        "blocks": {path.stem: sums_of(path) for path in sorted(folder.glob("*-[xyw]*.npy"))},
    })  # fmt: skip


def source_of(paths: Sequence[Path], reading: Reading) -> dict[str, Any]:
    """Return what tells these files, as they are now, and this way of reading them from others."""
    files = []
    for path in paths:
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file():
                status = each.stat()
                files.append([str(each.absolute()), status.st_size, status.st_mtime_ns])
    if len(files) > 1000:  # a folder of images: names and times in short
        files = [[hashlib.sha256(json.dumps(files).encode()).hexdigest(), len(files), 0]]
    return {"files": files, "reading": _as_json(reading)}


def cache_folder(source: dict[str, Any], name: str) -> Path:
    """Return where a data set is kept that is made by itself: the user's cache folder."""
    key = hashlib.sha256(json.dumps([FORMAT, source], sort_keys=True).encode()).hexdigest()[:16]
    return cache() / f"{name}-{key}"


def cached() -> list[Path]:
    """Return the data sets that were made by themselves and are whole."""
    return sorted(path.parent for path in cache().glob(f"*/{DESCRIPTION}") if not path.parent.is_symlink())
