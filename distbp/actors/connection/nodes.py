"""What the nodes of a Ray cluster say of themselves: clocks, versions, memory, what their bits depend on, files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distbp.actors.connection.session import ray_session
from distbp.data.prepared.mapped import MappedFile
from distbp.system.arithmetic import fingerprint
from distbp.system.folders import memory_folder
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
    unreached: str = ""
    """Where and from which nodes this one cannot be reached; empty if all reach it."""


def _told() -> tuple[str, float, int, Any]:
    return __version__, time.time(), shutil.disk_usage(memory_folder()).free, fingerprint()


def ask_nodes(address: str, insecure: bool, ports: range = range(1)) -> list[NodeReport]:
    """Ask every node that is alive, and have all of them connect to each other at these ports; 0 stands for any.

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
        alive = {_name_of(node): node["NodeID"] for node in ray.nodes() if node["Alive"]}
        well = {report.name: alive[report.name] for report in reports if not report.problem and report.name in alive}
        if len(well) > 1:
            from distbp.actors.connection.reachability import unreached

            found = unreached(well, ports, _ANSWER_SECONDS)
            reports = [replace(report, unreached=found.get(report.name, "")) for report in reports]
        return sorted(reports, key=lambda report: report.name)


def see_alike(files: Sequence[MappedFile]) -> bool:
    """Return whether every node has the same files as this process; within a session."""
    import ray
    from ray.exceptions import RayError

    calls = list(_on_every_node(_check, files))
    if ray.wait(calls, num_returns=len(calls), timeout=_ANSWER_SECONDS)[1]:
        return False
    try:
        ray.get(calls)
    except RayError:  # of one that does not see them
        return False
    return True


def _check(files: Sequence[MappedFile]) -> None:
    for each in files:
        each.check()


def _on_every_node(function: Callable[..., Any], *arguments: Any) -> dict[Any, str]:
    """Have every node that is alive call a function; return the calls, each with the node's name."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote: Any = ray.remote(num_cpus=0, max_retries=0)(function)
    calls = {}
    for node in ray.nodes():
        if node["Alive"]:
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            calls[remote.options(scheduling_strategy=strategy).remote(*arguments)] = _name_of(node)
    return calls


def _name_of(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
