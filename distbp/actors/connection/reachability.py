"""Whether the nodes of a cluster reach each other as the hosts of a run do: each listens, the others connect."""

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

from distbp.parallel.mesh.peers import listen

_PATIENCE = 3.0
"""Seconds for one connection."""
_CALLERS = 16
_BYTES = 1 << 16
"""So many come through a connection: where only small packets get through, some do and the others do not."""


class _Door:
    """Listens on one node, and connects to the others."""

    def open(self, ports: range) -> tuple[str, int]:
        """Listen, and send some bytes to whoever connects; return where.

        Raises:
            ClusterError: all these ports are in use.
        """
        address = ray.util.get_node_ip_address()
        self._listener = listen(address, ports)
        threading.Thread(target=self._answer, daemon=True).start()
        return address, self._listener.getsockname()[1]

    def _answer(self) -> None:
        with suppress(OSError):  # of the listener, once it is closed
            while True:
                connection = self._listener.accept()[0]
                with connection, suppress(OSError):
                    connection.settimeout(_PATIENCE)
                    connection.sendall(bytes(_BYTES))

    def knock(self, others: Mapping[str, tuple[str, int]]) -> dict[str, str]:
        """Connect to other nodes; return those that are not reached, and why."""
        with ThreadPoolExecutor(_CALLERS) as callers:
            answers = dict(zip(others, callers.map(_why_not, others.values()), strict=True))
        return {name: why for name, why in answers.items() if why}


def _why_not(address: tuple[str, int]) -> str:
    deadline, got = time.monotonic() + _PATIENCE, 0
    try:
        with socket.create_connection(address, timeout=_PATIENCE) as connection:
            while part := len(connection.recv(_BYTES)):
                got += part
                connection.settimeout(max(0.01, deadline - time.monotonic()))
    except OSError as error:
        why = error.strerror or str(error)
        return f"{why} after {got} bytes: large packets may not get through, look at the MTU" if got else why
    return "" if got == _BYTES else f"closed after {got} bytes"


def unreached(nodes: Mapping[str, str], ports: range, seconds: float) -> dict[str, str]:
    """Let nodes connect to each other; return for each that others do not reach, or that cannot listen, what was found.

    Args:
        nodes: Ray's names of the nodes, by their own.
        ports: at which they listen; port 0 stands for any.
        seconds: what each of the two questions may take.
    """
    shell: Any = ray.remote(num_cpus=0, max_restarts=0)(_Door)
    doors = {
        name: shell.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for name, node in nodes.items()
    }
    try:
        opened, found = _answers({name: door.open.remote(ports) for name, door in doors.items()}, seconds)
        calls = {
            name: doors[name].knock.remote({other: at for other, at in opened.items() if other != name})
            for name in opened
        }
        knocked, failed = _answers(calls, seconds)
    finally:
        for door in doors.values():
            ray.kill(door)
    for name, (address, port) in opened.items():
        missed = {caller: others[name] for caller, others in knocked.items() if name in others}
        if missed:
            why = ", ".join(sorted(set(missed.values())))
            found[name] = f"{address}:{port} is not reached from {', '.join(sorted(missed))} ({why})"
    return failed | found


def _answers(calls: Mapping[str, Any], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Wait for calls; return the answers, and what else became of the calls."""
    if calls:
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=seconds)
    answers, failures = {}, {}
    for name, call in calls.items():
        if not ray.wait([call], timeout=0)[0]:
            failures[name] = f"no answer for {seconds:g} s"
            continue
        try:
            answers[name] = ray.get(call)
        except RayError as error:
            failures[name] = str(error).strip().splitlines()[-1]
    return answers, failures
