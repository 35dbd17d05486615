"""How quick the links between hosts are, as far as it decides what travels on them."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from distbp.parallel.mesh.peers import PeerConnection, receive_into, send_all
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.view import View

_SMALL, _LARGE = 1 << 17, 1 << 20
"""Bytes of the first round and of those behind it, which is much more than a shaped link lets through at once."""
_QUICK_SECONDS = 0.1
"""For the first round. A link that takes longer is known well enough."""
_ROUNDS, _PAUSE = 8, 0.02
"""Rounds behind the first, and the seconds before each: a host with a share of the CPU may stand still for 0.05 s."""
_WISH = struct.Struct("<I")


def measure_bandwidth(peers: Mapping[int, PeerConnection], view: View, here: int) -> float:
    """Return the bytes per second that come from the host before while as many go to the one behind.

    The best of some rounds counts, since whatever else a host does only makes a round longer. Whoever receives asks for
    each round, and its clock runs from there on: so nothing has waited in buffers on the way and comes at any speed.

    Raises:
        HostsLostError: one of them is gone.
    """
    after, before = (peers[(here + way) % view.hosts] for way in (1, -1))
    place = memoryview(bytearray(_LARGE))
    wishes, rates = [_SMALL, *[_LARGE] * _ROUNDS], list[float]()
    asks = is_asked = True
    while asks or is_asked:
        time.sleep(_PAUSE)
        size, began, sender = wishes.pop(0) if wishes else 0, time.perf_counter(), None
        if asks:
            asks = size > 0
            with _reached(before):
                before.connection.sendall(_WISH.pack(size))
        if is_asked:
            with _reached(after):
                wanted = _receive_wish(after)
            is_asked = wanted > 0
            sender = threading.Thread(target=_send, args=(after, wanted), daemon=True)
            sender.start()
        if asks:
            with _reached(before):
                receive_into(before.connection, place[:size])
            seconds = time.perf_counter() - began
            rates.append(size / seconds)
            if size == _SMALL and seconds > _QUICK_SECONDS:
                wishes = []
        if sender is not None:
            sender.join()
    return max(rates[1:] or rates)


def _receive_wish(peer: PeerConnection) -> int:
    """Return how many bytes a peer asks for; nobody gets more than one asks for who means it."""
    wish = bytearray(_WISH.size)
    receive_into(peer.connection, memoryview(wish))
    return min(int(_WISH.unpack(wish)[0]), _LARGE)


def _send(peer: PeerConnection, size: int) -> None:
    with suppress(OSError):  # whoever is gone is missed by others too
        send_all(peer.connection, memoryview(bytes(size)))


@contextmanager
def _reached(peer: PeerConnection) -> Iterator[None]:
    """Say of this peer that it is gone, if it is."""
    try:
        yield
    except OSError as error:
        raise HostsLostError({peer.number: f"is gone ({error.strerror or error})"}) from error
