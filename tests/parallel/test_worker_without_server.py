"""A worker without a server ends quietly if the run is over, else with an error."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from distbp.errors import PeerLostError
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.host.worker_loop import work

NOTHING: Any = None  # not used: no shard is computed
WAIT = 0.05


@pytest.fixture
def memory(tmp_path: Path) -> SharedMemory:
    (tmp_path / "run").mkdir()
    return SharedMemory(tmp_path / "run", Shape(1, 10, "float32", 1, 1, 2, 1), create=True)


def test_a_worker_that_starts_after_the_end_of_the_run_ends_quietly(memory: SharedMemory) -> None:
    shutil.rmtree(memory.folder)
    work(NOTHING, NOTHING, memory, 0, 10.0, WAIT)


def test_a_worker_without_a_server_reports_how_long_it_has_waited(memory: SharedMemory) -> None:
    with pytest.raises(PeerLostError, match=r"worker 0 found no parameter server for 0.05 s \(--wait\)"):
        work(NOTHING, NOTHING, memory, 0, 10.0, WAIT)
