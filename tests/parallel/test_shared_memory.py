"""Messages and records between threads of this test, without Ray."""

import os
import threading

import pytest
from processes import join

from distbp.errors import ClusterError
from distbp.parallel.host.messages import diverged_record, done_news
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.step.records import Divergence, Report, StepRecord
from distbp.parallel.step.reports import pack_report, report_size, unpack_report
from distbp.parallel.step.shards import Span

SHAPE = Shape(rows=2, parameters=53, dtype="float32", workers=2, sums=2, shards=4, layers=2)


@pytest.mark.parametrize("divergence", [None, Divergence("the cost", 2), Divergence("a gradient", 1)])
def test_report_comes_back_as_it_went(divergence):
    report = Report(
        Span(2, 5), 40, (1.5, 0.25, 3.0), 17, (10.0, 15.0, 15.0), (0.5, 1e30, 0.0), (10.0, 15.5, 0.0), divergence
    )
    message = pack_report(12, report, 7)
    assert len(message) == report_size(7)
    assert unpack_report(message) == (12, report)


def test_answer_to_the_driver_comes_back_as_it_went():
    assert diverged_record(done_news(9, None)) is None
    assert diverged_record(done_news(9, StepRecord(8, 4, 1.0, 2))) is None
    diverged = StepRecord(9, 4, 1.5, 0, 0.0, Divergence("a weight", 3))
    assert done_news(9, diverged)["done"] == 9
    assert diverged_record(done_news(9, diverged)) == diverged


def test_records_are_read_once_and_none_is_lost_when_the_driver_is_slow(tmp_path):
    exchange = SharedMemory(tmp_path, SHAPE, create=True)
    exchange.go_to(7)
    records = [StepRecord(step, 1, step / 2, 1, 0.5, layers=(step, 2**64 - 1)) for step in range(7, 10_007)]

    def write():
        for record in records:
            while exchange.is_full:
                pass
            exchange.publish(record)
            assert exchange.step == record.step + 1

    writer = threading.Thread(target=write)
    writer.start()
    read = []
    while len(read) < len(records):
        read += exchange.read_records()
    join(writer)
    assert read == records
    assert list(exchange.read_records()) == []


def test_spare_rows_take_memory_only_when_they_are_reserved(tmp_path):
    exchange = SharedMemory(tmp_path, Shape(2, 10**6, "float32", 1, 1, 8, 1), create=True)
    before = (tmp_path / "arrays").stat().st_blocks
    exchange.reserve_spare()
    assert (tmp_path / "arrays").stat().st_blocks - before > 8 * 4 * 10**6 / 512 * 0.9
    exchange.slabs[exchange.shape.spare + 7] = 1


def test_arrays_are_the_same_memory_for_all_who_map_them(tmp_path):
    one, other = SharedMemory(tmp_path, SHAPE, create=True), SharedMemory(tmp_path, SHAPE)
    one.states[1, 0, :] = 7
    one.slabs[3, -1] = 3
    assert (other.states[1, 0] == 7).all()
    assert other.slabs[3, -1] == 3


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="shared memory cannot be reserved here")
def test_too_little_shared_memory_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(ClusterError, match="MB of shared memory are not free"):
        SharedMemory(tmp_path, Shape(2, 2**45, "float64", 1, 1, 1, 1), create=True)
