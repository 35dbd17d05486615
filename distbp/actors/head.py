"""Ray's head, without which nothing that is lost can be replaced: looked for while a run on a cluster goes on."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import ray

from distbp.errors import HeadLostError

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.2
"""How old an answer may be. Whoever asks a head that died meanwhile waits until Ray ends the process."""


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
            HeadLostError: it gave no answer for --timeout, up to this step.
        """
        if time.monotonic() - self._looked > _AGAIN_SECONDS:
            host, _, port = self._address.rpartition(":")
            self._answers = False
            with suppress(OSError):
                socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK_SECONDS).close()
                self._answers, self._seen = True, time.monotonic()
            self._looked = time.monotonic()
        if not self._answers and self._looked - self._seen > self._timeout:
            raise HeadLostError(
                f"Ray's head at {self._address} gave no answer for {self._timeout:g} s (--timeout) in step {step}: "
                "resume on a new one with --address HOST:PORT"
            )
        return self._answers
