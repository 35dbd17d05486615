"""What this process's control group gives it of the machine: containers see all cores and all memory, and get less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
"""Bytes from which on a number stands for none."""


class Limits(NamedTuple):
    """The tightest limits; None where there is none."""

    cpus: float | None
    memory: int | None
    """Bytes."""


def limits(groups: Path = _GROUPS, own: Path = _OWN) -> Limits:
    """Return the limits of this process's group and of all around it, from both versions of control groups."""
    cpus: list[float] = []
    memory: list[int] = []
    for folder in _folders(groups, own):
        cpus += _shares(folder)
        for name in ("memory.max", "memory.limit_in_bytes"):
            memory += [value for value in _numbers(folder / name)[:1] if value < _UNLIMITED]
    return Limits(min(cpus, default=None), min(memory, default=None))


def _folders(groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, from itself to the root."""
    lines: list[str] = []
    with suppress(OSError):
        lines = own.read_text().splitlines()
    for line in lines:
        _, kinds, path = line.split(":", 2)
        for kind in kinds.split(","):
            place = Path(path.lstrip("/"))
            for part in (
                place,
                *place.parents,
            ):  # in a container the path may be one of outside, and only its root there
                yield groups / kind / part


def _shares(folder: Path) -> list[float]:
    quota = _numbers(folder / "cpu.max") or _numbers(folder / "cpu.cfs_quota_us") + _numbers(
        folder / "cpu.cfs_period_us"
    )
    known = len(quota) > 1 and quota[0] > 0 and quota[1] > 0
    return [quota[0] / quota[1]] if known else []


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file; none if it is not there, or says ``max``."""
    with suppress(OSError, ValueError):
        return [int(word) for word in file.read_text().split()]
    return []
