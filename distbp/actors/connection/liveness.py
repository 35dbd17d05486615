"""Whether Ray's head and this host's raylet still answer; without a head, lost processes cannot be replaced."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import ray
from ray._private import worker as rays_worker

from distbp.errors import HeadLostError

_CONNECT_SECONDS = 1.0
_FRESH_SECONDS = 0.2
"""Maximum age of an answer. A call to a head that has died since blocks until Ray ends the process."""


def head_answers(address: str) -> bool:
    """Return whether a head accepts connections; takes up to a second if it is unreachable."""
    host, _, port = address.rpartition(":")
    with suppress(OSError):
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        return True
    return False


def raylet_answers() -> bool:
    """Return whether this host's raylet accepts connections; without it, Ray ends this process at the next call."""
    node = rays_worker._global_node
    if node is None:
        return False
    with suppress(OSError), socket.socket(socket.AF_UNIX) as raylet:
        raylet.settimeout(_CONNECT_SECONDS)
        raylet.connect(node.raylet_socket_name)
        return True
    return False


class HeadWatch:
    """Watches whether the head of the cluster that this process is connected to still answers.

    Without a head, Ray itself would block for a minute on every call and then end the process from its C++ code.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._address = str(ray.get_runtime_context().gcs_address)
        self._answered_at = self._checked_at = time.monotonic()
        self._answers = True

    def look(self, step: int) -> bool:
        """Return whether the head answers, so that it may be called; takes up to a second if it is unreachable.

        Raises:
            HeadLostError: it has not answered for --timeout, or this host's raylet is gone.
        """
        if not raylet_answers():
            raise HeadLostError(
                f"Ray ended on this host in step {step}: resume on another cluster with --address HOST:PORT"
            )
        if time.monotonic() - self._checked_at > _FRESH_SECONDS:
            self._answers = head_answers(self._address)
            self._checked_at = time.monotonic()
            if self._answers:
                self._answered_at = self._checked_at
        if not self._answers and self._checked_at - self._answered_at > self._timeout:
            raise HeadLostError(
                f"Ray's head at {self._address} gave no answer for {self._timeout:g} s (--timeout) in step {step}: "
                "resume on a new one with --address HOST:PORT"
            )
        return self._answers
