"""NumPy's array format. The header is read within limits, so that a damaged file ends in a short message."""

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
from distbp.data.formats.regular_files import open_file, read_into
from distbp.errors import DataError

MAGIC = b"\x93NUMPY"
_LENGTHS = {b"\x01\x00": ("<H", "latin-1"), b"\x02\x00": ("<I", "latin-1"), b"\x03\x00": ("<I", "utf-8")}
_LONGEST_HEADER = 1 << 16
_KEYS = {"descr", "fortran_order", "shape"}
_MOST_DIMENSIONS = 32


class Header(NamedTuple):
    """The header of an array's file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    start: int
    """Offset of the numbers, in bytes."""

    @property
    def end(self) -> int:
        """Length of the whole file, in bytes."""
        return self.start + self.dtype.itemsize * prod(self.shape)


def read_header(file: IO[bytes]) -> Header:
    """Read the header at a file's beginning; the file's position is then after it.

    Raises:
        ValueError: there is no header, or it is damaged; the reason is one short line.
    """
    try:
        with warnings.catch_warnings():  # Python's parser warns of text that is no header
            warnings.simplefilter("ignore")
            return _parse_header(file)
    except ValueError as error:
        raise ValueError(_first_line(error)) from error
    except Exception as error:  # Python's parser and NumPy's types raise errors of many kinds at damaged text
        raise ValueError(f"its header is damaged ({type(error).__name__}: {_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _parse_header(file: IO[bytes]) -> Header:
    head = file.read(8)
    if head[:6] != MAGIC or len(head) < 8:
        raise ValueError("it is none")
    if head[6:] not in _LENGTHS:
        raise ValueError(f"its header is of version {head[6:].hex('.')}, which distbp does not know")
    form, encoding = _LENGTHS[head[6:]]
    packed = file.read(struct.calcsize(form))
    length = struct.unpack(form, packed)[0] if len(packed) == struct.calcsize(form) else 0
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header promises {length:,} bytes of itself: expected at most {_LONGEST_HEADER:,}")
    text = file.read(length)
    if not length or len(text) < length:
        raise ValueError("it is truncated within its header")
    content = _literal(text.decode(encoding))
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise ValueError("its header does not hold descr, fortran_order and shape")
    shape, is_fortran = content["shape"], content["fortran_order"]
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS or not all(map(_is_length, shape)):
        raise ValueError(f"its header holds the shape {str(shape)[:60]}: expected lengths of at least 0")
    if not isinstance(is_fortran, bool):
        raise ValueError(f"its header holds fortran_order {str(is_fortran)[:60]}: expected True or False")
    dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(content["descr"])
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not loaded because they could run code")
    if not dtype.itemsize or dtype.subdtype is not None:
        raise ValueError(f"its header holds the type {str(dtype)[:60]}: expected numbers, text or named fields")
    return Header(dtype, shape, is_fortran, 8 + len(packed) + length)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except SyntaxError:  # Python 2 wrote lengths as 5L
        return ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text))


def _is_length(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62


def check_length(header: Header, length: int) -> None:
    """Raise ValueError if an array's file does not have the length that its header promises."""
    if length != header.end:
        raise ValueError(f"it has {length:,} bytes, its header promises {header.end:,}: is the file complete?")


def mapped_array(path: Path) -> Array:
    """Map the array of a ``.npy`` file, without pickle.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        with open_file(path) as file:
            header = read_header(file)
            check_length(header, os.fstat(file.fileno()).st_size)
        return np.memmap(path, header.dtype, "r", header.start, header.shape, "F" if header.is_fortran else "C")
    except (OSError, ValueError, OverflowError, MemoryError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _first_line(error)
        raise DataError(f"{path} cannot be read as a NumPy array: {reason}") from error


def read_array(file: IO[bytes], length: int) -> Array:
    """Read the array of a file of this length; no more memory is used than the file has bytes.

    Raises:
        ValueError: it is damaged.
    """
    header = read_header(file)
    check_length(header, length)
    array: Array = np.empty(prod(header.shape), header.dtype)
    check_length(header, header.start + read_into(file, array.view(np.uint8).data))
    return array.reshape(header.shape, order="F" if header.is_fortran else "C")
