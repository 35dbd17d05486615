"""Why a private Ray failed, as far as the kernel and Ray's own logs tell."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

_TAIL_BYTES = 16384
_ALMOST_FULL = 2**20
_LOGS = "raylet.err", "gcs_server.err", "raylet.out", "gcs_server.out"
_SIGNS = (
    ("No space left on device", "the disk of {folder} is full: remove what fills it, or set TMPDIR"),
    ("Resource temporarily unavailable", "no more processes or threads may be started: raise ulimit -u or the "
     "container's pids limit"),
    ("can't start new thread", "no more threads may be started: raise ulimit -u or the container's pids limit"),
    ("Too many open files", "too many open files: raise ulimit -n"),
    ("bad_alloc", "memory could not be had: raise ulimit -v or the container's limit"),
    ("Cannot allocate memory", "memory could not be had: raise ulimit -v or the container's limit"),
    ("MemoryError", "memory could not be had: raise ulimit -v or the container's limit"),
    ("Read-only file system", "a folder that Ray writes to is read-only: set TMPDIR"),
    ("No module named 'ray", "this Python finds no Ray: pip install ray"),
)  # fmt: skip
"""What stands in a log, and what that means; the first that is found counts."""


class Before:
    """What the kernel had counted before: processes that it killed for memory, and starts that it refused."""

    def __init__(self) -> None:
        self.killed = killed_for_memory()
        self.refused = _counted("pids", "pids.events", "max")


def why(folder: Path, before: Before) -> str:
    """Return the likely cause of a failure of the Ray in this folder since ``before``, empty if nothing tells it."""
    killed = killed_for_memory() - before.killed
    if killed > 0:
        return f"the kernel killed {killed} process{'es' * (killed > 1)} for want of memory: give this machine, " \
               "container or job more, or use fewer workers"  # fmt: skip
    if _counted("pids", "pids.events", "max") > before.refused:
        return "the pids limit of this container or job was reached: raise it"
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < _ALMOST_FULL:
            return f"the disk of {folder} is full: remove what fills it, or set TMPDIR"
    said = "\n".join(_tails(folder))
    for sign, meaning in _SIGNS:
        if sign in said:
            return meaning.format(folder=folder)
    return ""


def killed_for_memory() -> int:
    """Return how many processes the kernel has killed for want of memory: of this cgroup, or of the machine."""
    found = _counted("memory", "memory.events", "oom_kill") or _counted("memory", "memory.oom_control", "oom_kill")
    return found or _number(Path("/proc/vmstat"), "oom_kill")


def _counted(controller: str, file: str, name: str) -> int:
    """Return a number that a controller of this process's cgroup has counted, by either version of cgroups."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            root = Path("/sys/fs/cgroup", controller if controllers else "")
            if not controllers or controller in controllers.split(","):
                for place in (root / path.lstrip("/"), root):  # a container sees its own at the root
                    if (place / file).is_file():
                        return _number(place / file, name)
    return 0


def _number(file: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        found = re.search(rf"^{name} (\d+)$", file.read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _tails(folder: Path) -> list[str]:
    """Return the ends of what Ray's program and Ray's processes have written."""
    found = []
    for path in (folder / "ray_head.log", *(folder / "ray_head" / "session_latest" / "logs" / name for name in _LOGS)):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            found.append(file.read().decode(errors="replace"))
    return found
