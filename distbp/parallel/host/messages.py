"""The messages of a run on one host: some bytes over a Unix socket that say what is ready in shared memory.

A worker's report is sent after the last byte of its slab was written, and names the step; the order to go on is sent
after the last byte of the new weights. So what a dead or late process half wrote is never read.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from distbp.parallel.step.records import Divergence, StepRecord

DRIVER = 0xFFFFFFFF
"""The driver's number where workers give theirs."""

_LOOK_SECONDS = 150e-6
_BETWEEN_TRIES = 0.02
_HELLO_SECONDS = 1.0


def look_before_sleeping(look: Callable[[], bool]) -> None:
    """Look for a moment whether what one waits for is there, giving the core away between two looks.

    Waking a process that sleeps on an idle core takes 50 us and more, which is much of a small step: with 784-30-10 and
    a mini-batch of 64 the median step of two workers took 475 to 520 us so, and 535 to 610 us asleep.
    """
    deadline = time.perf_counter() + _LOOK_SECONDS
    while not look() and time.perf_counter() < deadline:
        os.sched_yield()


class Channel:
    """One end of a Unix socket that carries messages of known sizes."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._part = b""
        """What has come so far of a message."""
        self._news_size = 0
        """Of the news that have begun to come."""
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def fileno(self) -> int:
        """Return the file descriptor, for poll and select."""
        return self._socket.fileno()

    def send(self, message: bytes) -> bool:
        """Send a message; return False if the other end is gone."""
        try:
            self._socket.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def look(self) -> bool:
        """Return at once whether there is something to receive, the other end's end included."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return True

    def take(self, size: int) -> bytes | None:
        """Return a message once all of it is there, else b"" at once; None if the other end is gone.

        So a process that is frozen in the middle of a message keeps nobody else waiting.
        """
        try:
            while len(self._part) < size:
                part = self._socket.recv(size - len(self._part), socket.MSG_DONTWAIT)
                if not part:
                    return None
                self._part += part
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            return None
        message, self._part = self._part, b""
        return message

    def receive(self, size: int, seconds: float) -> bytes | None:
        """Wait for a message; return None if the other end is gone.

        Raises:
            TimeoutError: it has not come within so many seconds; what has come of it is kept.
        """
        deadline = time.monotonic() + seconds
        while (message := self.take(size)) == b"":
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(1000 * left):
                raise TimeoutError
        return message

    def take_news(self) -> bytes | None:
        """Do as :meth:`take` with news, which begin with their size."""
        if not self._news_size:
            head = self.take(_SIZE.size)
            if not head:
                return head
            self._news_size = _SIZE.unpack(head)[0]
        text = self.take(self._news_size)
        if text:
            self._news_size = 0
        return text

    def ends_within(self, seconds: float) -> bool:
        """Wait until the other end is gone, whatever it may still have said; return False if it is still there."""
        try:
            self._socket.settimeout(seconds)
            while self._socket.recv(4096):
                pass
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:  # closed already, by either end
            pass
        return True

    def close(self) -> None:
        """Close this end, which the other end sees at once."""
        self._socket.close()


def listen(folder: Path) -> socket.socket:
    """Return the server's listening socket; that of a server before it gives way."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    (folder / "server").unlink(missing_ok=True)
    server.bind(str(folder / "server"))
    server.listen(128)
    return server


def connect(folder: Path, number: int, patience: float) -> Channel | None:
    """Connect to the server as worker ``number`` or as the driver; None if there was none for ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)  # or it would wait for ever behind many others at a server that is frozen
        try:
            connection.connect(str(folder / "server"))
            break
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            connection.close()
            if time.monotonic() > deadline or not folder.exists():
                return None
            time.sleep(_BETWEEN_TRIES)
    connection.setblocking(True)
    channel = Channel(connection)
    channel.send(HELLO.pack(number))
    return channel


def accepted(listener: socket.socket) -> tuple[int, Channel] | None:
    """Return the number of who has connected, and the channel; None if it did not say who it is."""
    channel = Channel(listener.accept()[0])
    try:
        hello = channel.receive(HELLO.size, _HELLO_SECONDS)
    except TimeoutError:
        hello = None
    if hello is None:
        channel.close()
        return None
    return HELLO.unpack(hello)[0], channel


HELLO = struct.Struct("<I")
"""Anybody to the server: a worker's number, or DRIVER."""

GO = struct.Struct("<qqIIII")
"""Server to worker: compute, in this round, of this step, the shards from first to before stop, into the rows from this
one on; and this is the place of their factors."""

NO_ROUND = -1
"""The round of a GO that says that all is done."""

RUN = struct.Struct("<qqd")
"""Driver to server: go on from this step, whose state is in place, up to before that step, with lr times this."""

_SIZE = struct.Struct("<I")


def send_news(channel: Channel, news: Mapping[str, Any]) -> None:
    """Tell the driver something that happens seldom."""
    text = json.dumps(news).encode()
    channel.send(_SIZE.pack(len(text)) + text)


def receive_news(channel: Channel) -> dict[str, Any] | None:
    """Return the next of what the server tells, {} if it is not all there yet, None if the server is gone."""
    text = channel.take_news()
    news: dict[str, Any] | None = json.loads(text or "{}") if text is not None else None
    return news


def done_news(steps: int, last: StepRecord | None) -> dict[str, Any]:
    """Return the server's answer to RUN: the steps done; if the next one diverged what, where, its rows and cost."""
    if last is None or last.divergence is None:
        return {"done": steps}
    return {"done": steps, "what": last.divergence.what, "layer": last.divergence.layer, "rows": last.rows,
            "cost": last.cost}  # fmt: skip


def lost_news(steps: int, why: Mapping[int, str], damaged: Iterable[int]) -> dict[str, Any]:
    """Return the server's answer to RUN where its view of the hosts has come to an end.

    ``why`` is what it saw of others, by number; from those that are ``damaged`` something came other than it was sent.
    """
    return {"done": steps, "hosts": list(why.items()), "damaged": list(damaged)}


def diverged_record(news: Mapping[str, Any]) -> StepRecord | None:
    """Return the record of the step that diverged, if one did."""
    if "what" not in news:
        return None
    return StepRecord(news["done"], news["rows"], news["cost"], 0, 0.0, Divergence(news["what"], news["layer"]))


def check_diverged(news: Mapping[str, Any]) -> None:
    """Raise DivergedError if a step diverged."""
    diverged = diverged_record(news)
    if diverged is not None:
        diverged.check()
