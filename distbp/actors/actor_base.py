"""The base of all actors of a run: they answer pings while they compute."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

import ray

from distbp.system.arithmetic import fingerprint


class Ping(NamedTuple):
    """An actor's answer to a ping."""

    host: str
    node: str
    """Ray's id of the node on which the actor runs."""
    arithmetic: dict[str, Any]
    """The libraries and CPU features on which the bits of its results depend."""


class Pinged:
    """An actor that answers pings while it computes."""

    @ray.method(concurrency_group="ping")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def ping(self) -> Ping:
        """Return where this actor runs and what its bits depend on."""
        return Ping(socket.gethostname(), ray.get_runtime_context().get_node_id(), fingerprint())


# Each concurrency group has a thread of its own, so that an actor answers while NumPy computes on another thread.
remote = ray.remote(num_cpus=1, max_restarts=0, enable_task_events=False, concurrency_groups={"ping": 1, "status": 1})
