"""How much memory can still be taken: of the machine, of the control group, of the process's own limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_NO_LIMIT = 1 << 60


def free_memory() -> int | None:
    """Return the bytes of memory that could still be taken; None where the platform does not tell (macOS)."""
    found = [*_of_machine(), *_of_group(), *_of_process()]
    return max(0, min(found)) if found else None


def _of_machine() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield 1024 * int(line.split()[1])


def _of_group() -> Iterator[int]:
    """Yield what the control groups of a container or a job leave; pages of files can be given back."""
    for folder, most, used, pages in (
        (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for place in _groups(folder):
            with suppress(OSError, ValueError, KeyError):
                limit = int((place / most).read_text())  # "max" is no number
                lines = (place / "memory.stat").read_text().splitlines()
                told = dict(line.split()[:2] for line in lines)
                if limit < _NO_LIMIT:
                    yield limit - int((place / used).read_text()) + int(told.get(pages, 0))


def _groups(folder: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, of the inner ones and those around them."""
    yield folder
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds in ("", "memory"):
                inner = folder / path.lstrip("/")
                yield from (place for place in (inner, *inner.parents) if folder in place.parents)


def _of_process() -> Iterator[int]:
    """Yield what ``ulimit -v`` leaves."""
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield limit - pages * resource.getpagesize()
