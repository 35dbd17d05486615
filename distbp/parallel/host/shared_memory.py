"""What the processes of one host share while they train: arrays in shared memory.

Arrays never travel. The server keeps its state in shared memory, where workers read the weights; each worker writes its
gradient sums into rows that are its own. Messages (see :mod:`distbp.parallel.host.messages`) say when they may be read.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import ClusterError
from distbp.parallel.step.records import Diagnosis, StepRecord
from distbp.system.signals import process_exists

_RECORDS = 4096
_ALIGNMENT = 4096
_COUNT = struct.Struct("<q")


MORE_MEMORY = "make it larger (docker run --shm-size=2g), use fewer --workers, or --workers 0"
"""What to do where shared memory is too small."""


@dataclass(frozen=True)
class Shape:
    """How large the shared arrays are."""

    rows: int
    """Weights and optimizer slots: 1 + slots."""
    parameters: int
    dtype: str
    workers: int
    """Places for workers."""
    sums: int
    """Gradient sums that a worker may have to pass on in one step."""
    shards: int
    """Shards of a mini-batch: as many spare rows are there for what has to be computed again."""
    layers: int
    """L, the number of layers."""

    @property
    def spare(self) -> int:
        """The number of the first spare row."""
        return self.workers * self.sums

    def memory(self, spare: bool) -> int:
        """Return how many bytes the arrays take of shared memory, with or without the spare rows."""
        end = _Layout(self).end(spare)
        return -(-end // mmap.PAGESIZE) * mmap.PAGESIZE


class _Layout:
    """Where each array lies in the shared memory; the spare rows come last."""

    def __init__(self, shape: Shape) -> None:
        dtype = np.dtype(shape.dtype)
        # step, rows, right, cost, seconds, weight, whether there is a diagnosis, hashes, diagnosis
        self.record = struct.Struct(f"<qqqddd?{shape.layers}Q{3 * shape.layers + 2}d")
        self.arrays: list[tuple[tuple[int, ...], np.dtype[np.generic]]] = [
            ((2, shape.rows, shape.parameters), dtype),
            ((shape.workers + 1,), np.dtype("<f8")),
            ((shape.workers + 1,), np.dtype("<i8")),
            ((shape.workers,), np.dtype("<i8")),
            ((1,), np.dtype("<i8")),
            ((2,), np.dtype("<i8")),
            ((shape.workers + 1,), np.dtype("<f8")),
            ((shape.layers,), np.dtype("u1")),
            ((_RECORDS, self.record.size), np.dtype("u1")),
            ((shape.spare + shape.shards, shape.parameters), dtype),
        ]
        sizes = [int(np.prod(dimensions)) * kind.itemsize for dimensions, kind in self.arrays]
        padded = [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes[:-1]]
        self.places = [int(place) for place in np.cumsum([0, *padded])]
        self._end = self.places[-1] + sizes[-1]
        self._spare_size = shape.shards * shape.parameters * dtype.itemsize

    def end(self, spare: bool) -> int:
        """Return where the arrays end, with or without the spare rows."""
        return self._end if spare else self._end - self._spare_size


class SharedMemory:
    """The shared arrays of one run.

    Attributes:
        states: two versions of weights and optimizer state, shape (2, 1 + slots, parameters).
        slabs: gradient sums, shape (rows, parameters): each worker's own rows, one worker after the other, then spare
            ones, which take memory only once :meth:`reserve_spare` was called.
        doing: the shard that each worker is computing, -1 for none.
        processes: the process of each worker, then of the server.
        beats: when each process last showed life, in seconds of the monotonic clock; workers, then the server.
        spent: seconds that each worker has computed, and last those that servers took after their workers' answers.
        factored: for each layer whether it travels between hosts as its factors (not 0) or as its sum.
        stop_asked: not 0 when the driver wants the server to stop after this step.
    """

    def __init__(self, folder: Path, shape: Shape, create: bool = False) -> None:
        """Map the arrays below ``folder``; ``create`` makes them.

        Raises:
            ClusterError: there is too little shared memory.
        """
        self.folder = folder
        self.shape = shape
        layout = _Layout(shape)
        self._pack = layout.record
        self._no_diagnosis = (0.0,) * (3 * shape.layers + 2)
        self._whole, self._own = layout.end(spare=True), layout.end(spare=False)
        self._memory = _map(folder / "arrays", self._whole, self._own, create)
        arrays: list[Array] = [
            np.frombuffer(self._memory, kind, int(np.prod(dimensions)), place).reshape(dimensions)
            for (dimensions, kind), place in zip(layout.arrays, layout.places, strict=True)
        ]
        self.states, self.beats, self.processes, self.doing, self.stop_asked, self._counts, *rest = arrays
        self.spent, self.factored, _, self.slabs = rest
        self._counts_at, self._records_at = layout.places[5], layout.places[8]
        if create:
            self.doing[:] = -1

    def reserve_spare(self) -> None:
        """Make sure that the spare rows can be written.

        Raises:
            ClusterError: there is too little shared memory.
        """
        handle = os.open(self.folder / "arrays", os.O_RDWR)
        try:
            _reserve(handle, self._own, self._whole - self._own, self.folder)
        finally:
            os.close(handle)

    def go_to(self, step: int) -> None:
        """Say that ``step`` steps are done and that all their records were read; for the driver, while nobody runs."""
        self._counts[:] = step

    @property
    def step(self) -> int:
        """The steps done: the state in version ``step % 2`` is whole, and the records up to the last step are there."""
        return int(_COUNT.unpack_from(self._memory, self._counts_at)[0])

    @property
    def is_full(self) -> bool:
        """Whether the driver has thousands of records to read before another one finds room."""
        return int(self._counts[0] - self._counts[1]) >= _RECORDS

    def publish(self, record: StepRecord) -> None:
        """Make a step's record and the state after it true, both at once."""
        step = record.step
        at = self._records_at + step % _RECORDS * self._pack.size
        found = record.diagnosis
        numbers = self._no_diagnosis if found is None else (*chain(*found[:3]), *found[3:])
        self._pack.pack_into(
            self._memory, at, step, record.rows, record.right, record.cost, record.seconds, record.weight,
            found is not None, *record.layers, *numbers,
        )  # fmt: skip
        _COUNT.pack_into(self._memory, self._counts_at, step + 1)

    def read_records(self) -> Iterator[StepRecord]:
        """Yield the records that were not read yet."""
        while self._counts[1] < self._counts[0]:
            read = int(self._counts[1])
            at = self._records_at + read % _RECORDS * self._pack.size
            step, rows, right, cost, seconds, weight, diagnosed, *rest = self._pack.unpack_from(self._memory, at)
            count = self.shape.layers
            diagnosis = None
            if diagnosed:
                norms = [tuple(rest[part * count : (part + 1) * count]) for part in (1, 2, 3)]
                diagnosis = Diagnosis(norms[0], norms[1], norms[2], *rest[4 * count :])
            self._counts[1] = read + 1
            yield StepRecord(step, rows, cost, right, seconds, None, tuple(rest[:count]), weight, diagnosis)

    @contextmanager
    def beating(self, number: int, seconds: float) -> Iterator[None]:
        """Show every ``seconds`` that process ``number`` is alive, from a thread that runs while NumPy computes."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.is_set():
                self.beats[number] = time.monotonic()
                ended.wait(seconds)

        self.beats[number] = time.monotonic()
        self.processes[number] = os.getpid()
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def end_process(self, number: int) -> None:
        """Kill a process that shows no life; the kernel closes its channels once it cannot write any more."""
        process = int(self.processes[number])
        if process > 0:  # 0 was never there, and would mean this process and its group
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def has_ended(self, number: int) -> bool:
        """Return whether a process is known to be no more, or never was there."""
        return not process_exists(int(self.processes[number]))

    def silence(self, number: int) -> float:
        """Return for how many seconds a process has shown no life."""
        return time.monotonic() - float(self.beats[number])


def _map(path: Path, size: int, reserved: int, create: bool) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
    try:
        if create:
            os.truncate(handle, size)
            _reserve(handle, 0, reserved, path.parent)
        return mmap.mmap(handle, size)
    except OSError as error:
        raise _too_little(size, path.parent) from error
    finally:
        os.close(handle)


def _reserve(handle: int, offset: int, size: int, folder: Path) -> None:
    """Take memory at once: what turns out to be missing later would end the process with SIGBUS."""
    reserve = getattr(os, "posix_fallocate", None)  # macOS has none
    if reserve is not None and size:
        try:
            reserve(handle, offset, size)
        except OSError as error:
            raise _too_little(size, folder) from error


def _too_little(size: int, folder: Path) -> ClusterError:
    return ClusterError(f"{size / 2**20:,.0f} MB of shared memory are not free in {folder.parent}: {MORE_MEMORY}")
