"""Incoming connections at a rendezvous: from hosts of the view, and from strangers that must not block it."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

from distbp.parallel.mesh.handshake import accept
from distbp.parallel.mesh.view import View

_LISTEN_SECONDS = 0.005
_AT_ONCE = 64
"""Connections that are accepted before completed handshakes are looked at."""
_MOST_HANDSHAKES = 128
"""Handshakes at a time. Beyond that the oldest is aborted: a host of the run needs milliseconds, and calls again."""


class IncomingConnections:
    """Accepts connections from the addresses of the view's hosts alone; each handshake has its own thread."""

    def __init__(self, listener: socket.socket, secret: bytes, view: View, host: int, patience: float) -> None:
        """Accept the hosts after number ``host``; a handshake may take ``patience`` seconds."""
        self._listener, self._secret, self._view, self._host, self._patience = listener, secret, view, host, patience
        self._addresses = {each for address, _ in view.addresses[host + 1 :] for each in _numeric(address)}
        self._accepted: queue.SimpleQueue[tuple[int, socket.socket]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._handshakes: dict[socket.socket, None] = {}
        """Connections whose handshake is not complete, the oldest first."""
        self._closed = False
        listener.settimeout(_LISTEN_SECONDS)

    def poll(self) -> Iterator[tuple[int, socket.socket]]:
        """Listen for a moment; yield the connections of hosts that have completed the handshake, with their numbers."""
        with suppress(TimeoutError, ConnectionError):
            for _ in range(_AT_ONCE):
                connection, (address, *_) = self._listener.accept()
                if address.partition("%")[0] in self._addresses:
                    self._begin(connection)
                else:
                    connection.close()
        yield from self._take_accepted()

    def close(self) -> None:
        """Close all connections that :meth:`poll` has not yielded, including those in a handshake."""
        with self._lock:
            self._closed = True
            for connection in self._handshakes:
                _shut_down(connection)
        for _, connection in self._take_accepted():
            connection.close()

    def _begin(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._handshakes) >= _MOST_HANDSHAKES:
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                _shut_down(oldest)
            self._handshakes[connection] = None
        threading.Thread(target=self._shake_hands, args=(connection,), daemon=True).start()

    def _take_accepted(self) -> Iterator[tuple[int, socket.socket]]:
        with suppress(queue.Empty):
            while True:
                yield self._accepted.get_nowait()

    def _shake_hands(self, connection: socket.socket) -> None:
        number = None
        with suppress(OSError):  # the caller is a stranger, or too slow
            number = accept(connection, self._secret, self._view.number, self._host, self._patience)
        with self._lock:
            is_wanted = self._handshakes.pop(connection, connection) is None and not self._closed
            if number is not None and is_wanted:
                self._accepted.put((number, connection))
                return
        connection.close()


def _numeric(address: str) -> set[str]:
    """Return the numeric addresses of a host, in the form in which ``accept`` gives them."""
    return {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(address, None)}


def _shut_down(connection: socket.socket) -> None:
    """End a connection that another thread is reading, which then closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
