"""What the processes of one host share while they train: arrays in shared memory, and messages that say they are ready.

Arrays never travel. The server keeps its state in shared memory, where workers read the weights; each worker writes its
gradient sums into a slab of its own. A message of some bytes over a Unix socket says that a slab is complete, or that
the next step may begin. It is sent after the last byte was written, and names the step, so that what a dead or late
process half wrote is never read.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import ClusterError
from distbp.parallel.records import Divergence, Report, StepRecord
from distbp.parallel.shards import Span

DRIVER = 0xFFFFFFFF
"""The driver's number where workers give theirs."""

_LOOK_SECONDS = 150e-6

_RECORD = np.dtype([("step", "<i8"), ("rows", "<i8"), ("right", "<i8"), ("cost", "<f8"), ("seconds", "<f8")])
_RECORDS = 4096
_ALIGNMENT = 4096
_WHATS = ("", "the cost", "a gradient", "a weight")


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
            ((2,), np.dtype("<i8")),
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
        written, read = self._counts.tolist()
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

    def last_step(self) -> int:
        """Return the newest step that was done, -1 if none was."""
        written = int(self._counts[0])
        return int(self._records[(written - 1) % _RECORDS]["step"]) if written else -1

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


def look_before_sleeping(look: Callable[[], bool]) -> None:
    """Look for a moment whether what one waits for is there, giving the core away between two looks.

    Waking a process that sleeps on an idle core takes 50 us and more, which is much of a small step: with 784-30-10 and
    a mini-batch of 64 the median step of two workers took 475 to 520 us so, and 535 to 610 us asleep.
    """
    deadline = time.perf_counter() + _LOOK_SECONDS
    while not look() and time.perf_counter() < deadline:
        os.sched_yield()


class Channel:
    """One end of a Unix socket that carries messages of known sizes."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def fileno(self) -> int:
        """Return the file descriptor, for poll and select."""
        return self._socket.fileno()

    def send(self, message: bytes) -> bool:
        """Send a message; return False if the other end is gone."""
        try:
            self._socket.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def look(self) -> bool:
        """Return at once whether there is something to receive, the other end's end included."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return True

    def receive(self, size: int) -> bytes | None:
        """Wait for a message; return None if the other end is gone."""
        parts = b""
        while len(parts) < size:
            try:
                part = self._socket.recv(size - len(parts))
            except ConnectionResetError:
                return None
            if not part:
                return None
            parts += part
        return parts

    def close(self) -> None:
        """Close this end, which the other end sees at once."""
        self._socket.close()


def listen(folder: Path) -> socket.socket:
    """Return the server's listening socket."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(folder / "server"))
    server.listen(128)
    return server


def connect(folder: Path, number: int) -> Channel:
    """Connect to the server as worker ``number`` or as the driver."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(folder / "server"))
    channel = Channel(connection)
    channel.send(HELLO.pack(number))
    return channel


HELLO = struct.Struct("<I")
"""Anybody to the server: a worker's number, or DRIVER."""

GO = struct.Struct("<qII")
"""Server to worker: compute the shards from first to before stop of this step."""

RUN = struct.Struct("<qq")
"""Driver to server: go on from this step, whose state is in place, up to before that step."""

DONE = struct.Struct("<qBIqd")
"""Server to driver: the steps done; if the last was not applied what diverged, in which layer, its rows and cost."""

_REPORT = struct.Struct("<qIIqqBI")


def report_size(shards: int) -> int:
    """Return the size of a worker's report where a mini-batch has so many shards."""
    return _REPORT.size + 8 * shards


def pack_report(step: int, report: Report, shards: int) -> bytes:
    """Return a worker's report on a step as bytes."""
    what, layer = report.divergence or ("", 0)
    costs = [*report.costs, *([0.0] * (shards - len(report.costs)))]
    return _REPORT.pack(step, *report.held, report.rows, report.right, _WHATS.index(what), layer) + struct.pack(
        f"<{shards}d", *costs
    )


def unpack_report(message: bytes) -> tuple[int, Report]:
    """Return the step and the report on it."""
    step, first, stop, rows, right, what, layer = _REPORT.unpack_from(message)
    costs = struct.unpack_from(f"<{stop - first}d", message, _REPORT.size)
    return step, Report(Span(first, stop), rows, costs, right, Divergence(_WHATS[what], layer) if what else None)


def pack_done(steps: int, last: StepRecord | None) -> bytes:
    """Return the server's answer to the driver."""
    if last is None or last.divergence is None:
        return DONE.pack(steps, 0, 0, 0, 0.0)
    return DONE.pack(steps, _WHATS.index(last.divergence.what), last.divergence.layer, last.rows, last.cost)


def unpack_done(message: bytes) -> tuple[int, StepRecord | None]:
    """Return the steps done and, if the next one diverged, its record."""
    steps, what, layer, rows, cost = DONE.unpack(message)
    return steps, StepRecord(steps, rows, cost, 0, 0.0, Divergence(_WHATS[what], layer)) if what else None
