"""Hosts prove to each other that they belong to the run."""

import socket
import threading
from contextlib import suppress

import pytest

from distbp.parallel.mesh import peers

SECRET = b"s" * 32


def test_who_does_not_know_the_secret_is_refused_both_ways():
    listener = peers.listen("127.0.0.1")
    outcome = []

    def take():
        connection = listener.accept()[0]
        try:
            outcome.append(peers.accept(connection, SECRET, 1, 0, 2.0))
        except OSError as error:
            outcome.append(str(error))
        connection.close()

    for secret, view in ((b"x" * 32, 1), (SECRET, 2)):
        thread = threading.Thread(target=take)
        thread.start()
        with pytest.raises(OSError):
            peers.connect(listener.getsockname(), secret, view, 1, 0, 2.0).close()
        thread.join()
    assert all(isinstance(each, str) for each in outcome)
    listener.close()


def test_a_handshake_ends_in_time_however_little_comes():
    listener = peers.listen("127.0.0.1")
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
        with pytest.raises(TimeoutError):  # all the bytes would have come after 7.6 s, and been refused
            peers.accept(connection, SECRET, 1, 0, 0.5)
    finally:
        done.set()
        dribbling.join()
        for each in (connection, caller, listener):
            each.close()
