"""Ray's head, without which nothing that is lost can be replaced: looked for while a run on a cluster goes on."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import ray
from ray._private import worker as rays_worker

from distbp.errors import HeadLostError

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.2
"""How old an answer may be. Whoever asks a head that died meanwhile waits until Ray ends the process."""


def head_answers(address: str) -> bool:
    """Return whether a head is there; takes up to a second where it is cut off."""
    host, _, port = address.rpartition(":")
    with suppress(OSError):
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK_SECONDS).close()
        return True
    return False


def raylet_answers() -> bool:
    """Return whether this host's raylet is there, without which Ray ends this process at the next question."""
    node = rays_worker._global_node
    if node is None:
        return False
    with suppress(OSError), socket.socket(socket.AF_UNIX) as raylet:
        raylet.settimeout(_LOOK_SECONDS)
        raylet.connect(node.raylet_socket_name)
        return True
    return False


class HeadWatch:
    """Looks now and then whether the head of the cluster that this process is connected to still answers.

    Ray itself would let every question to the head wait for a minute, and then end the process from its C++ part.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._address = str(ray.get_runtime_context().gcs_address)
        self._seen = self._looked = time.monotonic()
        self._answers = True

    def look(self, step: int) -> bool:
        """Return whether the head answers and so may be asked; takes up to a second where it is cut off.

        Raises:
            HeadLostError: it gave no answer for --timeout, up to this step, or this host's raylet is gone.
        """
        if not raylet_answers():
            raise HeadLostError(
                f"Ray has ended on this host in step {step}: resume on another cluster with --address HOST:PORT"
            )
        if time.monotonic() - self._looked > _AGAIN_SECONDS:
            self._answers = head_answers(self._address)
            self._looked = time.monotonic()
            if self._answers:
                self._seen = self._looked
        if not self._answers and self._looked - self._seen > self._timeout:
            raise HeadLostError(
                f"Ray's head at {self._address} gave no answer for {self._timeout:g} s (--timeout) in step {step}: "
                "resume on a new one with --address HOST:PORT"
            )
        return self._answers
