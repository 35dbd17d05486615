"""The log of a run's steps: what came out of each, and a hash of every layer after it.

The file begins with a line of JSON (the format, the number of layers, the hashes of the initial parameters); then comes
a record of fixed size for each step, little-endian, whose last field is the CRC-32 of the line and of all records up to
there without their own. Format 1, which is still read, has no such field.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from distbp.errors import RunError
from distbp.files.json_checks import list_of, of_format, record, whole
from distbp.files.json_text import Unexpected, parse
from distbp.files.regular import cannot_be_read, open_regular, open_without_waiting

NAME = "steps.bin"
_FORMAT, _WITHOUT_SUM = 2, 1
_LONGEST_LINE = 1 << 20
_RECORDS_AT_ONCE = 1 << 16
_HEADER = record(
    {"format": of_format(_WITHOUT_SUM, _FORMAT), "layers": whole(1), "initial": list_of(whole(0, 2**64 - 1))}
)
_MOST_UNWRITTEN = 1 << 22
"""Bytes after which the log is written also between checkpoints."""


class Step(Protocol):
    """What is logged of a step."""

    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def right(self) -> int: ...  # noqa: D102
    @property
    def cost(self) -> float: ...  # noqa: D102
    @property
    def layers(self) -> tuple[int, ...]: ...  # noqa: D102


class Steps(NamedTuple):
    """A log that was read."""

    initial: tuple[int, ...]
    """The hashes of the layers' initial parameters."""
    records: NDArray[Any]
    """Fields step, rows, right, cost, and layers of shape (L,)."""
    has_sum: bool = True
    """Whether the log carries a sum; those that were written before do not."""


class StepLog:
    """Appends to the log; if that fails it says so once and stops logging, and the run goes on."""

    def __init__(self, folder: Path, initial: tuple[int, ...], note: Callable[[str], None]) -> None:
        """Begin the log of a run; ``initial`` are the hashes of its layers' initial parameters."""
        self._open(folder, len(initial), True, note)
        header = json.dumps({"format": _FORMAT, "layers": len(initial), "initial": initial}).encode() + b"\n"
        self._unwritten.extend(header)
        self._sum = zlib.crc32(header)
        self._path.unlink(missing_ok=True)
        self.flush()

    @classmethod
    def resumed(cls, folder: Path, steps: int, note: Callable[[str], None], layers: int | None = None) -> Self:
        """Go on with a log after its first ``steps`` steps; what came after is taken away.

        A log that ends before, for want of room on the disk, is damaged or missing, or is of a network of other
        ``layers``, is left as it is and not gone on with.
        """
        log = cls.__new__(cls)
        log._open(folder, 0, False, note)
        log._failed = True
        path = folder / NAME
        try:
            found = _read(path, steps)
        except RunError as error:
            note(f"{error}; the run goes on without it")
            return log
        if layers not in (None, len(found.initial)):
            note(f"{path} is of {len(found.initial)} layers, the network has {layers}; the run goes on without it")
            return log
        if len(found.records) < steps:
            note(f"{path} holds {len(found.records)} steps of {steps}; the run goes on without it")
            return log
        log._open(folder, len(found.initial), found.has_sum, note)
        log._sum = found.sum
        try:
            os.truncate(path, found.end)
        except OSError as error:
            log._failed = True
            note(f"{path} cannot be written: {error.strerror}; the run goes on without it")
        return log

    def _open(self, folder: Path, layers: int, has_sum: bool, note: Callable[[str], None]) -> None:
        self._path = folder / NAME
        self._note = note
        self._pack = struct.Struct(f"<qqqd{layers}Q").pack
        self._has_sum, self._sum = has_sum, 0
        self._unwritten: bytearray = bytearray()
        self._failed = False

    def append(self, step: Step) -> None:
        """Log a step."""
        if self._failed:
            return
        packed = self._pack(step.step, step.rows, step.right, step.cost, *step.layers)
        self._unwritten += packed
        if self._has_sum:
            self._sum = zlib.crc32(packed, self._sum)
            self._unwritten += self._sum.to_bytes(4, "little")
        if len(self._unwritten) > _MOST_UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what was logged."""
        if not self._failed:
            try:
                with open(self._path, "ab", opener=open_without_waiting) as file:
                    whole = file.tell()
                    try:
                        file.write(self._unwritten)
                        file.flush()
                    except OSError:
                        file.truncate(whole)
                        raise
            except OSError as error:
                self._failed = True
                self._note(f"{self._path} cannot be written: {error.strerror}; the run goes on without it")
        self._unwritten.clear()


def read_steps(folder: Path) -> Steps:
    """Read the log of a run; a last record that was not written whole is left out.

    Raises:
        RunError: there is none, or it is damaged.
    """
    found = _read(folder / NAME)
    return Steps(found.initial, found.records[list(_FIELDS)], found.has_sum)


class _Read(NamedTuple):
    initial: tuple[int, ...]
    records: NDArray[Any]
    has_sum: bool
    sum: int
    """The CRC-32 up to the last record."""
    end: int
    """Where the last record ends in the file."""


def _read(path: Path, most: int | None = None) -> _Read:
    """Read the first ``most`` records, or all; piece by piece, so that a damaged file of any size is soon given up."""
    try:
        with open_regular(path) as file:
            line = file.readline(_LONGEST_LINE)
            header = parse(line)
            _HEADER(header, "")
            if header["layers"] != len(header["initial"]) or not line.endswith(b"\n"):
                raise Unexpected("its first line is of another format")
            has_sum = header["format"] == _FORMAT
            kind = _kind(header["layers"], has_sum)
            running, found, count = zlib.crc32(line), [np.empty(0, kind)], 0
            while most is None or count < most:
                wanted = _RECORDS_AT_ONCE if most is None else min(_RECORDS_AT_ONCE, most - count)
                content = file.read(wanted * kind.itemsize)
                records = np.frombuffer(content, kind, len(content) // kind.itemsize)
                if not np.array_equal(records["step"], np.arange(count, count + len(records))):
                    raise Unexpected("its steps are not counted from 0")
                if has_sum:
                    running = _checked(content, records, running)
                found.append(records)
                count += len(records)
                if len(records) < wanted:
                    break
    except OSError as error:
        raise cannot_be_read(path, error) from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error
    return _Read(tuple(header["initial"]), np.concatenate(found), has_sum, running, len(line) + count * kind.itemsize)


_FIELDS = ("step", "rows", "right", "cost", "layers")


def _kind(layers: int, has_sum: bool) -> np.dtype[Any]:
    types = ("<i8", "<i8", "<i8", "<f8", f"({layers},)<u8")
    fields = list(zip(_FIELDS, types, strict=True))
    return np.dtype([*fields, ("sum", "<u4")] if has_sum else fields)


def _checked(content: bytes, records: NDArray[Any], running: int) -> int:
    """Return the sum after these records.

    Raises:
        Unexpected: the file holds another one behind one of them.
    """
    size, view = records.dtype.itemsize, memoryview(content)
    for index, expected in enumerate(records["sum"].tolist()):
        running = zlib.crc32(view[index * size : (index + 1) * size - 4], running)
        if running != expected:
            raise Unexpected(f"the sum of step {records['step'][index]} is not that of what it holds")
    return running
