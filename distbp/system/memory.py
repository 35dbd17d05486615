"""Free memory: the least of what the machine, the control group and ``ulimit`` allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_NO_LIMIT = 1 << 60


def free_memory() -> int | None:
    """Return the bytes that this process can still allocate; None if the platform does not report them (macOS)."""
    limits = [*_of_machine(), *_of_group(), *_of_process()]
    return max(0, min(limits)) if limits else None


def _of_machine() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield 1024 * int(line.split()[1])


def _of_group() -> Iterator[int]:
    """Yield the free memory of each control group of a container or job; cached pages of files count as free."""
    for folder, most, used, pages in (
        (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for group in _groups(folder):
            with suppress(OSError, ValueError, KeyError):
                limit = int((group / most).read_text())  # raises ValueError for "max"
                lines = (group / "memory.stat").read_text().splitlines()
                counters = dict(line.split()[:2] for line in lines)
                if limit < _NO_LIMIT:
                    yield limit - int((group / used).read_text()) + int(counters.get(pages, 0))


def _groups(folder: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of their parents."""
    yield folder
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds in ("", "memory"):
                inner = folder / path.lstrip("/")
                yield from (group for group in (inner, *inner.parents) if folder in group.parents)


def _of_process() -> Iterator[int]:
    """Yield the address space that ``ulimit -v`` leaves."""
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield limit - pages * resource.getpagesize()
