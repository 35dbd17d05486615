"""The step log: a binary file with the result of each step and a hash of every layer after it.

The first line is JSON: the format, the number of layers, and the hashes of the initial parameters. A little-endian
record of fixed size follows for each step. Its last field is the CRC-32 of the first line and of all records so far,
without their CRC fields. Format 1, which is still read, has no such field.
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
"""Bytes in memory from which the log is written without waiting for a checkpoint."""


class Step(Protocol):
    """The fields of a step that are logged."""

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
    """The content of a step log."""

    initial: tuple[int, ...]
    """The hashes of the layers' initial parameters."""
    records: NDArray[Any]
    """A structured array with the fields step, rows, right, cost, and layers of shape (L,)."""
    has_sum: bool = True
    """Whether the log has checksums; those of earlier versions have none."""


class StepLog:
    """Appends to the step log; if a write fails, it notes the failure once, and the run goes on without a log."""

    def __init__(self, folder: Path, initial: tuple[int, ...], note: Callable[[str], None]) -> None:
        """Start the log of a new run; ``initial`` holds the hashes of the layers' initial parameters."""
        self._open(folder, len(initial), True, note)
        header = json.dumps({"format": _FORMAT, "layers": len(initial), "initial": initial}).encode() + b"\n"
        self._unwritten.extend(header)
        self._sum = zlib.crc32(header)
        self._path.unlink(missing_ok=True)
        self.flush()

    @classmethod
    def resumed(cls, folder: Path, steps: int, note: Callable[[str], None], layers: int | None = None) -> Self:
        """Continue a log after its first ``steps`` steps; later records are removed.

        A log that is missing, damaged or too short, or whose number of ``layers`` differs, is noted and not continued.
        """
        log = cls.__new__(cls)
        log._open(folder, 0, False, note)
        log._failed = True
        path = folder / NAME
        try:
            content = _read(path, steps)
        except RunError as error:
            note(f"{error}; the run goes on without it")
            return log
        if layers not in (None, len(content.initial)):
            note(f"{path} is of {len(content.initial)} layers, the network has {layers}; the run goes on without it")
            return log
        if len(content.records) < steps:
            note(f"{path} holds {len(content.records)} steps of {steps}; the run goes on without it")
            return log
        log._open(folder, len(content.initial), content.has_sum, note)
        log._sum = content.sum
        try:
            os.truncate(path, content.end)
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
        """Write the logged steps to the disk."""
        if not self._failed:
            try:
                with open(self._path, "ab", opener=open_without_waiting) as file:
                    end = file.tell()
                    try:
                        file.write(self._unwritten)
                        file.flush()
                    except OSError:
                        file.truncate(end)
                        raise
            except OSError as error:
                self._failed = True
                self._note(f"{self._path} cannot be written: {error.strerror}; the run goes on without it")
        self._unwritten.clear()


def read_steps(folder: Path) -> Steps:
    """Read the step log of a run, without an incomplete last record.

    Raises:
        RunError: it is missing or damaged.
    """
    content = _read(folder / NAME)
    return Steps(content.initial, content.records[list(_FIELDS)], content.has_sum)


class _Content(NamedTuple):
    initial: tuple[int, ...]
    records: NDArray[Any]
    has_sum: bool
    sum: int
    """CRC-32 up to the last record."""
    end: int
    """Position in the file after the last record."""


def _read(path: Path, most: int | None = None) -> _Content:
    """Read the first ``most`` records, or all, in pieces, so that damage in a large file is found early."""
    try:
        with open_regular(path) as file:
            line = file.readline(_LONGEST_LINE)
            header = parse(line)
            _HEADER(header, "")
            if header["layers"] != len(header["initial"]) or not line.endswith(b"\n"):
                raise Unexpected("its first line is of another format")
            has_sum = header["format"] == _FORMAT
            kind = _kind(header["layers"], has_sum)
            running, pieces, count = zlib.crc32(line), [np.empty(0, kind)], 0
            while most is None or count < most:
                wanted = _RECORDS_AT_ONCE if most is None else min(_RECORDS_AT_ONCE, most - count)
                content = file.read(wanted * kind.itemsize)
                records = np.frombuffer(content, kind, len(content) // kind.itemsize)
                if not np.array_equal(records["step"], np.arange(count, count + len(records))):
                    raise Unexpected("its steps are not counted from 0")
                if has_sum:
                    running = _checked(content, records, running)
                pieces.append(records)
                count += len(records)
                if len(records) < wanted:
                    break
    except OSError as error:
        raise cannot_be_read(path, error) from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error
    return _Content(
        tuple(header["initial"]), np.concatenate(pieces), has_sum, running, len(line) + count * kind.itemsize
    )


_FIELDS = ("step", "rows", "right", "cost", "layers")


def _kind(layers: int, has_sum: bool) -> np.dtype[Any]:
    types = ("<i8", "<i8", "<i8", "<f8", f"({layers},)<u8")
    fields = list(zip(_FIELDS, types, strict=True))
    return np.dtype([*fields, ("sum", "<u4")] if has_sum else fields)


def _checked(content: bytes, records: NDArray[Any], running: int) -> int:
    """Return the CRC-32 after these records.

    Raises:
        Unexpected: a record has another one.
    """
    size, view = records.dtype.itemsize, memoryview(content)
    for index, expected in enumerate(records["sum"].tolist()):
        running = zlib.crc32(view[index * size : (index + 1) * size - 4], running)
        if running != expected:
            raise Unexpected(f"the checksum of step {records['step'][index]} does not fit its record")
    return running
