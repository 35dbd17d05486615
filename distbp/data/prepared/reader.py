"""Opening of a data set on the disk: its arrays are mapped, and its description is checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distbp.data.columns.encoding import Encoding
from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import DataSet, Rows
from distbp.data.prepared.cache import CacheLock
from distbp.data.prepared.description import (
    DESCRIPTION,
    PARTS,
    check_data_set,
    map_part,
    read_description,
    reading_as_json,
)
from distbp.data.reading import Reading
from distbp.data.reporting import Note, silent
from distbp.errors import DataError, RunError


def is_prepared(folder: Path) -> bool:
    """Return whether the folder is a complete data set that :func:`prepare` made."""
    return (folder / DESCRIPTION).is_file()


def read_prepared(folder: Path, note: Note = silent) -> DataSet:
    """Map the data set of a folder; a note says if it has no checksums, without which damage is not detected.

    Raises:
        DataError: it is damaged, or was made by another version.
    """
    lock = CacheLock(folder)
    try:
        return _read(folder, lock, note)
    except (KeyError, TypeError, ValueError, ArithmeticError, RunError) as error:
        if str(error).startswith(f"{folder} is damaged"):
            raise
        raise DataError(f"{folder} is damaged: {error}") from error
    finally:
        lock.close()


def _read(folder: Path, lock: CacheLock, note: Note) -> DataSet:
    description, has_sum = read_description(folder)
    if has_sum != ("blocks" in description):
        raise DataError(f"{folder} is damaged: {DESCRIPTION} lacks its checksum, or those of the arrays")
    if not has_sum:
        note(f"{folder} was prepared without checksums, so damage is not detected: prepare it again to have them")
    content = description["preprocessing"]
    preprocessing = None if content is None else Preprocessing.from_json(content)
    encoding = None if preprocessing is None else preprocessing.encoding(description["dtype"])
    train, test, validation = (_part(folder, part, description, encoding, lock) for part in PARTS)
    if train is None or test is None:
        raise DataError(f"{folder} is damaged: a part is missing")
    data = DataSet(
        description["name"],
        description["task"],
        train,
        test,
        tuple(description["classes"]),
        validation,
        preprocessing,
        description["sha256"],
    )
    check_data_set(data)
    return data


def _part(
    folder: Path, part: str, description: Mapping[str, Any], encoding: Encoding | None, lock: CacheLock
) -> Rows | None:
    """Map the rows of a part; None if the data set has no such part."""
    sums, rows = description.get("blocks", {}), description["rows"][part]
    x, y, weights = (map_part(folder, f"{part}-{array}", sums) for array in ("x", "y", "weights"))
    if x is None or y is None or not len(x) == len(y) == rows:
        if rows or part == "train":
            raise DataError(f"{folder} is damaged: its {part} part is not complete")
        return None
    lock.keep_until_freed(x)
    return Rows(x, y, float(description["factor"]), weights, encoding)


def check_reading(folder: Path, reading: Reading) -> None:
    """Refuse settings of reading that differ from those with which a data set was prepared.

    Raises:
        DataError: a setting differs.
    """
    description = read_description(folder)[0]
    used = description.get("source", {}).get("reading", {})
    settled = {
        "target": (description.get("preprocessing") or {}).get("target", {}).get("name"),
        "task": description.get("task"),
    }
    default, wanted = reading_as_json(Reading()), reading_as_json(reading)
    if used.get("standardise", True) != wanted["standardise"] and description.get("task") == "regression":
        raise DataError(f"{folder} was prepared with its values standardised, not for this cost: use the files instead")
    for name in wanted.keys() - {"seed", "standardise"}:
        if wanted[name] not in (default[name], used.get(name), settled.get(name, default[name])):
            option = f"--{name.replace('_', '-')}"
            how = "without" if used.get(name) == default[name] else f"with {used.get(name)} as"
            raise DataError(f"{folder} was prepared {how} {option}: leave {option} out, or prepare it again with it")
