"""Hosts that exchange sums over real TCP sockets, with workers as threads: the bits of one process."""

import os
import socket
import threading
import zlib
from contextlib import suppress

import numpy as np
import pytest
from parallel.hosts import STRUCTURE, Faulty, config, table
from processes import HANG_SECONDS, join, wait_until

from distbp.parallel.host.host import Host
from distbp.parallel.host.messages import RunEnded
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.host.worker_loop import work
from distbp.parallel.mesh import frames, handshake
from distbp.parallel.mesh.chunks import chunks_of, sending_order
from distbp.parallel.mesh.view import View, servers_for
from distbp.parallel.step.executor import InProcessExecutor
from distbp.training.executors import initial_state

STEPS = 11
SECRET = b"s" * 32


def view_of(hosts, workers, settings, number=1, servers=None, wire="exact"):
    addresses = tuple(host.address for host in hosts)
    partitions = servers_for(servers, len(hosts))
    return View(number, addresses, tuple(workers), partitions, settings.shards, wire, HANG_SECONDS)


class Cluster:
    """Hosts in this process."""

    def __init__(self, workers, settings, faults=None, structure=STRUCTURE, rows=None):
        """``faults`` are those of workers, by host and slot (see Faulty)."""
        self.settings, self.faults = settings, faults or {}
        self.structure, self.rows = structure, table() if rows is None else rows
        self.initial = initial_state(structure, settings)
        self.hosts, self.threads, self.workers = [], [], list(workers)
        for count in workers:
            self.add(count, self.initial, 0)

    def add(self, count, state, step):
        host = Host(self.structure, self.settings, self.rows, max(1, count), "127.0.0.1")
        host.restart(state, step)
        self.hosts.append(host)
        targets = [(host.serve, ())]
        for place in range(count):
            faults = self.faults.get((len(self.hosts) - 1, place), {})
            worker = Faulty(self.settings, self.rows, faults, self.structure)
            memory = SharedMemory(host.memory.folder, host.memory.shape)
            targets.append((work, (worker, self.structure, memory, place, HANG_SECONDS, HANG_SECONDS, True)))
        for target, arguments in targets:
            self.threads.append(threading.Thread(target=target, args=arguments, daemon=True))
            self.threads[-1].start()
        return host

    def join_view(self, view, step=0):
        answers = {}

        def one(number):
            answers[number] = self.hosts[number].join_view(view, number, step, SECRET)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(self.hosts))]
        for thread in threads:
            thread.start()
        join(*threads)
        return answers

    def run(self, first, stop):
        for host in self.hosts:
            host.run(first, stop, 1.0)

    def wait(self, host, known=0):
        done = []

        def is_done():
            messages, records = host.messages(known)
            done.extend((message, records) for message in messages if isinstance(message, RunEnded))
            return done

        wait_until(is_done)
        return done[0]

    def close(self):
        for host in self.hosts:
            host.close()
        join(*self.threads)


def alone(settings, steps=STEPS):
    pool = InProcessExecutor(STRUCTURE, settings, table(), initial_state(STRUCTURE, settings))
    return list(pool.steps(steps)), pool.state()


@pytest.fixture
def cluster():
    made = []

    def make(workers, settings, faults=None):
        made.append(Cluster(workers, settings, faults))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("workers", [(1, 1), (2, 1), (1, 1, 1), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("shards", [1, 2, 5, 8])
def test_hosts_give_the_bits_of_one_process(cluster, workers, shards):
    settings = config(shards, optimizer="adam", clip_norm=0.5)
    here = cluster(workers, settings)
    assert not any(here.join_view(view_of(here.hosts, workers, settings)).values())
    here.run(0, STEPS)
    records, state = alone(settings)
    for host in here.hosts:
        ended, told = here.wait(host)
        assert ended.steps == STEPS
        assert np.array_equal(host.state(STEPS), state)
        assert [(r.step, r.cost, r.rows, r.right, r.layers) for r in told] == [
            (r.step, r.cost, r.rows, r.right, r.layers) for r in records
        ]


@pytest.fixture(params=[3, 7, 1000])
def chunk(request, monkeypatch):
    """Make chunks as small as this network needs, and measure products only briefly."""
    monkeypatch.setattr("distbp.parallel.mesh.factors._MEASURED_SECONDS", 0.001)
    monkeypatch.setattr("distbp.parallel.mesh.chunks.CHUNK", request.param)
    return request.param


@pytest.mark.parametrize("hosts", [2, 3])
@pytest.mark.parametrize("servers", [1, 2, 3])
def test_chunks_cover_all_parameters_once_from_the_last_layer_on(chunk, hosts, servers):
    del chunk
    bounds = STRUCTURE.bounds
    chunks = chunks_of(bounds, servers_for(servers, hosts))
    places = sorted((chunk.params.start, chunk.params.stop) for chunk in chunks)
    assert places[0][0] == 0
    assert [stop for _, stop in places[:-1]] == [start for start, _ in places[1:]]
    assert places[-1][1] == bounds[-1]
    assert all(chunk.params.start >= bounds[chunk.layer] for chunk in chunks)
    for here in range(hosts):
        order = sending_order(chunks, servers, here)
        assert sorted(order) == list(range(len(chunks)))
        layers = [chunks[number].layer for number in order]
        assert layers == sorted(layers, reverse=True)


@pytest.mark.parametrize("workers", [(1, 1), (2, 1, 1)], ids=str)
@pytest.mark.parametrize("servers", [None, 1, 3])
def test_chunks_of_any_size_give_the_same_bits(cluster, chunk, workers, servers):
    del chunk
    settings = config(shards=8)
    here = cluster(workers, settings)
    here.join_view(view_of(here.hosts, workers, settings, servers=servers))
    here.run(0, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


@pytest.mark.parametrize("workers", [(1, 1), (3, 1), (1, 2, 1), (1, 1, 0)], ids=str)
@pytest.mark.parametrize("layers", [[0], [1], [0, 1]], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_layers_exchanged_as_factors_give_the_same_bits(cluster, chunk, workers, layers, dropout):
    del chunk
    settings = config(shards=8, dropout=dropout)
    here = cluster(workers, settings)
    here.join_view(view_of(here.hosts, workers, settings)._replace(measures=True))
    assert all(host.rates().bytes_per_second > 0 for host in here.hosts)
    for host in here.hosts:
        host.agree(layers)
    here.run(0, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


@pytest.mark.parametrize("servers", [1, 2])
def test_any_number_of_servers_gives_the_same_bits(cluster, servers):
    settings = config(shards=4)
    here = cluster((1, 1, 1), settings)
    here.join_view(view_of(here.hosts, (1, 1, 1), settings, servers=servers))
    here.run(0, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


def test_a_lost_host_is_named_and_the_others_continue_with_the_same_bits(cluster):
    settings = config(4)
    here = cluster((1, 1, 1), settings)
    here.join_view(view_of(here.hosts, (1, 1, 1), settings))
    here.run(0, 4)
    for host in here.hosts:
        here.wait(host)
    gone = here.hosts.pop(1)
    gone.run(4, STEPS, 1.0)
    here.run(4, STEPS)
    gone.close()
    steps = []
    for host in here.hosts:
        ended, _ = here.wait(host, 4)
        assert [number for number, _ in ended.reasons] == [1]
        steps.append(ended.steps)
    first = min(steps)
    assert not any(here.join_view(view_of(here.hosts, (1, 1), settings, number=2), first).values())
    here.run(first, STEPS)
    for host in here.hosts:
        assert here.wait(host)[0].steps == STEPS
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


def test_a_host_that_joins_continues_from_the_state_of_another(cluster):
    settings = config(4)
    here = cluster((1,), settings)
    here.join_view(view_of(here.hosts, (1,), settings))
    here.run(0, 5)
    here.wait(here.hosts[0])
    here.add(1, here.hosts[0].state(5), 5)
    here.join_view(view_of(here.hosts, (1, 1), settings, number=2), 5)
    here.run(5, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


def test_only_the_first_host_decides_after_which_step_all_stop(cluster):
    settings = config(4)
    here = cluster((1, 1), settings)
    here.join_view(view_of(here.hosts, (1, 1), settings))
    here.run(0, 10**6)
    here.hosts[1].halt()
    wait_until(lambda before=here.hosts[0].memory.step: here.hosts[0].memory.step > before + 20)
    here.hosts[0].halt()
    done = {here.wait(host)[0].steps for host in here.hosts}
    assert len(done) == 1
    assert done.pop() > 0


def test_float16_halves_the_bytes_and_stays_close(cluster):
    settings = config(4, lr=0.1, optimizer="sgd")
    sent, states = {}, {}
    for wire in ("exact", "float16"):
        here = cluster((1, 1), settings)
        here.join_view(view_of(here.hosts, (1, 1), settings, wire=wire))
        before = sum(host.bytes_sent for host in here.hosts)
        here.run(0, STEPS)
        for host in here.hosts:
            here.wait(host)
        states[wire] = here.hosts[0].state(STEPS)
        assert np.array_equal(states[wire], here.hosts[1].state(STEPS))
        sent[wire] = sum(host.bytes_sent for host in here.hosts) - before
    moved = np.abs(states["exact"][0] - initial_state(STRUCTURE, settings)[0]).max()
    assert 0 < np.abs(states["exact"] - states["float16"]).max() < 0.01 * moved
    assert sent["float16"] < sent["exact"] - STEPS * STRUCTURE.parameter_count * 2


def test_stray_connections_do_not_block_the_rendezvous(cluster):
    settings = config(2)
    here = cluster((1, 1), settings)
    noise = [socket.create_connection(here.hosts[0].address) for _ in range(3)]
    noise[0].sendall(os.urandom(4096))
    noise[1].sendall(b"GET / HTTP/1.0\r\n\r\n")
    noise[2].close()
    noise[1].close()
    assert not any(here.join_view(view_of(here.hosts, (1, 1), settings)).values())
    here.run(0, 3)
    for host in here.hosts:
        here.wait(host)
    noise[0].close()


def test_callers_that_send_little_or_nothing_do_not_block_the_rendezvous(cluster, monkeypatch):
    monkeypatch.setattr("distbp.parallel.mesh.rendezvous._MOST_PATIENCE", HANG_SECONDS)  # each handshake may take long
    settings = config(2)
    here = cluster((1, 1), settings)
    callers = [socket.create_connection(here.hosts[0].address) for _ in range(8)]
    met = threading.Event()

    def dribble():
        with suppress(OSError):  # once the connection is closed
            while not met.wait(0.3):
                callers[0].sendall(b"d")

    dribbling = threading.Thread(target=dribble)
    dribbling.start()
    try:
        assert not any(here.join_view(view_of(here.hosts, (1, 1), settings)).values())
    finally:
        met.set()
        join(dribbling)
        for caller in callers:
            caller.close()


@pytest.mark.parametrize(
    "header",
    [
        (frames.PART, 0, 99, 0, 1.0, 4),
        (frames.PART, 7, 0, 0, 1.0, 4),
        (frames.PART, 0, 0, 99, 1.0, 4),
        (frames.PART, 0, 0, 0, 1.0, 1 << 30),
        (frames.TOTAL, 0, 0, 0, 1.0, 4),
        (frames.REPORT, 0, 0, 0, 1.0, 1 << 30),
        (frames.FACTORS, 0, 0, 0, 1.0, 4),
        (77, 0, 0, 0, 1.0, 4),
    ],
    ids=str,
)
def test_an_invalid_message_ends_the_connection(cluster, header):
    settings = config(2)
    here = cluster((1,), settings)
    port = here.hosts[0].address
    view = View(1, (port, ("127.0.0.1", 1)), (1, 1), 1, 2, "exact", HANG_SECONDS)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(here.hosts[0].join_view(view, 0, 0, SECRET)))
    thread.start()
    liar = handshake.connect(port, SECRET, 1, 1, 0, HANG_SECONDS)
    join(thread)
    here.hosts[0].run(0, 3, 1.0)
    liar.sendall(frames.Frame(*header, zlib.crc32(b"1234")).header() + b"1234")
    ended, _ = here.wait(here.hosts[0])
    ((number, reason),) = ended.reasons
    assert number == 1
    assert "sent" in reason
    liar.close()
