"""What tells one data set from another."""

from __future__ import annotations

import hashlib

import numpy as np

from distbp.data.dataset import DataSet

_ROWS_AT_ONCE = 4096


def data_fingerprint(data: DataSet) -> str:
    """Return the SHA-256 of all rows and targets, of what bytes count, and of what the classes stand for."""
    digest = hashlib.sha256(repr((data.task, data.classes, data.train.factor, data.test.factor)).encode())
    arrays = [data.train.x, data.train.y, data.test.x, data.test.y]
    if data.train.weights is not None:
        arrays.append(data.train.weights)
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        if array.flags.c_contiguous:
            digest.update(array.data)
        else:
            for start in range(0, len(array), _ROWS_AT_ONCE):
                digest.update(np.ascontiguousarray(array[start : start + _ROWS_AT_ONCE]).data)
    return digest.hexdigest()
