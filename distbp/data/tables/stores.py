"""Stores for the rows of a data set while its tables are read: in memory, or in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.npy import mapped_array, read_header
from distbp.errors import DataError
from distbp.files.atomic import flush

_HEADER_BYTES = 128

Convert = Callable[[Array], Array]


class Store(Protocol):
    """Collects arrays by name, such as ``train-x``, block by block."""

    def append(self, name: str, block: Array) -> None:
        """Add rows to the array of this name."""

    def convert(self, name: str, into: str, function: Convert) -> None:
        """Make the array ``into`` from the array ``name``, by applying the function to each block."""

    def array(self, name: str) -> Array | None:
        """Return the array of this name; None if nothing was added."""


class MemoryStore:
    """Collects arrays in memory."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[Array]] = {}

    def append(self, name: str, block: Array) -> None:
        """Add rows to the array of this name."""
        self._blocks.setdefault(name, []).append(block)

    def convert(self, name: str, into: str, function: Convert) -> None:
        """Make the array ``into`` from the array ``name``, by applying the function to each block."""
        self._blocks[into] = [function(block) for block in self._blocks.pop(name, [])]

    def array(self, name: str) -> Array | None:
        """Return the array of this name; None if nothing was added."""
        blocks = self._blocks.pop(name, [])
        return None if not blocks else np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


class FileStore:
    """Collects arrays of any size in ``.npy`` files of a folder, through the page cache."""

    def __init__(self, folder: Path, rows: Mapping[str, int] | None = None) -> None:
        """Begin, or continue after ``rows`` rows of each array; rows that were written later are cut off."""
        self.folder = folder
        self._files: dict[str, IO[bytes]] = {}
        self.rows: dict[str, int] = {}
        self._types: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        for name, count in (rows or {}).items():
            file = self._path(name).open("rb+")
            dtype, shape, _, start = read_header(file)
            file.truncate(start + dtype.itemsize * prod(shape[1:]) * count)
            file.seek(0, os.SEEK_END)
            self._files[name], self.rows[name], self._types[name] = file, count, (dtype, shape[1:])

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.folder} cannot be written: {error.strerror or error}") from error

    def append(self, name: str, block: Array) -> None:
        """Add rows to the array of this name."""
        if name not in self._files:
            self._files[name] = self._path(name).open("wb+")
            self.rows[name], self._types[name] = 0, (block.dtype, block.shape[1:])
            # the final number of rows is not known yet, but the file must be valid already, so that it can be mapped
            _write_header(self._files[name], block.dtype, (0, *block.shape[1:]))
        with self._writing():
            self._files[name].write(np.ascontiguousarray(block).data)
        self.rows[name] += len(block)

    def flush(self, to_disk: bool = True) -> None:
        """Flush the rows that were added; with ``to_disk`` they survive a power cut."""
        with self._writing():
            for file in self._files.values():
                file.flush()
                if to_disk:
                    flush(file.fileno())

    def convert(self, name: str, into: str, function: Convert) -> None:
        """Make the array ``into`` from the array ``name``, by applying the function to each block.

        ``name`` stays as it is: if this process is killed, another one can continue.
        """
        source = self.array(name)
        if source is None:
            return
        for start in range(0, len(source), 1 << 16):
            self.append(into, function(np.asarray(source[start : start + (1 << 16)])))

    def _finish(self, name: str) -> None:
        dtype, shape = self._types[name]
        with self._writing(), self._files.pop(name) as file:
            _write_header(file, dtype, (self.rows[name], *shape))
            file.flush()
            flush(file.fileno())

    def finish(self) -> None:
        """Write the final number of rows into each file, and flush everything to the disk."""
        for name in list(self._files):
            self._finish(name)

    def close(self) -> None:
        """Close the files as they are."""
        for file in self._files.values():
            with suppress(OSError):  # on a full disk, the last buffer cannot be written
                file.close()
        self._files.clear()

    def array(self, name: str) -> Array | None:
        """Return the array of this name, mapped; None if nothing was added."""
        if name in self._files:
            self._finish(name)
        if not self._path(name).exists():
            return None
        return mapped_array(self._path(name))


def _write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write a NumPy header, version 1.0, with space for any number of rows; leave the position at the file's end."""
    text = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    head = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    file.seek(0)
    file.write(head + text.encode("latin-1").ljust(_HEADER_BYTES - 11) + b"\n")
    file.seek(0, os.SEEK_END)
