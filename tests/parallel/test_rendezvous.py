"""Strangers that connect to the port of a host do not block the rendezvous."""

import os
import socket
import threading
from contextlib import suppress

from parallel.clusters import view_of
from parallel.hosts import config
from processes import HANG_SECONDS, join


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
