"""Why a private Ray failed, from the kernel's counters and Ray's own logs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

_TAIL_BYTES = 16384
_ALMOST_FULL = 2**20
_LOGS = "raylet.err", "gcs_server.err", "raylet.out", "gcs_server.out"
_NO_PROCESSES = "too many processes or threads: raise ulimit -u or the container's pids limit"
_SIGNS = (
    ("No space left on device", "the disk of {folder} is full: free some space, or set TMPDIR"),
    ("Resource temporarily unavailable", _NO_PROCESSES),
    ("can't start new thread", _NO_PROCESSES),
    ("Too many open files", "too many open files: raise ulimit -n"),
    ("bad_alloc", "out of memory: raise ulimit -v or the container's limit"),
    ("Cannot allocate memory", "out of memory: raise ulimit -v or the container's limit"),
    ("MemoryError", "out of memory: raise ulimit -v or the container's limit"),
    ("Read-only file system", "Ray's folder is read-only: set TMPDIR"),
    ("No module named 'ray", "this Python cannot import Ray: pip install ray"),
)
"""Texts in the logs and the causes that they stand for; the first match counts."""


class KernelCounters:
    """The kernel's counters at one moment: processes killed when out of memory, and forks refused."""

    def __init__(self) -> None:
        self.killed = killed_for_memory()
        self.refused = _counted("pids", "pids.events", "max")


def why(folder: Path, before: KernelCounters) -> str:
    """Return why the Ray in this folder probably failed since ``before``; an empty string if there is no clue."""
    now = KernelCounters()
    killed = now.killed - before.killed
    if killed > 0:
        processes = "a process" if killed == 1 else f"{killed} processes"
        return (
            f"out of memory: the kernel killed {processes}; give this machine, container or job more, or use fewer "
            "workers"
        )
    if now.refused > before.refused:
        return "this container or job has reached its pids limit: raise it"
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < _ALMOST_FULL:
            return f"the disk of {folder} is full: free some space, or set TMPDIR"
    logs = "\n".join(_tails(folder))
    for sign, cause in _SIGNS:
        if sign in logs:
            return cause.format(folder=folder)
    return ""


def killed_for_memory() -> int:
    """Return how many processes the kernel has killed when out of memory, in this cgroup or else on the machine."""
    killed = _counted("memory", "memory.events", "oom_kill") or _counted("memory", "memory.oom_control", "oom_kill")
    return killed or _number(Path("/proc/vmstat"), "oom_kill")


def _counted(controller: str, file: str, name: str) -> int:
    """Return a counter of this process's cgroup, version 1 or 2; 0 if there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            root = Path("/sys/fs/cgroup", controller if controllers else "")
            if not controllers or controller in controllers.split(","):
                for cgroup in (root / path.lstrip("/"), root):  # a container sees its own cgroup as the root
                    if (cgroup / file).is_file():
                        return _number(cgroup / file, name)
    return 0


def _number(file: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        match = re.search(rf"^{name} (\d+)$", file.read_text(), re.MULTILINE)
        return int(match[1]) if match else 0
    return 0


def _tails(folder: Path) -> list[str]:
    """Return the last kilobytes of each log of the launcher and of Ray's processes."""
    tails = []
    for path in (folder / "ray_head.log", *(folder / "ray_head" / "session_latest" / "logs" / name for name in _LOGS)):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            tails.append(file.read().decode(errors="replace"))
    return tails
