"""The hosts of a benchmark: network namespaces made by scripts/testbed, and a Ray cluster on them."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from processes import CommandError, undisturbed

TESTBED = str(Path(__file__).resolve().parents[1] / "testbed")
FIRST = "10.77.0.1"
"""The address of h1."""
RAY_ADDRESS = f"{FIRST}:6379"


@dataclass(frozen=True)
class Setting:
    """The number of hosts, and the resources of each."""

    hosts: int
    rate: str
    """Bandwidth of each host's link in each direction, as tc spells it."""
    cpus: float
    """Cores for each host."""

    @property
    def bytes_per_ms(self) -> float:
        """Return the capacity of a link."""
        prefixes = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
        return float(self.rate[:-4]) * prefixes[self.rate[-4:]] / 8 / 1000


class Testbed(NamedTuple):
    """The running hosts h1, h2 .."""

    hosts: Sequence[str]
    folder: Path
    """Folder for the files of the hosts' processes."""

    def on(self, host: str, *command: str, **environment: str) -> list[str]:
        """Return the command that runs a command on a host."""
        return [TESTBED, "exec", host, "env", *(f"{name}={value}" for name, value in environment.items()), *command]

    def traffic(self) -> list[int]:
        """Return the bytes that each host has sent and received so far."""
        counters = [f"/sys/class/net/e0/statistics/{direction}_bytes" for direction in ("tx", "rx")]
        return [int(count) for host in self.hosts for count in _output(self.on(host, "cat", *counters)).split()]

    def start_ray(self) -> Mapping[str, str]:
        """Start a Ray cluster with a one-CPU node on each host; return the environment for its clients.

        Raises:
            CommandError: a node does not start.
        """
        environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "HOME": str(self.folder),
        }
        ray, port = str(Path(sys.executable).with_name("ray")), RAY_ADDRESS.rpartition(":")[2]
        # One after the other: nodes that start at the same time on one machine interfere with each other.
        for number, host in enumerate(self.hosts, 1):
            start = ["--head", "--port", port] if number == 1 else ["--address", RAY_ADDRESS]
            own = ["--node-ip-address", f"10.77.0.{number}", "--temp-dir", str(self.folder / host)]
            _output(self.on(host, ray, "start", *start, *own, "--num-cpus", "1"), environment)
        return environment


@contextmanager
def testbed(setting: Setting) -> Iterator[Testbed]:
    """Bring the hosts up; at the end take them down with all their processes.

    Raises:
        CommandError: a testbed is up already, or this machine cannot make one.
    """
    # in /tmp, because Ray puts sockets there, whose paths must be short
    folder = Path(tempfile.mkdtemp(prefix="distbp-bench-", dir="/tmp"))
    up = [TESTBED, "up", str(setting.hosts), "--rate", setting.rate, "--cpus", f"{setting.cpus:.4f}"]
    try:
        with undisturbed():
            _output(up)
        try:
            yield Testbed([f"h{number}" for number in range(1, setting.hosts + 1)], folder)
        finally:
            with undisturbed():
                _output([TESTBED, "down"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _output(command: Sequence[str], changed: Mapping[str, str] | None = None) -> str:
    """Run a command that may leave processes running; return its output."""
    done = subprocess.run(
        command, env=os.environ | (changed or {}), capture_output=True, text=True, start_new_session=True
    )
    if done.returncode != 0:
        raise CommandError(done.stderr.strip() or f"exit code {done.returncode}: {' '.join(command)}")
    return done.stdout
