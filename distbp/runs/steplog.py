"""The log of a run's steps: what came out of each, and a hash of every layer after it.

The file begins with a line of JSON (the format, the number of layers, the hashes of the initial parameters); then comes
a record of fixed size for each step, little-endian.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from distbp.errors import RunError

NAME = "steps.bin"
_FORMAT = 1
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


class StepLog:
    """Appends to the log; if that fails it says so once and stops logging, and the run goes on."""

    def __init__(self, folder: Path, initial: tuple[int, ...], note: Callable[[str], None]) -> None:
        """Begin the log of a run; ``initial`` are the hashes of its layers' initial parameters."""
        self._open(folder, len(initial), note)
        header = json.dumps({"format": _FORMAT, "layers": len(initial), "initial": initial})
        self._unwritten += header.encode() + b"\n"
        self._path.unlink(missing_ok=True)
        self.flush()

    @classmethod
    def again(cls, folder: Path, steps: int, note: Callable[[str], None]) -> Self:
        """Go on with a log after its first ``steps`` steps; what came after is taken away.

        A log that ends before, for want of room on the disk, or is damaged or missing, is left as it is and not gone
        on with.
        """
        log = cls.__new__(cls)
        try:
            header, body = _read(folder / NAME)
        except RunError as error:
            log._open(folder, 0, note)
            log._failed = True
            note(f"{error}; the run goes on without it")
            return log
        size = _size(header["layers"])
        log._open(folder, header["layers"], note)
        if len(body) < steps * size:
            log._failed = True
            note(f"{folder / NAME} holds {len(body) // size} steps of {steps}; the run goes on without it")
        else:
            os.truncate(folder / NAME, (folder / NAME).stat().st_size - len(body) + steps * size)
        return log

    def _open(self, folder: Path, layers: int, note: Callable[[str], None]) -> None:
        self._path = folder / NAME
        self._note = note
        self._pack = struct.Struct(_form(layers)).pack
        self._unwritten = bytearray()
        self._failed = False

    def append(self, step: Step) -> None:
        """Log a step."""
        if self._failed:
            return
        self._unwritten += self._pack(step.step, step.rows, step.right, step.cost, *step.layers)
        if len(self._unwritten) > _MOST_UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what was logged."""
        if not self._failed:
            try:
                with self._path.open("ab") as file:
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
    header, body = _read(folder / NAME)
    layers = header["layers"]
    kind = np.dtype([("step", "<i8"), ("rows", "<i8"), ("right", "<i8"), ("cost", "<f8"), ("layers", "<u8", (layers,))])
    records = np.frombuffer(body, kind, len(body) // kind.itemsize)
    if not np.array_equal(records["step"], np.arange(len(records))):
        raise RunError(f"{folder / NAME} is damaged: its steps are not counted from 0")
    return Steps(tuple(header["initial"]), records)


def _form(layers: int) -> str:
    return f"<qqqd{layers}Q"


def _size(layers: int) -> int:
    return struct.calcsize(_form(layers))


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        line, _, body = path.read_bytes().partition(b"\n")
        header = json.loads(line)
        if header["format"] != _FORMAT or header["layers"] != len(header["initial"]):
            raise ValueError("its first line is of another format")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    return header, body
