"""The processes that share one host's memory: their ids and heartbeats."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from distbp.data.dataset import Array
from distbp.system.processes import process_exists


class Processes:
    """The workers' processes by their numbers, and after them the server's.

    Attributes:
        ids: process ids in shared memory, 0 for none.
        heartbeats: in shared memory, the time of each process's last heartbeat, in seconds of the monotonic clock.
    """

    def __init__(self, ids: Array, heartbeats: Array) -> None:
        self.ids, self.heartbeats = ids, heartbeats

    def register(self, number: int) -> None:
        """Enter this process under a number."""
        self.ids[number] = os.getpid()

    @contextmanager
    def heartbeat(self, number: int, seconds: float) -> Iterator[None]:
        """Send heartbeats for process ``number`` every ``seconds`` from a thread, within the block."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.is_set():
                self.heartbeats[number] = time.monotonic()
                ended.wait(seconds)

        self.heartbeats[number] = time.monotonic()
        self.register(number)
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def kill(self, number: int) -> None:
        """Kill a process; the kernel closes its channels once it can no longer write."""
        process = int(self.ids[number])
        if process > 0:  # os.kill(0, ..) would kill this process and its group
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def has_ended(self, number: int) -> bool:
        """Return whether a process has ended, or never started."""
        return not process_exists(int(self.ids[number]))

    def silence(self, number: int) -> float:
        """Return the seconds since a process's last heartbeat."""
        return time.monotonic() - float(self.heartbeats[number])
