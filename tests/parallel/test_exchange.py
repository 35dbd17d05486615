"""Messages, records and rounds between threads and processes of this test, without Ray."""

import os
import socket
import struct
import threading

import numpy as np
import pytest

from distbp.config import Config
from distbp.data.dataset import Rows
from distbp.data.order import Order
from distbp.errors import ClusterError, PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.exchange import Exchange, Shape
from distbp.parallel.loops import Rounds, work
from distbp.parallel.messages import (
    DONE,
    DRIVER,
    RUN,
    connect,
    pack_done,
    pack_report,
    report_size,
    unpack_done,
    unpack_report,
)
from distbp.parallel.pool import InProcess, make_server
from distbp.parallel.records import Divergence, Report, StepRecord
from distbp.parallel.shards import Span
from distbp.parallel.worker import Worker, buffers_for
from distbp.pools import initial_state

STRUCTURE = Structure((6, 5, 3), ("relu", "softmax"), "cross-entropy")
SHAPE = Shape(rows=2, parameters=STRUCTURE.parameter_count, dtype="float32", workers=2, sums=2)


@pytest.mark.parametrize("divergence", [None, Divergence("the cost", 2), Divergence("a gradient", 1)])
def test_report_comes_back_as_it_went(divergence):
    report = Report(Span(2, 5), 40, (1.5, 0.25, 3.0), 17, divergence)
    message = pack_report(12, report, 7)
    assert len(message) == report_size(7)
    assert unpack_report(message) == (12, report)


def test_answer_to_the_driver_comes_back_as_it_went():
    assert unpack_done(pack_done(9, None)) == (9, None)
    assert unpack_done(pack_done(9, StepRecord(8, 4, 1.0, 2))) == (9, None)
    diverged = StepRecord(9, 4, 1.5, 0, 0.0, Divergence("a weight", 3))
    assert unpack_done(pack_done(9, diverged)) == (9, diverged)
    assert len(pack_done(0, None)) == DONE.size


def test_records_are_read_once_and_none_is_lost_when_the_driver_is_slow(tmp_path):
    exchange = Exchange(tmp_path, SHAPE, create=True)
    records = [StepRecord(step, 1, step / 2, 1, 0.5) for step in range(10_000)]
    writer = threading.Thread(target=lambda: [exchange.write_record(record) for record in records])
    writer.start()
    read = []
    while len(read) < len(records):
        read += exchange.read_records()
    writer.join()
    assert read == records
    assert list(exchange.read_records()) == []


def test_arrays_are_the_same_memory_for_all_who_map_them(tmp_path):
    one, other = Exchange(tmp_path, SHAPE, create=True), Exchange(tmp_path, SHAPE)
    one.states[1, 0, :] = 7
    one.slabs[1, 1, -1] = 3
    assert (other.states[1, 0] == 7).all()
    assert other.slabs[1, 1, -1] == 3


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="shared memory cannot be reserved here")
def test_too_little_shared_memory_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(ClusterError, match="MB of shared memory are not free"):
        Exchange(tmp_path, Shape(2, 2**45, "float64", 1, 1), create=True)


class Host:
    """Server and workers as threads, the driver as this thread."""

    def __init__(self, folder, workers, config, rows, timeout=5.0):
        self.state = initial_state(STRUCTURE, config)
        shape = Shape(*self.state.shape, "float32", workers, buffers_for(STRUCTURE, config, workers))
        self.exchange = Exchange(folder, shape, create=True)
        self.exchange.states[0] = self.state
        server = make_server(STRUCTURE, config, self.exchange.states, 0)
        self.rounds = Rounds(server, self.exchange, config.shards, timeout)
        self.order = Order(len(rows), config.batch_size, config.seed)
        self.error = None
        self.server = threading.Thread(target=self.serve)
        self.server.start()

    def serve(self):
        try:
            self.rounds.serve(self.order)
        except PeerLostError as error:
            self.error = error


@pytest.fixture
def rows(rng):
    return Rows(rng.random((50, 6), dtype=np.float32), rng.integers(0, 3, 50))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_rounds_give_the_bits_of_one_process(tmp_path, rows, workers, shards):
    config = Config(batch_size=16, shards=shards, optimizer="sgd")
    host = Host(tmp_path, workers, config, rows)
    threads = [
        threading.Thread(
            target=work, args=(Worker(STRUCTURE, config, rows), STRUCTURE, host.exchange, number, shards, 5.0)
        )
        for number in range(workers)
    ]
    for thread in threads:
        thread.start()
    driver = connect(tmp_path, DRIVER)
    driver.send(RUN.pack(0, 11))
    assert unpack_done(driver.receive(DONE.size)) == (11, None)
    driver.close()
    for thread in (host.server, *threads):
        thread.join()
    alone = InProcess(STRUCTURE, config, rows, host.state)
    expected = list(alone.steps(11))
    assert host.exchange.states[11 % 2].tobytes() == alone.state().tobytes()
    seen = [(record.step, record.rows, record.cost, record.right) for record in host.exchange.read_records()]
    assert seen == [(record.step, record.rows, record.cost, record.right) for record in expected]


def hello(folder, number):
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.connect(str(folder / "server"))
    channel.sendall(struct.pack("<I", number))
    return channel


def test_worker_that_goes_away_is_noticed_at_once(tmp_path, rows):
    host = Host(tmp_path, 1, Config(batch_size=16, shards=1), rows, timeout=1e6)
    worker, driver = hello(tmp_path, 0), connect(tmp_path, DRIVER)
    driver.send(RUN.pack(0, 1))
    worker.close()
    assert driver.receive(DONE.size) is None
    host.server.join()
    assert "worker 0 on host" in str(host.error)
    assert "died in step 0" in str(host.error)
    driver.close()


def test_worker_that_shows_no_life_is_named(tmp_path, rows):
    host = Host(tmp_path, 1, Config(batch_size=16, shards=1), rows, timeout=0.2)
    worker, driver = hello(tmp_path, 0), connect(tmp_path, DRIVER)
    driver.send(RUN.pack(0, 1))
    assert driver.receive(DONE.size) is None
    host.server.join()
    assert "no answer from worker 0 on host" in str(host.error)
    worker.close()
    driver.close()


def test_late_answer_to_another_step_counts_for_nothing(tmp_path, rows):
    config = Config(batch_size=16, shards=1)
    host = Host(tmp_path, 1, config, rows)
    worker, driver = hello(tmp_path, 0), connect(tmp_path, DRIVER)
    host.exchange.slabs[:] = 0
    driver.send(RUN.pack(0, 1))
    report = Report(Span(0, 1), 16, (1.0,), 0)
    worker.sendall(pack_report(7, report, 1) + pack_report(0, report, 1))
    assert unpack_done(driver.receive(DONE.size)) == (1, None)
    (record,) = host.exchange.read_records()
    assert record.step == 0
    worker.close()
    driver.close()
    host.server.join()
