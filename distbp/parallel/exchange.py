"""What the processes of one host share while they train: arrays in shared memory.

Arrays never travel. The server keeps its state in shared memory, where workers read the weights; each worker writes its
gradient sums into a slab of its own. Messages (see :mod:`distbp.parallel.messages`) say when they may be read.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import ClusterError
from distbp.parallel.records import StepRecord

_RECORD = np.dtype([("step", "<i8"), ("rows", "<i8"), ("right", "<i8"), ("cost", "<f8"), ("seconds", "<f8")])
_RECORDS = 4096
_ALIGNMENT = 4096


@dataclass(frozen=True)
class Shape:
    """How large the shared arrays are."""

    rows: int
    """Weights and optimizer slots: 1 + slots."""
    parameters: int
    dtype: str
    workers: int
    sums: int
    """Gradient sums that a worker may have to pass on in one step."""


class Exchange:
    """The shared arrays of one run.

    Attributes:
        states: two versions of weights and optimizer state, shape (2, 1 + slots, parameters).
        slabs: each worker's gradient sums, shape (workers, sums, parameters).
        beats: when each process last showed life, in seconds of the monotonic clock; workers, then the server.
        stop_asked: not 0 when the driver wants the server to stop after this step.
    """

    def __init__(self, folder: Path, shape: Shape, create: bool = False) -> None:
        """Map the arrays below ``folder``; ``create`` makes them.

        Raises:
            ClusterError: there is too little shared memory.
        """
        self.folder = folder
        self.shape = shape
        dtype = np.dtype(shape.dtype)
        plan: list[tuple[tuple[int, ...], np.dtype[np.generic]]] = [
            ((2, shape.rows, shape.parameters), dtype),
            ((shape.workers, shape.sums, shape.parameters), dtype),
            ((shape.workers + 1,), np.dtype("<f8")),
            ((1,), np.dtype("<i8")),
            ((3,), np.dtype("<i8")),
            ((_RECORDS,), _RECORD),
        ]
        sizes = [int(np.prod(dimensions)) * kind.itemsize for dimensions, kind in plan]
        places = np.cumsum([0, *(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)])
        memory = _map(folder / "arrays", int(places[-1]), create)
        arrays: list[Array] = [
            np.frombuffer(memory, kind, int(np.prod(dimensions)), int(place)).reshape(dimensions)
            for (dimensions, kind), place in zip(plan, places[:-1], strict=True)
        ]
        self.states, self.slabs, self.beats, self.stop_asked, self._counts, self._records = arrays

    def write_record(self, record: StepRecord) -> None:
        """Append a step's record for the driver; wait while it has not read thousands of earlier ones."""
        written, read, _ = self._counts.tolist()
        while written - read >= _RECORDS:
            time.sleep(0.001)
            read = int(self._counts[1])
        self._records[written % _RECORDS] = (record.step, record.rows, record.right, record.cost, record.seconds)
        self._counts[0] = written + 1

    def read_records(self) -> Iterator[StepRecord]:
        """Yield the records that were not read yet."""
        while self._counts[1] < self._counts[0]:
            read = int(self._counts[1])
            step, rows, right, cost, seconds = self._records[read % _RECORDS].item()
            self._counts[1] = read + 1
            yield StepRecord(step, rows, cost, right, seconds)

    @contextmanager
    def beating(self, number: int, seconds: float) -> Iterator[None]:
        """Show every ``seconds`` that process ``number`` is alive, from a thread that runs while NumPy computes."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.is_set():
                self.beats[number] = time.monotonic()
                ended.wait(seconds)

        self.beats[number] = time.monotonic()
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def step(self) -> int:
        """The steps done; the server counts it up when the state in version ``step % 2`` is whole."""
        return int(self._counts[2])

    @step.setter
    def step(self, step: int) -> None:
        self._counts[2] = step

    def silence(self, number: int) -> float:
        """Return for how many seconds a process has shown no life."""
        return time.monotonic() - float(self.beats[number])


def _map(path: Path, size: int, create: bool) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
    try:
        if create:
            # Reserved at once: memory that turns out to be missing later would end the process with SIGBUS.
            reserve = getattr(os, "posix_fallocate", None)
            if reserve is not None:
                reserve(handle, 0, size)
            else:
                os.truncate(handle, size)
        return mmap.mmap(handle, size)
    except OSError as error:
        raise ClusterError(f"{size / 2**20:,.0f} MB of shared memory are not free in {path.parent.parent}") from error
    finally:
        os.close(handle)
