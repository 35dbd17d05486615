"""The arrays in shared memory through which the processes of one host train together.

Arrays never travel between these processes. The server keeps its state in shared memory, where workers read the
weights, and each worker writes its gradient sums into rows of its own. Messages (:mod:`distbp.parallel.host.messages`)
say which of them may be read.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import ClusterError
from distbp.parallel.host.processes import Processes
from distbp.parallel.host.record_ring import CAPACITY, RecordRing, record_struct

_ALIGNMENT = 4096

MORE_MEMORY = "make it larger (docker run --shm-size=2g), use fewer --workers, or --workers 0"
"""Advice for messages about too little shared memory."""


@dataclass(frozen=True)
class Shape:
    """The sizes of the shared arrays."""

    rows: int
    """Rows of the state: the weights and the optimizer's slots."""
    parameters: int
    dtype: str
    workers: int
    """Worker slots."""
    sums: int
    """The most gradient sums that a worker writes in one step."""
    shards: int
    """Shards of a mini-batch, and so the number of spare slab rows."""
    layers: int
    """L, the number of layers."""

    @property
    def spare(self) -> int:
        """The number of the first spare row."""
        return self.workers * self.sums

    def memory(self, spare: bool) -> int:
        """Return the bytes of shared memory that the arrays take, with or without the spare rows."""
        end = _Layout(self).end(spare)
        return -(-end // mmap.PAGESIZE) * mmap.PAGESIZE


class _Layout:
    """Offsets, shapes and types of the arrays; the slabs are last, so the spare rows are at the end."""

    def __init__(self, shape: Shape) -> None:
        dtype = np.dtype(shape.dtype)
        arrays: dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]] = {
            "states": ((2, shape.rows, shape.parameters), dtype),
            "heartbeats": ((shape.workers + 1,), np.dtype("<f8")),
            "processes": ((shape.workers + 1,), np.dtype("<i8")),
            "doing": ((shape.workers,), np.dtype("<i8")),
            "stop_requested": ((1,), np.dtype("<i8")),
            "counts": ((2,), np.dtype("<i8")),
            "spent": ((shape.workers + 1,), np.dtype("<f8")),
            "factored": ((shape.layers,), np.dtype("u1")),
            "records": ((CAPACITY, record_struct(shape.layers).size), np.dtype("u1")),
            "slabs": ((shape.spare + shape.shards, shape.parameters), dtype),
        }
        self._arrays = arrays
        self.offsets: dict[str, int] = {}
        end = size = 0
        for name, (dimensions, kind) in arrays.items():
            self.offsets[name] = end
            size = int(np.prod(dimensions)) * kind.itemsize
            end += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._end = self.offsets["slabs"] + size
        self._spare_size = shape.shards * shape.parameters * dtype.itemsize

    def end(self, spare: bool) -> int:
        """Return where the arrays end, with or without the spare rows."""
        return self._end if spare else self._end - self._spare_size

    def arrays(self, memory: mmap.mmap) -> dict[str, Array]:
        """Return the arrays in a mapped memory, by their names."""
        return {
            name: np.frombuffer(memory, kind, int(np.prod(dimensions)), self.offsets[name]).reshape(dimensions)
            for name, (dimensions, kind) in self._arrays.items()
        }


class SharedMemory:
    """The shared arrays of one host.

    Attributes:
        states: two versions of weights and optimizer state, shape (2, 1 + slots, parameters).
        slabs: gradient sums, shape (rows, parameters): the rows of each worker in turn, then the spare ones, which take
            memory only once :meth:`reserve_spare` was called.
        doing: the shard that each worker is computing, -1 for none.
        spent: the seconds that each worker has computed; last, those that the server has worked after its workers.
        factored: for each layer 1 if it travels between hosts as its factors, 0 if as its sum.
        stop_requested: not 0 if the driver wants the server to stop after this step.
        processes: the workers' and the server's processes.
        records: the records of the latest steps.
    """

    def __init__(self, folder: Path, shape: Shape, create: bool = False) -> None:
        """Map the arrays below ``folder``; with ``create``, create them.

        Raises:
            ClusterError: there is too little shared memory.
        """
        self.folder = folder
        self.shape = shape
        layout = _Layout(shape)
        memory = _map(folder / "arrays", layout.end(spare=True), layout.end(spare=False), create)
        arrays = layout.arrays(memory)
        self.states, self.slabs, self.doing = arrays["states"], arrays["slabs"], arrays["doing"]
        self.spent, self.factored = arrays["spent"], arrays["factored"]
        self.stop_requested = arrays["stop_requested"]
        self.processes = Processes(arrays["processes"], arrays["heartbeats"])
        offsets = layout.offsets["counts"], layout.offsets["records"]
        self.records = RecordRing(memory, arrays["counts"], *offsets, shape.layers)
        if create:
            self.doing[:] = -1

    def reserve_spare(self) -> None:
        """Reserve memory for the spare rows.

        Raises:
            ClusterError: there is too little shared memory.
        """
        layout = _Layout(self.shape)
        first = layout.end(spare=False)
        handle = os.open(self.folder / "arrays", os.O_RDWR)
        try:
            _reserve(handle, first, layout.end(spare=True) - first, self.folder)
        finally:
            os.close(handle)

    @property
    def step(self) -> int:
        """The number of steps done; ``states[step % 2]`` is the state after them."""
        return self.records.step


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
    """Allocate memory now; a page that is missing at a later write would end the process with SIGBUS."""
    reserve = getattr(os, "posix_fallocate", None)  # macOS has none
    if reserve is not None and size:
        try:
            reserve(handle, offset, size)
        except OSError as error:
            raise _too_little(size, folder) from error


def _too_little(size: int, folder: Path) -> ClusterError:
    return ClusterError(f"{size / 2**20:,.0f} MB of shared memory are not free in {folder.parent}: {MORE_MEMORY}")
