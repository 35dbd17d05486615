"""The rendezvous of a view's hosts: each connects to every other before the first step."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Mapping

from distbp.parallel.mesh.handshake import connect
from distbp.parallel.mesh.incoming import IncomingConnections
from distbp.parallel.mesh.peers import PeerConnection
from distbp.parallel.mesh.view import View

_AGAIN_SECONDS = 0.02
_MOST_PATIENCE = 2.0
"""Longest time for one handshake, in seconds."""


class HostsLostError(Exception):
    """Hosts of the view are lost, or the view has ended; ``reasons`` are by host number."""

    def __init__(self, reasons: Mapping[int, str], damaged: Collection[int] = ()) -> None:
        """``damaged`` are the hosts that count as lost only because their data was damaged on its way."""
        super().__init__(str(dict(reasons)))
        self.reasons = dict(reasons)
        self.damaged = list(damaged)


def connect_all(
    view: View, host: int, listener: socket.socket, secret: bytes, patience: float, is_ended: Callable[[], bool]
) -> dict[int, PeerConnection]:
    """Connect ``host`` to all others of its view: it calls those with lower numbers and is called by the rest.

    Raises:
        HostsLostError: some are missing after ``patience`` seconds, or when ``is_ended`` returns true.
    """
    deadline = time.monotonic() + patience
    peers: dict[int, PeerConnection] = {}
    incoming = IncomingConnections(listener, secret, view, host, min(_MOST_PATIENCE, patience))
    try:
        for peer in range(host):
            peers[peer] = _call(view, host, peer, secret, deadline, is_ended)
        while missing := [peer for peer in range(host + 1, view.hosts) if peer not in peers]:
            if time.monotonic() > deadline or is_ended():
                raise HostsLostError(dict.fromkeys(missing, f"did not come within {patience:g} s"))
            for number, connection in incoming.poll():
                if number in missing and number not in peers:
                    peers[number] = PeerConnection(connection, number, view.timeout)
                else:
                    connection.close()
    except BaseException:
        for connected in peers.values():
            connected.close()
        raise
    finally:
        incoming.close()
    return peers


def _call(
    view: View, host: int, peer: int, secret: bytes, deadline: float, is_ended: Callable[[], bool]
) -> PeerConnection:
    """Call a host until it answers or the deadline has passed."""
    source = view.addresses[host][0]
    while True:
        patience = max(0.1, min(_MOST_PATIENCE, deadline - time.monotonic()))
        try:
            connection = connect(view.addresses[peer], secret, view.number, host, peer, patience, source)
            return PeerConnection(connection, peer, view.timeout)
        except OSError as error:
            if time.monotonic() > deadline or is_ended():
                raise HostsLostError({peer: f"cannot be reached: {error.strerror or error}"}) from error
            time.sleep(_AGAIN_SECONDS)
