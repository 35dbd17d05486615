"""Measures the bandwidth between hosts, on which the choice of factored layers depends."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from distbp.parallel.mesh.peers import PeerConnection
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.sockets import receive_into, send_all
from distbp.parallel.mesh.view import View

_SMALL, _LARGE = 1 << 17, 1 << 20
"""Bytes of the first round and of each later one; the latter far exceed the burst that a shaped link lets through."""
_FAST_SECONDS = 0.1
"""If the first round takes longer, the link is slow enough for that round alone to be accurate."""
_ROUNDS, _PAUSE = 8, 0.02
"""Rounds after the first, and seconds before each: a host with a CPU limit may be paused for 0.05 s."""
_REQUEST = struct.Struct("<I")
_FINISHED = 0
"""Size of the request that ends a host's rounds."""


def measure_bandwidth(peers: Mapping[int, PeerConnection], view: View, host: int) -> float:
    """Return the bytes per second received from the previous host of the ring, while bytes are sent to the next host.

    In every round a host requests bytes from the previous host, then sends the bytes that the next one requests. Its
    clock starts at the request, so no bytes wait in buffers and arrive at any speed. A host that has finished its own
    rounds serves the next one until that has finished too. The fastest round counts, since other activity only makes
    rounds longer.

    Raises:
        HostsLostError: one of the two hosts is lost.
    """
    following, previous = (peers[(host + way) % view.hosts] for way in (1, -1))
    buffer = memoryview(bytearray(_LARGE))
    sizes, rates = [_SMALL, *[_LARGE] * _ROUNDS], list[float]()
    is_measuring = is_serving = True
    while is_measuring or is_serving:
        time.sleep(_PAUSE)
        size, began, sender = sizes.pop(0) if sizes else _FINISHED, time.perf_counter(), None
        if is_measuring:
            _request(previous, size)
            is_measuring = size != _FINISHED
        if is_serving:
            sender = _serve(following)
            is_serving = sender is not None
        if is_measuring:
            with _lost_if_it_fails(previous):
                receive_into(previous.connection, buffer[:size])
            seconds = time.perf_counter() - began
            rates.append(size / seconds)
            if size == _SMALL and seconds > _FAST_SECONDS:
                sizes = []
        if sender is not None:
            sender.join()
    return max(rates[1:] or rates)


def _request(peer: PeerConnection, size: int) -> None:
    """Request bytes from a peer."""
    with _lost_if_it_fails(peer):
        peer.connection.sendall(_REQUEST.pack(size))


def _serve(peer: PeerConnection) -> threading.Thread | None:
    """Read a peer's request and return the thread that sends the bytes; None if the peer has finished."""
    request = bytearray(_REQUEST.size)
    with _lost_if_it_fails(peer):
        receive_into(peer.connection, memoryview(request))
    size = min(int(_REQUEST.unpack(request)[0]), _LARGE)  # a valid request asks for no more than this
    if size == _FINISHED:
        return None
    sender = threading.Thread(target=_send, args=(peer, size), daemon=True)
    sender.start()
    return sender


def _send(peer: PeerConnection, size: int) -> None:
    with suppress(OSError):  # the next read from this peer fails too and reports the error
        send_all(peer.connection, memoryview(bytes(size)))


@contextmanager
def _lost_if_it_fails(peer: PeerConnection) -> Iterator[None]:
    """Turn an error of the connection into HostsLostError."""
    try:
        yield
    except OSError as error:
        raise HostsLostError({peer.number: f"is gone ({error.strerror or error})"}) from error
