"""Connections between the processes of one host: Unix sockets that carry messages of known sizes."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

DRIVER = 0xFFFFFFFF
"""The number by which the driver connects; workers connect by their own numbers."""

HELLO = struct.Struct("<I")
"""The first message of a connection, to the server: a worker's number, or DRIVER."""

_SIZE = struct.Struct("<I")
_AT_ONCE = int(socket.MSG_DONTWAIT)
_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
"""As numbers: combining two of Python's flags takes 0.3 us, and a step polls several times."""
_SPIN_SECONDS = 150e-6
_RETRY_SECONDS = 0.02
_HELLO_SECONDS = 1.0


def spin_before_sleeping(is_ready: Callable[[], bool]) -> None:
    """Poll for a moment before the caller sleeps, giving the core away between two polls.

    Waking a process that sleeps on an idle core takes 50 us and more, which is much of a small step: with 784-30-10 and
    a mini-batch of 64, the median step of two workers took 475 to 520 us with this spin and 535 to 610 us without.
    """
    deadline = time.perf_counter() + _SPIN_SECONDS
    while not is_ready() and time.perf_counter() < deadline:
        os.sched_yield()


class Channel:
    """One end of a Unix socket that carries messages of known sizes."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._part = b""
        """The first bytes of a message whose rest has not arrived."""
        self._announced = 0
        """Size of the sized message that is arriving, 0 if none is."""
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def fileno(self) -> int:
        """Return the file descriptor, for poll and select."""
        return self._socket.fileno()

    def send(self, message: bytes) -> bool:
        """Send a message; return False if the other end is closed."""
        try:
            self._socket.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_sized(self, message: bytes) -> bool:
        """Send a message of any size, preceded by its size; return False if the other end is closed."""
        return self.send(_SIZE.pack(len(message)) + message)

    def has_input(self) -> bool:
        """Return at once whether there is something to read: bytes, or the other end's EOF."""
        try:
            self._socket.recv(1, _PEEK)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return True

    def take(self, size: int) -> bytes | None:
        """Return a message of this size if it has arrived, b"" if not; None if the other end is closed.

        Never waits, so a process that freezes in the middle of a message delays no other.
        """
        try:
            while len(self._part) < size:
                part = self._socket.recv(size - len(self._part), _AT_ONCE)
                if not part:
                    return None
                self._part += part
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            return None
        message, self._part = self._part, b""
        return message

    def take_sized(self) -> bytes | None:
        """Do as :meth:`take` for a message of :meth:`send_sized`."""
        if not self._announced:
            head = self.take(_SIZE.size)
            if not head:
                return head
            self._announced = _SIZE.unpack(head)[0]
        message = self.take(self._announced)
        if message:
            self._announced = 0
        return message

    def receive(self, size: int, seconds: float) -> bytes | None:
        """Wait for a message of this size; return None if the other end is closed.

        Raises:
            TimeoutError: the message has not arrived in time; its first bytes are kept for the next call.
        """
        deadline = time.monotonic() + seconds
        while (message := self.take(size)) == b"":
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._poll.poll(1000 * remaining):
                raise TimeoutError
        return message

    def closes_within(self, seconds: float) -> bool:
        """Discard input until the other end closes; return False if it does not close in time."""
        try:
            self._socket.settimeout(seconds)
            while self._socket.recv(4096):
                pass
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:  # already closed, by either end
            pass
        return True

    def close(self) -> None:
        """Close this end; the other end reads EOF at once."""
        self._socket.close()


def listen(folder: Path) -> socket.socket:
    """Return the server's listening socket, in place of the previous server's."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    (folder / "server").unlink(missing_ok=True)
    server.bind(str(folder / "server"))
    server.listen(128)
    return server


def connect(folder: Path, number: int, patience: float) -> Channel | None:
    """Connect to the server as worker ``number`` or as DRIVER; return None if no server listens in time.

    Also returns None, at once, if the folder is removed: the run is over.
    """
    deadline = time.monotonic() + patience
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)  # a frozen server's full queue would block connect() for ever
        try:
            connection.connect(str(folder / "server"))
            break
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            connection.close()
            if time.monotonic() > deadline or not folder.exists():
                return None
            time.sleep(_RETRY_SECONDS)
    connection.setblocking(True)
    channel = Channel(connection)
    channel.send(HELLO.pack(number))
    return channel


def accept(listener: socket.socket) -> tuple[int, Channel] | None:
    """Accept a connection; return its number and channel, None if no number arrives in time."""
    channel = Channel(listener.accept()[0])
    try:
        hello = channel.receive(HELLO.size, _HELLO_SECONDS)
    except TimeoutError:
        hello = None
    if hello is None:
        channel.close()
        return None
    return HELLO.unpack(hello)[0], channel
