"""Arrays in files that are checked block by block before they are first used, by sums that were kept when written.

CRC-32, which finds every flipped bit and all but one of four billion other damages, since it costs a twentieth of a
cryptographic sum: it is of damage that data are kept from here, not of people who can write the sums as well.
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
from distbp.data.formats.regular_files import opened_file
from distbp.errors import DataError

_BLOCK = 1 << 20
_DIGITS = 8


def checksums_of(path: Path) -> str:
    """Return the sums of a file's blocks, of a MiB each, eight hexadecimal digits after the other."""
    sums = []
    with opened_file(path) as file:
        while block := file.read(_BLOCK):
            sums.append(f"{zlib.crc32(block):08x}")
    return "".join(sums)


class _Blocks:
    """Which blocks of a mapped file were found to be as they were written."""

    def __init__(self, path: Path, sums: str, array: np.memmap[Any, Any]) -> None:
        self.path, self.sums, self.start = path, sums, array.offset
        self.row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=int))
        mapping: Any = array._mmap  # type: ignore[attr-defined]  # from the file's first byte on, as headers are short
        self._bytes = memoryview(mapping)
        count = -(-len(self._bytes) // _BLOCK)
        if len(sums) != count * _DIGITS:
            raise DataError(f"{path} has {count} blocks, {len(sums) // _DIGITS} were written: prepare the data again")
        self._is_open = np.ones(count, bool)
        self._counting = threading.Lock()  # threads of one process take rows of one array
        self.left = count

    def check(self, numbers: Iterable[int]) -> None:
        """Look at those of these blocks that were not looked at yet."""
        for number in numbers:
            if not self._is_open[number]:
                continue
            part = self._bytes[number * _BLOCK : (number + 1) * _BLOCK]
            if f"{zlib.crc32(part):08x}" != self.sums[number * _DIGITS : (number + 1) * _DIGITS]:
                raise DataError(
                    f"{self.path} is damaged within its bytes {number * _BLOCK:,} to {number * _BLOCK + len(part):,}: "
                    "they are not those that were written; prepare the data again"
                )
            with self._counting:  # another thread may have looked at it in the meantime
                self.left -= int(self._is_open[number])
                self._is_open[number] = False

    def check_all(self) -> None:
        """Look at all blocks."""
        self.check(range(len(self._is_open)))

    def check_rows(self, rows: Any) -> None:
        """Look at the blocks in which these rows lie."""
        begin = self.start + np.asarray(rows, np.int64).reshape(-1) * self.row_bytes
        first, last = begin // _BLOCK, (begin + max(self.row_bytes - 1, 0)) // _BLOCK
        if self.row_bytes <= _BLOCK:
            self.check(np.unique(np.concatenate([first, last])).tolist())
        else:
            for one, other in zip(first.tolist(), last.tolist(), strict=True):
                self.check(range(one, other + 1))


class CheckedArray(np.memmap[Any, Any]):
    """A mapped array, each block of which is checked before its rows are first taken.

    ``take`` and indexing see to that; whatever else reads it calls :func:`checked` first.
    """

    blocks: _Blocks | None = None

    @classmethod
    def of(cls, path: Path, sums: str) -> Self:
        """Map a file whose blocks have these sums; its first block, with the header, is checked at once.

        Raises:
            DataError: it cannot be read, or is damaged.
        """
        array: Self = mapped_array(path).view(cls)
        array.blocks = _Blocks(path, sums, array)
        array.blocks.check([0])
        return array

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)
        self.blocks = None  # a part of it was checked when it was taken

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
        """Return these rows; this is what ``np.take`` calls."""
        if self.blocks is not None and self.blocks.left:
            self.blocks.check_rows(indices)
        return np.asarray(self).take(indices, axis, out, mode)

    def __getitem__(self, part: Any) -> Any:
        if self.blocks is not None and self.blocks.left:
            rows = part[0] if isinstance(part, tuple) and part else part
            if isinstance(rows, slice | int | np.integer):
                self.blocks.check_rows(np.arange(len(self))[rows])
            else:
                checked(self)
        return np.asarray(self)[part]

    def __reduce__(self) -> Any:
        return np.asarray(checked(self)).copy().__reduce__()


def checked(array: Any) -> Any:
    """Return an array after all of it was checked; one that has no sums, as it is."""
    if isinstance(array, CheckedArray) and array.blocks is not None and array.blocks.left:
        array.blocks.check_all()
    return array


def map_checked(path: Path, sums: str) -> Array:
    """Map an array, checked by its sums if it has any."""
    return CheckedArray.of(path, sums) if sums else mapped_array(path)
