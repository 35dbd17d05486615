"""The description of a prepared data set, dataset.json, and checks of the arrays beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.checks import row_weights, target_values
from distbp.data.dataset import Array, DataSet
from distbp.data.prepared.checksums import checked, checksums_of, map_checked
from distbp.data.reading import Reading
from distbp.errors import DataError, RunError
from distbp.files.json_checks import (
    anything,
    either,
    flag,
    list_of,
    names_to,
    number,
    of_format,
    one_of,
    or_null,
    record,
    text,
    whole,
)
from distbp.files.json_files import read_sealed, write_json

FORMAT = 1
DESCRIPTION = "dataset.json"
PARTS = ("train", "test", "validation")
_ROWS = 1 << 16
_SMALL = 1 << 25
"""Rows of up to this many bytes are verified when they are opened; larger arrays when they are first used."""
_CONTENT = record(
    {
        "format": of_format(FORMAT),
        "name": text(),
        "task": one_of("classification", "regression"),
        "classes": list_of(either(text(), flag, number(), expected="text, a number, true or false")),
        "dtype": one_of("float32", "float64"),
        "factor": number(0),
        "rows": record({part: whole() for part in PARTS}),
        "preprocessing": or_null(names_to(anything)),
        "sha256": text(),
    },
    {"blocks": names_to(text(1 << 30)), "source": names_to(anything)},
)


def read_description(folder: Path) -> tuple[dict[str, Any], bool]:
    """Return the description of a prepared data set, and whether it has a checksum.

    Raises:
        DataError: it is damaged, or was written by another version.
    """
    try:
        return read_sealed(folder / DESCRIPTION, _CONTENT)
    except RunError as error:
        raise DataError(f"{folder} is damaged: {error}; prepare it again") from error


def write_description(folder: Path, data: DataSet, dtype: str, source: dict[str, Any]) -> None:
    """Write dataset.json, with the checksums of the arrays beside it."""
    write_json(
        folder / DESCRIPTION,
        {
            "format": FORMAT,
            "name": data.name,
            "task": data.task,
            "classes": list(data.classes),
            "dtype": dtype,
            "factor": data.train.factor,
            "rows": {part: len(getattr(data, part) or ()) for part in PARTS},
            "preprocessing": None if data.preprocessing is None else data.preprocessing.to_json(),
            "sha256": data.sha256,
            "source": source,
            "blocks": {path.stem: checksums_of(path) for path in sorted(folder.glob("*-[xyw]*.npy"))},
        },
    )


def reading_as_json(reading: Reading) -> dict[str, Any]:
    """Return a :class:`Reading` as JSON types."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(reading), default=list))
    return settings


def map_part(folder: Path, name: str, sums: Mapping[str, str]) -> Any:
    """Map an array; small arrays, targets and weights, which are always read as a whole, are verified at once.

    Raises:
        DataError: it is damaged.
    """
    path = folder / f"{name}.npy"
    if not os.path.lexists(path) and name not in sums:
        return None
    array = map_checked(path, sums[name] if sums else "")
    return array if name.endswith("-x") and array.nbytes > _SMALL else checked(array)


def check_data_set(data: DataSet) -> None:
    """Refuse a data set from the disk with arrays of a wrong shape or type, or targets out of range.

    Raises:
        DataError: with the row where there is one.
    """
    preprocessing = data.preprocessing
    columns = data.train.x.shape[-1] if preprocessing is None else preprocessing.stored_columns
    outputs = data.train.y.shape[1:]
    kinds = "uf" if preprocessing is None else "u" if preprocessing.is_pixels else "f"
    for part in PARTS:
        rows = getattr(data, part)
        if rows is None:
            continue
        if rows.x.ndim != 2 or rows.x.shape[1] != columns or rows.x.dtype.kind not in kinds:
            raise DataError(f"{part}-x holds {rows.x.dtype} of shape {rows.x.shape}, expected {columns} columns")
        if rows.x.dtype.kind == "u" and rows.x.dtype != np.uint8:
            raise DataError(f"{part}-x holds {rows.x.dtype}, expected uint8 or floats")
        if data.task == "classification":
            _check_class_numbers(rows.y, f"{part}-y", len(data.classes))
        elif rows.y.ndim != 2 or rows.y.shape[1:] != outputs or data.classes:
            raise DataError(f"{part}-y has the shape {rows.y.shape}, expected a row of values for each example")
        else:
            target_values(rows.y, f"{part}-y", str(rows.y.dtype))
        if rows.weights is not None:
            row_weights(rows.weights, len(rows.x), str(rows.weights.dtype))


def _check_class_numbers(y: Array, name: str, classes: int) -> None:
    if y.ndim != 1 or y.dtype.kind not in "iu" or classes < 2:
        raise DataError(f"{name} holds {y.dtype} of shape {y.shape} for {classes} classes: expected a number per row")
    for start in range(0, len(y), _ROWS):
        bad = (y[start : start + _ROWS] < 0) | (y[start : start + _ROWS] >= classes)
        if bad.any():
            row = start + int(bad.argmax())
            raise DataError(f"{name} row {row} is {y[row]}, which is none of the class numbers 0..{classes - 1}")
