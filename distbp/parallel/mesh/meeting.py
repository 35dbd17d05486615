"""How the hosts of a view find each other: everybody is connected to everybody before the first step."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from distbp.parallel.mesh.peers import Peer, accept, connect, measure
from distbp.parallel.mesh.view import View

_LOOK_SECONDS = 0.25
_AGAIN_SECONDS = 0.02
_MOST_PATIENCE = 2.0
"""Seconds for one connection, so that one that never answers does not keep the others waiting."""


class HostsLostError(Exception):
    """Other hosts of the view are gone, or the view is to end; with what was seen of each, by host number."""

    def __init__(self, why: Mapping[int, str]) -> None:
        super().__init__(str(dict(why)))
        self.why = dict(why)


def meet(
    view: View, here: int, listener: socket.socket, secret: bytes, patience: float, is_ended: Callable[[], bool]
) -> dict[int, Peer]:
    """Connect to all other hosts of a view: those with lower numbers are called, the others call.

    Raises:
        HostsLostError: they did not come within ``patience`` seconds, or ``is_ended`` says that they need not.
    """
    deadline = time.monotonic() + patience
    peers: dict[int, Peer] = {}
    try:
        for there in range(here):
            peers[there] = _call(view, here, there, secret, deadline, is_ended)
        listener.settimeout(_LOOK_SECONDS)
        while missing := [host for host in range(here + 1, view.hosts) if host not in peers]:
            if time.monotonic() > deadline or is_ended():
                raise HostsLostError(dict.fromkeys(missing, f"did not come within {patience:g} s"))
            with suppress(TimeoutError):
                connection = listener.accept()[0]
                number = _accepted(connection, secret, view, here, patience)
                if number in missing:
                    peers[number] = Peer(connection, number, view.timeout)
                else:
                    connection.close()
    except BaseException:
        for peer in peers.values():
            peer.close()
        raise
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


def _accepted(connection: socket.socket, secret: bytes, view: View, here: int, patience: float) -> int:
    """Return the number of the host that calls; -1 if it is none of this run."""
    try:
        return accept(connection, secret, view.number, here, min(_MOST_PATIENCE, patience))
    except OSError:
        return -1


def measure_ring(peers: Mapping[int, Peer], view: View, here: int) -> float:
    """Return the bytes per second that come from the host before while as many go to the one behind.

    Raises:
        HostsLostError: one of them is gone.
    """
    after, before = (peers[(here + way) % view.hosts] for way in (1, -1))
    try:
        return measure(after.connection, before.connection)
    except OSError as error:
        raise HostsLostError({before.number: f"is gone ({error.strerror or error})"}) from error
