"""Which hosts of a view are connected with this one, and which are gone."""

from __future__ import annotations

import socket
import threading

from distbp.parallel.mesh.bandwidth import measure_bandwidth
from distbp.parallel.mesh.peers import FrameHandler, PeerConnection
from distbp.parallel.mesh.rendezvous import HostsLostError, meet
from distbp.parallel.mesh.view import View


class Membership:
    """One host's connections to all others, for as long as a view lasts."""

    def __init__(self, view: View, here: int) -> None:
        self.view, self.here = view, here
        self.peers: dict[int, PeerConnection] = {}
        self.bytes_per_second = 0.0
        """What comes in over this host's link, if the view measures it."""
        self.changed = threading.Condition()
        """Notified when somebody is gone, and by whoever has something else to tell those who wait."""
        self._lost: dict[int, str] = {}
        self._damaged: set[int] = set()
        self._ended = False

    def open(self, listener: socket.socket, secret: bytes, patience: float, ends: FrameHandler) -> None:
        """Connect to all other hosts of the view; what they send goes to ``ends``.

        Raises:
            HostsLostError: they did not come.
        """
        self.peers = meet(self.view, self.here, listener, secret, patience, lambda: self._ended)
        try:
            if self.view.measures and self.peers:
                self.bytes_per_second = measure_bandwidth(self.peers, self.view, self.here)
        except HostsLostError:
            self.close()
            raise
        for peer in self.peers.values():
            peer.start(ends)

    @property
    def bytes_sent(self) -> int:
        """Bytes that this host has sent."""
        return sum(peer.sent for peer in self.peers.values())

    def damages(self) -> list[tuple[int, int]]:
        """Return the hosts from which frames came damaged since this was asked last, and how many."""
        found = [(number, peer.damaged) for number, peer in self.peers.items() if peer.damaged]
        for number, count in found:
            self.peers[number].damaged -= count
        return found

    def close(self) -> None:
        """Close all connections; whoever waits in this view gives up."""
        self._ended = True
        with self.changed:
            self.changed.notify_all()
        for peer in self.peers.values():
            peer.close()

    def check(self) -> None:
        """Raise HostsLostError if a host is gone, or :meth:`close` was called."""
        if self._ended or self._lost:
            raise HostsLostError(self._lost, self._damaged)

    def lose(self, number: int, why: str, is_damage: bool = False) -> None:
        """Note that a host is gone, or that what it sent was damaged."""
        with self.changed:
            self._lost.setdefault(number, why)
            if is_damage:
                self._damaged.add(number)
            self.changed.notify_all()
