"""Mapped arrays whose blocks are verified against checksums before their first use.

The checksum is CRC-32: it detects every flipped bit and all but one in four billion other changes, at a twentieth of
the cost of a cryptographic hash. It protects from damage, not from people, who could rewrite the checksums as well.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.npy import mapped_array
from distbp.data.formats.regular_files import open_file
from distbp.errors import DataError

_BLOCK = 1 << 20
_DIGITS = 8


def checksums_of(path: Path) -> str:
    """Return the checksums of a file's blocks of 1 MiB, eight hexadecimal digits each, joined."""
    sums = []
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            sums.append(f"{zlib.crc32(block):08x}")
    return "".join(sums)


class _Blocks:
    """The blocks of a mapped file, and which of them are verified already."""

    def __init__(self, path: Path, sums: str, array: np.memmap[Any, Any]) -> None:
        self.path, self.sums, self.start = path, sums, array.offset
        self.row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=int))
        mapping: Any = array._mmap  # type: ignore[attr-defined]  # begins at the file's first byte, as headers are short
        self._bytes = memoryview(mapping)
        count = -(-len(self._bytes) // _BLOCK)
        if len(sums) != count * _DIGITS:
            raise DataError(f"{path} has {count} blocks, {len(sums) // _DIGITS} were written: prepare the data again")
        self._is_unverified = np.ones(count, bool)
        self._counter_lock = threading.Lock()  # several threads of a process may read the same array
        self.unverified = count

    def check(self, numbers: Iterable[int]) -> None:
        """Verify the blocks of these numbers that are not verified yet."""
        for number in numbers:
            if not self._is_unverified[number]:
                continue
            part = self._bytes[number * _BLOCK : (number + 1) * _BLOCK]
            if f"{zlib.crc32(part):08x}" != self.sums[number * _DIGITS : (number + 1) * _DIGITS]:
                raise DataError(
                    f"{self.path} is damaged within its bytes {number * _BLOCK:,} to {number * _BLOCK + len(part):,}: "
                    "they are not those that were written; prepare the data again"
                )
            with self._counter_lock:  # another thread may have verified it in the meantime
                self.unverified -= int(self._is_unverified[number])
                self._is_unverified[number] = False

    def check_all(self) -> None:
        """Verify all blocks."""
        self.check(range(len(self._is_unverified)))

    def check_rows(self, rows: Any) -> None:
        """Verify the blocks that hold these rows."""
        begin = self.start + np.asarray(rows, np.int64).reshape(-1) * self.row_bytes
        first, last = begin // _BLOCK, (begin + max(self.row_bytes - 1, 0)) // _BLOCK
        if self.row_bytes <= _BLOCK:
            self.check(np.unique(np.concatenate([first, last])).tolist())
        else:
            for begin_block, end_block in zip(first.tolist(), last.tolist(), strict=True):
                self.check(range(begin_block, end_block + 1))


class CheckedArray(np.memmap[Any, Any]):
    """A mapped array whose blocks are verified when rows are first taken from them.

    ``take`` and indexing verify what they read. Code that reads the array in any other way calls :func:`checked` first.
    """

    blocks: _Blocks | None = None

    @classmethod
    def of(cls, path: Path, sums: str) -> Self:
        """Map a file whose blocks have these checksums; its first block, with the header, is verified at once.

        Raises:
            DataError: it cannot be read, or is damaged.
        """
        array: Self = mapped_array(path).view(cls)
        array.blocks = _Blocks(path, sums, array)
        array.blocks.check([0])
        return array

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)
        self.blocks = None  # a part was verified when it was taken

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
        """Return these rows; this is what ``np.take`` calls."""
        if self.blocks is not None and self.blocks.unverified:
            self.blocks.check_rows(indices)
        return np.asarray(self).take(indices, axis, out, mode)

    def __getitem__(self, part: Any) -> Any:
        if self.blocks is not None and self.blocks.unverified:
            rows = part[0] if isinstance(part, tuple) and part else part
            if isinstance(rows, slice | int | np.integer):
                self.blocks.check_rows(np.arange(len(self))[rows])
            else:
                checked(self)
        return np.asarray(self)[part]

    def __reduce__(self) -> Any:
        return np.asarray(checked(self)).copy().__reduce__()


def checked(array: Any) -> Any:
    """Return the array after verifying all of it; an array without checksums is returned as it is."""
    if isinstance(array, CheckedArray) and array.blocks is not None and array.blocks.unverified:
        array.blocks.check_all()
    return array


def map_checked(path: Path, sums: str) -> Array:
    """Map an array of a file; it is verified on use if there are checksums."""
    return CheckedArray.of(path, sums) if sums else mapped_array(path)
