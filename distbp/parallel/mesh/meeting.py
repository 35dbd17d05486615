"""How the hosts of a view find each other: everybody is connected to everybody before the first step."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress

from distbp.parallel.mesh.peers import Peer, accept, connect
from distbp.parallel.mesh.view import View

_LISTEN_SECONDS = 0.005
_AGAIN_SECONDS = 0.02
_MOST_PATIENCE = 2.0
"""Seconds for one connection."""
_MOST_CALLERS = 128
"""Strangers that are listened to at a time."""


class HostsLostError(Exception):
    """Other hosts of the view are gone, or the view is to end; with what was seen of each, by host number."""

    def __init__(self, why: Mapping[int, str], damaged: Collection[int] = ()) -> None:
        """``damaged`` are those that are only gone because something was damaged on its way from there."""
        super().__init__(str(dict(why)))
        self.why = dict(why)
        self.damaged = list(damaged)


def meet(
    view: View, here: int, listener: socket.socket, secret: bytes, patience: float, is_ended: Callable[[], bool]
) -> dict[int, Peer]:
    """Connect to all other hosts of a view: those with lower numbers are called, the others call.

    Raises:
        HostsLostError: they did not come within ``patience`` seconds, or ``is_ended`` says that they need not.
    """
    deadline = time.monotonic() + patience
    peers: dict[int, Peer] = {}
    callers = _Callers(listener, secret, view, here, min(_MOST_PATIENCE, patience))
    try:
        for there in range(here):
            peers[there] = _call(view, here, there, secret, deadline, is_ended)
        while missing := [host for host in range(here + 1, view.hosts) if host not in peers]:
            if time.monotonic() > deadline or is_ended():
                raise HostsLostError(dict.fromkeys(missing, f"did not come within {patience:g} s"))
            for number, connection in callers.come():
                if number in missing and number not in peers:
                    peers[number] = Peer(connection, number, view.timeout)
                else:
                    connection.close()
    except BaseException:
        for peer in peers.values():
            peer.close()
        raise
    finally:
        callers.close()
    return peers


def _call(view: View, here: int, there: int, secret: bytes, deadline: float, is_ended: Callable[[], bool]) -> Peer:
    while True:
        patience = max(0.1, min(_MOST_PATIENCE, deadline - time.monotonic()))
        try:
            return Peer(connect(view.addresses[there], secret, view.number, here, there, patience), there, view.timeout)
        except OSError as error:
            if time.monotonic() > deadline or is_ended():
                raise HostsLostError({there: f"cannot be reached: {error.strerror or error}"}) from error
            time.sleep(_AGAIN_SECONDS)


class _Callers:
    """Whoever calls, each heard in a thread of its own: one that never answers keeps nobody waiting."""

    def __init__(self, listener: socket.socket, secret: bytes, view: View, here: int, patience: float) -> None:
        self._listener, self._secret, self._view, self._here, self._patience = listener, secret, view, here, patience
        self._known: queue.SimpleQueue[tuple[int, socket.socket]] = queue.SimpleQueue()
        self._free = threading.Semaphore(_MOST_CALLERS)
        self._closed = False
        listener.settimeout(_LISTEN_SECONDS)

    def come(self) -> Iterator[tuple[int, socket.socket]]:
        """Listen for a moment; yield the connections to hosts of this view, by number."""
        with suppress(TimeoutError):
            connection = self._listener.accept()[0]
            if self._free.acquire(blocking=False):
                threading.Thread(target=self._hear, args=(connection,), daemon=True).start()
            else:
                connection.close()
        yield from self._heard()

    def close(self) -> None:
        """Hang up on all others, also on those that are heard just now."""
        self._closed = True
        for _, connection in self._heard():
            connection.close()

    def _heard(self) -> Iterator[tuple[int, socket.socket]]:
        with suppress(queue.Empty):
            while True:
                yield self._known.get_nowait()

    def _hear(self, connection: socket.socket) -> None:
        try:
            self._known.put(
                (accept(connection, self._secret, self._view.number, self._here, self._patience), connection)
            )
        except OSError:  # it is none of this run
            connection.close()
        finally:
            self._free.release()
        if self._closed:
            self.close()
