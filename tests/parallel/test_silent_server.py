"""A worker waits for orders while the server sends heartbeats, and otherwise no longer than its patience."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from distbp.errors import PeerLostError
from distbp.parallel.host.worker_loop import _next_order, heartbeat_seconds

PATIENCE = 10.0


class Quiet:
    """A channel without a message for ``waits`` waits; each wait sets the server's heartbeat from ``beats``."""

    def __init__(self, waits: int, beats: Iterator[float]) -> None:
        self.waited = 0
        self._waits, self._beats = waits, beats
        self.memory: Any = SimpleNamespace(
            processes=SimpleNamespace(heartbeats=[0.0]), shape=SimpleNamespace(workers=0)
        )

    def receive(self, size: int, seconds: float) -> bytes:
        self.waited += 1
        if self.waited > self._waits:
            return b"order"
        self.memory.processes.heartbeats[0] = next(self._beats)
        raise TimeoutError


def test_a_server_with_heartbeats_is_waited_for_without_limit() -> None:
    channel: Any = Quiet(1000, iter(range(1, 2000)))
    assert _next_order(channel, channel.memory, 3, PATIENCE) == b"order"
    assert channel.waited == 1001


def test_a_server_without_heartbeats_is_lost_when_patience_ends() -> None:
    channel: Any = Quiet(1000, iter([7.0] * 1000))
    with pytest.raises(PeerLostError, match="worker 3: the parameter server has sent no heartbeat for 10 s"):
        _next_order(channel, channel.memory, 3, PATIENCE)
    silent = (channel.waited - 1) * heartbeat_seconds(PATIENCE)  # the first wait showed a heartbeat
    assert PATIENCE < silent <= PATIENCE + heartbeat_seconds(PATIENCE)


def test_a_heartbeat_restarts_the_wait() -> None:
    few = round(PATIENCE / heartbeat_seconds(PATIENCE)) - 1
    channel: Any = Quiet(10 * few, iter([float(k // few) for k in range(1, 20 * few)]))
    assert _next_order(channel, channel.memory, 0, PATIENCE) == b"order"
