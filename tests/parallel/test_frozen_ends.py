"""Processes of one host that are stopped (SIGSTOP) while another waits: after connecting, in a message, as server."""

import contextlib
import os
import select
import signal
import socket
import threading

import pytest
from parallel.hosts import STRUCTURE, Host, config, table, worker_process

from distbp.errors import PeerLostError
from distbp.parallel.host.channel import Channel, connect, listen
from distbp.parallel.host.connections import Connections
from distbp.parallel.host.messages import FINISHED, Note, RunEnded, WorkerLost, receive_message, send_message
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.host.worker_loop import work
from distbp.parallel.step.worker import Worker

LONG, SHORT = 60.0, 0.2
"""Seconds that only a hang reaches, and seconds for which a frozen process is waited for."""


@pytest.fixture
def ends():
    """Return two ends of a connection: a channel, and a socket for the test."""
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), other


def test_a_message_is_read_only_when_complete(ends):
    channel, other = ends
    assert channel.take(4) == b""
    other.sendall(b"ab")
    assert channel.take(4) == b""
    other.sendall(b"cdef")
    assert channel.take(4) == b"abcd"
    assert channel.take(4) == b""
    other.close()
    assert channel.take(4) is None


def test_a_timeout_loses_no_part_of_a_message(ends):
    channel, other = ends
    other.sendall(b"ab")
    for _ in range(2):
        with pytest.raises(TimeoutError):
            channel.receive(4, SHORT)
    other.sendall(b"cd")
    assert channel.receive(4, LONG) == b"abcd"
    other.close()
    assert channel.receive(4, LONG) is None


def test_messages_of_the_server_are_read_only_when_complete(ends):
    channel, other = ends
    note = Note("x" * 1000)
    send_message(Channel(other), note)
    whole = ends[0]._socket.recv(4096)
    for first in (1, 4, 5, len(whole) - 1):
        assert receive_message(channel) is None
        other.sendall(whole[:first])
        assert receive_message(channel) is None
        other.sendall(whole[first:] + whole)
        assert [receive_message(channel) for _ in range(3)] == [note, note, None]
    other.close()
    with pytest.raises(EOFError):
        receive_message(channel)


def test_connecting_to_a_server_that_does_not_accept_times_out(tmp_path):
    """A stopped server does not accept: the kernel queues some connections and lets others wait for ever."""
    with listen(tmp_path), contextlib.ExitStack() as connected:
        while (channel := connect(tmp_path, 0, SHORT)) is not None:
            connected.callback(channel.close)


def test_a_process_that_stops_after_connecting_is_disconnected(tmp_path):
    with Connections(tmp_path) as connections, socket.socket(socket.AF_UNIX) as stopped:
        stopped.connect(str(tmp_path / "server"))
        assert connections.accept() is None  # times out after a second
        stopped.settimeout(LONG)
        assert stopped.recv(1) == b""  # closed, so that it connects again when it continues
        again = connect(tmp_path, 3, LONG)
        number, there = connections.accept()
        assert number == 3
        again.close()
        there.close()


def stop_in_the_report(folder, shape, number, settings, timeout):
    """Run a worker that stops itself in the middle of its first report."""
    send = Channel.send

    def send_half(self, message):
        if len(message) < 100:
            return send(self, message)
        send(self, message[:50])
        os.kill(os.getpid(), signal.SIGSTOP)
        return send(self, message[50:])

    Channel.send = send_half
    worker_process(folder, shape, number, settings, {}, timeout)


@pytest.fixture
def host(tmp_path):
    made = []

    def make(places, **named):
        made.append(Host(tmp_path, places, config(), **named))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_worker_that_stops_in_its_report_is_lost_and_its_shards_are_reassigned(host):
    here = host(2, timeout=1.0)
    here.serve_in_thread()
    stopped = here._start(stop_in_the_report, here.folder, here.shape, 0, here.config, here.timeout)
    here.work(1)
    here.wait_for(2)
    here.run(5)
    here.check(5)
    lost = here.received(WorkerLost) or [here.until(WorkerLost)]
    assert [message.worker for message in lost] == [0]
    assert lost[0].reason.startswith("no heartbeat for 1 s in step ")
    stopped.join()
    assert stopped.exitcode == -signal.SIGKILL


def start_worker(here, number, timeout, wait):
    """Start a worker in a thread; return the thread and a list that will contain its error."""
    errors = []

    def run():
        with contextlib.suppress(OSError):
            try:
                memory = SharedMemory(here.folder, here.shape)
                work(Worker(STRUCTURE, here.config, table()), STRUCTURE, memory, number, timeout, wait)
            except PeerLostError as error:
                errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


def test_a_worker_abandons_a_stopped_server_with_an_error(host):
    here = host(1)
    server = here.serve_in_process()
    os.kill(server.pid, signal.SIGSTOP)
    thread, errors = start_worker(here, 0, SHORT, SHORT)
    thread.join()
    assert errors == ["worker 0: the parameter server has sent no heartbeat for 0.4 s (--timeout and --wait)"]
    server.kill()


def test_an_idle_worker_waits_for_a_server_with_heartbeats(host, monkeypatch):
    here = host(1)
    monkeypatch.setattr("distbp.parallel.host.server_loop.heartbeat_seconds", lambda timeout: SHORT / 20)
    here.serve_in_thread()
    times_out, looked = Channel.receive, threading.Semaphore(0)

    def receive(self, size, seconds):
        try:
            return times_out(self, size, seconds)
        except TimeoutError:
            looked.release()
            raise

    monkeypatch.setattr(Channel, "receive", receive)
    thread, errors = start_worker(here, 0, SHORT, SHORT)
    here.wait_for(1)
    for _ in range(20):  # more than the eight of its patience
        assert looked.acquire(timeout=LONG)
    assert here.run(3) == RunEnded(steps=3)
    here.driver.close()
    thread.join()
    assert errors == []


def test_an_order_that_arrives_in_two_parts_is_read(tmp_path):
    here = Host(tmp_path, 1, config())
    listener = listen(here.folder)
    thread, errors = start_worker(here, 0, SHORT, SHORT)
    server, _ = listener.accept()
    with listener, server:
        server.settimeout(LONG)
        assert len(server.recv(4)) == 4
        server.sendall(FINISHED[:7])
        here.memory.processes.heartbeats[-1] = 1.0
        select.select([], [], [], SHORT / 2)
        server.sendall(FINISHED[7:])
        thread.join()
    assert errors == []
