"""The connection to another host: one thread sends the queued frames, another receives.

Headers have a fixed size and are checked against what is expected; bodies are the raw bytes of arrays. Received bytes
are never executed or unpickled.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Protocol

from distbp.parallel.mesh.frames import HEADER_SIZE, HEARTBEAT, REPORT, RESEND, ChecksumError, DamagedError, Frame
from distbp.parallel.mesh.sockets import receive_into, send_both

_LONGEST_REPORT = 1 << 24
_MOST_IN_A_ROW = 4
"""Damaged frames in a row that are requested again; after that, or after a damaged header, the link is given up."""


class FrameHandler(Protocol):
    """Handles the frames of all peers; each peer's threads call it concurrently."""

    def buffer_for(self, sender: int, frame: Frame) -> memoryview:
        """Return the buffer for a frame's body, or raise DamagedError if the frame is invalid."""

    def received(self, sender: int, frame: Frame, body: memoryview) -> None:
        """Handle a frame whose body is complete; may raise DamagedError."""

    def sent(self, frame: Frame) -> None:
        """Note that a frame has been sent, so its body may change."""

    def resend(self, sender: int, request: Frame) -> None:
        """Send the frame that ``request`` names to ``sender`` again, or raise DamagedError."""

    def lost(self, sender: int, why: str, is_damage: bool = False) -> None:
        """Note that this peer is lost, or that its data was damaged on its way; the last call for this peer."""


class PeerConnection:
    """The connection to one peer.

    While nothing is queued, heartbeats are sent. A peer that sends nothing for ``timeout`` seconds is lost.
    """

    def __init__(self, connection: socket.socket, number: int, timeout: float) -> None:
        self.number = number
        self.bytes_sent = 0
        self.damaged = self._in_a_row = 0
        """Frames that arrived damaged and were requested again."""
        self.connection = connection
        self._timeout = timeout
        self._queue: queue.SimpleQueue[tuple[Frame, memoryview]] = queue.SimpleQueue()
        self._urgent: deque[tuple[Frame, memoryview]] = deque()
        """Frames that are sent before all queued ones."""
        self._threads: list[threading.Thread] = []
        connection.settimeout(timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self, handler: FrameHandler) -> None:
        """Start to send and receive."""
        self._threads = [
            threading.Thread(target=self._receive, args=(handler,), daemon=True),
            threading.Thread(target=self._send, args=(handler,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, frame: Frame, body: memoryview) -> None:
        """Queue a frame with its body, which must not change until it is sent. Short frames go first."""
        if frame.kind in (REPORT, RESEND):
            self._urgent.append((frame, body))
            self._queue.put(_WAKE_UP)
        else:
            self._queue.put((frame, body))

    def close(self) -> None:
        """Close the connection, which the peer notices at once, and end both threads."""
        self._urgent.appendleft(_END)
        self._queue.put(_WAKE_UP)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(self._timeout)
        self.connection.close()

    def _receive(self, handler: FrameHandler) -> None:
        header = memoryview(bytearray(HEADER_SIZE))
        try:
            while True:
                receive_into(self.connection, header)
                frame = Frame.read(header)
                if frame.kind == HEARTBEAT:
                    continue
                if frame.kind == RESEND:
                    handler.resend(self.number, frame)
                    continue
                body = _report_buffer(frame) if frame.kind == REPORT else handler.buffer_for(self.number, frame)
                if len(body) != frame.size:
                    raise DamagedError(f"a message of {frame.size} bytes, expected {len(body)}")
                receive_into(self.connection, body)
                if self._is_intact(frame, body):
                    handler.received(self.number, frame, body)
        except TimeoutError:
            handler.lost(self.number, f"gave no answer for {self._timeout:g} s (--timeout)")
        except OSError as error:
            handler.lost(self.number, f"is gone ({error.strerror or error})")
        except DamagedError as error:
            handler.lost(self.number, f"sent {error}", isinstance(error, ChecksumError))
        except Exception as error:  # without this, the thread would end silently and every host would wait
            handler.lost(self.number, f"sent a message that this host could not handle: {error!r}")

    def _is_intact(self, frame: Frame, body: memoryview) -> bool:
        """Return whether the body is intact. If not, request it again, up to a few times in a row."""
        try:
            frame.check_body(body)
        except ChecksumError:
            self._in_a_row += 1
            if self._in_a_row > _MOST_IN_A_ROW:
                raise
            self.damaged += 1
            self.send(frame.resend_request(), memoryview(b""))
            return False
        self._in_a_row = 0
        return True

    def _send(self, handler: FrameHandler) -> None:
        heartbeat = Frame.of(HEARTBEAT, 0, 0, 0, 0.0, memoryview(b"")).header()
        with suppress(OSError):  # the receiving thread notices the lost connection too and reports it
            while True:
                try:
                    queued = self._queue.get(timeout=min(1.0, self._timeout / 8))
                except queue.Empty:
                    self.connection.sendall(heartbeat)
                    continue
                while self._urgent:
                    urgent = self._urgent.popleft()
                    if urgent is _END:
                        return
                    self._send_one(handler, *urgent)
                if queued is not _WAKE_UP:
                    self._send_one(handler, *queued)

    def _send_one(self, handler: FrameHandler, frame: Frame, body: memoryview) -> None:
        send_both(self.connection, frame.header(), body)
        self.bytes_sent += HEADER_SIZE + len(body)
        handler.sent(frame)


_WAKE_UP = Frame(HEARTBEAT, -1, 0, 0, 0.0, 0, 0), memoryview(b"")
"""A queue entry that makes the sending thread look at the urgent frames."""
_END = Frame(HEARTBEAT, -1, 0, 0, 0.0, 0, 0), memoryview(b"")


def _report_buffer(frame: Frame) -> memoryview:
    if frame.size > _LONGEST_REPORT:
        raise DamagedError(f"a report of {frame.size} bytes")
    return memoryview(bytearray(frame.size))
