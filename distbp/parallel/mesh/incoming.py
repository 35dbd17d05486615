"""Whoever calls while hosts meet: hosts of the view, and strangers that say nothing or too little for ever."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

from distbp.parallel.mesh.peers import accept
from distbp.parallel.mesh.view import View

_LISTEN_SECONDS = 0.005
_AT_ONCE = 64
"""Calls that are taken before it is looked whether one of them has proved that it belongs to the run."""
_MOST_CALLERS = 128
"""That are listened to at a time. If there are more, the one that has taken longest is hung up on: who belongs to the
run proves it in milliseconds, and calls again."""


class IncomingConnections:
    """Takes calls from the addresses of the view's hosts alone, and hears each in a thread of its own."""

    def __init__(self, listener: socket.socket, secret: bytes, view: View, here: int, patience: float) -> None:
        """Listen to the hosts behind number ``here`` (those before it are called), to each for ``patience`` seconds."""
        self._listener, self._secret, self._view, self._here, self._patience = listener, secret, view, here, patience
        self._addresses = {each for address, _ in view.addresses[here + 1 :] for each in _numeric(address)}
        self._known: queue.SimpleQueue[tuple[int, socket.socket]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._heard: dict[socket.socket, None] = {}
        """Those who have still to prove who they are, in the order in which they came."""
        self._closed = False
        listener.settimeout(_LISTEN_SECONDS)

    def come(self) -> Iterator[tuple[int, socket.socket]]:
        """Listen for a moment; yield the connections to hosts of this view, by number."""
        with suppress(TimeoutError, ConnectionError):
            for _ in range(_AT_ONCE):
                connection, (address, *_) = self._listener.accept()
                if address.partition("%")[0] in self._addresses:
                    self._begin(connection)
                else:
                    connection.close()
        yield from self._proved()

    def close(self) -> None:
        """Hang up on all who have not proved who they are, also on those that are heard just now."""
        with self._lock:
            self._closed = True
            for connection in self._heard:
                _hang_up(connection)
        for _, connection in self._proved():
            connection.close()

    def _begin(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._heard) >= _MOST_CALLERS:
                oldest = next(iter(self._heard))
                del self._heard[oldest]
                _hang_up(oldest)
            self._heard[connection] = None
        threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _proved(self) -> Iterator[tuple[int, socket.socket]]:
        with suppress(queue.Empty):
            while True:
                yield self._known.get_nowait()

    def _hear(self, connection: socket.socket) -> None:
        number = None
        with suppress(OSError):  # it is none of this run, or takes too long
            number = accept(connection, self._secret, self._view.number, self._here, self._patience)
        with self._lock:
            is_wanted = self._heard.pop(connection, connection) is None and not self._closed
            if number is not None and is_wanted:
                self._known.put((number, connection))
                return
        connection.close()


def _numeric(address: str) -> set[str]:
    """Return what an address is called where a call comes from it."""
    return {str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(address, None)}


def _hang_up(connection: socket.socket) -> None:
    """End a connection that another thread is listening to, which closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
