"""The CPUs and memory that this process may use; a container may use less than the machine that it shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
"""Memory limits from this many bytes up mean "no limit"."""


class Limits(NamedTuple):
    """The tightest limits of the control groups; None means no limit."""

    cpus: float | None
    memory: int | None
    """Memory limit in bytes."""


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limits(root: Path = _ROOT, own: Path = _OWN) -> Limits:
    """Return the limits of this process's control group and its parents; reads cgroups version 1 and 2."""
    cpus: list[float] = []
    memory: list[int] = []
    for folder in _folders(root, own):
        cpus += _cpu_quota(folder)
        for name in ("memory.max", "memory.limit_in_bytes"):
            memory += [value for value in _numbers(folder / name)[:1] if value < _UNLIMITED]
    return Limits(min(cpus, default=None), min(memory, default=None))


def _folders(root: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, from the innermost to the root."""
    lines: list[str] = []
    with suppress(OSError):
        lines = own.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inner = Path(path.lstrip("/"))
        # The path may be the host's, of which a container sees only the root.
        for controller in controllers.split(","):
            for folder in (inner, *inner.parents):
                yield root / controller / folder


def _cpu_quota(folder: Path) -> list[float]:
    """Return the quota of a control group in CPUs, as a list of one; an empty list without a quota."""
    quota = _numbers(folder / "cpu.max")
    if not quota:
        quota = _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
    is_limited = len(quota) > 1 and quota[0] > 0 and quota[1] > 0
    return [quota[0] / quota[1]] if is_limited else []


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file, or an empty list if it is missing or contains ``max``."""
    with suppress(OSError, ValueError):
        return [int(word) for word in file.read_text().split()]
    return []
