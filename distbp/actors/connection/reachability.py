"""Check that the nodes of a cluster reach each other: each listens like a host of a run, and the others connect."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distbp.parallel.mesh.sockets import listen

_CONNECTION_SECONDS = 3.0
_THREADS = 16
_BYTES = 1 << 16
"""Sent over each connection: enough to notice a path that drops large packets."""


class _Endpoint:
    """An actor that listens on one node and connects to the others."""

    def listen(self, ports: range) -> tuple[str, int]:
        """Listen, and send some bytes over every accepted connection; return address and port.

        Raises:
            ClusterError: all these ports are in use.
        """
        address = ray.util.get_node_ip_address()
        self._listener = listen(address, ports)
        threading.Thread(target=self._answer, daemon=True).start()
        return address, self._listener.getsockname()[1]

    def _answer(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection = self._listener.accept()[0]
                with connection, suppress(OSError):
                    connection.settimeout(_CONNECTION_SECONDS)
                    connection.sendall(bytes(_BYTES))

    def connect(self, others: Mapping[str, tuple[str, int]]) -> dict[str, str]:
        """Connect to other nodes; return the failures, by name of the node."""
        with ThreadPoolExecutor(_THREADS) as threads:
            failures = dict(zip(others, threads.map(_failure, others.values()), strict=True))
        return {name: why for name, why in failures.items() if why}


def _failure(address: tuple[str, int]) -> str:
    """Connect and receive; return what failed, or an empty string."""
    deadline, received = time.monotonic() + _CONNECTION_SECONDS, 0
    try:
        with socket.create_connection(address, timeout=_CONNECTION_SECONDS) as connection:
            while part := len(connection.recv(_BYTES)):
                received += part
                connection.settimeout(max(0.01, deadline - time.monotonic()))
    except OSError as error:
        why = error.strerror or str(error)
        return f"{why} after {received} bytes: large packets may be dropped, check the MTU" if received else why
    return "" if received == _BYTES else f"closed after {received} bytes"


def unreached(nodes: Mapping[str, str], ports: range, seconds: float) -> dict[str, str]:
    """Connect every pair of nodes; return the problems by name of the node that cannot be reached.

    Args:
        nodes: Ray's ids of the nodes, by their names.
        ports: candidates to listen on; port 0 stands for any.
        seconds: time limit for listening, and again for connecting.
    """
    actor: Any = ray.remote(num_cpus=0, max_restarts=0)(_Endpoint)
    endpoints = {
        name: actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for name, node in nodes.items()
    }
    try:
        listening, not_listening = _results(
            {name: endpoint.listen.remote(ports) for name, endpoint in endpoints.items()}, seconds
        )
        calls = {
            name: endpoints[name].connect.remote({other: at for other, at in listening.items() if other != name})
            for name in listening
        }
        failures, not_connecting = _results(calls, seconds)
    finally:
        for endpoint in endpoints.values():
            ray.kill(endpoint)
    problems = not_connecting | not_listening
    for name, (address, port) in listening.items():
        by_caller = {caller: others[name] for caller, others in failures.items() if name in others}
        if by_caller:
            why = ", ".join(sorted(set(by_caller.values())))
            problems[name] = f"{address}:{port} cannot be reached from {', '.join(sorted(by_caller))} ({why})"
    return problems


def _results(calls: Mapping[str, Any], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Wait for calls; return their results, and why the others failed."""
    if calls:
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=seconds)
    results, failures = {}, {}
    for name, call in calls.items():
        if not ray.wait([call], timeout=0)[0]:
            failures[name] = f"no answer within {seconds:g} s"
            continue
        try:
            results[name] = ray.get(call)
        except RayError as error:
            failures[name] = str(error).strip().splitlines()[-1]
    return results, failures
