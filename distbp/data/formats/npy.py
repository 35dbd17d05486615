"""NumPy's array format. Its header is read within limits, so that damage costs neither memory nor a traceback."""

from __future__ import annotations

import ast
import os
import re
import struct
import warnings
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.regular_files import opened_file, read_into
from distbp.errors import DataError

MAGIC = b"\x93NUMPY"
_LENGTHS = {b"\x01\x00": ("<H", "latin-1"), b"\x02\x00": ("<I", "latin-1"), b"\x03\x00": ("<I", "utf-8")}
_LONGEST_HEADER = 1 << 16
_KEYS = {"descr", "fortran_order", "shape"}
_MOST_DIMENSIONS = 32


class Header(NamedTuple):
    """What the beginning of an array's file says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    start: int
    """Where the numbers begin, in bytes."""

    @property
    def end(self) -> int:
        """How long the file is, in bytes."""
        return self.start + self.dtype.itemsize * prod(self.shape)


def read_header(file: IO[bytes]) -> Header:
    """Read the header at a file's beginning, and stop behind it.

    Raises:
        ValueError: it is none, or damaged; the reason is one short line.
    """
    try:
        with warnings.catch_warnings():  # of Python's parser, at text that is no header
            warnings.simplefilter("ignore")
            return _header(file)
    except ValueError as error:
        raise ValueError(_first_line(error)) from error
    except Exception as error:  # damaged text reaches Python's parser and NumPy's types, each with errors of its own
        raise ValueError(f"its header is damaged ({type(error).__name__}: {_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _header(file: IO[bytes]) -> Header:
    head = file.read(8)
    if head[:6] != MAGIC or len(head) < 8:
        raise ValueError("it is none")
    if head[6:] not in _LENGTHS:
        raise ValueError(f"its header is of version {head[6:].hex('.')}, which is not known here")
    form, encoding = _LENGTHS[head[6:]]
    said = file.read(struct.calcsize(form))
    length = struct.unpack(form, said)[0] if len(said) == struct.calcsize(form) else 0
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header promises {length:,} bytes of itself: expected at most {_LONGEST_HEADER:,}")
    text = file.read(length)
    if not length or len(text) < length:
        raise ValueError("it is cut off within its header")
    told = _literal(text.decode(encoding))
    if not isinstance(told, dict) or told.keys() != _KEYS:
        raise ValueError("its header does not hold descr, fortran_order and shape")
    shape, is_fortran = told["shape"], told["fortran_order"]
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS or not all(map(_is_length, shape)):
        raise ValueError(f"its header holds the shape {str(shape)[:60]}: expected lengths of at least 0")
    if not isinstance(is_fortran, bool):
        raise ValueError(f"its header holds fortran_order {str(is_fortran)[:60]}: expected True or False")
    dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(told["descr"])
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not loaded because they could run code")
    if not dtype.itemsize or dtype.subdtype is not None:
        raise ValueError(f"its header holds the type {str(dtype)[:60]}: expected numbers, text or named fields")
    return Header(dtype, shape, is_fortran, 8 + len(said) + length)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except SyntaxError:  # Python 2 wrote lengths as 5L
        return ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text))


def _is_length(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62


def check_length(header: Header, have: int) -> None:
    """Raise ValueError if an array's file is not as long as its header promises."""
    if have != header.end:
        raise ValueError(f"it has {have:,} bytes, its header promises {header.end:,}: is the file complete?")


def mapped_array(path: Path) -> Array:
    """Return the array of a ``.npy`` file, mapped, never unpickled.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        with opened_file(path) as file:
            header = read_header(file)
            check_length(header, os.fstat(file.fileno()).st_size)
        return np.memmap(path, header.dtype, "r", header.start, header.shape, "F" if header.is_fortran else "C")
    except (OSError, ValueError, OverflowError, MemoryError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _first_line(error)
        raise DataError(f"{path} cannot be read as a NumPy array: {reason}") from error


def read_array(file: IO[bytes], length: int) -> Array:
    """Return the array of a file of this length in memory, which grows with what the file really holds.

    Raises:
        ValueError: it is damaged.
    """
    header = read_header(file)
    check_length(header, length)
    array: Array = np.empty(prod(header.shape), header.dtype)
    check_length(header, header.start + read_into(file, array.view(np.uint8).data))
    return array.reshape(header.shape, order="F" if header.is_fortran else "C")
