"""The fingerprint of a data set: a hash of its rows and of their meaning."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.dataset import DataSet

_ROWS_AT_ONCE = 4096
_BYTES_AT_ONCE = 1 << 22


def data_fingerprint(data: DataSet) -> str:
    """Return the SHA-256 of all rows and targets, and of the factor, classes and columns that give them meaning."""
    if data.sha256:
        return data.sha256
    digest = hashlib.sha256(repr((data.task, data.classes, data.train.factor, data.test.factor)).encode())
    arrays = [data.train.x, data.train.y, data.test.x, data.test.y]
    if data.train.weights is not None:
        arrays.append(data.train.weights)
    if data.preprocessing is not None:
        digest.update(json.dumps(data.preprocessing.to_json(), sort_keys=True).encode())
        arrays += [data.validation.x, data.validation.y] if data.validation is not None else []
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        if isinstance(array, np.memmap) and array.filename is not None:
            _update_from_file(digest, array)
        elif isinstance(array, np.ndarray) and array.flags.c_contiguous:
            digest.update(array.data)
        else:
            for start in range(0, len(array), _ROWS_AT_ONCE):
                digest.update(np.ascontiguousarray(array[start : start + _ROWS_AT_ONCE]).data)
    return digest.hexdigest()


def _update_from_file(digest: Any, array: np.memmap[Any, Any]) -> None:
    """Hash a mapped array by reading its file, so that its pages do not count as memory of this process."""
    with Path(str(array.filename)).open("rb") as file:
        file.seek(array.offset)
        while block := file.read(_BYTES_AT_ONCE):
            digest.update(block)
