"""The contestants between hosts: a process or worker on each host."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import processes
from contestants import HERE, Report, result
from hosts import FIRST, RAY_ADDRESS, Testbed
from processes import Finished

SECONDS = 300.0
"""Time limit for a contestant's steps of a case."""


class Task(NamedTuple):
    """A case's steps and their data."""

    case: str
    data: Path
    steps: int

    def options(self) -> list[str]:
        """Return the options common to all commands."""
        return [self.case, "--data", str(self.data), "--steps", str(self.steps)]


@dataclass(frozen=True)
class Ddp:
    """PyTorch's DistributedDataParallel, a process per host."""

    title = "PyTorch DDP"
    name = "ddp"

    def run(self, bed: Testbed, environment: Mapping[str, str], task: Task) -> Report:
        """Do the steps."""
        rendezvous = {"WORLD_SIZE": str(len(bed.hosts)), "MASTER_ADDR": FIRST, "MASTER_PORT": "29500"}
        one_thread = {"GLOO_SOCKET_IFNAME": "e0", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "peer_ddp.py"), *task.options()]
        commands = [
            bed.on(host, *command, RANK=str(rank), **rendezvous, **one_thread) for rank, host in enumerate(bed.hosts)
        ]
        return Report.of(result(self.title, _first(processes.run_together(commands, SECONDS, environment))))


@dataclass(frozen=True)
class Distbp:
    """This package on a Ray cluster, a worker per host."""

    wire: str
    """The value of --wire."""
    name = "distbp"

    @property
    def title(self) -> str:
        """Return its name in tables."""
        return f"distbp, {self.wire}"

    def run(self, bed: Testbed, environment: Mapping[str, str], task: Task) -> Report:
        """Do the steps."""
        where = ["--workers", str(len(bed.hosts)), "--address", RAY_ADDRESS, "--wire", self.wire, "--json"]
        command = bed.on(bed.hosts[0], sys.executable, "-m", "distbp", "bench", *task.options(), *where)
        return Report.of(result(self.title, processes.run(command, SECONDS, environment)))


Contestant = Ddp | Distbp


def compute_alone(bed: Testbed, contestant: Contestant, task: Task) -> float:
    """Return the milliseconds of a step's arithmetic while all hosts compute and no host waits."""
    command = [sys.executable, str(HERE / "compute_alone.py"), *task.options()]
    options = ["--contestant", contestant.name, "--hosts", str(len(bed.hosts))]
    commands = [bed.on(host, *command, *options, OMP_NUM_THREADS="1") for host in bed.hosts]
    finished = _first(processes.run_together(commands, SECONDS))
    step_ms: float = result(f"{contestant.title} without exchange", finished)["step_ms"]
    return step_ms


def _first(all_finished: Sequence[Finished]) -> Finished:
    """Return the result of the first process to fail, or the first host's if none fails."""
    failed = [finished for finished in all_finished if finished.code != 0]
    return min(failed, key=lambda finished: finished.seconds) if failed else all_finished[0]
