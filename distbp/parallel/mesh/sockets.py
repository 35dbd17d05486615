"""TCP sockets between hosts: listening, and sending and receiving a given number of bytes."""

from __future__ import annotations

import errno
import socket
import time

from distbp.errors import ClusterError

_PORT_SECONDS, _PORT_AGAIN_SECONDS = 5.0, 0.1
_BACKLOG = 4096
"""Connections that may wait between two rendezvous, mostly from strangers; the kernel may allow fewer."""


def listen(address: str, ports: range = range(1)) -> socket.socket:
    """Return a socket that listens on a free port of ``ports``; port 0 stands for any.

    Raises:
        ClusterError: all ports stay in use for some seconds, or the address is not this host's.
    """
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        for port in ports:
            listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections may be in TIME_WAIT
            try:
                listener.bind((address, port))
                listener.listen(_BACKLOG)
                return listener
            except OSError as error:
                listener.close()
                if error.errno != errno.EADDRINUSE:
                    raise ClusterError(f"this host cannot listen at {address}:{port}: {error.strerror}") from error
        if time.monotonic() > deadline:
            named = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]}-{ports[-1]}"
            raise ClusterError(f"{named} of {address}: all in use; give other or more ports with --host-ports")
        time.sleep(_PORT_AGAIN_SECONDS)  # the process that holds the port may be about to exit


def receive_by(deadline: float, connection: socket.socket, size: int) -> bytes:
    """Return the next ``size`` bytes; raise TimeoutError if they are not complete by the deadline."""
    whole = bytearray(size)
    missing = memoryview(whole)
    while len(missing):
        connection.settimeout(max(1e-3, deadline - time.monotonic()))
        missing = missing[_receive_some(connection, missing) :]
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    return bytes(whole)


def receive_into(connection: socket.socket, buffer: memoryview) -> None:
    """Fill a buffer; raise TimeoutError if no byte arrives within the connection's timeout."""
    while len(buffer):
        buffer = buffer[_receive_some(connection, buffer) :]


def _receive_some(connection: socket.socket, buffer: memoryview) -> int:
    received = connection.recv_into(buffer)
    if not received:
        raise ConnectionResetError("it has closed the connection")
    return received


def send_both(connection: socket.socket, header: bytes, body: memoryview) -> None:
    """Send a header and its body in one system call if possible, so that the receiver wakes up once."""
    sent = connection.sendmsg([header, body])
    if sent < len(header):
        send_all(connection, memoryview(header)[sent:])
    send_all(connection, body[max(0, sent - len(header)) :])


def send_all(connection: socket.socket, body: memoryview) -> None:
    """Send all bytes. The timeout applies to each system call; that of ``sendall`` would apply to the whole."""
    while len(body):
        body = body[connection.send(body) :]
