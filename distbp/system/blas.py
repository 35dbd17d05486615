"""The number of BLAS threads: fixed during every computation, so that results do not depend on cores or environment.

The bits of a sum or a product depend on the number of threads among which BLAS divides it, by default the number of
cores or that of an environment variable. So the driver's computations (moments, target scale, linear baseline, the
costs that choose an epoch) always use one thread, and a run's shards use ``--threads``, which is one of its settings.

BLAS has one number of threads per process. It is set while distbp computes, and the calling program's number is
restored when the last computation ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from distbp.errors import UsageError

_lock = threading.Lock()
_claims: list[tuple[int, int]] = []
"""For each run in progress in this process: the id of its thread and the BLAS threads of its shards."""
_inside = 0
"""Number of active blocks of :func:`one_thread`."""
_before: list[int] = []
"""The calling program's number of threads for each library, from before the first active block."""


class _Library(NamedTuple):
    """A BLAS library loaded in this process."""

    get: Callable[[], int]
    set: Callable[[int], object]
    is_shared: bool
    """Whether the number of threads is one for the whole process; with OpenMP each thread has its own."""


@lru_cache(maxsize=1)
def _libraries() -> Sequence[_Library]:
    """Return the BLAS libraries that NumPy uses; they are loaded since NumPy was imported."""
    libraries = []
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        is_shared = getattr(library, "threading_layer", "") != "openmp"
        change = library.set_num_threads
        if library.internal_api == "openblas" and is_shared:
            # threadpoolctl sets it from one thread of the process alone; in all others it silently does nothing
            name = next(name for name in library.check_symbols if hasattr(library.dynlib, name))
            change = getattr(library.dynlib, name.replace("_get_", "_set_"))
        libraries.append(_Library(library.get_num_threads, change, is_shared))
    return libraries


def unpinned_notes() -> list[str]:
    """Return a note if the threads of NumPy's BLAS cannot be set, as with Accelerate on macOS."""
    if _libraries():
        return []
    built: Any = np.show_config(mode="dicts")
    name = built.get("Build Dependencies", {}).get("blas", {}).get("name", "unknown")
    return [
        f"the threads of this NumPy's BLAS ({name}) cannot be set, so bits may depend on the number of cores: use a "
        "NumPy with OpenBLAS (pip install numpy)"
    ]


def pin_threads(threads: int) -> None:
    """Make BLAS use this number of threads in this process, without restoring the old number."""
    for library in _libraries():
        library.set(threads)


@contextmanager
def one_thread(shards: int | None = None) -> Iterator[None]:
    """Make BLAS use one thread in this process until the block ends.

    A run passes ``shards``, the number of threads that its shards use within the block (:class:`ShardThreads`).

    Raises:
        UsageError: several threads of this process train, and one of the runs uses several BLAS threads.
    """
    global _inside
    claim = (threading.get_ident(), shards or 1)
    with _lock:
        others = [threads for thread, threads in _claims if thread != claim[0]]
        if shards is not None and others and max(shards, *others) > 1:
            raise UsageError(
                f"BLAS has one number of threads per process, and another thread of this process trains: with "
                f"--threads {max(shards, *others)} train one after the other, or in separate processes"
            )
        on_entry = [library.get() for library in _libraries()]
        if not _inside:
            _before[:] = on_entry
        if not any(threads > 1 for _, threads in _claims):  # otherwise BLAS already uses one thread, except in shards
            pin_threads(1)
        _inside += 1
        if shards is not None:
            _claims.append(claim)
    try:
        yield
    finally:
        with _lock:
            if shards is not None:
                _claims.remove(claim)
            _inside -= 1
            for library, own, first in zip(_libraries(), on_entry, _before, strict=True):
                if not library.is_shared:
                    library.set(own)
                elif not _inside:
                    library.set(first)


class ShardThreads:
    """Makes BLAS use ``count`` threads for a run's shards, inside a block of :func:`one_thread`."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        if self._count != 1:
            pin_threads(self._count)

    def __exit__(self, *_: object) -> None:
        if self._count != 1:
            pin_threads(1)
