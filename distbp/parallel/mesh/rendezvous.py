"""How the hosts of a view find each other: everybody is connected to everybody before the first step."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Mapping

from distbp.parallel.mesh.incoming import IncomingConnections
from distbp.parallel.mesh.peers import PeerConnection, connect
from distbp.parallel.mesh.view import View

_AGAIN_SECONDS = 0.02
_MOST_PATIENCE = 2.0
"""Seconds for one connection."""


class HostsLostError(Exception):
    """Other hosts of the view are gone, or the view is to end; with what was seen of each, by host number."""

    def __init__(self, why: Mapping[int, str], damaged: Collection[int] = ()) -> None:
        """``damaged`` are those that are only gone because something was damaged on its way from there."""
        super().__init__(str(dict(why)))
        self.reasons = dict(why)
        self.damaged = list(damaged)


def meet(
    view: View, here: int, listener: socket.socket, secret: bytes, patience: float, is_ended: Callable[[], bool]
) -> dict[int, PeerConnection]:
    """Connect to all other hosts of a view: those with lower numbers are called, the others call.

    Raises:
        HostsLostError: they did not come within ``patience`` seconds, or ``is_ended`` says that they need not.
    """
    deadline = time.monotonic() + patience
    peers: dict[int, PeerConnection] = {}
    callers = IncomingConnections(listener, secret, view, here, min(_MOST_PATIENCE, patience))
    try:
        for there in range(here):
            peers[there] = _call(view, here, there, secret, deadline, is_ended)
        while missing := [host for host in range(here + 1, view.hosts) if host not in peers]:
            if time.monotonic() > deadline or is_ended():
                raise HostsLostError(dict.fromkeys(missing, f"did not come within {patience:g} s"))
            for number, connection in callers.come():
                if number in missing and number not in peers:
                    peers[number] = PeerConnection(connection, number, view.timeout)
                else:
                    connection.close()
    except BaseException:
        for peer in peers.values():
            peer.close()
        raise
    finally:
        callers.close()
    return peers


def _call(
    view: View, here: int, there: int, secret: bytes, deadline: float, is_ended: Callable[[], bool]
) -> PeerConnection:
    own = view.addresses[here][0]
    while True:
        patience = max(0.1, min(_MOST_PATIENCE, deadline - time.monotonic()))
        try:
            connection = connect(view.addresses[there], secret, view.number, here, there, patience, own)
            return PeerConnection(connection, there, view.timeout)
        except OSError as error:
            if time.monotonic() > deadline or is_ended():
                raise HostsLostError({there: f"cannot be reached: {error.strerror or error}"}) from error
            time.sleep(_AGAIN_SECONDS)
