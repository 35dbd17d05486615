"""What the nodes of a Ray cluster say of themselves: their clocks, versions, memory, and what their bits depend on."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Any

from distbp.actors.session import ray_session
from distbp.parallel.arithmetic import fingerprint
from distbp.parallel.folders import memory_folder
from distbp.version import __version__

_ANSWER_SECONDS = 20.0


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
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote: Any = ray.remote(num_cpus=0, max_retries=0)(_told)
        calls = {}
        for node in ray.nodes():
            if node["Alive"]:
                strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                calls[remote.options(scheduling_strategy=strategy).remote()] = name, time.time()
        waiting = set(calls)
        reports = []
        until = time.monotonic() + _ANSWER_SECONDS
        while waiting and time.monotonic() < until:
            for call in ray.wait(list(waiting), timeout=1.0)[0]:
                waiting.discard(call)
                name, asked = calls[call]
                try:
                    version, clock, memory, arithmetic = ray.get(call)
                except RayError as error:
                    reports.append(NodeReport(name, str(error).strip().splitlines()[-1]))
                    continue
                # It answered at some moment between the question and now.
                ahead = max(0.0, clock - time.time()) or min(0.0, clock - asked)
                reports.append(NodeReport(name, "", version, ahead, memory, arithmetic))
        reports += [NodeReport(calls[call][0], f"no answer for {_ANSWER_SECONDS:g} s") for call in waiting]
        return sorted(reports, key=lambda report: report.name)
