"""The size of sources after decompression, which decides whether they are read into memory or prepared on the disk."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from distbp.data.formats.regular_files import check_file
from distbp.data.formats.table import arrow, begins
from distbp.data.sources import BUILT_IN
from distbp.errors import DataError, UsageError

_LARGE_BYTES = 512 << 20
"""Files of this uncompressed size or more are prepared on the disk instead of read into memory."""
_BYTES_AT_ONCE = 1 << 20


def is_large(sources: Sequence[Any]) -> bool:
    """Return whether the sources are files that are prepared on the disk automatically."""
    if not all(isinstance(source, str | Path) for source in sources):
        return False
    paths = [Path(source) for source in sources if str(source) not in BUILT_IN]
    total = 0
    with suppress(OSError, ValueError, DataError):
        for each in [each for path in paths for each in (path.glob("*.p*q*") if path.is_dir() else [path])]:
            if each.suffix != ".npz":
                status = each.stat()
                total += _size(each, status.st_size, status.st_mtime_ns, _LARGE_BYTES)
    return total >= _LARGE_BYTES


@lru_cache(maxsize=4096)
def _size(path: Path, size: int, _: int, enough: int) -> int:
    """Return the uncompressed bytes of a file's rows; counting stops at ``enough``."""
    check_file(path)
    if size >= enough:
        return size
    if begins(path, b"\x1f\x8b"):
        return _unzipped(path, enough)
    if path.suffix.lower() in (".parquet", ".pq") or begins(path, b"PAR1"):
        return max(size, _cells(path) * 4)
    return size


def _unzipped(path: Path, enough: int) -> int:
    """Count the bytes of a gzipped file: its own size field is wrong from 4 GB on, and for several members."""
    count = 0
    with suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:  # the reader reports damage
        while count < enough and (block := file.read(_BYTES_AT_ONCE)):
            count += len(block)
    return count


def _cells(path: Path) -> int:
    """Return the number of cells of a Parquet file; 0 if it cannot be read."""
    try:
        pa, parquet = arrow(f"reading {path}"), arrow(f"reading {path}", "pyarrow.parquet")
    except UsageError:  # the reader reports that pyarrow is missing
        return 0
    with suppress(pa.ArrowException, OSError, ValueError):
        metadata = parquet.read_metadata(path)
        return int(metadata.num_rows) * int(metadata.num_columns)
    return 0
