"""The handshake between hosts, and the rendezvous of hosts among strangers that send little or nothing."""

import socket
import threading
from contextlib import ExitStack, suppress

import pytest
from processes import HANG_SECONDS, join

from distbp.parallel.mesh import handshake, sockets
from distbp.parallel.mesh.rendezvous import HostsLostError, connect_all
from distbp.parallel.mesh.view import View

SECRET = b"s" * 32


def test_a_handshake_times_out_even_if_bytes_trickle_in():
    listener = sockets.listen("127.0.0.1")
    caller = socket.create_connection(listener.getsockname())
    connection = listener.accept()[0]
    done = threading.Event()

    def dribble():
        with suppress(OSError):
            while not done.wait(0.1):
                caller.sendall(b"d")

    dribbling = threading.Thread(target=dribble)
    dribbling.start()
    try:
        with pytest.raises(TimeoutError):  # all bytes would have arrived after 7.6 s, and been refused
            handshake.accept(connection, SECRET, 1, 0, 0.5)
    finally:
        done.set()
        join(dribbling)
        for each in (connection, caller, listener):
            each.close()


@pytest.fixture
def two(monkeypatch):
    """Two hosts with an unlimited handshake."""
    monkeypatch.setattr("distbp.parallel.mesh.rendezvous._MOST_PATIENCE", HANG_SECONDS)
    made = Two()
    yield made
    made.close()


class Two:
    """Two hosts at a rendezvous: the first waits for the call of the second."""

    def __init__(self):
        self.listeners = [sockets.listen("127.0.0.1") for _ in range(2)]
        self.address = self.listeners[0].getsockname()
        addresses = tuple(listener.getsockname() for listener in self.listeners)
        self._view = View(1, addresses, (1, 1), 0, 2, "exact", HANG_SECONDS)
        self.met, self._is_over = {}, False
        self._first = threading.Thread(target=self._meet, args=(0,))
        self._first.start()

    def _meet(self, here):
        with suppress(HostsLostError):  # if a test failed before the rendezvous
            self.met[here] = connect_all(
                self._view, here, self.listeners[here], SECRET, HANG_SECONDS, lambda: self._is_over
            )

    def finish(self):
        """Let the second host call."""
        self._meet(1)
        join(self._first)
        return {here: list(found) for here, found in self.met.items()}

    def close(self):
        self._is_over = True
        join(self._first)
        for found in self.met.values():
            for peer in found.values():
                peer.close()
        for listener in self.listeners:
            listener.close()


def test_five_hundred_silent_callers_do_not_block_the_rendezvous(two):
    with ExitStack() as callers:
        for _ in range(500):
            callers.enter_context(socket.create_connection(two.address, timeout=HANG_SECONDS))
        assert two.finish() == {0: [1], 1: [0]}


def test_calls_from_other_addresses_than_the_hosts_are_closed_at_once(two):
    stranger = socket.create_connection(two.address, timeout=HANG_SECONDS, source_address=("127.0.0.2", 0))
    with stranger, suppress(ConnectionError):
        assert stranger.recv(1) == b""
    assert two.finish() == {0: [1], 1: [0]}


def test_the_oldest_of_too_many_handshakes_makes_way_for_the_next(two):
    with ExitStack() as callers:
        first = callers.enter_context(socket.create_connection(two.address, timeout=HANG_SECONDS))
        first.sendall(b"dbp")
        for _ in range(128):
            callers.enter_context(socket.create_connection(two.address, timeout=HANG_SECONDS))
        with suppress(ConnectionError):
            assert first.recv(1) == b""  # although no caller has proved anything
        assert two.finish() == {0: [1], 1: [0]}
