"""A host's connections to the other hosts of a view, and which of those hosts are lost."""

from __future__ import annotations

import socket
import threading

from distbp.parallel.mesh.bandwidth import measure_bandwidth
from distbp.parallel.mesh.peers import FrameHandler, PeerConnection
from distbp.parallel.mesh.rendezvous import HostsLostError, connect_all
from distbp.parallel.mesh.view import View


class Membership:
    """A host's connections to all others, for the duration of a view."""

    def __init__(self, view: View, host: int) -> None:
        self.view, self.host = view, host
        self.peers: dict[int, PeerConnection] = {}
        self.bytes_per_second = 0.0
        """Measured bandwidth from the previous host of the ring; 0 if the view does not measure."""
        self.changed = threading.Condition()
        """Notified when a host is lost, and when the exchange of a step makes progress."""
        self._lost: dict[int, str] = {}
        self._damaged: set[int] = set()
        self._ended = False

    def open(self, listener: socket.socket, secret: bytes, patience: float, handler: FrameHandler) -> None:
        """Connect to all other hosts of the view; their frames go to ``handler``.

        Raises:
            HostsLostError: some did not connect in time.
        """
        self.peers = connect_all(self.view, self.host, listener, secret, patience, lambda: self._ended)
        try:
            if self.view.measures and self.peers:
                self.bytes_per_second = measure_bandwidth(self.peers, self.view, self.host)
        except HostsLostError:
            self.close()
            raise
        for peer in self.peers.values():
            peer.start(handler)

    @property
    def bytes_sent(self) -> int:
        """Bytes that this host has sent to all others."""
        return sum(peer.bytes_sent for peer in self.peers.values())

    def damages(self) -> list[tuple[int, int]]:
        """Return the hosts whose frames arrived damaged since the last call, and how many of each."""
        damages = [(number, peer.damaged) for number, peer in self.peers.items() if peer.damaged]
        for number, count in damages:
            self.peers[number].damaged -= count
        return damages

    def close(self) -> None:
        """Close all connections; threads that wait in this view get HostsLostError."""
        self._ended = True
        with self.changed:
            self.changed.notify_all()
        for peer in self.peers.values():
            peer.close()

    def check(self) -> None:
        """Raise HostsLostError if a host is lost or :meth:`close` was called."""
        if self._ended or self._lost:
            raise HostsLostError(self._lost, self._damaged)

    def lose(self, number: int, why: str, is_damage: bool = False) -> None:
        """Note that a host is lost, or that its data arrived damaged."""
        with self.changed:
            self._lost.setdefault(number, why)
            if is_damage:
                self._damaged.add(number)
            self.changed.notify_all()
