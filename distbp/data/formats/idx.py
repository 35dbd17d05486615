"""A folder with the four MNIST files in IDX format (LeCun et al.), gzipped or not."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
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
        DataError: a file is missing, cut off or no IDX file.
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

    The format: two zero bytes, a type, the number of dimensions, each dimension as a big-endian uint32, the values.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; is the file complete?") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(f"{path} is no IDX file: it begins with {content[:4]!r}")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} is cut off within its header: {len(content)} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    dtype = np.dtype(_TYPES[content[2]])
    expected = start + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise DataError(f"{path} holds {len(content)} bytes, its header promises {expected}: is the file complete?")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
