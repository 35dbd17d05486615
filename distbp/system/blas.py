"""The threads of BLAS: one, wherever something is computed that must not depend on cores or environment.

The bits of a sum or a product depend on how many threads BLAS cuts it into, and by default those are the machine's
cores, or what some variable says. What the driver computes (moments, target scale, linear baseline, the costs that
choose an epoch) therefore uses one thread, always; a run's shards use ``--threads``, which is one of its settings.

BLAS has one number of threads for the whole process. It is set for as long as something of distbp computes, and what
the calling program had comes back once the last one is done.
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
"""Of each run that goes on in this process its thread's name and its shards' threads."""
_inside = 0
"""How many blocks of :func:`one_thread` have been entered and not left."""
_before: list[int] = []
"""What the calling program had, for each library, when the first of them was entered."""


class _Library(NamedTuple):
    """A BLAS of this process."""

    get: Callable[[], int]
    set: Callable[[int], object]
    is_shared: bool
    """Whether its number of threads is the whole process's; with OpenMP each thread has its own."""


@lru_cache(maxsize=1)
def _libraries() -> Sequence[_Library]:
    """Return the libraries that compute NumPy's products, which are there since NumPy was imported."""
    found = []
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        is_shared = getattr(library, "threading_layer", "") != "openmp"
        change = library.set_num_threads
        if library.internal_api == "openblas" and is_shared:
            # threadpoolctl lets one thread of the process set it, and does nothing, silently, in all others
            name = next(name for name in library.check_symbols if hasattr(library.dynlib, name))
            change = getattr(library.dynlib, name.replace("_get_", "_set_"))
        found.append(_Library(library.get_num_threads, change, is_shared))
    return found


def unpinned_notes() -> list[str]:
    """Return what to say where the threads of NumPy's BLAS cannot be set, as those of Accelerate on macOS."""
    if _libraries():
        return []
    built: Any = np.show_config(mode="dicts")
    name = built.get("Build Dependencies", {}).get("blas", {}).get("name", "unknown")
    return [
        f"the threads of this NumPy's BLAS ({name}) cannot be set: bits may depend on the number of cores; a NumPy "
        "with OpenBLAS (pip install numpy) keeps them"
    ]


def pin_threads(threads: int) -> None:
    """Let BLAS use exactly so many threads in this process, for good."""
    for library in _libraries():
        library.set(threads)


@contextmanager
def one_thread(shards: int | None = None) -> Iterator[None]:
    """Let BLAS use one thread in this process until the block ends.

    ``shards`` is for a run: the threads that its shards use meanwhile, in blocks of :class:`ShardThreads`.

    Raises:
        UsageError: runs in several threads of this process, of which one wants more than one thread for its shards.
    """
    global _inside
    claim = (threading.get_ident(), shards or 1)
    with _lock:
        others = [wanted for name, wanted in _claims if name != claim[0]]
        if shards is not None and others and max(shards, *others) > 1:
            raise UsageError(
                f"BLAS has one number of threads in a process, and another thread of this one trains: with --threads "
                f"{max(shards, *others)} let them train one after the other, or in a process each"
            )
        found = [library.get() for library in _libraries()]
        if not _inside:
            _before[:] = found
        if not any(wanted > 1 for _, wanted in _claims):  # else it is one already, but for the shards
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
            for library, own, first in zip(_libraries(), found, _before, strict=True):
                if not library.is_shared:
                    library.set(own)
                elif not _inside:
                    library.set(first)


class ShardThreads:
    """Lets BLAS use ``count`` threads for a run's shards in this process, within a block of :func:`one_thread`."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        if self._count != 1:
            pin_threads(self._count)

    def __exit__(self, *_: object) -> None:
        if self._count != 1:
            pin_threads(1)
