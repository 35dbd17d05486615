"""A folder with the four MNIST files in IDX format (LeCun et al.), gzipped or not."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.regular_files import check_file, read_into
from distbp.data.memory import check_memory, refuse_zip_bomb
from distbp.errors import DataError

_STEMS = {
    "x_train": "train-images",
    "y_train": "train-labels",
    "x_test": "t10k-images",
    "y_test": "t10k-labels",
}
_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx_folder(folder: Path) -> dict[str, Array]:
    """Return x_train, y_train, x_test and y_test from the folder's four IDX files.

    Raises:
        DataError: a file is missing, truncated or no IDX file.
    """
    return {part: read_idx(_find(folder, stem, 3 if part[0] == "x" else 1)) for part, stem in _STEMS.items()}


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{dot}idx{dimensions}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {names[0]} (or {names[1]}): a folder must hold the four MNIST IDX files")


def read_idx(path: Path) -> Array:
    """Return the array of one IDX file.

    The format is two zero bytes, a type, the number of dimensions, each dimension as a big-endian uint32, the values.
    """
    check_file(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(file, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; is the file complete?") from error


def _read(file: Any, path: Path) -> Array:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise DataError(f"{path} is no IDX file: it begins with {magic!r}")
    dimensions = magic[3]
    lengths = file.read(4 * dimensions)
    start = 4 + 4 * dimensions
    if len(lengths) < 4 * dimensions:
        raise DataError(f"{path} is truncated within its header: {4 + len(lengths)} bytes")
    shape = struct.unpack(f">{dimensions}I", lengths)
    dtype = np.dtype(_TYPES[magic[2]])
    expected = dtype.itemsize * int(np.prod(shape, dtype=object))
    if path.suffix == ".gz":
        refuse_zip_bomb(path, expected, "gunzip it")
    elif path.stat().st_size != start + expected:
        raise _wrong_length(path, path.stat().st_size, start + expected)
    check_memory(expected, f"{path} with {' x '.join(map(str, shape))} numbers", "train on fewer or smaller images")
    content = np.empty(expected, np.uint8)
    count = read_into(file, content.data)
    if count != expected:
        raise _wrong_length(path, start + count, start + expected)
    return content.view(dtype).reshape(shape)


def _wrong_length(path: Path, length: int, expected: int) -> DataError:
    more = "more than " if length > expected else ""
    return DataError(
        f"{path} holds {more}{min(length, expected)} bytes, its header promises {expected}: is the file complete?"
    )
