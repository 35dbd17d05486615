"""The records of the latest steps in shared memory: written by the server, read by the driver."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from itertools import chain

from distbp.data.dataset import Array
from distbp.parallel.step.records import Diagnosis, StepRecord

CAPACITY = 4096
"""Number of records, by which the driver may be behind the server."""
_COUNT = struct.Struct("<q")


def record_struct(layers: int) -> struct.Struct:
    """Return the layout of a record of a network with this many layers."""
    # step, rows, right, cost, seconds, weight, whether there is a diagnosis, hashes, diagnosis
    return struct.Struct(f"<qqqddd?{layers}Q{3 * layers + 2}d")


class RecordRing:
    """A ring buffer of step records, with the number of steps done."""

    def __init__(self, memory: mmap.mmap, counts: Array, counts_offset: int, records_offset: int, layers: int) -> None:
        """Use ``counts`` (steps done, records read) and the records, which begin at these offsets of ``memory``."""
        self._memory, self._counts, self._layers = memory, counts, layers
        self._counts_offset, self._records_offset = counts_offset, records_offset
        self._pack = record_struct(layers)
        self._no_diagnosis = (0.0,) * (3 * layers + 2)

    @property
    def step(self) -> int:
        """The number of steps done."""
        return int(_COUNT.unpack_from(self._memory, self._counts_offset)[0])

    @property
    def is_full(self) -> bool:
        """Whether the driver must read a record before the next one can be published."""
        return int(self._counts[0] - self._counts[1]) >= CAPACITY

    def restart(self, step: int) -> None:
        """Set the number of steps done, with no record to read; only while no step is running."""
        self._counts[:] = step

    def _offset(self, step: int) -> int:
        return self._records_offset + step % CAPACITY * self._pack.size

    def publish(self, record: StepRecord) -> None:
        """Write a step's record and count the step as done, which publishes its record and its state at once."""
        step, diagnosis = record.step, record.diagnosis
        numbers = self._no_diagnosis if diagnosis is None else (*chain(*diagnosis[:3]), *diagnosis[3:])
        head = step, record.rows, record.right, record.cost, record.seconds, record.weight, diagnosis is not None
        self._pack.pack_into(self._memory, self._offset(step), *head, *record.layers, *numbers)
        _COUNT.pack_into(self._memory, self._counts_offset, step + 1)

    def read(self) -> Iterator[StepRecord]:
        """Yield the records that have not been read."""
        while self._counts[1] < self._counts[0]:
            first = int(self._counts[1])
            fields = self._pack.unpack_from(self._memory, self._offset(first))
            step, rows, right, cost, seconds, weight, is_diagnosed, *rest = fields
            count = self._layers
            diagnosis = None
            if is_diagnosed:
                norms = [tuple(rest[part * count : (part + 1) * count]) for part in (1, 2, 3)]
                diagnosis = Diagnosis(norms[0], norms[1], norms[2], *rest[4 * count :])
            self._counts[1] = first + 1
            yield StepRecord(step, rows, cost, right, seconds, None, tuple(rest[:count]), weight, diagnosis)
