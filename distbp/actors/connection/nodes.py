"""Query every node of a Ray cluster: versions, clocks, memory, arithmetic, files, and whether they reach each other."""

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
    """The state of one node, or why it is unknown."""

    name: str
    problem: str
    """Why the node did not answer; empty if it did."""
    version: str = ""
    """The node's version of distbp."""
    clock: float = 0.0
    """Seconds by which the node's clock is ahead of this machine's."""
    memory: int = 0
    """Free shared memory in bytes."""
    arithmetic: Any = None
    unreached: str = ""
    """The node's address and the nodes that cannot reach it; empty if all can."""


def _state() -> tuple[str, float, int, Any]:
    return __version__, time.time(), shutil.disk_usage(memory_folder()).free, fingerprint()


def ask_nodes(address: str, insecure: bool, ports: range = range(1)) -> list[NodeReport]:
    """Query every live node, and make all of them connect to each other at these ports; 0 stands for any.

    Raises:
        ClusterError: no cluster answers at the address, or it needs a token.
    """
    with ray_session(address, 0, insecure):
        import ray
        from ray.exceptions import RayError

        asked_at = time.time()
        calls = _on_every_node(_state)
        waiting = set(calls)
        reports = []
        deadline = time.monotonic() + _ANSWER_SECONDS
        while waiting and time.monotonic() < deadline:
            for call in ray.wait(list(waiting), timeout=1.0)[0]:
                waiting.discard(call)
                name = calls[call]
                try:
                    version, clock, memory, arithmetic = ray.get(call)
                except RayError as error:
                    reports.append(NodeReport(name, str(error).strip().splitlines()[-1]))
                    continue
                # The node read its clock at some moment between asked_at and now.
                ahead = max(0.0, clock - time.time()) or min(0.0, clock - asked_at)
                reports.append(NodeReport(name, "", version, ahead, memory, arithmetic))
        reports += [NodeReport(calls[call], f"no answer within {_ANSWER_SECONDS:g} s") for call in waiting]
        alive = {_name_of(node): node["NodeID"] for node in ray.nodes() if node["Alive"]}
        answering = {
            report.name: alive[report.name] for report in reports if not report.problem and report.name in alive
        }
        if len(answering) > 1:
            from distbp.actors.connection.reachability import unreached

            problems = unreached(answering, ports, _ANSWER_SECONDS)
            reports = [replace(report, unreached=problems.get(report.name, "")) for report in reports]
        return sorted(reports, key=lambda report: report.name)


def see_alike(files: Sequence[MappedFile]) -> bool:
    """Return whether every node sees the same files as this process, which must be connected to Ray."""
    import ray
    from ray.exceptions import RayError

    calls = list(_on_every_node(_check, files))
    if ray.wait(calls, num_returns=len(calls), timeout=_ANSWER_SECONDS)[1]:
        return False
    try:
        ray.get(calls)
    except RayError:  # raised by a node that does not see them
        return False
    return True


def _check(files: Sequence[MappedFile]) -> None:
    for each in files:
        each.check()


def _on_every_node(function: Callable[..., Any], *arguments: Any) -> dict[Any, str]:
    """Call a function on every live node; return each call with its node's name."""
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
