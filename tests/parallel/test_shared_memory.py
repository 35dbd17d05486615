"""Arrays and records in shared memory, without Ray."""

import os
import threading

import pytest
from processes import join

from distbp.errors import ClusterError
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.step.records import StepRecord

SHAPE = Shape(rows=2, parameters=53, dtype="float32", workers=2, sums=2, shards=4, layers=2)


def test_each_record_is_read_once_even_if_the_driver_is_slow(tmp_path):
    memory = SharedMemory(tmp_path, SHAPE, create=True)
    memory.records.restart(7)
    records = [StepRecord(step, 1, step / 2, 1, 0.5, layers=(step, 2**64 - 1)) for step in range(7, 10_007)]

    def write():
        for record in records:
            while memory.records.is_full:
                pass
            memory.records.publish(record)
            assert memory.step == record.step + 1

    writer = threading.Thread(target=write)
    writer.start()
    read = []
    while len(read) < len(records):
        read += memory.records.read()
    join(writer)
    assert read == records
    assert list(memory.records.read()) == []


def test_spare_rows_use_memory_only_once_reserved(tmp_path):
    memory = SharedMemory(tmp_path, Shape(2, 10**6, "float32", 1, 1, 8, 1), create=True)
    before = (tmp_path / "arrays").stat().st_blocks
    memory.reserve_spare()
    assert (tmp_path / "arrays").stat().st_blocks - before > 8 * 4 * 10**6 / 512 * 0.9
    memory.slabs[memory.shape.spare + 7] = 1


def test_all_mappings_of_an_array_share_its_memory(tmp_path):
    one, other = SharedMemory(tmp_path, SHAPE, create=True), SharedMemory(tmp_path, SHAPE)
    one.states[1, 0, :] = 7
    one.slabs[3, -1] = 3
    assert (other.states[1, 0] == 7).all()
    assert other.slabs[3, -1] == 3


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="shared memory cannot be reserved here")
def test_too_little_shared_memory_is_reported_before_anything_is_written(tmp_path):
    with pytest.raises(ClusterError, match="MB of shared memory are not free"):
        SharedMemory(tmp_path, Shape(2, 2**45, "float64", 1, 1, 1, 1), create=True)
