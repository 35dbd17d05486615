"""The connection between two hosts of one run: raw arrays behind a header over TCP, from peers that know the secret.

Whoever connects proves that it knows the run's secret (HMAC-SHA256 of the other end's challenge, both ways) before a
single other byte of it is read. What follows are headers of a fixed size, checked against what is expected, each with
the raw bytes of an array's part; nothing that is received is ever executed or unpickled.
"""

from __future__ import annotations

import errno
import hmac
import os
import queue
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Protocol

from distbp.errors import ClusterError
from distbp.parallel.mesh.frames import HEADER_SIZE, HEARTBEAT, REPORT, RESEND, ChecksumError, DamagedError, Frame

_CHALLENGE = 32
_HELLO = struct.Struct("<4sQII32s")
"""Magic, view, the number of the host that connects, of the host that it means, a challenge."""
_MAGIC = b"dbp2"
_PORT_SECONDS, _PORT_AGAIN_SECONDS = 5.0, 0.1
_BACKLOG = 4096
"""Calls that wait between two meetings, of strangers mostly; the kernel may allow fewer."""
_CONNECT_SECONDS = 0.5
"""For a connection alone: where a full queue has dropped the call, a new one is quicker than waiting for an answer."""
_LONGEST_REPORT = 1 << 24
_MOST_IN_A_ROW = 4
"""Damaged frames that are asked for again; a link that is worse than that is given up, and so is one damaged header."""


class FrameHandler(Protocol):
    """What a peer's threads call, each peer's from threads of its own."""

    def place(self, sender: int, frame: Frame) -> memoryview:
        """Return where a frame's bytes belong, or raise DamagedError."""

    def arrived(self, sender: int, frame: Frame, body: memoryview) -> None:
        """Take in a frame whose bytes are where they belong; may raise DamagedError."""

    def sent(self, frame: Frame) -> None:
        """Note that a frame's bytes are no longer needed."""

    def again(self, sender: int, frame: Frame) -> None:
        """Send what this frame asks for again to who has sent it, or raise DamagedError."""

    def lost(self, sender: int, why: str, is_damage: bool = False) -> None:
        """Note that this peer is gone, or what it sent was damaged on its way; the last call for it."""


def listen(address: str, ports: range = range(1)) -> socket.socket:
    """Return a socket that listens at a free one of these ports of this address; port 0 stands for any.

    Raises:
        ClusterError: all are taken, also after a moment, or the address is not this host's.
    """
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        for port in ports:
            listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # also where old connections fade away
            try:
                listener.bind((address, port))
                listener.listen(_BACKLOG)
                return listener
            except OSError as error:
                listener.close()
                if error.errno != errno.EADDRINUSE:
                    raise ClusterError(f"this host cannot listen at {address}:{port}: {error.strerror}") from error
        if time.monotonic() > deadline:
            told = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]}-{ports[-1]}"
            raise ClusterError(f"{told} of {address}: all in use there: give --host-ports others, or more")
        time.sleep(_PORT_AGAIN_SECONDS)  # whoever was here before may be about to end


def connect(
    address: tuple[str, int], secret: bytes, view: int, here: int, there: int, patience: float, own: str = ""
) -> socket.socket:
    """Connect to host number ``there`` as host number ``here``, whose address is ``own``: others are not heard.

    Raises:
        OSError: nobody answers, or who answers does not know the secret.
    """
    deadline = time.monotonic() + patience
    source = (own, 0) if own else None
    connection = socket.create_connection(address, min(patience, _CONNECT_SECONDS), source)
    try:
        challenge = os.urandom(_CHALLENGE)
        hello = _HELLO.pack(_MAGIC, view, here, there, challenge)
        connection.sendall(hello)
        answer = _receive_by(deadline, connection, 2 * _CHALLENGE)
        if not hmac.compare_digest(answer[:_CHALLENGE], _proof(secret, b"there", hello)):
            raise ConnectionRefusedError("it does not know the run's secret")
        connection.sendall(_proof(secret, b"here", hello + answer[_CHALLENGE:]))
        _receive_by(deadline, connection, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def accept(connection: socket.socket, secret: bytes, view: int, here: int, patience: float) -> int:
    """Return the number of the host at the other end, once it has proved that it belongs to this run and view.

    Raises:
        OSError: it has not, or has left.
    """
    deadline = time.monotonic() + patience
    hello = _receive_by(deadline, connection, _HELLO.size)
    magic, their_view, there, meant, _ = _HELLO.unpack(hello)
    if (magic, their_view, meant) != (_MAGIC, view, here):
        raise ConnectionRefusedError("it means another run or host")
    challenge = os.urandom(_CHALLENGE)
    connection.sendall(_proof(secret, b"there", hello) + challenge)
    proof = _receive_by(deadline, connection, _CHALLENGE)
    if not hmac.compare_digest(proof, _proof(secret, b"here", hello + challenge)):
        raise ConnectionRefusedError("it does not know the run's secret")
    connection.sendall(b"\1")
    return int(there)


def _proof(secret: bytes, who: bytes, what: bytes) -> bytes:
    return hmac.digest(secret, who + what, "sha256")


def _receive_by(deadline: float, connection: socket.socket, size: int) -> bytes:
    """Wait for so many bytes until the deadline, however few come at a time."""
    whole = bytearray(size)
    place = memoryview(whole)
    while len(place):
        connection.settimeout(max(1e-3, deadline - time.monotonic()))
        place = place[_receive_some(connection, place) :]
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    return bytes(whole)


def _receive_some(connection: socket.socket, place: memoryview) -> int:
    got = connection.recv_into(place)
    if not got:
        raise ConnectionResetError("it has closed the connection")
    return got


def receive_into(connection: socket.socket, place: memoryview) -> None:
    """Receive as many bytes as there is room for, as long as some come within the connection's timeout."""
    while len(place):
        place = place[_receive_some(connection, place) :]


class PeerConnection:
    """The other end of a connection: a thread that sends what is queued, and one that receives.

    While nothing is queued the sender shows life; a peer that shows none for ``timeout`` seconds is lost.
    """

    def __init__(self, connection: socket.socket, number: int, timeout: float) -> None:
        self.number = number
        self.sent = 0
        """Bytes sent so far."""
        self.damaged = self._in_a_row = 0
        """Frames that were damaged on their way from there, and asked for again."""
        self.connection = connection
        self._timeout = timeout
        self._queue: queue.SimpleQueue[tuple[Frame, memoryview]] = queue.SimpleQueue()
        self._first: deque[tuple[Frame, memoryview]] = deque()
        """What is sent before all that is queued."""
        self._threads: list[threading.Thread] = []
        connection.settimeout(timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self, ends: FrameHandler) -> None:
        """Begin to send and receive."""
        self._threads = [
            threading.Thread(target=self._receive, args=(ends,), daemon=True),
            threading.Thread(target=self._send, args=(ends,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, frame: Frame, body: memoryview) -> None:
        """Queue a frame with its bytes, which must stay as they are until it is sent; what is short goes first."""
        if frame.kind in (REPORT, RESEND):
            self._first.append((frame, body))
            self._queue.put(_LOOK)
        else:
            self._queue.put((frame, body))

    def close(self) -> None:
        """End the connection, which the other end hears at once, and both threads."""
        self._first.appendleft(_END)
        self._queue.put(_LOOK)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(self._timeout)
        self.connection.close()

    def _receive(self, ends: FrameHandler) -> None:
        header = memoryview(bytearray(HEADER_SIZE))
        try:
            while True:
                receive_into(self.connection, header)
                frame = Frame.read(header)
                if frame.kind == HEARTBEAT:
                    continue
                if frame.kind == RESEND:
                    ends.again(self.number, frame)
                    continue
                place = _room(frame) if frame.kind == REPORT else ends.place(self.number, frame)
                if len(place) != frame.size:
                    raise DamagedError(f"a message of {frame.size} bytes where {len(place)} belong")
                receive_into(self.connection, place)
                if self._is_whole(frame, place):
                    ends.arrived(self.number, frame, place)
        except TimeoutError:
            ends.lost(self.number, f"gave no answer for {self._timeout:g} s (--timeout)")
        except OSError as error:
            ends.lost(self.number, f"is gone ({error.strerror or error})")
        except DamagedError as error:
            ends.lost(self.number, f"sent {error}", isinstance(error, ChecksumError))
        except Exception as error:  # or nobody would hear of it, and all would wait
            ends.lost(self.number, f"sent what this host could not take in: {error!r}")

    def _is_whole(self, frame: Frame, body: memoryview) -> bool:
        """Return whether this is the body that was sent; if it is not ask for it again, a few times in a row."""
        try:
            frame.check_body(body)
        except ChecksumError:
            self._in_a_row += 1
            if self._in_a_row > _MOST_IN_A_ROW:
                raise
            self.damaged += 1
            self.send(frame.again(), memoryview(b""))
            return False
        self._in_a_row = 0
        return True

    def _send(self, ends: FrameHandler) -> None:
        beat = Frame.of(HEARTBEAT, 0, 0, 0, 0.0, memoryview(b"")).header()
        with suppress(OSError):  # the receiver hears of it too
            while True:
                try:
                    queued = self._queue.get(timeout=min(1.0, self._timeout / 8))
                except queue.Empty:
                    self.connection.sendall(beat)
                    continue
                while self._first:
                    first = self._first.popleft()
                    if first is _END:
                        return
                    self._send_one(ends, *first)
                if queued is not _LOOK:
                    self._send_one(ends, *queued)

    def _send_one(self, ends: FrameHandler, frame: Frame, body: memoryview) -> None:
        send_both(self.connection, frame.header(), body)
        self.sent += HEADER_SIZE + len(body)
        ends.sent(frame)


def send_both(connection: socket.socket, header: bytes, body: memoryview) -> None:
    """Send a header with its body, so that the other end wakes up once for both."""
    moved = connection.sendmsg([header, body])
    if moved < len(header):
        send_all(connection, memoryview(header)[moved:])
    send_all(connection, body[max(0, moved - len(header)) :])


def send_all(connection: socket.socket, body: memoryview) -> None:
    """Send as long as something moves; sendall's timeout would be one for all of it."""
    while len(body):
        body = body[connection.send(body) :]


_LOOK = Frame(HEARTBEAT, -1, 0, 0, 0.0, 0, 0), memoryview(b"")
"""Queued to say that something is to be sent first."""
_END = Frame(HEARTBEAT, -1, 0, 0, 0.0, 0, 0), memoryview(b"")


def _room(frame: Frame) -> memoryview:
    if frame.size > _LONGEST_REPORT:
        raise DamagedError(f"a report of {frame.size} bytes")
    return memoryview(bytearray(frame.size))
