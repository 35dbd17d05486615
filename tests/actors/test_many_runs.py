"""Repeated and concurrent runs in one process leak nothing, do not hang and change no bit."""

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distbp

SETTINGS: dict[str, Any] = {"epochs": 1, "hidden": (8,), "batch_size": 256}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def counts() -> tuple[int, int]:
    """Return the numbers of open descriptors and threads of this process."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))


@contextmanager
def busy() -> Iterator[None]:
    """Compute NumPy products in another thread, which BLAS computes on its own threads."""
    over = threading.Event()

    def multiply() -> None:
        x = np.random.default_rng(0).normal(size=(400, 400))
        while not over.is_set():
            np.dot(x.ravel(), (x @ x).ravel())

    thread = threading.Thread(target=multiply)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    """Return so many rows that BLAS splits the sums over a column."""
    rng = np.random.default_rng(1)
    x = rng.normal(3.0, 17.3, (50_000, 4)).astype(np.float32)
    return x, (x.sum(axis=1) > 12).astype(int)


def test_twenty_runs_in_this_process_leave_no_descriptor_and_no_thread() -> None:
    distbp.train("digits", workers=0, **SETTINGS)
    before = counts()
    hashes = {distbp.train("digits", workers=0, **SETTINGS).summary["weights_sha256"] for _ in range(20)}
    assert counts() == before
    assert len(hashes) == 1


@pytest.mark.parametrize("workers", [0, "auto"])
def test_a_thread_that_multiplies_does_not_change_runs(
    table: tuple[np.ndarray, np.ndarray], workers: int | str
) -> None:
    alone = distbp.train(table, workers=0, **SETTINGS).summary["weights_sha256"]
    with busy():
        for _ in range(4):
            assert distbp.train(table, workers=workers, **SETTINGS).summary["weights_sha256"] == alone


@pytest.mark.long
@pytest.mark.ray
def test_repeated_runs_with_workers_leave_nothing(table: tuple[np.ndarray, np.ndarray]) -> None:
    alone = distbp.train(table, workers=0, **SETTINGS).summary["weights_sha256"]
    seen = []
    for _ in range(3):
        assert distbp.train(table, workers=2, **SETTINGS).summary["weights_sha256"] == alone
        seen.append(counts())
    # each start of Ray leaves sockets, a log file and a thread in this process
    (first_files, first_threads), (last_files, last_threads) = seen[0], seen[-1]
    assert last_files - first_files <= 2 * 4
    assert last_threads - first_threads <= 2 * 2
