"""The handshake between two hosts: each proves that it knows the run's secret.

Each end answers the other's random challenge with an HMAC-SHA256. Until that is verified, no other byte of the
connection is read.
"""

from __future__ import annotations

import hmac
import os
import socket
import struct
import time

from distbp.parallel.mesh.sockets import receive_by

_CHALLENGE = 32
_HELLO = struct.Struct("<4sQII32s")
"""Magic number, view, number of the calling host, number of the called host, challenge."""
_MAGIC = b"dbp2"
_CONNECT_SECONDS = 0.5
"""Time limit for connecting: if a full queue has dropped the call, calling again is faster than waiting."""


def connect(
    address: tuple[str, int], secret: bytes, view: int, host: int, peer: int, patience: float, source: str = ""
) -> socket.socket:
    """Connect as host number ``host`` to host number ``peer``, from the address ``source`` if given.

    Raises:
        OSError: the peer does not answer, or does not know the secret.
    """
    deadline = time.monotonic() + patience
    connection = socket.create_connection(address, min(patience, _CONNECT_SECONDS), (source, 0) if source else None)
    try:
        challenge = os.urandom(_CHALLENGE)
        hello = _HELLO.pack(_MAGIC, view, host, peer, challenge)
        connection.sendall(hello)
        answer = receive_by(deadline, connection, 2 * _CHALLENGE)
        if not hmac.compare_digest(answer[:_CHALLENGE], _proof(secret, b"there", hello)):
            raise ConnectionRefusedError("it does not know the run's secret")
        connection.sendall(_proof(secret, b"here", hello + answer[_CHALLENGE:]))
        receive_by(deadline, connection, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def accept(connection: socket.socket, secret: bytes, view: int, host: int, patience: float) -> int:
    """Check that the calling host belongs to this run and view; return its number.

    Raises:
        OSError: its proof is wrong, it takes too long, or the connection has ended.
    """
    deadline = time.monotonic() + patience
    hello = receive_by(deadline, connection, _HELLO.size)
    magic, their_view, caller, called, _ = _HELLO.unpack(hello)
    if (magic, their_view, called) != (_MAGIC, view, host):
        raise ConnectionRefusedError("it calls another run, view or host")
    challenge = os.urandom(_CHALLENGE)
    connection.sendall(_proof(secret, b"there", hello) + challenge)
    proof = receive_by(deadline, connection, _CHALLENGE)
    if not hmac.compare_digest(proof, _proof(secret, b"here", hello + challenge)):
        raise ConnectionRefusedError("it does not know the run's secret")
    connection.sendall(b"\1")
    return int(caller)


def _proof(secret: bytes, end: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, end + message, "sha256")
