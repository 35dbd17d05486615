"""What the nodes of a Ray cluster say of themselves: clocks, versions, memory, what their bits depend on, files."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.actors.session import ray_session
from distbp.parallel.arithmetic import fingerprint
from distbp.parallel.folders import memory_folder
from distbp.version import __version__

_ANSWER_SECONDS = 20.0
_LOOKED_AT = 65_536
"""Bytes of a file's beginning and of its end."""


@dataclass(frozen=True)
class NodeReport:
    """A node's answer."""

    name: str
    problem: str
    """Why there is no answer; empty if there is one."""
    version: str = ""
    """Of distbp there."""
    clock: float = 0.0
    """Seconds that its clock is ahead of this one's."""
    memory: int = 0
    """Bytes of shared memory that are free."""
    arithmetic: Any = None


def _told() -> tuple[str, float, int, Any]:
    return __version__, time.time(), shutil.disk_usage(memory_folder()).free, fingerprint()


def ask_nodes(address: str, insecure: bool) -> list[NodeReport]:
    """Ask every node that is alive.

    Raises:
        ClusterError: nobody answers at the address, or only with a token.
    """
    with ray_session(address, 0, insecure):
        import ray
        from ray.exceptions import RayError

        asked = time.time()
        calls = _on_every_node(_told)
        waiting = set(calls)
        reports = []
        until = time.monotonic() + _ANSWER_SECONDS
        while waiting and time.monotonic() < until:
            for call in ray.wait(list(waiting), timeout=1.0)[0]:
                waiting.discard(call)
                name = calls[call]
                try:
                    version, clock, memory, arithmetic = ray.get(call)
                except RayError as error:
                    reports.append(NodeReport(name, str(error).strip().splitlines()[-1]))
                    continue
                # It answered at some moment between the question and now.
                ahead = max(0.0, clock - time.time()) or min(0.0, clock - asked)
                reports.append(NodeReport(name, "", version, ahead, memory, arithmetic))
        reports += [NodeReport(calls[call], f"no answer for {_ANSWER_SECONDS:g} s") for call in waiting]
        return sorted(reports, key=lambda report: report.name)


def see_alike(paths: Sequence[Path]) -> bool:
    """Return whether every node has the same files at these paths as this process; within a session.

    Size, time of the last change, beginning and end are compared.
    """
    import ray
    from ray.exceptions import RayError

    here = _looks(paths)
    calls = list(_on_every_node(_looks, paths))
    if None in here or ray.wait(calls, num_returns=len(calls), timeout=_ANSWER_SECONDS)[1]:
        return False
    try:
        return all(there == here for there in ray.get(calls))
    except RayError:
        return False


def _looks(paths: Sequence[Path]) -> list[tuple[int, int, str] | None]:
    """Return what tells files from others of the same names; None for what cannot be read."""
    found: list[tuple[int, int, str] | None] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                size, changed = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_mtime_ns
                ends = file.read(_LOOKED_AT)
                file.seek(max(0, size - _LOOKED_AT))
                ends += file.read(_LOOKED_AT)
            found.append((size, changed, hashlib.sha256(ends).hexdigest()))
        except OSError:
            found.append(None)
    return found


def _on_every_node(function: Callable[..., Any], *arguments: Any) -> dict[Any, str]:
    """Have every node that is alive call a function; return the calls, each with the node's name."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote: Any = ray.remote(num_cpus=0, max_retries=0)(function)
    calls = {}
    for node in ray.nodes():
        if node["Alive"]:
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            calls[remote.options(scheduling_strategy=strategy).remote(*arguments)] = name
    return calls
